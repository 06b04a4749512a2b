from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.infer import engine_cache
from streamer.infer.engine_cache import (
    ABANDONED_S,
    EngineCache,
    EngineKey,
    Key,
    Machine,
    TimingsKey,
    user_engines,
)

MACHINE = Machine(
    tensorrt="11.4.0", cuda="13.0", driver="580.65", capability=(9, 0), gpu="NVIDIA H200"
)
KEY = EngineKey(
    machine=MACHINE,
    model_sha256="ab" * 32,
    precision="fp16",
    shapes={"packed": (1, 6, 360, 640), "residual": (1, 24, 360, 640)},
    workspace_bytes=1 << 30,
    optimisation_level=3,
)
BLOB = bytes(range(256)) * 40


def numbered(number: int) -> EngineKey:
    return replace(KEY, model_sha256=str(number))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> EngineCache:
    """A cache with one engine."""
    cache = EngineCache(tmp_path / "deep" / "engines")
    cache.keep(KEY, BLOB)
    return cache


def test_an_engine_is_found_again_byte_for_byte(kept: EngineCache) -> None:
    assert EngineCache(kept.folder).recall(KEY) == BLOB
    assert names(kept.folder) == [kept.path_of(KEY).name]


@pytest.mark.parametrize("key", [KEY, TimingsKey(machine=MACHINE)])
def test_an_empty_blob_is_a_blob(key: Key, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    assert cache.recall(key) is None
    cache.keep(key, b"")
    assert cache.recall(key) == b""


@pytest.mark.parametrize(
    "other",
    [
        *(
            replace(KEY, machine=replace(MACHINE, **change))
            for change in (
                {"tensorrt": "11.4.1"},
                {"cuda": "13.1"},
                {"driver": "590.1"},
                {"capability": (8, 9)},
                {"gpu": "NVIDIA L4"},
            )
        ),
        replace(KEY, model_sha256="cd" * 32),
        replace(KEY, precision="fp32"),
        replace(KEY, shapes={"packed": (1, 6, 360, 648)}),
        replace(KEY, workspace_bytes=1 << 29),
        replace(KEY, optimisation_level=5),
        TimingsKey(machine=MACHINE),
    ],
)
def test_an_engine_serves_its_own_key_only(kept: EngineCache, other: Key) -> None:
    assert kept.recall(other) is None
    # Nor where its file lies in the other's place.
    kept.path_of(other).write_bytes(kept.path_of(KEY).read_bytes())
    assert kept.recall(other) is None
    assert not kept.path_of(other).exists()
    assert kept.recall(KEY) == BLOB


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:100],
        lambda data: data + b"\0",
        lambda data: flipped(data, -1 % len(data)),
        lambda data: flipped(data, 10),
        lambda data: BLOB,
        lambda data: b"\n" + data,
        lambda data: data[: data.index(b"\n") + 1],
        lambda data: b"x" * (1 << 17),
    ],
)
def test_a_damaged_file_is_thrown_away_and_can_be_kept_anew(
    kept: EngineCache, damage: Callable[[bytes], bytes]
) -> None:
    path = kept.path_of(KEY)
    path.write_bytes(damage(path.read_bytes()))
    assert kept.recall(KEY) is None
    assert not path.exists()
    kept.keep(KEY, BLOB)
    assert kept.recall(KEY) == BLOB


def test_every_single_byte_of_the_timings_counts(tmp_path: Path) -> None:
    # TensorRT ends the program over one that is wrong.
    cache, key = EngineCache(tmp_path), TimingsKey(machine=MACHINE)
    cache.keep(key, b"timings")
    whole = cache.path_of(key).read_bytes()
    for place in range(len(whole)):
        cache.path_of(key).write_bytes(flipped(whole, place))
        assert cache.recall(key) is None


