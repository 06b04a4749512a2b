"""What is promised in real time, measured: even pictures, no growing latency, no long freeze."""
