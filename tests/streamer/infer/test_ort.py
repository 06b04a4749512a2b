from __future__ import annotations

from streamer.infer.ort import usable_cores


def test_there_is_at_least_one_core() -> None:
    assert usable_cores() >= 1
