"""``python -m benchmarks sending`` on a short real run; the numbers themselves are not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.sending import command
from streamer.errors import ConfigError
from tests.benchmarks.running import run


def test_sending_is_timed_beside_stock_aiortc_with_viewers_who_receive(tmp_path: Path) -> None:
    out = tmp_path / "sending.json"
    small = ("--size", "320x180", "--fps", 30, "--kbps", 1000, "--viewers", "2")
    said, result = run("sending", *small, "--seconds", 0.5, "--rounds", 1, "--out", out)
    assert json.loads(out.read_text(encoding="utf-8")) == result
    scenario = result["scenarios"]["2 viewers"]
    for way in ("streamer", "aiortc"):
        found = scenario["ways"][way]
        assert way in said
        assert found["whole_ms"] > 0
        assert found["feeding_ms"] > 0
        assert found["received_per_s"] > 0
        if found["calls"] is not None:
            assert found["calls"]["send"] > 0
    (goal,) = scenario["goals"]
    assert goal["at_most"] == command.MOST_OF_STOCK
    assert goal["measured"] == pytest.approx(scenario["ratio_rounds"][0])


def test_only_calls_of_the_span_that_go_to_an_address_count(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    log.write_text(
        '12 100.5 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(9)}, 16) = 1\n'
        "12 101.0 setsockopt(9, SOL_UDP, UDP_SEGMENT, [1340], 4) = 0\n"
        '12 101.1 sendto(9, "x", 1, 0, {sa_family=AF_INET6, sin6_port=htons(9)}, 28) = 1\n'
        '13 101.2 sendto(5, "\\0", 1, 0, NULL, 0) = 1\n'
        '13 101.3 sendto(9, "x", 1, 0, {sa_family=AF_INET}, 16 <unfinished ...>\n'
        "13 101.4 <... sendto resumed>) = 1\n"
        "13 101.5 --- SIGCHLD {si_signo=SIGCHLD} ---\n"
        '12 102.0 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(9)}, 16) = 1\n',
        encoding="utf-8",
    )
    assert list(command._calls(log, 101.0, 102.0)) == ["set", "send", "send"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--viewers", "none"), "--viewers is a list"),
        (("--viewers", "0"), r"--viewers \[0\] is out of range"),
        (("--size", "721"), "'721' is not a picture's size"),
        (("--size", "721x480"), "--size 721x480 is out of range"),
        (("--rounds", "0"), "--rounds 0 are out of range"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        command.main(list(arguments))
