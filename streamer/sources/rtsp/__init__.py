"""RTSP as a source: cameras and servers, read by our own client."""

from streamer.sources.rtsp.source import RtspSource

__all__ = ["RtspSource"]