def test_a_file_of_another_user_is_not_trusted(
    kept: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = os.stat(kept.path_of(KEY))
    monkeypatch.setattr(os, "geteuid", lambda: seen.st_uid + 1)
    monkeypatch.setattr(os, "fstat", lambda handle: _owned(seen, 12345))
    assert kept.recall(KEY) is None
    kept.keep(KEY, BLOB)
    monkeypatch.setattr(os, "fstat", lambda handle: _owned(seen, 0))
    assert kept.recall(KEY) == BLOB


def _owned(seen: os.stat_result, user: int) -> os.stat_result:
    fields = list(seen)
    fields[4] = user
    return os.stat_result(fields)


def test_the_oldest_engines_go_where_the_limit_is_reached(tmp_path: Path) -> None:
    EngineCache(tmp_path).keep(numbered(0), BLOB)
    size_bytes = EngineCache(tmp_path).path_of(numbered(0)).stat().st_size
    cache = EngineCache(tmp_path, limit_bytes=3 * size_bytes)
    for number in (1, 2):
        cache.keep(numbered(number), BLOB)
    for number in range(3):
        os.utime(cache.path_of(numbered(number)), (1000 + number, 1000 + number))
    # What was used last is not the oldest any more.
    assert cache.recall(numbered(0)) == BLOB
    cache.keep(numbered(3), BLOB)
    assert [cache.recall(numbered(number)) is not None for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]


def test_an_engine_larger_than_the_limit_is_kept_alone(kept: EngineCache) -> None:
    small = EngineCache(kept.folder, limit_bytes=10)
    small.keep(numbered(1), BLOB)
    assert small.recall(numbered(1)) == BLOB
    assert small.recall(KEY) is None


def test_what_a_dead_process_left_behind_is_cleared_away(kept: EngineCache) -> None:
    old, fresh, strange = (
        kept.folder / name for name in ("a.partial", "b.partial", "somebody-elses")
    )
    for path in (old, fresh, strange):
        path.write_bytes(BLOB)
    os.utime(old, (old.stat().st_mtime - ABANDONED_S - 60,) * 2)
    EngineCache(kept.folder, limit_bytes=0).keep(numbered(1), BLOB)
    assert not old.exists()
    assert fresh.exists()
    assert strange.exists()


def test_where_nothing_can_be_written_it_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "engines").write_text("a file where the folder should be")
    cache = EngineCache(tmp_path / "engines")
    with caplog.at_level(logging.WARNING):
        cache.keep(KEY, BLOB)
        cache.keep(KEY, BLOB)
    assert cache.recall(KEY) is None
    (record,) = caplog.records
    assert "engines cannot be kept in" in record.getMessage()
    assert "XDG_CACHE_HOME" in record.getMessage()


def test_what_cannot_be_put_in_place_leaves_nothing_behind(kept: EngineCache) -> None:
    kept.forget(KEY)
    kept.path_of(KEY).mkdir()
    kept.keep(KEY, BLOB)
    assert kept.recall(KEY) is None
    assert names(kept.folder) == [kept.path_of(KEY).name]


WRITER = """
import sys
from pathlib import Path
from tests.streamer.infer.test_engine_cache import KEY, EngineCache
cache = EngineCache(Path(sys.argv[1]))
for number in range(60):
    cache.keep(KEY, sys.argv[2].encode() * 100_000)
    found = cache.recall(KEY)
    assert found is not None and len(set(found)) == 1 and len(found) == 100_000, found
"""


def test_two_processes_may_keep_the_same_engine_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), letter],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            stderr=subprocess.PIPE,
        )
        for letter in "ab"
    ]
    assert [(writer.communicate(timeout=60)[1], writer.returncode) for writer in writers] == [
        (b"", 0),
        (b"", 0),
    ]
    assert len(names(tmp_path)) == 1


def test_engines_lie_in_the_users_cache_folder_for_nobody_else(cache: Path) -> None:
    kept = user_engines()
    assert kept.folder == cache / "streamer" / "engines"
    kept.keep(KEY, BLOB)
    assert kept.folder.stat().st_mode & 0o077 == 0
    assert kept.path_of(KEY).stat().st_mode & 0o077 == 0


def test_another_format_is_another_key(kept: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: Any = engine_cache.FORMAT + 1
    monkeypatch.setattr(engine_cache, "FORMAT", changed)
    assert kept.recall(KEY) is None
