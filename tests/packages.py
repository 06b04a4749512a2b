"""Packages that are optional at run time and that some tests need."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def needs_package(name: str) -> pytest.MarkDecorator:
    """Skips where an optional package is missing, and says how to install it.

    Where everything is promised, ``STREAMER_REQUIRE_PROGRAMS=1`` lets the test fail instead.
    """
    is_missing = find_spec(name) is None
    is_required = os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1"
    reason = f"needs {name}: pip install '.[{name}]'"
    return pytest.mark.skipif(is_missing and not is_required, reason=reason)
