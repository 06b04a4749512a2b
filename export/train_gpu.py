"""Training on a machine with a GPU: ``python -m export.train_gpu pack|unpack|run``.

``pack`` writes code, data and what the other machine's Python lacks into parts that fit a transfer;
``unpack`` puts them together there; ``run`` trains until the time is up and packs what is to be
brought back, which ``unpack`` takes again here. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from export.gpu_run import GRACE_S, ROOT, Plan, bring_back, run_all
from export.parcel import pack, unpack
from export.provenance import code_commit
from export.recipe import find_recipe
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError, StreamerError

CACHE = ROOT / ".cache"

CODE = ("export", "streamer", "kernels")
CODE_ENDINGS = (".py", ".toml")
CARRIED_PACKAGES = ("av",)
"""Built for every Python from 3.11 (abi3); torch, NumPy, OpenCV, safetensors must be there."""

PART_MIB = 52
"""Of one part: with the code, a transfer stays below 64 MiB, which many ways to such machines limit it to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0; 1 where a run failed; 2 with one sentence on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(VERBS[options.verb](options))
    except StreamerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.train_gpu", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    near = verbs.add_parser("pack", help="code, data and checkpoints, into parts")
    near.add_argument("recipes", nargs="*", help="whose checkpoints go along, to be continued")
    near.add_argument("--data", type=Path, required=True, help="holds train_video, train_images")
    near.add_argument("--work", type=Path, default=CACHE / "runs", help="holds checkpoints")
    near.add_argument("--to", type=Path, default=CACHE / "gpu")
    near.add_argument("--part-mib", type=int, default=PART_MIB)

    both = verbs.add_parser("unpack", help="check the parts of a parcel and put them together")
    both.add_argument("parts", type=Path, help="the folder that they lie in")
    both.add_argument("--to", type=Path, required=True)

    far = verbs.add_parser("run", help="train within the limit, then pack what is brought back")
    far.add_argument("recipes", nargs="+", help="names such as sr_full_x2_live, or TOML files")
    far.add_argument("--data", type=Path, default=ROOT / "data")
    far.add_argument("--cache", type=Path, default=CACHE, help="where patches are kept")
    far.add_argument("--work", type=Path, default=CACHE / "runs", help="holds checkpoints")
    far.add_argument(
        "--out", type=Path, default=CACHE / "gpu-back", help="for what is brought back"
    )
    far.add_argument("--device", default="auto", help="auto, cpu or cuda")
    far.add_argument("--limit-s", type=float, default=540.0, help="for the whole command")
    far.add_argument("--grace-s", type=float, default=GRACE_S, help="that a run may overstay")
    far.add_argument("--at-once", type=int, default=2, help="networks trained at the same time")
    far.add_argument("--iterations", type=int, help="of each, instead of what its recipe says")
    return parser


def _pack(options: argparse.Namespace) -> int:
    files = {**dict(_code()), **dict(_data(options.data)), **dict(_packages())}
    for name in options.recipes:
        checkpoint: Path = options.work / f"{find_recipe(name).name}.ckpt"
        if checkpoint.is_file():
            files[f".cache/runs/{checkpoint.name}"] = checkpoint
    part_bytes = options.part_mib * 2**20
    parts = pack(files, options.to, part_bytes=part_bytes, note={"commit": code_commit()})
    for path in parts:
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path}")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    names = unpack(options.parts, options.to)
    print(f"{len(names)} files in {options.to}")
    return 0


def _run(options: argparse.Namespace) -> int:
    if not options.data.is_dir():
        raise ConfigError(
            f"{options.data} is not a folder; --data names one with train_video in it"
        )
    if options.at_once < 1:
        raise ConfigError(f"--at-once is {options.at_once}, it must be at least 1")
    plan = Plan(
        recipes=tuple(options.recipes),
        data=options.data.resolve(),
        cache=options.cache.resolve(),
        work=options.work.resolve(),
        device=options.device,
        iterations=options.iterations,
        limit_s=options.limit_s,
        grace_s=options.grace_s,
        at_once=options.at_once,
    )
    for name in plan.recipes:
        find_recipe(name)
    summary = run_all(plan, clock=MonotonicClock(), report=lambda line: print(line, flush=True))
    bring_back(plan, summary, options.out)
    print(json.dumps(summary, indent=1))
    return int(any(run["exit_code"] for run in summary["runs"].values()))


VERBS = {"pack": _pack, "unpack": _unpack, "run": _run}


def _code() -> Iterator[tuple[str, Path]]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in CODE_ENDINGS:
                yield path.relative_to(ROOT).as_posix(), path


def _data(folder: Path) -> Iterator[tuple[str, Path]]:
    """What ``find_data`` looks for, and the tables beside it."""
    names = [name for name in ("train_video", "train_images") if (folder / name).is_dir()]
    if not names:
        raise ConfigError(f"{folder} has no train_video; --data names a folder with one in it")
    for name in names:
        for path in sorted((folder / name).iterdir()):
            yield f"data/{name}/{path.name}", path


def _packages() -> Iterator[tuple[str, Path]]:
    for name in CARRIED_PACKAGES:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        home = Path(found.origin).parent
        # Wheels keep the libraries that they bring in a folder beside the package.
        for folder in (home, home.with_name(f"{name}.libs")):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix not in (".pyc", ".pyi", ".pxd", ".pyx"):
                    yield f"site/{path.relative_to(home.parent).as_posix()}", path


if __name__ == "__main__":
    sys.exit(main())
