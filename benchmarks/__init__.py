"""Measurements with their baselines; ``python -m benchmarks NAME``."""
