"""How good pictures become: ``python -m benchmarks quality``; start reading in ``command.py``."""
