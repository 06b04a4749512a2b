"""Held-out frames for made ones, and how much better than plain means a network makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from export.data.clips import read_clip
from export.data.codec import Coding, round_trip
from export.data.planes import Plane, Planes, crop
from export.data.resample import shrink, to_codes
from export.motion_inputs import INPUTS, network_inputs
from export.networks.base import Network
from export.validation import psnr_y
from streamer.ops.motion import Floats, FlowEstimator, Guide, half
from streamer.ops.motion_guides import NetworkInputs
from streamer.ops.motion_warp import Warper

LONGEST_SIDE = 640
RUNS = 12
"""Judged of each clip, evenly spread: those of its beginning alone said 0.04 dB less, then 0.03 more."""

BORDER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Two luma planes that are there, the one that is wanted, and its time; see ``ops.motion``."""

    clip: str
    first: Plane
    second: Plane
    wanted: Plane
    time: float

    @property
    def cell(self) -> int:
        """Pixels of a guide's cell, as networks are used: between two frames only of files, where
        motion is found in full."""
        return 2 if self.time < 1 else 4


def held_out_runs(clips: Sequence[Path], *, task: str, coding: Coding | None = None) -> list[Made]:
    """Runs of three neighbouring frames: the middle one is wanted, or the last one.

    With a ``coding`` the two others are as a receiver gets them.
    """
    runs = []
    for clip in clips:
        frames = list(smaller(read_clip(clip, multiple=2)))
        seen = frames if coding is None else round_trip(frames, coding)
        starts = np.linspace(0, len(frames) - 3, RUNS).astype(int) if len(frames) > 2 else ()
        for start in dict.fromkeys(int(start) for start in starts):
            arrived, sent = (
                [planes.y for planes in some[start : start + 3]] for some in (seen, frames)
            )
            runs.append(run_of(arrived, sent, task=task, clip=clip.stem))
    return runs


def run_of(seen: Sequence[Plane], wanted: Sequence[Plane], *, task: str, clip: str = "") -> Made:
    """Of three neighbouring pictures the middle one is wanted, or the last one; ``seen`` are they
    as they arrive."""
    if task == "interpolation":
        return Made(clip=clip, first=seen[0], second=seen[2], wanted=wanted[1], time=0.5)
    return Made(clip=clip, first=seen[0], second=seen[1], wanted=wanted[2], time=2.0)


def smaller(frames: Iterable[Planes]) -> Iterator[Planes]:
    """Pictures of at most ``LONGEST_SIDE`` pixels, as frames are judged."""
    for planes in frames:
        ratio = min(1.0, LONGEST_SIDE / max(planes.height, planes.width))
        height, width = (int(side * ratio) // 2 * 2 for side in (planes.height, planes.width))
        if ratio == 1.0:
            yield crop(planes, top=0, left=0, height=height, width=width)
            continue

        def shrunk(plane: Plane, part: int, to: tuple[int, int] = (height, width)) -> Plane:
            size = {"height": to[0] // part, "width": to[1] // part}
            return to_codes(shrink(plane, kernel="area", **size))

        yield Planes(shrunk(planes.y, 1), shrunk(planes.u, 2), shrunk(planes.v, 2))


Guided = tuple[Floats, Floats, Floats]
"""Flow (1, 4, h, w), mask and softness (1, 1, h, w)."""
Estimate = Callable[[Mapping[str, Floats]], Guided]
"""From what ``NetworkInputs`` fills to what a frame is made by."""


def estimate_by(network: Network) -> Estimate:
    """A network in torch as what is judged."""

    @torch.no_grad()
    def estimate(inputs: Mapping[str, Floats]) -> Guided:
        made = network(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        return made.flow.numpy(), made.mask.numpy(), made.softness.numpy()

    return estimate


def without_network(inputs: Mapping[str, Floats]) -> Guided:
    """The guide as it is."""
    guide = inputs["guide"]
    return guide[:, :4], guide[:, 4:5], guide[:, 5:6]


def psnr_by_clip(estimate: Estimate, runs: Sequence[Made]) -> dict[str, tuple[float, ...]]:
    """Per clip the mean luma PSNR in dB of repetition, without a network, and of what is judged."""
    estimator, packed = FlowEstimator(), network_inputs()
    rows: dict[str, list[tuple[float, ...]]] = {}
    for run in runs:
        inputs = inputs_of(run, estimator, packed)
        repeated = run.second if run.time > 1 else run.first
        results = (picture(run, way(inputs)) for way in (without_network, estimate))
        row = tuple(psnr_y(result, run.wanted, border=BORDER) for result in (repeated, *results))
        rows.setdefault(run.clip, []).append(row)
    return {clip: tuple(np.mean(values, axis=0).tolist()) for clip, values in rows.items()}


def judge(network: Network, runs: Sequence[Made]) -> str:
    """Means over clips: repetition, flow without a network, the network."""
    network.eval()
    clips = np.array(list(psnr_by_clip(estimate_by(network), runs).values()))
    network.train()
    repeated, flow, made = clips.mean(axis=0)
    gains = clips[:, 2] - clips[:, 1]
    return (
        f"repetition {repeated:.2f}, flow {flow:.2f} -> {made:.2f} "
        f"({made - flow:+.3f} dB, by clip {' '.join(f'{gain:+.2f}' for gain in gains)})"
    )


def inputs_of(run: Made, estimator: FlowEstimator, packed: NetworkInputs) -> Mapping[str, Floats]:
    """What a network takes for a pair of pictures; valid until the next pair is packed."""
    seen = run.first, run.second
    if run.cell == 4:
        seen = half(run.first), half(run.second)
    packed.fill(seen, estimator.between(*seen), run.time)
    return packed.arrays


def picture(run: Made, guided: Guided) -> Plane:
    """The made luma."""
    rows, columns = (-(-(2 * side // run.cell) // 2) for side in run.first.shape)
    flow, mask, softness = (np.ascontiguousarray(part[0, :, :rows, :columns]) for part in guided)
    filled = run.first.shape[0] / run.cell, run.first.shape[1] / run.cell
    out = np.empty_like(run.first)
    warper = Warper(*out.shape, is_enlarged=False, is_luma=True)
    guide = Guide(flow, mask[0], np.zeros_like(mask[0]), softness[0], filled)
    warper.make(guide, (run.first, run.second, out))
    return out
