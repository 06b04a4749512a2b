"""What the check says of the device path and of many streams, over a driver on host memory."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import gpu_check_path
from benchmarks.gpu_check_path import path, path_goals, streams, streams_goal, table
from streamer.errors import EngineError
from streamer.gpu.choosing import NOT_CHOSEN, DeviceChoice, choose_on_device
from streamer.infer.batching_pool import ENGINES
from streamer.infer.device import has_device
from tests.kernels.host_build import HostKernels
from tests.streamer.gpu.emulated import Emulated
from tests.streamer.gpu.test_choosing import queued


@pytest.fixture(scope="module")
def emulated(host_kernels: HostKernels) -> Emulated:
    return Emulated(host_kernels)


def test_a_path_and_streams_are_measured(emulated: Emulated) -> None:
    opened = partial(
        choose_on_device, backend="ort-cuda", variant="nano", door=emulated.gpu, engine=queued
    )
    told = path(opened, width=64, height=36, rounds=4)
    assert told["what"] == "sr-nano-x2-live-fp16 on ort-cuda"
    assert told["allocated"] == 0
    assert told["whole_ms"] > 0
    assert told["beside_ms"] == told["whole_ms"] - told["alone_ms"]
    assert [goal["at_most"] for goal in path_goals(told)] == [1.0, 0]
    many = streams(opened, 3, seconds=0.2, width=64, height=36)
    assert (many["number"], many["frames"]) == (3, 18)
    assert 0 <= many["in_time"] <= 1
    assert len(ENGINES) == 0
    text = table({"path": told, "streams": [many]})
    assert "| 3 | 18 | " in text


def test_the_goal_is_judged_by_the_most_that_were_held() -> None:
    told = [{"number": n, "in_time": share} for n, share in ((10, 1.0), (25, 0.995), (50, 0.9))]
    goal = streams_goal(told)
    assert (goal["measured"], goal["is_met"]) == (25, False)
    assert streams_goal([{"number": 50, "in_time": 0.99}])["is_met"]
    assert streams_goal([])["measured"] == 0


def test_streams_that_cannot_be_opened_are_an_error_and_nobody_waits_for_them() -> None:
    def nothing(**_: object) -> DeviceChoice:
        return NOT_CHOSEN

    with pytest.raises(EngineError, match="2 streams at once: no network is shipped"):
        streams(nothing, 2, seconds=0.1)


def test_without_a_backend_of_a_gpu_it_refuses_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if has_device():
        pytest.skip("there is a device")
    assert gpu_check_path.main([]) == 2
    assert capsys.readouterr().err == "neither ort-cuda nor tensorrt is installed\n"
