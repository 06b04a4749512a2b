"""``benchmarks.batching``: what it refuses, and a short run of real engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import batching
from streamer.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--streams", "1,two"), "--streams and --ways are lists"),
        (("--ways", "own,never"), "--streams and --ways are lists"),
        (("--streams", "0"), "there is no such number of streams"),
        (("--ways", "-1"), "there is no such number of streams or window"),
        (("--fps", "0"), "--fps and --seconds are more than 0"),
        (("--variant", "huge"), "ort-cpu runs huge x2 in nothing"),
        (("--precision", "fp16"), "not in fp16; name another"),
        (("--size", "640"), "'640' is not a picture's size"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        batching.main(list(arguments))


def test_every_number_of_streams_is_measured_in_every_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "batching.json"
    given = ["--variant", "nano", "--size", "64x36", "--fps", "5", "--seconds", "0.5"]
    batching.main([*given, "--streams", "1,3", "--ways", "own,learnt,1000", "--out", str(out)])
    told = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told
    rows = {(row["streams"], row["way"]): row for row in told["rows"]}
    assert list(rows) == [(n, way) for n in (1, 3) for way in ("own", "learnt", "1000")]
    for (number, way), row in rows.items():
        # Due at 0, 0.2 and 0.4 s; a machine that stalls leaves some out.
        assert row["n"] + row["left_out"] >= number
        assert row["n"] >= number
        assert row["p95_ms"] >= row["p50_ms"] > 0
        assert row["a_run"] == 1 if way == "own" or number == 1 else 1 <= row["a_run"] <= 3
    assert told["model"].startswith("sr-nano-x2-live")
