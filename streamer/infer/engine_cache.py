"""Built engines and their timings, kept in a folder: never trusted, never in the way.

A file is one line of JSON, which holds the whole key and a checksum, and the blob after it. What is
damaged, cut short, of another key or of another user is thrown away and built anew: TensorRT
trusts what it is given, and ends the program over one wrong byte.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamer.infer.trial_store import user_store

_log = logging.getLogger(__name__)

FORMAT = 1
"""Of the files; another number is another key."""

LIMIT_BYTES = 2 << 30
"""Of all files together; an engine of a small network takes a few MB."""

ABANDONED_S = 86_400
"""A part file as old as this belongs to a process that died."""

_HEADER_BYTES = 1 << 16
"""More than any header takes; a file without a line end in that many is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an engine was built by and for; it runs nowhere else."""

    tensorrt: str
    cuda: str
    """The highest version that the driver serves."""
    driver: str
    capability: tuple[int, int]
    gpu: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that decides what the builder makes."""

    machine: Machine
    model_sha256: str
    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    workspace_bytes: int
    optimisation_level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingsKey:
    """How long each kernel takes is the machine's affair, whatever the network."""

    machine: Machine


Key = EngineKey | TimingsKey


class EngineCache:
    """A folder of blobs by key. Several processes may use it at once."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._has_said = False

    def recall(self, key: Key) -> bytes | None:
        """The blob that was kept under the key, byte for byte; ``None`` where there is none."""
        path = self.path_of(key)
        try:
            with path.open("rb") as file:
                is_ours = _is_trusted(os.fstat(file.fileno()))
                header = file.readline(_HEADER_BYTES)
                blob = file.read()
        except OSError:
            return None
        if not is_ours or header != _header(key, blob):
            _log.info("%s is damaged or not ours, so it is made anew", path.name)
            self.forget(key)
            return None
        with suppress(OSError):
            # What is used stays: the oldest files go first.
            os.utime(path)
        return blob

    def holds(self, key: Key) -> bool:
        """Whether there is a file under the key; ``recall`` says whether it is any good."""
        return self.path_of(key).is_file()

    def keep(self, key: Key, blob: bytes) -> None:
        """Puts the blob in its place in one step; where that cannot be, says so once."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(suffix=".partial", dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_header(key, blob))
                    file.write(blob)
                os.replace(partial, self.path_of(key))
            except OSError:
                Path(partial).unlink(missing_ok=True)
                raise
        except OSError as error:
            self._say(error)
            return
        self._make_room(self.path_of(key))

    def forget(self, key: Key) -> None:
        """Throws away what is kept under the key, if anything is."""
        with suppress(OSError):
            self.path_of(key).unlink()

    def path_of(self, key: Key) -> Path:
        kind = "timings" if isinstance(key, TimingsKey) else "engine"
        digest = hashlib.sha256(_text(key)).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}"

    def _make_room(self, newest: Path) -> None:
        """Deletes part files nobody will finish, then the oldest files, but not the newest."""
        files = sorted(self._files(), key=lambda found: found[1].st_mtime_ns, reverse=True)
        left_bytes = self._limit_bytes - sum(s.st_size for path, s in files if path == newest)
        for path, seen in files:
            if path == newest:
                continue
            if path.suffix == ".partial":
                # Wall time, which is what files carry.
                is_over = time.time_ns() - seen.st_mtime_ns > ABANDONED_S * 10**9
            else:
                left_bytes -= seen.st_size
                is_over = left_bytes < 0
            if is_over:
                with suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in (
            *self.folder.glob("engine-*"),
            *self.folder.glob("timings-*"),
            *self.folder.glob("*.partial"),
        ):
            # Another process may delete at the same moment.
            with suppress(OSError):
                yield path, path.stat()

    def _say(self, error: OSError) -> None:
        if not self._has_said:
            self._has_said = True
            _log.warning(
                "engines cannot be kept in %s (%s), so they are built at every start; make room "
                "there, or name another place with XDG_CACHE_HOME",
                self.folder,
                error.strerror or error,
            )


def user_engines() -> EngineCache:
    """The one in the user's cache folder: ``$XDG_CACHE_HOME/streamer`` or ``~/.cache/streamer``."""
    return EngineCache(user_store().path.with_name("engines"))


def _text(key: Key) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(key)}, sort_keys=True).encode()


def _header(key: Key, blob: bytes) -> bytes:
    """The first line of the only file that is right for both."""
    described: dict[str, Any] = {
        "key": json.loads(_text(key)),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    return json.dumps(described, sort_keys=True).encode() + b"\n"


def _is_trusted(seen: os.stat_result) -> bool:
    """Whether the user wrote it, or root, who may have prepared an image."""
    return not hasattr(os, "geteuid") or seen.st_uid in (os.geteuid(), 0)
