"""Held-out frames for made ones, and how much better than plain means a network makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from export.data.clips import read_clip
from export.data.planes import Plane
from export.data.resample import shrink, to_codes
from export.networks.base import Network
from export.validation import psnr_y
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import (
    MOTIONS,
    MULTIPLE,
    PICTURES,
    Floats,
    FlowEstimator,
    Guide,
    half,
    pack_motion,
    padded,
)
from streamer.ops.motion_warp import Warper

LONGEST_SIDE = 640
STARTS = (0, 7, 14)
"""First frame of each judged run of three."""

BORDER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Two luma planes that are there, the one that is wanted, and its time; see ``ops.motion``."""

    clip: str
    first: Plane
    second: Plane
    wanted: Plane
    time: float


def held_out_runs(clips: Sequence[Path], *, task: str) -> list[Made]:
    """Runs of three neighbouring frames: the middle one is wanted, or the last one."""
    runs = []
    for clip in clips:
        frames = [
            _smaller(planes.y) for planes in read_clip(clip, multiple=2, limit=STARTS[-1] + 3)
        ]
        for start in STARTS:
            if start + 2 >= len(frames):
                continue
            a, b, c = frames[start : start + 3]
            is_between = task == "interpolation"
            second, wanted, time = (c, b, 0.5) if is_between else (b, c, 2.0)
            runs.append(Made(clip=clip.stem, first=a, second=second, wanted=wanted, time=time))
    return runs


def _smaller(luma: Plane) -> Plane:
    ratio = min(1.0, LONGEST_SIDE / max(luma.shape))
    height, width = (int(side * ratio) // 2 * 2 for side in luma.shape)
    if ratio == 1.0:
        return luma[:height, :width]
    return to_codes(shrink(luma, height=height, width=width, kernel="area"))


Estimate = Callable[[Floats, Floats], Sequence[Floats]]
"""From ``pictures`` (1, 6, 2h, 2w) and ``motion`` (1, 5, h, w) to flow, mask, residual, softness."""


def estimate_by(network: Network) -> Estimate:
    """A network in torch as what is judged."""

    @torch.no_grad()
    def estimate(pictures: Floats, motion: Floats) -> Sequence[Floats]:
        made = network(torch.from_numpy(pictures), torch.from_numpy(motion))
        return [part.numpy() for part in made[:4]]

    return estimate


def psnr_by_clip(estimate: Estimate, runs: Sequence[Made]) -> dict[str, tuple[float, ...]]:
    """Per clip the mean luma PSNR in dB of repetition, without a network, and of what is judged."""
    estimator = FlowEstimator()
    rows: dict[str, list[tuple[float, ...]]] = {}
    for run in runs:
        rows.setdefault(run.clip, []).append(_compare(estimate, run, estimator))
    return {clip: tuple(np.mean(values, axis=0).tolist()) for clip, values in rows.items()}


def judge(network: Network, runs: Sequence[Made]) -> str:
    """Means over clips: repetition, flow without a network, the network."""
    clips = np.array(list(psnr_by_clip(estimate_by(network), runs).values()))
    repeated, flow, made = clips.mean(axis=0)
    worst = (clips[:, 2] - clips[:, 1]).min()
    return (
        f"repetition {repeated:.2f}, flow {flow:.2f} -> {made:.2f} "
        f"({made - flow:+.2f} dB, worst clip {worst:+.2f})"
    )


def inputs_of(run: Made, estimator: FlowEstimator) -> dict[str, Floats]:
    """The network's two inputs for a pair of pictures, edges repeated up to the multiple."""
    first, second = half(run.first), half(run.second)
    height, width = padded(first.shape[0], MULTIPLE), padded(first.shape[1], MULTIPLE)
    pictures = np.empty((PICTURES, height, width), np.float32)
    motion = np.empty((MOTIONS, height // 2, width // 2), np.float32)
    flows = estimator.between(first, second)
    pack_motion(first, second, flows, run.time, pictures=pictures, motion=motion)
    return {"pictures": pictures[None], "motion": motion[None]}


def estimate_by_agreement(pictures: Floats, motion: Floats) -> Sequence[Floats]:
    """What is there without a network, in its place."""
    engine = ReferenceMotionEngine()
    rows, columns = motion.shape[2:]
    outputs = {
        spec.name: np.empty((1, int(spec.shape[1]), rows, columns), np.float32)
        for spec in engine.manifest.outputs
    }
    engine.run({"pictures": pictures, "motion": motion}, outputs)
    return list(outputs.values())


def _compare(estimate: Estimate, run: Made, estimator: FlowEstimator) -> tuple[float, ...]:
    inputs = inputs_of(run, estimator)
    repeated = run.second if run.time > 1 else run.first
    results = [
        _picture(run, way(inputs["pictures"], inputs["motion"]))
        for way in (estimate_by_agreement, estimate)
    ]
    return tuple(psnr_y(result, run.wanted, border=BORDER) for result in (repeated, *results))


def _picture(run: Made, parts: Sequence[Floats]) -> Plane:
    """The made luma by flow, mask, residual and softness."""
    rows, columns = ((side // 2 + 1) // 2 for side in run.first.shape)
    flow, *others = (np.ascontiguousarray(part[0, :, :rows, :columns]) for part in parts)
    mask, residual, softness = (part[0] for part in others)
    filled = run.first.shape[0] / 4, run.first.shape[1] / 4
    out = np.empty_like(run.first)
    warper = Warper(*out.shape, is_enlarged=False, is_luma=True)
    warper.make(Guide(flow, mask, residual, softness, filled), (run.first, run.second, out))
    return out
