"""Streams from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from streamer.config import StreamSettings, parse_sink
from streamer.errors import ConfigError

KINDS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "source": (str,),
        "to": (list,),
        "scale": (int,),
        "budget_ms": (int, float),
        "backend": (str,),
        "variant": (str,),
    }
)
"""What a stream may say, and of which kind each value is."""

EXAMPLE = "streams: {door: {source: clip.mp4, to: ['webrtc:'], scale: 2}}"


def read_settings(path: Path) -> tuple[StreamSettings, ...]:
    """The streams that ``path`` describes. Raises ``ConfigError`` naming the file and the key."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML ({reason}); it looks like: {EXAMPLE}") from error
    streams = raw.get("streams") if isinstance(raw, dict) else None
    if not isinstance(streams, dict) or not streams:
        raise ConfigError(f"{path} lists no streams; it looks like: {EXAMPLE}")
    return tuple(_stream(path, str(name), fields) for name, fields in streams.items())


def _stream(path: Path, name: str, fields: Any) -> StreamSettings:
    if not isinstance(fields, dict) or not isinstance(fields.get("source"), str):
        raise ConfigError(f"{path}: the stream {name!r} has no source; it looks like: {EXAMPLE}")
    for key, value in fields.items():
        if key not in KINDS:
            raise ConfigError(
                f"{path}: the stream {name!r} has an unknown key {str(key)!r}; "
                f"the keys are: {', '.join(KINDS)}"
            )
        if type(value) not in KINDS[key]:
            raise ConfigError(
                f"{path}: the stream {name!r} has {value!r} as its {key!r}; "
                f"it looks like: {EXAMPLE}"
            )
    others = {key: value for key, value in fields.items() if key != "to"}
    try:
        sinks = tuple(parse_sink(str(output)) for output in fields.get("to", []))
        return StreamSettings(name=name, sinks=sinks, **others)
    except ConfigError as error:
        raise ConfigError(f"{path}: the stream {name!r}: {error}") from error
