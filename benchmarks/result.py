"""How every benchmark ends: one line of JSON, and a file of it where one is wanted."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from streamer.errors import ConfigError


def out_file(text: str) -> Path:
    """What ``--out`` names, told before anything is measured where no file can be there."""
    path = Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise ArgumentTypeError(f"names a folder that does not exist: {path.parent}")
    return path


def write(result: dict[str, Any], out: Path | None) -> None:
    """Print ``result`` as the last line; with ``out`` also write it there, indented.

    Raises ``ConfigError`` where it cannot be written, after it was printed.
    """
    try:
        keep(result, out)
    finally:
        print(json.dumps(result))


def keep(result: dict[str, Any], out: Path | None) -> None:
    """Write what there is so far, for whoever is ended before the last line. Raises ``ConfigError``."""
    if out is None:
        return
    try:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written ({error.strerror}); name another file with --out"
        ) from error
