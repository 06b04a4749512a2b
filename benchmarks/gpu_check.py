"""``make gpu-check``: proves on a machine with a GPU what no other can, within nine minutes.

In turn: a Python with what wheels of a folder add, the kernels compiled, every test that needs a
device, the kernels' bandwidth, the engines' times, what the device path costs beside them and how
many streams it holds, a file made from end to end, and a minute live.
Each step is a program of its own with a limit; the limits together are less than the whole time, so
that the check always ends by itself, and what a step leaves of its time the next ones may take.
Results are written after every step, and say what did not run.

Exit code: 0 all of it ran and passed; 1 something failed; 2 there is no GPU; 3 nothing failed, but
not all of it could run. Nothing but the standard library is needed to begin, and nothing is fetched.
"""

from __future__ import annotations

import argparse
import os
import signal
import site
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import gpu_check_report as report
from benchmarks.gpu_check_run import Budget, Outcome, Status, Step, run_step
from kernels.compile import ARCHITECTURES, architecture_for, cache_folder
from kernels.driver import Device
from kernels.errors import KernelError
from streamer.clock import MonotonicClock

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build" / "gpu-check"
RESULTS = ROOT / "benchmarks" / "results"

BUDGET_S = 540.0
CLOSING_S = 15.0
"""Of it, for what is between the steps, and for the step that has to be ended."""

TESTS = ("tests/kernels", "tests/streamer/gpu")
"""Folders whose fixtures run their tests on a device too; elsewhere a file names the mark itself."""
MARK = "needs_cuda"

COMPILED = (*ARCHITECTURES, ARCHITECTURES[-1].replace("sm_", "compute_"))

Modules = tuple[str, ...]

STREAMING: Modules = (
    *("aiortc", "av", "cv2", "fastapi", "numpy", "prometheus_client", "pydantic", "rich", "typer"),
    *("uvicorn", "yaml"),
)
TESTING = (*STREAMING, "blockbuster", "hypothesis", "pytest")


def python_step(wheels: Path, work: Path) -> Step:
    """Makes the Python that all other steps run with, in ``work``."""
    where = ("--wheels", str(wheels), "--to", str(work / "venv"))
    command = (sys.executable, "-m", "benchmarks.gpu_check_python", *where)
    return Step(name="python", command=command, limit_s=50)


def steps_of(python: str, *, work: Path, architecture: str) -> list[Step]:
    """The check, in order, once there is a Python to run it with."""
    # One that hangs in the driver is known by the name that was written last, and by where it is.
    hangs = ("-v", "-o", "faulthandler_timeout=40")
    xml, arguments = work / "tests.xml", ["-m", MARK, *hangs, "-p", "no:cacheprovider"]

    def benchmark(name: str, what: str, limit_s: float, *options: str, needs: Modules) -> Step:
        """A program of the project that leaves JSON."""
        out = work / f"{what}.json"
        return Step(
            name=what,
            command=(python, "-m", "benchmarks", name, *options, "--out", str(out)),
            limit_s=limit_s,
            needs=needs,
            result=out,
        )

    return [
        # Frames in between are made on the processor; what it compiles travels with no checkout.
        Step(name="native", command=(python, "-m", "kernels.native_build"), limit_s=15),
        Step(
            name="compile",
            command=(python, "-m", "kernels", "compile", "--arch", architecture),
            limit_s=70,
        ),
        Step(
            name="tests",
            command=(
                *(python, "-m", "pytest", *device_tests(), *arguments),
                # Other versions of packages warn of other things. Where all of it fails, a few
                # tell as much. A file that lacks a package must not keep the others from running.
                *("-W", "default", "--maxfail=30", "--continue-on-collection-errors"),
                f"--junitxml={xml}",
            ),
            limit_s=120,
            needs=TESTING,
            result=xml,
            environment={
                "FAIL_WITHOUT_CUDA": "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                # Else the tests, whose caches are their own, compile all of it once more.
                "KERNEL_CACHE": str(cache_folder(environment_of(work))),
            },
            can_refuse=False,
        ),
        benchmark("kernels", "kernels", 45, needs=("numpy",)),
        benchmark("engines", "engines", 70, needs=STREAMING),
        Step(
            name="path",
            command=(python, "-m", "benchmarks.gpu_check_path", "--out", str(work / "path.json")),
            limit_s=45,
            needs=STREAMING,
            result=work / "path.json",
        ),
        # A run that ends with an error was no refusal.
        replace(benchmark("streams", "file", 30, "file", needs=STREAMING), can_refuse=False),
        replace(benchmark("streams", "live", 80, "live", needs=STREAMING), can_refuse=False),
    ]


