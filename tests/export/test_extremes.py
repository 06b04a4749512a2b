"""Full range and black bars among the pairs of training."""

from __future__ import annotations

import numpy as np
import pytest

from export.data.extremes import with_extremes
from export.data.patches import Pair
from export.recipe import recipe_from
from export.tasks.super_resolution import prepare
from tests.export.tiny import tiny_recipe


def pairs(luma: int = 100, chroma: int = 140, *, count: int = 64, scale: int = 2) -> Pair:
    small_y = np.full((count, 24, 24), luma, np.uint8)
    small_uv = np.full((count, 2, 12, 12), chroma, np.uint8)
    large_y = np.full((count, 24 * scale, 24 * scale), luma, np.uint8)
    large_uv = np.full((count, 2, 12 * scale, 12 * scale), chroma, np.uint8)
    return small_y, small_uv, large_y, large_uv


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_flat_pairs_stay_without_anything_to_learn_but_at_the_edges_of_bars(scale: int) -> None:
    given = pairs(scale=scale)
    changed = with_extremes(given, np.random.default_rng(1), share=0.5)
    small_y, small_uv, large_y, large_uv = changed
    kinds = {(int(y.max()), bool(y.min() <= 16)) for y in small_y}
    # (100 - 16) * 255 / 219 is 98.
    assert kinds == {(100, False), (100, True), (98, False), (98, True)}
    for small, large in ((small_y, large_y), (small_uv, large_uv)):
        assert np.array_equal(small, large[..., ::scale, ::scale])
    assert np.array_equal(small_uv == 128, (small_y <= 16)[:, None, ::2, ::2].repeat(2, 1))
    assert {0, 16} < {int(y.min()) for y in small_y}
    for y in small_y:
        dark = y <= 16
        assert dark.mean() <= 3 / 8
        assert dark.all(0).any() or dark.all(1).any() or not dark.any()
    if scale > 1:
        _, luma, _ = prepare(changed)
        has_bar = np.asarray([bool(y.min() <= 16) for y in small_y])
        assert np.array_equal(has_bar, luma.abs().amax((1, 2, 3)).numpy() > 0)
    assert all(
        np.array_equal(one, other) for one, other in zip(given, pairs(scale=scale), strict=True)
    )


def test_full_range_reaches_both_ends() -> None:
    black, white = (
        with_extremes(pairs(luma, 128), np.random.default_rng(2), share=1.0)[2].ravel()
        for luma in (16, 235)
    )
    assert black.max() <= 16
    assert white.max() == 255


def test_no_share_draws_nothing_and_another_is_reproducible() -> None:
    rng = np.random.default_rng(3)
    assert all(
        np.array_equal(*one)
        for one in zip(with_extremes(pairs(), rng, share=0.0), pairs(), strict=True)
    )
    twice = [with_extremes(pairs(), np.random.default_rng(4), share=0.3) for _ in range(2)]
    assert all(np.array_equal(*one) for one in zip(*twice, strict=True))


def test_a_recipe_may_ask_for_them() -> None:
    raw = tiny_recipe().as_dict()
    raw["train"]["extremes_share"] = 0.25
    assert recipe_from(raw).as_dict()["train"]["extremes_share"] == 0.25
    assert tiny_recipe().train.extremes_share == 0.0
