"""What is said of a stream before anything runs, and that nothing stays open behind it."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import SinkSpec, StreamSettings
from streamer.describe import _cleaned, describe_stream
from streamer.enhance.assembly import Choices
from streamer.gpu.choosing import NOT_CHOSEN
from streamer.infer.backends import Choice
from tests.streamer.noted_engines import only_noted


def lines(**fields: Any) -> list[str]:
    sinks = (SinkSpec(kind="null"),)
    wanted = {"source": "clip.mp4", "sinks": sinks, "scale": 1, "backend": "ort-cpu", **fields}
    return describe_stream(StreamSettings(**wanted)).splitlines()


@pytest.mark.parametrize(
    ("denoise", "when"),
    [("auto", "(auto: while there is noise, live where there is time)"), ("on", "(on: always)")],
)
def test_it_says_what_takes_noise_away_and_when(denoise: str, when: str) -> None:
    said = lines(denoise=denoise)
    (at,) = [n for n, line in enumerate(said) if line.startswith("  denoise  ")]
    assert said[at].startswith("  denoise  denoise-lite")
    assert " on ort-cpu, " in said[at]
    assert said[at].endswith(when)
    assert "ort-cpu" in said[at + 1]


def test_where_none_is_taken_away_it_says_so_or_nothing() -> None:
    assert not any("denoise" in line for line in lines(denoise="off"))
    said = lines(denoise="auto", backend="reference")
    at = said.index("  denoise  not done")
    assert said[at + 1].strip() == "asked for with --backend reference"


def test_it_says_what_steadies_where_that_is_done() -> None:
    assert not any("steady" in line for line in lines(scale=2, steady=False))
    (said,) = [line for line in lines(scale=2) if line.startswith("  steady   ")]
    assert said.startswith("  steady   steady-lite")
    assert "  steady   not done" in lines(scale=2, backend="reference")


@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize("denoise", ["auto", "on", "off"])
def test_what_was_opened_to_be_described_is_closed(
    denoise: str, monkeypatch: pytest.MonkeyPatch, *, steady: bool
) -> None:
    noted = only_noted(monkeypatch)
    lines(scale=2, denoise=denoise, steady=steady)
    assert "super_resolution" in noted.ever
    assert ("denoising" in noted.ever) == (denoise != "off")
    assert ("steadying" in noted.ever) == steady
    assert not noted.opened


@pytest.mark.parametrize("denoise", ["auto", "off"])
def test_where_pictures_stay_on_a_device_it_says_that_they_are_not_cleaned(denoise: str) -> None:
    settings = StreamSettings(
        source="clip.mp4",
        sinks=(SinkSpec(kind="null"),),
        denoise=denoise,  # type: ignore[arg-type]
    )
    on_device = Choices(Choice((), "on a device"), None, NOT_CHOSEN)
    said = "".join(_cleaned(settings, on_device))
    assert ("--denoise on cleans them on the host" in said) == (denoise == "auto")


def test_it_says_how_far_pictures_are_sharpened() -> None:
    assert "  sharpen  0.5, on every tier" in lines(sharpen=0.5, denoise="off")
    assert not any("sharpen" in line for line in lines(denoise="off"))
