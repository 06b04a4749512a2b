"""Kernels for CUDA and for processors, and their NumPy twins."""
