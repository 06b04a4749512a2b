"""Streams from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from streamer.config import StreamSettings, parse_sink
from streamer.errors import ConfigError

KEYS = ("source", "to", "scale", "budget_ms", "backend", "variant")

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
    unknown = [str(key) for key in fields if key not in KEYS]
    if unknown:
        raise ConfigError(
            f"{path}: the stream {name!r} has an unknown key {unknown[0]!r}; "
            f"the keys are: {', '.join(KEYS)}"
        )
    outputs = fields.get("to", [])
    if not isinstance(outputs, list):
        raise ConfigError(f"{path}: 'to' of the stream {name!r} is a list, like ['webrtc:']")
    others = {key: value for key, value in fields.items() if key != "to"}
    try:
        return StreamSettings(name=name, sinks=tuple(parse_sink(str(o)) for o in outputs), **others)
    except TypeError as error:
        raise ConfigError(f"{path}: the stream {name!r} has a value of the wrong kind") from error
