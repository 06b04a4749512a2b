"""Streamer: a real-time streaming video enhancer."""

import os

# ONNX Runtime 1.31 gives this device a number and reports to its maker, unless it is told not to
# before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
