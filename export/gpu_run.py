"""Trains several recipes on one machine within a time limit, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.parcel import MANIFEST, pack, read_manifest
from export.recipe import find_recipe
from streamer.clock import Clock

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
"""Packages that came with the code, for machines that lack them and cannot fetch any."""

CLOSING_S = 25.0
"""Of the limit, for the last judgement and for packing what is brought back."""
GRACE_S = 45.0

BACK_BYTES = 15 * 2**20

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is trained, where its data and checkpoints lie, and for how long."""

    recipes: tuple[str, ...]
    data: Path
    cache: Path
    work: Path
    device: str = "auto"
    iterations: int | None = None
    """Of each recipe, instead of what it says itself: stretches the schedule to the time."""
    limit_s: float = 540.0
    at_once: int = 2
    """Networks at the same time: a small one waits for its launches, not for the GPU."""
    grace_s: float = GRACE_S
    """How much later than asked a run may end before it is killed."""


def run_all(plan: Plan, *, clock: Clock, report: Report) -> dict[str, Any]:
    """Trains the plan's recipes, at most ``at_once`` at a time; what became of each, by name.

    Recipes that must wait share the time evenly. A run that fails or overstays is told from its
    exit code and the end of its log; the others go on.
    """
    began_ns = clock.now_ns()
    end_ns = began_ns + round(max(0.0, plan.limit_s - CLOSING_S) * 1e9)
    waves = [
        plan.recipes[first : first + plan.at_once]
        for first in range(0, len(plan.recipes), plan.at_once)
    ]
    plan.work.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Any] = {}
    for number, wave in enumerate(waves):
        now_ns = clock.now_ns()
        until_ns = now_ns + max(0, end_ns - now_ns) // (len(waves) - number)
        report(f"{', '.join(wave)}: {(until_ns - now_ns) / 1e9:.0f} s")
        runs |= _run_wave(wave, plan, until_ns=until_ns, clock=clock)
    return {"took_s": round((clock.now_ns() - began_ns) / 1e9, 1), "runs": runs}


def bring_back(plan: Plan, summary: dict[str, Any], out: Path) -> list[Path]:
    """Packs averaged weights, checkpoints, journals and logs into ``out``; its files.

    ``summary.json`` lies beside the parcel, to be read without unpacking.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = [find_recipe(recipe).name for recipe in plan.recipes]
    endings = ("safetensors", "ckpt", "jsonl", "log")
    found = [plan.work / f"{name}.{ending}" for name in names for ending in endings]
    files = {path.name: path for path in found if path.is_file()}
    overview = out / "summary.json"
    overview.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return [overview, *pack(files, out, part_bytes=BACK_BYTES, note=summary)]


def run_one(name: str, plan: Plan, *, until_ns: int, clock: Clock, report: Report) -> None:
    """Trains one recipe in this process until it is done or ``until_ns`` of the clock.

    Leaves the averaged weights as safetensors beside the checkpoint.
    """
    import torch
    from safetensors.torch import save_file

    from export.train import Place, train

    recipe = find_recipe(name)
    if plan.iterations is not None:
        recipe = replace(recipe, train=replace(recipe.train, iterations=plan.iterations))
    # All batches have one shape: it pays to look for the fastest convolutions.
    torch.backends.cudnn.benchmark = True
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.at_once))
    place = Place(
        data=plan.data,
        cache=plan.cache,
        work=plan.work,
        device=plan.device,
        limit_s=max(0.0, (until_ns - clock.now_ns()) / 1e9),
        commit=_packed_commit(),
    )
    network = train(recipe, place, clock=clock, report=report)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, plan.work / f"{recipe.name}.safetensors", {"recipe": recipe.name})


def _run_wave(
    wave: tuple[str, ...], plan: Plan, *, until_ns: int, clock: Clock
) -> dict[str, dict[str, Any]]:
    with_site = [str(path) for path in (ROOT, SITE) if path.is_dir()]
    path = os.pathsep.join([*with_site, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in wave:
            order = {**asdict(plan), "recipes": [name], "until_ns": until_ns}
            with (plan.work / f"{find_recipe(name).name}.log").open("ab") as log:
                children[name] = subprocess.Popen(
                    [sys.executable, "-m", "export.gpu_run", json.dumps(order, default=str)],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
        killed_ns = until_ns + round(plan.grace_s * 1e9)
        return {
            name: _outcome(find_recipe(name).name, plan, code=_ended(child, killed_ns, clock))
            for name, child in children.items()
        }
    finally:
        for child in children.values():
            child.kill()


def _ended(child: subprocess.Popen[bytes], until_ns: int, clock: Clock) -> int:
    """The exit code of a child, which is killed at ``until_ns``, however long others were waited for."""
    left_s = max(0.0, (until_ns - clock.now_ns()) / 1e9)
    try:
        return child.wait(left_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _outcome(name: str, plan: Plan, *, code: int) -> dict[str, Any]:
    """The last word of a run on each of its figures, from its journal."""
    outcome: dict[str, Any] = {"exit_code": code}
    journal = plan.work / f"{name}.jsonl"
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        outcome |= json.loads(line)
    if "ms_per_iteration" in outcome:
        outcome["iterations_per_s"] = round(1000 / max(outcome["ms_per_iteration"], 1e-3), 1)
    if code:
        log = (plan.work / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        outcome["log_ends"] = log.splitlines()[-8:]
    return outcome


def _packed_commit() -> str | None:
    """The commit of code that came in a parcel; ``None`` in a checkout, where git knows it."""
    if not (ROOT / MANIFEST).is_file():
        return None
    commit: str | None = read_manifest(ROOT)["note"].get("commit")
    return commit


def _main() -> None:
    from streamer.clock import MonotonicClock

    order: dict[str, Any] = json.loads(sys.argv[1])
    until_ns = order.pop("until_ns")
    (name,) = order.pop("recipes")
    order |= {key: Path(order[key]) for key in ("data", "cache", "work")}
    plan = Plan(recipes=(name,), **order)
    run_one(name, plan, until_ns=until_ns, clock=MonotonicClock(), report=print)


if __name__ == "__main__":
    _main()
