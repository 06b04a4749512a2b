"""Guides by agreement: which motion they take, where they are soft, and which picture they believe."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.infer.reference_motion import ReferenceMotionEngine
from tests.streamer.pictures import texture

ROWS, COLUMNS = 24, 32
"""Of the motions' grid; the pictures are twice as large."""

FORWARD, BACKWARD = (2.0, -1.0), (-3.0, 0.5)
"""Told by the forward and the backward flow, pixels of the grid from time 0 to time 1."""

Arrays = dict[str, NDArray[np.float32]]


def picture(moved: float = 0.0) -> NDArray[np.float32]:
    codes = texture(width=2 * COLUMNS, height=2 * ROWS, moved=(moved, 0))
    return codes.astype(np.float32) / np.float32(255)


def guide(
    *, time: float, is_forward_right: bool, is_backward_right: bool, is_still: bool = False
) -> Arrays:
    """What is said of pictures that agree by the motions that are right, and differ otherwise."""
    pairs = [
        (picture(), picture(0.0 if is_right else 12.0))
        for is_right in (is_forward_right, is_backward_right, is_still)
    ]
    motion = np.empty((1, 5, ROWS, COLUMNS), np.float32)
    for channel, value in enumerate((*FORWARD, *BACKWARD, time)):
        motion[0, channel] = value
    inputs = {"pictures": np.stack([one for pair in pairs for one in pair])[None], "motion": motion}
    engine = ReferenceMotionEngine()
    outputs = {
        spec.name: np.full(spec.sized({"h": ROWS, "w": COLUMNS}), np.nan, np.float32)
        for spec in engine.manifest.outputs
    }
    engine.run(inputs, outputs)
    return outputs


def middle(part: NDArray[np.float32]) -> list[float]:
    """Away from the edges, where one picture ends before the other."""
    found: list[float] = part[0, :, ROWS // 2, COLUMNS // 2].tolist()
    return found


@pytest.mark.parametrize("time", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("is_forward", [True, False])
def test_the_motion_that_both_pictures_confirm_is_taken(time: float, *, is_forward: bool) -> None:
    out = guide(time=time, is_forward_right=is_forward, is_backward_right=not is_forward)
    x, y = FORWARD if is_forward else BACKWARD
    wanted = [-time * x, -time * y, (1 - time) * x, (1 - time) * y]
    assert middle(out["flow"]) == pytest.approx(wanted, abs=0.05)


def test_what_stands_still_is_left_where_it_is() -> None:
    out = guide(time=0.5, is_forward_right=False, is_backward_right=False, is_still=True)
    assert middle(out["flow"]) == pytest.approx([0, 0, 0, 0], abs=0.05)


def test_only_what_nothing_explains_becomes_soft() -> None:
    sure = guide(time=0.5, is_forward_right=True, is_backward_right=True)
    lost = guide(time=0.5, is_forward_right=False, is_backward_right=False)
    assert not sure["softness"].any()
    assert lost["softness"].min() >= 0
    assert np.mean(lost["softness"]) > 0.5


def softness_of(*parts: NDArray[np.float32], time: float) -> float:
    """Mean of two pictures, which all three motions are said to lead to."""
    inputs = {
        "pictures": np.stack([*parts] * 3)[None].astype(np.float32),
        "motion": np.full((1, 5, ROWS, COLUMNS), time, np.float32),
    }
    engine = ReferenceMotionEngine()
    outputs = {
        spec.name: np.full(spec.sized({"h": ROWS, "w": COLUMNS}), np.nan, np.float32)
        for spec in engine.manifest.outputs
    }
    engine.run(inputs, outputs)
    return float(outputs["softness"].mean())


@pytest.mark.parametrize("time", [0.5, 2.0])
def test_strong_contrast_that_is_only_slightly_off_stays_sharp(time: float) -> None:
    numbers = np.random.default_rng(1)
    size = (2 * ROWS, 2 * COLUMNS)
    strong = 0.5 + 0.4 * numbers.choice([-1.0, 1.0], size)
    faint = 0.5 + 0.04 * numbers.choice([-1.0, 1.0], size)
    errors = numbers.normal(0, 0.06, (2, *size))
    assert np.abs(errors[0] - errors[1]).mean() > 13 / 255
    sharp, soft = (
        softness_of(*(picture + errors).astype(np.float32), time=time)
        for picture in (strong, faint)
    )
    assert sharp < 0.15
    assert soft > 0.35


@pytest.mark.parametrize(("time", "share"), [(0.25, 0.75), (0.5, 0.5), (2.0, 0.0)])
def test_the_nearer_picture_has_the_larger_share(time: float, share: float) -> None:
    out = guide(time=time, is_forward_right=True, is_backward_right=False)
    assert middle(out["mask"]) == [share]
    assert not out["residual"].any()


def test_what_one_picture_does_not_hold_comes_from_the_other() -> None:
    out = guide(time=0.5, is_forward_right=True, is_backward_right=False)
    mask = out["mask"][0, 0, ROWS // 2]
    # Moving right by two cells: at the left edge the first picture would be asked for what lies a
    # cell outside, at the right edge the second one.
    assert mask[0] == pytest.approx(0.0, abs=0.05)
    assert mask[-1] == pytest.approx(1.0, abs=0.05)
    assert (mask[2:-2] == 0.5).all()


def test_a_prediction_believes_the_last_picture_even_beyond_its_edge() -> None:
    out = guide(time=2.0, is_forward_right=True, is_backward_right=False)
    assert not out["mask"].any()
