"""Networks of one ladder: what trying one spares the next, and what each takes beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamer.clock import MonotonicClock
from streamer.infer import backends
from streamer.infer.backends import Use, choose_super_resolution
from streamer.infer.trial_store import trial_key, user_store
from streamer.model import ModelManifest, find_models
from tests.streamer.models import write_model

choose = partial(choose_super_resolution, use=Use(clock=MonotonicClock()))


def remember(trial: Mapping[str, ModelManifest], **costs_ms: float) -> None:
    user_store().keep(trial_key(trial), {f"ort-cpu {p}": ms for p, ms in costs_ms.items()})


@pytest.fixture
def two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, ModelManifest]]:
    """By variant and label: a large and a small network, both in fp32 and in what is called int8."""
    for variant, macs in (("large", 9), ("tiny", 1)):
        for precision in ("fp32", "int8"):
            name = f"{variant}-{precision}"
            changes: dict[str, Any] = {"variant": variant, "precision": precision, "name": name}
            write_model(tmp_path, stem=name, macs_per_pixel=macs, **changes)

    def shipped(*, task: str, scale: int) -> tuple[ModelManifest, ...]:
        return find_models(tmp_path, task=task, scale=scale)

    monkeypatch.setattr(backends, "find_models", shipped)
    found = shipped(task="super_resolution", scale=2)
    return {
        variant: {f"ort-cpu {m.precision}": m for m in found if m.variant == variant}
        for variant in ("large", "tiny")
    }


def test_what_is_hopeless_with_a_small_network_is_not_tried_with_a_larger_one(
    two_models: dict[str, dict[str, ModelManifest]],
) -> None:
    remember(two_models["tiny"], fp32=9.0, int8=3.0)
    choice = choose(scale=2, backend="ort-cpu")
    assert [engine.manifest.name for engine in choice.engines] == ["large-int8", "tiny-int8"]
    assert choice.reason.startswith(
        "large runs here on ort-cpu int8 alone, others took twice as long with a smaller network; "
        "tiny as in the trial of "
    )
    for engine in choice.engines:
        engine.close()


def test_what_is_hopeless_is_taken_where_nothing_else_is_right(
    tmp_path: Path, two_models: dict[str, dict[str, ModelManifest]]
) -> None:
    remember(two_models["tiny"], fp32=9.0, int8=3.0)
    changes: dict[str, Any] = {"variant": "large", "precision": "int8", "name": "large-int8"}
    write_model(tmp_path, stem="large-int8", macs_per_pixel=9, error=0.5, **changes)
    choice = choose(scale=2, backend="ort-cpu")
    assert [engine.manifest.name for engine in choice.engines] == ["large-fp32", "tiny-int8"]
    assert "without ort-cpu int8: int8 on ort-cpu is wrong" in choice.reason
    for engine in choice.engines:
        engine.close()


def test_what_each_network_of_a_ladder_takes_is_known_and_kept(
    two_models: dict[str, dict[str, ModelManifest]],
) -> None:
    remember(two_models["tiny"], fp32=9.0, int8=3.0)
    ladder = {
        f"{variant} ort-cpu int8": models["ort-cpu int8"] for variant, models in two_models.items()
    }
    # Less than any machine takes, which would be remembered anew.
    user_store().keep(trial_key(ladder), {"large": 0.02304, "tiny": 0.002304})
    choice = choose(scale=2, backend="ort-cpu")
    assert dict(choice.costs_ms) == {"large": 0.023, "tiny": 0.002}
    assert choice.pixel_ns == {
        "large": pytest.approx(0.0998, rel=0.01),
        "tiny": pytest.approx(0.00868, rel=0.01),
    }
    for engine in choice.engines:
        engine.close()
