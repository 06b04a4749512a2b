"""Where the JSON of a benchmark goes is told before it measures, and nothing measured is lost."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import networks
from benchmarks.latency import command as latency
from benchmarks.realtime import command as realtime
from benchmarks.result import out_file, write
from streamer.errors import ConfigError


@pytest.mark.parametrize(
    ("main", "option"),
    [
        (networks.main, "--out"),
        *(
            (main, option)
            for main in (latency.main, realtime.main)
            for option in ("--out", "--plot")
        ),
    ],
)
def test_a_place_where_no_file_can_be_is_refused_before_anything_is_measured(
    main: Callable[[list[str]], None],
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([option, str(tmp_path / "none" / "networks.json")])
    said = capsys.readouterr()
    assert "a folder that does not exist" in said.err
    assert not said.out


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="is a folder"):
        out_file(str(tmp_path))
    assert out_file(str(tmp_path / "new.json")) == tmp_path / "new.json"


def test_on_a_full_disk_the_result_is_printed_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match="No space left"):
        write({"benchmark": "networks"}, Path("/dev/full"))
    assert json.loads(capsys.readouterr().out) == {"benchmark": "networks"}
