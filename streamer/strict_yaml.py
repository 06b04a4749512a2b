"""YAML as settings are written in it: bounded, each key once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from streamer.errors import ConfigError

MOST_BYTES = 1 << 20
"""Of a settings file: a thousand streams take a fifth of it."""


def load(path: Path, *, example: str) -> Any:
    """What the file says. Raises ``ConfigError``, with an ``example`` of what it looks like."""
    try:
        return yaml.load(text_of(path), Loader=_OnceEach)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except RecursionError:
        raise ConfigError(f"{path} has too many levels; it looks like: {example}") from None
    except yaml.MarkedYAMLError as error:
        # Not the error's whole text: that repeats the line, which may hold a password.
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(
            f"{path} is not YAML ({error.problem}{where}); it looks like: {example}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a bare ValueError
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML ({reason}); it looks like: {example}") from error


def text_of(path: Path) -> str:
    """What the file holds. Raises ``OSError`` or ``ValueError``, also where it never ends."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES >> 20} MiB")
    return content.decode("utf-8")


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that is there twice: of two streams of one name, one would be lost silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is no text", key.start_mark
                )
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{str(key.value)!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
