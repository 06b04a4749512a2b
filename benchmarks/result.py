"""How every benchmark ends: one line of JSON, and a file of it and a drawing where they are wanted."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Collection
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


def add_drawn_files(parser: ArgumentParser) -> None:
    """``--out`` and ``--plot``, of a benchmark that draws what it measured."""
    parser.add_argument(
        "--out", type=out_file, help="also write the JSON to this file, a plot beside it"
    )
    parser.add_argument("--plot", type=out_file, help="write the plot (SVG) to this file")


def plot_file(given: Namespace) -> Path | None:
    """Where the drawing goes: what ``--plot`` names, else beside ``--out``."""
    plot: Path | None = given.plot or (given.out and given.out.with_suffix(".svg"))
    return plot


def chosen(text: str, known: Collection[str], *, what: str) -> list[str]:
    """The names that an option joins by commas, each once. Raises ``ConfigError`` where one is not among
    ``known``, or there is none; ``what`` is one of them, for the message."""
    names = list(dict.fromkeys(filter(None, text.split(","))))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(
            f"there is no {what} {', '.join(unknown) or 'at all'}; name some of: {','.join(known)}"
        )
    return names


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
    if out is not None:
        _write_text(out, json.dumps(result, indent=2) + "\n", option="--out")


def write_plot(drawing: str, plot: Path) -> None:
    """Write what was drawn. Raises ``ConfigError``; call it once the result itself is safe."""
    _write_text(plot, drawing, option="--plot")


def _write_text(path: Path, text: str, *, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); name another file with {option}"
        ) from error
