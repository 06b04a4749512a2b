from __future__ import annotations

import pytest

from export.cli import main
from streamer.errors import EngineError
from streamer.infer import tensorrt_api
from streamer.infer.prebuild import buildable
from tests.command import RunHere


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_each_network_for_streams_is_there_for_tensorrt(scale: int) -> None:
    models = buildable(scale=scale)
    assert all(m.precision == "fp16" and m.training != "clean" for m in models)
    assert {m.scale for m in models if m.task == "super_resolution"} == {scale}
    lite = [m for m in models if m.variant == "lite"]
    assert buildable(scale=scale, variant="lite") == lite


def test_a_network_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        EngineError, match="no huge for x2 is shipped in fp16; there are: medium, lite"
    ):
        buildable(scale=2, variant="huge")


def without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_api, "PACKAGES", ("no_such_package",))


def test_the_command_says_what_it_needs(streamer: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_package(monkeypatch)
    done = streamer("engines", "build", "--size", "1280x720")
    assert done.code == 2
    assert done.err.startswith("streamer: the backend tensorrt needs the package tensorrt, which")
    done = streamer("engines", "build", "--size", "large")
    assert (done.code, done.err[:41]) == (2, "streamer: 'large' is not a picture's size")


def test_the_offline_command_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_the_package(monkeypatch)
    assert main(["tensorrt", "sr-nano-x2-live-fp16", "--size", "1280x720"]) == 2
    assert "needs the package tensorrt, which is not installed; run: " in capsys.readouterr().err
