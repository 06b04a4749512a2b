"""Glass-to-glass latency by a counter burnt into the picture, every part in a process of its own."""
