"""``python -m benchmarks quality``: judges the shipped models and the baselines, side by side.

Claim: what a shipped model is worth against what anyone can have without it, on any folder of
pictures or clips. All methods see the same frames in the same run; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from benchmarks.quality import denoising, extras, filters, scores
from benchmarks.quality.ahead import PredictionTask
from benchmarks.quality.concealment import CONDITION, ConcealmentTask
from benchmarks.quality.in_between import InterpolationTask
from benchmarks.quality.material import Item, Kind, find_items
from benchmarks.quality.methods import THREADS
from benchmarks.quality.published import interpolation_table, super_resolution_table
from benchmarks.quality.scores import Judged, Stopwatch, averages
from benchmarks.quality.settings import Bench, Said, Settings
from benchmarks.quality.super_resolution import CONDITIONS, SuperResolutionTask
from benchmarks.quality.tables import averages_table, item_line
from benchmarks.result import out_file, write
from export.cli import positive
from streamer import report
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError

LONGER_SIDE = 640
"""Pixels to which clips are shrunk for the tasks that make frames; --full-size leaves them."""


class Task(Protocol):
    """What each task module offers."""

    said: Said

    @property
    def kinds(self) -> Sequence[Kind]: ...

    def judge(self, item: Item) -> Iterator[Judged]: ...


TASKS: Mapping[str, tuple[Callable[[Bench], Task], int]] = {
    "sr": (SuperResolutionTask, 12),
    "interpolation": (InterpolationTask, 61),
    "prediction": (PredictionTask, 60),
    "concealment": (ConcealmentTask, 240),
    "denoising": (denoising.DenoisingTask, 12),
}
"""By name: what opens it, and how many frames of a clip it looks at where nobody says."""


def main(arguments: Sequence[str]) -> None:
    """Judge, print tables, and end with one line of JSON. Raises ``ConfigError``."""
    options = _parse(arguments)
    settings = _settings(options)
    cv2.setNumThreads(THREADS)
    found = extras.find_extras()
    bench = Bench(settings=settings, extras=found, watch=Stopwatch(MonotonicClock()))
    task = TASKS[options.task][0](bench)
    items = [
        item
        for folder in options.data
        for item in find_items(
            folder, kinds=task.kinds, prefixes=options.clips, limit=options.limit
        )
    ]
    judged = []
    for item in items:
        for result in task.judge(item):
            judged.append(result)
            print(item_line(result), flush=True)
    by_frame = (CONDITION,)
    means = averages(judged, by_frame=by_frame)
    left_out = (*task.said.left_out, *found.left_out)
    _print_tables(options.task, task.said, means, settings, left_out)
    whole = {
        "benchmark": "quality",
        "task": options.task,
        "items": [result.as_dict() for result in judged],
        "averages": means,
        "models": [_described(model) for model in task.said.models],
        "left_out": left_out,
        "protocol": task.said.protocol,
        "definitions": _definitions(means),
        "settings": _as_json(settings, options),
        "machine": report.machine(),
        "ffmpeg": filters.version() if options.task in ("interpolation", "denoising") else None,
        "data": [folder.resolve().name for folder in options.data],
    }
    try:
        if options.out is not None:
            _save(whole, options.out)
    finally:
        write({key: value for key, value in whole.items() if key != "items"}, None)


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    add = parser.add_argument
    add("--task", required=True, choices=TASKS)
    add("--data", required=True, type=Path, action="append", help="a folder; may be repeated")
    add("--out", type=out_file, help="write everything, with every item, to this JSON file")
    add("--limit", type=positive, help="judge so many items of a folder, evenly spread")
    add("--clips", action="append", default=[], help="only names that start so; may be repeated")
    add("--frames", type=positive, help="frames of a clip, from its start")
    add("--scale", type=int, choices=(1, 2, 3, 4), help="sr: lines out per line in; default 2")
    add(
        "--condition",
        action="append",
        choices=(*CONDITIONS, *denoising.CONDITIONS),
        help="sr, denoising: may be repeated",
    )
    add("--step", type=_step, help="prediction: intervals ahead, such as 1 or 1/2; default 1")
    add("--seed", type=int, help="concealment: of the losses; default 1")
    add(
        "--full-size",
        action="store_true",
        help=f"do not shrink clips to {LONGER_SIDE} pixels (sr never does)",
    )
    add(
        "--steady",
        action="store_true",
        default=None,
        help="sr: every network once more with what steadies its pictures behind it",
    )
    add("--sharpen", type=_share, help="sr: every network once more, sharpened so far, up to 1")
    options = parser.parse_args(arguments)
    owners = {
        "scale": "sr",
        "steady": "sr",
        "sharpen": "sr",
        "step": "prediction",
        "seed": "concealment",
    }
    for name, task in owners.items():
        if getattr(options, name) is not None and options.task != task:
            parser.error(f"--{name} belongs to --task {task}")
    own = {"sr": CONDITIONS, "denoising": tuple(denoising.CONDITIONS)}.get(options.task, ())
    for condition in options.condition or ():
        if condition not in own:
            parser.error(
                f"--condition {condition!r} is none of --task {options.task}, which has "
                f"{', '.join(own) or 'none'}"
            )
    return options


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return share


def _step(text: str) -> Fraction:
    try:
        step = Fraction(text)
    except (ValueError, ZeroDivisionError):
        step = Fraction(0)
    if not 0 < step <= 8 or step.denominator > 8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a step between 1/8 and 8")
    return step


def _settings(options: Any) -> Settings:
    is_shrunk = options.task != "sr" and not options.full_size
    return Settings(
        scale=options.scale or 2,
        conditions=tuple(dict.fromkeys(options.condition or ())),
        frames=options.frames or TASKS[options.task][1],
        step=options.step or Fraction(1),
        seed=1 if options.seed is None else options.seed,
        is_steady=bool(options.steady),
        sharpness=options.sharpen or 0.0,
        longer_side=LONGER_SIDE if is_shrunk else None,
    )


def _print_tables(
    task: str,
    said: Said,
    means: Sequence[Mapping[str, Any]],
    settings: Settings,
    left_out: Sequence[str],
) -> None:
    for average in means:
        print(f"\n{averages_table(average)}")
    published = ""
    if task == "sr":
        published = super_resolution_table(means, said.models, scale=settings.scale)
    elif task == "interpolation":
        published = interpolation_table(means, said.models)
    if published:
        print(f"\n{published}")
    print(f"\n{said.protocol}")
    if task == "concealment":
        print(f"seed {settings.seed}")
    if settings.longer_side is not None:
        print(f"Clips are shrunk to a longer side of {settings.longer_side}; --full-size does not.")
    for text in left_out:
        print(f"left out: {text}")


def _described(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "precision": model.precision,
        "sha256": model.sha256,
        "parameters": model.parameters,
        "macs_per_pixel": model.macs_per_pixel,
        "backend": "ort-cpu",
    }


def _definitions(means: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    measured = {name for mean in means for row in mean["methods"].values() for name in row}
    known = {**scores.DEFINITIONS, **extras.DEFINITIONS}
    return {name: text for name, text in known.items() if name in measured}


def _as_json(settings: Settings, options: Any) -> dict[str, Any]:
    """The options that the task looks at."""
    own: dict[str, dict[str, Any]] = {
        "sr": {
            "scale": settings.scale,
            "conditions": settings.conditions or "each kind's own",
            "steady": settings.is_steady,
            "sharpen": settings.sharpness,
        },
        "interpolation": {"t": 0.5},
        "prediction": {"step": str(settings.step)},
        "concealment": {"seed": settings.seed},
        "denoising": {"conditions": settings.conditions or tuple(denoising.CONDITIONS)},
    }
    return {
        **own[options.task],
        "frames": settings.frames,
        "longer_side": settings.longer_side,
        "limit": options.limit,
        "clips": options.clips,
        "threads": THREADS,
    }


def _save(whole: Mapping[str, Any], path: Path) -> None:
    try:
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be written ({error.strerror})") from error
