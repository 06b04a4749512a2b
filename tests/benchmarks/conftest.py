from __future__ import annotations

import os

import pytest

from benchmarks.latency.stage import gstreamer_python
from streamer.errors import ConfigError


@pytest.fixture(scope="session")
def gstreamer() -> str:
    """A Python that has it, as its RTSP server is the camera; where it is promised, its absence is a
    failure."""
    try:
        return gstreamer_python()
    except ConfigError as error:
        if os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1":
            raise
        pytest.skip(str(error))
