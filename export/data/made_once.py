"""Folders that take long to fill, filled once and then only read, by whoever wants them at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamer.errors import ConfigError

CONTENTS = "contents.json"
"""What a folder was made of; written last, so that one without it is not whole."""


def made_of(
    folder: Path,
    kind: str,
    *,
    settings: Mapping[str, Any],
    files: Sequence[Path],
    make: Callable[[Path], None],
    report: Callable[[str], None],
) -> Path:
    """By ``made_once``, a folder below ``folder`` for all that decides what is in it: other settings, and
    files of other names or sizes, have another one."""
    made_from = {**settings, "files": [[path.name, path.stat().st_size] for path in files]}
    text = json.dumps(made_from, sort_keys=True)
    home = folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return made_once(home, text, make, report=report)


def made_once(
    home: Path, contents: str, make: Callable[[Path], None], *, report: Callable[[str], None]
) -> Path:
    """``home``, filled by ``make`` where that was not done yet; another process waits meanwhile.

    ``make`` fills a folder beside it, which gets its name when all is there: nothing is left of one
    that fails, and what a killed process leaves goes when the folder is made. ``contents`` tells what
    it was made of. Raises ``ConfigError`` where it cannot be written, as on a full disk.
    """
    if (home / CONTENTS).is_file():
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _alone(home, report):
            if not (home / CONTENTS).is_file():
                _make(home, contents, make)
    except OSError as error:
        raise ConfigError(
            f"{home} could not be made ({error.strerror or error}); make room there, see that it may be "
            "written, or name another folder with --cache"
        ) from error
    return home


@contextmanager
def _alone(home: Path, report: Callable[[str], None]) -> Iterator[None]:
    # The system lets go of it with the process, however that ends. The file stays: whoever waits for
    # it would otherwise hold another one than who comes next.
    with _beside(home, "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waits for {home.name}, which another run makes")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(home: Path, contents: str, make: Callable[[Path], None]) -> None:
    for dead in (home, *home.parent.glob(f"{home.name}.*.partial")):
        shutil.rmtree(dead, ignore_errors=True)
    partial = _beside(home, f"{os.getpid()}.partial")
    partial.mkdir()
    try:
        make(partial)
        (partial / CONTENTS).write_text(contents, encoding="utf-8")
        os.rename(partial, home)
    except OSError:
        # Where the file system has no such locks, another one may have been faster.
        if not (home / CONTENTS).is_file():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(home: Path, ending: str) -> Path:
    return home.with_name(f"{home.name}.{ending}")
