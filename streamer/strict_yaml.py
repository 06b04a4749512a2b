"""YAML as settings are written in it: bounded, each key once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from streamer.errors import ConfigError

MOST_BYTES = 1 << 20
"""Of a settings file: a thousand streams take a fifth of it."""

REPEATS = re.compile(r"(alias|anchor|tag|tag handle) '")
"""What YAML says of a word that begins with ``*``, ``&`` or ``!``, and repeats it. Passwords do."""


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
        problem = str(error.problem)
        if REPEATS.search(problem):
            problem = "what begins with *, & or ! has to be in quotes"
        raise ConfigError(
            f"{path} is not YAML ({problem}{where}); it looks like: {example}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
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

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):
            # The library lets these out of a date that is none, and of !!int, !!bool and their like.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"a value is no {kind}, put it in quotes", node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
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
