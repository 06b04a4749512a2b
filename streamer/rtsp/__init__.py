"""The RTSP protocol as both sides speak it: messages, authentication, session descriptions."""
