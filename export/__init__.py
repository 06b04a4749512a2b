"""Offline side of Streamer: trains the networks and exports them as models."""
