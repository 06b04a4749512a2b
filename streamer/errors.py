"""Every error this package raises on purpose.

StreamerError
├── ConfigError            a setting is wrong; nothing was opened
│   ├── AddressRefused     a stream that was added from outside may not reach it (addresses.py)
│   └── StreamRefused      there is no place for it beside the others (server/registry.py)
├── SourceError            an input could not be opened or broke
│   ├── SourceLost         it worked, then stopped; reconnecting may help
│   ├── UnsupportedFormat  a track that libav has to read (rtp/unit.py)
│   └── Refused            an HTTP server does not give a file (sources/network_http.py)
├── SinkError              an output could not be opened or broke
├── EngineError            a model file does not fit this machine or is damaged
└── OfferRefused           of a WebRTC offer comes no session; why is in its kind (rtc/session.py)
"""

from __future__ import annotations

from collections.abc import Iterator


class StreamerError(Exception):
    """Base of all deliberate errors; its text is one sentence for the user."""


class ConfigError(StreamerError):
    """A setting is wrong; nothing has been opened yet."""


class SourceError(StreamerError):
    """An input could not be opened, or broke while being read."""


class SourceLost(SourceError):
    """The input worked and then stopped; reconnecting may help."""


class SinkError(StreamerError):
    """An output could not be opened, or broke while being written."""


class EngineError(StreamerError):
    """A model file is damaged, or does not fit this machine or this frame size."""


def deliberate(error: BaseException) -> Iterator[StreamerError]:
    """The deliberate errors inside ``error``, which may be a group of groups."""
    if isinstance(error, StreamerError):
        yield error
    elif isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from deliberate(inner)