def device_tests() -> list[str]:
    """Where tests that need a device are; only what is needed is named, as all that pytest is told
    of it imports, and this Python may lack what other tests need."""
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests" / "streamer").rglob("test_*.py"))
        if f"mark.{MARK}" in path.read_text(encoding="utf-8")
    ]
    return [*TESTS, *(path for path in marked if not path.startswith(TESTS))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check; the exit code."""
    options = _parser().parse_args(arguments)
    budget = Budget(options.budget_s, MonotonicClock())
    # Ended from outside, it ends its step first, as with Ctrl-C, and what was written stays.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        machine = described()
    except KernelError as error:
        print(f"gpu-check needs a machine with an NVIDIA GPU: {error}", file=sys.stderr)
        return 2
    work = options.work.resolve()
    options.results.mkdir(parents=True, exist_ok=True)
    stem = options.results / f"gpu-{report.slug(machine['gpu'])}"
    check = Check(budget, work=work, stem=stem, machine=machine)
    try:
        made = check.run(python_step(options.wheels.resolve(), work))
        # Without it, this Python may still have enough for some of the steps.
        own = made.status is Status.PASSED
        python = str(work / "venv" / "bin" / "python") if own else sys.executable
        for step in steps_of(python, work=work, architecture=machine["architecture"]):
            check.run(step)
    except KeyboardInterrupt:
        print("gpu-check was interrupted, the steps after this were not run", file=sys.stderr)
        return report.FAILED
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))
    print(f"wrote {stem}.json and {stem}.md")
    return report.verdict(check.outcomes)


class Check:
    """Runs steps, one after the other; results are written after each."""

    def __init__(self, budget: Budget, *, work: Path, stem: Path, machine: Mapping[str, Any]):
        """``stem`` is the path of the results without ``.json`` and ``.md``."""
        self.outcomes: list[Outcome] = []
        self._budget, self._work = budget, work
        self._stem, self._machine = stem, machine
        self._planned_s = 0.0
        """Of all steps so far, by their limits."""

    def run(self, step: Step) -> Outcome:
        """What became of it, which is told and written too."""
        log = self._work / f"{step.name}.log"
        environment = environment_of(self._work)
        # What earlier steps left of their time; the limits together fit the budget.
        spare_s = max(0.0, self._planned_s - self._budget.used_s)
        self._planned_s += step.limit_s
        done = run_step(
            step, self._budget, folder=ROOT, log=log, environment=environment, spare_s=spare_s
        )
        self.outcomes.append(done)
        print(f"{done.name}: {done.status}, {done.seconds:.1f} s {done.why}", flush=True)
        try:
            self._write()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # A result that cannot be told must not cost what the other steps found.
            why = f"its result cannot be told ({type(error).__name__}: {error}); see its JSON"
            done = replace(done, status=Status.FAILED, why=why, result={})
            self.outcomes[-1] = done
            self._write()
        return done

    def _write(self) -> None:
        seconds = self._budget.used_s
        result = report.result_of(self.outcomes, machine=self._machine, seconds=seconds)
        report.write(result, self._stem)


def environment_of(work: Path) -> dict[str, str]:
    """What all steps have in common beside the environment of the check itself."""
    return {
        # Compiled kernels and engines of this check are its own, and one step's serve the next.
        "XDG_CACHE_HOME": str(work / "cache"),
        "LD_LIBRARY_PATH": os.pathsep.join(_library_folders()),
        "PYTHONUNBUFFERED": "1",
    }


def _library_folders() -> list[str]:
    """Where CUDA's libraries lie that came as packages: ONNX Runtime looks for them by name."""
    packages = [Path(folder) / "nvidia" for folder in site.getsitepackages()]
    found = [str(lib) for package in packages for lib in sorted(package.glob("*/lib"))]
    return [*found, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]


def described() -> dict[str, Any]:
    """The device as results name it; raises ``KernelError`` where there is none."""
    with Device() as device:
        major, minor = device.capability
        return {
            "gpu": device.name,
            "capability": f"{major}.{minor}",
            "architecture": architecture_for(major, minor, COMPILED),
            "driver_cuda": device.cuda,
            "memory_gb": round(device.memory.total / 1e9, 1),
            "cores": os.cpu_count(),
        }


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__)
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels", help="folder of wheels")
    parser.add_argument("--work", type=Path, default=WORK, help="for the Python, caches and logs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="for the whole check")
    return parser


if __name__ == "__main__":
    sys.exit(main())
