"""CUDA kernels and their NumPy twins."""
