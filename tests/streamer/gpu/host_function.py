"""What a stream of a device does on the host, in its order: to hold it up, or to compute for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from kernels.stream import Stream

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def queue_on(stream: Stream, function: Callable[[], None]) -> object:
    """Queues a function that must not call the driver; it runs on another thread.

    What comes back has to be kept until it has run.
    """
    kept = _FUNCTION(lambda _: function())
    handle, nothing = ctypes.c_void_p(stream.handle), ctypes.c_void_p(0)
    stream.device.call("cuLaunchHostFunc", handle, kept, nothing)
    return kept
