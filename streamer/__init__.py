"""Streamer: a real-time streaming video enhancer."""
