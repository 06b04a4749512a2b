"""Stages that change frames or add frames, and the chain that runs them."""
