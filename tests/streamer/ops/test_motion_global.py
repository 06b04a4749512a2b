"""The camera's motion: found among what moves on its own, and put where it explains more."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.native import native
from kernels.native_motion import FlowCalls
from streamer.frame import Plane
from streamer.ops.motion import FlowEstimator, OpenCvSearch, Search
from streamer.ops.motion_global import Floats, field, fit
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 160, 96


@pytest.fixture(params=["opencv", "compiled"])
def search(request: pytest.FixtureRequest) -> Search:
    """Both do the same: OpenCV's is the definition."""
    if request.param == "opencv":
        return OpenCvSearch()
    best = native()
    if best is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")
    return FlowCalls(best)


def turning(
    *, width: int = WIDTH, height: int = HEIGHT, degrees: float = 2.0, zoom: float = 1.03
) -> Floats:
    """The flow of a camera that turns, comes closer and pans, (h, w, 2) pixels."""
    turn = np.deg2rad(degrees)
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    places = np.stack([x - width / 2, y - height / 2], axis=-1)
    flow: Floats = (places @ (matrix - np.eye(2)).T + (3.0, -1.5)).astype(np.float32)
    return flow


def fitted(flow: Floats) -> Floats:
    return field(fit(flow), height=flow.shape[0], width=flow.shape[1])


@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (213, 121), (64, 180)])
def test_a_turning_and_nearing_camera_is_found(width: int, height: int) -> None:
    flow = turning(width=width, height=height)
    assert np.abs(flow - flow.mean(axis=(0, 1))).max() > 2
    assert np.abs(fitted(flow) - flow).max() < 0.02


def test_what_moves_on_its_own_does_not_bend_the_fit() -> None:
    flow = turning()
    flow[20:80, 30:90] = (-9.0, 7.0)
    # A plain mean would be off by as much as a quarter of that.
    assert np.abs(flow.mean(axis=(0, 1)) - turning().mean(axis=(0, 1))).max() > 2
    assert np.abs(fitted(flow) - turning()).max() < 0.1


def test_the_smallest_pictures_have_a_fit_too() -> None:
    flow = np.full((16, 16, 2), 1.5, np.float32)
    assert np.abs(fitted(flow) - flow).max() < 0.01


def railing(moved: float) -> Plane:
    """Bars 8 pixels apart that pan, and nothing else but a faint texture behind the middle ones."""
    bars = 90 + 60 * np.cos(2 * np.pi * (np.arange(WIDTH) - moved) / 8)
    picture = np.tile(bars, (HEIGHT, 1))
    ground = texture(width=WIDTH, height=HEIGHT, moved=(moved, 0.0)).astype(np.float64)
    picture[:, :32] = ground[:, :32]
    picture[:48] = ground[:48]
    codes: Plane = np.rint(picture).astype(np.uint8)
    return codes


def test_the_wrong_period_of_a_texture_gives_way_to_the_cameras_motion(search: Search) -> None:
    first, second = railing(0.0), railing(5.0)
    forward = np.full((HEIGHT, WIDTH, 2), (5.0, 0.0), np.float32)
    backward = -forward
    # Three to the left look the same among the bars.
    forward[56:90, 64:120, 0] -= 8
    backward[56:90, 64:120, 0] += 8
    search.complete(forward, first, second)
    search.complete(backward, second, first)
    inner = (slice(12, -12), slice(44, -12))
    assert np.abs(forward[inner] - (5.0, 0.0)).max() < 0.05
    assert np.abs(backward[inner] + (5.0, 0.0)).max() < 0.05


def test_what_moves_on_its_own_keeps_its_flow(search: Search) -> None:
    first = texture(width=WIDTH, height=HEIGHT)
    second = texture(width=WIDTH, height=HEIGHT, moved=(2.0, 0.0))
    box, moved = (slice(40, 72), slice(60, 100)), (slice(44, 76), slice(56, 96))
    second[moved] = first[box]
    forward = np.full((HEIGHT, WIDTH, 2), (2.0, 0.0), np.float32)
    backward = -forward
    forward[box], backward[moved] = (-4.0, 4.0), (4.0, -4.0)
    search.complete(forward, first, second)
    search.complete(backward, second, first)
    assert np.abs(forward[46:66, 66:94] - (-4.0, 4.0)).max() < 0.05
    assert np.abs(backward[50:70, 62:90] - (4.0, -4.0)).max() < 0.05


def test_an_even_picture_moves_with_the_camera(search: Search) -> None:
    grey = np.full((HEIGHT, WIDTH), 128, np.uint8)
    forward = turning()
    forward[40:60, 40:60] += 5
    search.complete(forward, grey, grey)
    assert np.abs(forward - turning()).max() < 0.1


def test_the_flow_between_two_pictures_is_completed_both_ways() -> None:
    # OpenCV's: ours looks finer, and falls for the bars less often.
    search = OpenCvSearch()
    first, second = railing(0.0), railing(5.0)
    flows = FlowEstimator(OpenCvSearch).between(first, second)
    inner = (slice(60, 84), slice(48, 144))

    def share_off(flow: Floats, wanted: float) -> float:
        return float(np.mean(np.abs(flow[inner] - (wanted, 0.0)).max(axis=-1) > 1))

    for flow, start, end, wanted in (
        (flows.forward, first, second, 5.0),
        (flows.backward, second, first, -5.0),
    ):
        alone = share_off(search.search(start, end), wanted)
        assert alone > 0.2
        assert share_off(flow, wanted) < alone / 2
