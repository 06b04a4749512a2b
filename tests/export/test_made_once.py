"""Folders that are made once: whole or not at all, whoever is killed, fails or waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from export.data.made_once import made_once
from streamer.errors import ConfigError

KILLED = """
import os, sys
from pathlib import Path
from export.data.made_once import made_once

def make(folder):
    (folder / "half").write_text("of it")
    os._exit(9)

made_once(Path(sys.argv[1]), "{}", make, report=print)
"""


def fill(folder: Path) -> None:
    (folder / "all").write_text("of it")


def made(home: Path, spoken: list[str] | None = None) -> list[str]:
    """The names of what is in a folder that was opened."""
    report = (lambda line: None) if spoken is None else spoken.append
    return sorted(path.name for path in made_once(home, "{}", fill, report=report).iterdir())


def test_a_folder_is_filled_once_and_says_what_it_is_made_of(tmp_path: Path) -> None:
    spoken: list[str] = []
    home = tmp_path / "caches" / "one"
    assert made(home, spoken) == ["all", "contents.json"]
    (home / "all").write_text("that is kept")
    assert made(home, spoken) == ["all", "contents.json"]
    assert (home / "all").read_text() == "that is kept"
    assert spoken == []


def test_what_a_killed_process_left_is_not_taken_and_goes(tmp_path: Path) -> None:
    home = tmp_path / "one"
    done = subprocess.run([sys.executable, "-c", KILLED, str(home)], check=False)
    assert done.returncode == 9
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2
    assert "one" not in left
    assert made(home) == ["all", "contents.json"]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "one.lock"}


def test_nothing_is_left_of_one_that_fails(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError("the disk is full")

    home = tmp_path / "one"
    with pytest.raises(ConfigError, match="the disk is full"):
        made_once(home, "{}", fail, report=lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["one.lock"]
    assert made(home) == ["all", "contents.json"]


def test_where_another_was_faster_all_the_same_the_own_work_goes(tmp_path: Path) -> None:
    home = tmp_path / "one"

    def make(folder: Path) -> None:
        fill(folder)
        # As if that one knew nothing of the lock.
        home.mkdir()
        (home / "contents.json").write_text("{}")
        (home / "theirs").write_text("of it")

    made_once(home, "{}", make, report=lambda line: None)
    assert made(home) == ["contents.json", "theirs"]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "one.lock"}


def test_another_folder_whose_name_begins_so_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path / "one-more")
    made(tmp_path / "one")
    assert made(tmp_path / "one-more") == ["all", "contents.json"]


def fill_a_full_disk(folder: Path) -> None:
    (folder / "none").symlink_to("/dev/full")
    (folder / "none").write_text("of it")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one could not be made \(No space left .*--cache"):
        made_once(tmp_path / "one", "{}", fill_a_full_disk, report=print)
    assert [path.name for path in tmp_path.iterdir()] == ["one.lock"]


def test_a_cache_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ConfigError, match="--cache"):
        made_once(tmp_path / "file" / "one", "{}", fill, report=print)
