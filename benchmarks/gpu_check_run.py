"""Steps of a check as data, each a program of its own that ends by itself or is ended, with its group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from streamer.clock import Clock

GRACE_S = 4.0
"""Between asking a step to end and ending it."""
LOOKING_S = 10.0
"""For a Python to say which modules it has."""
LEAST_S = 1.0
"""With less than this left of the budget a step is not begun."""
TAIL_LINES = 25
"""Of what a step said, that are kept where it did not pass."""
REFUSED = 2
"""How the project's programs end with one sentence instead of work."""


class Status(StrEnum):
    """How a step ended; the value is what tables say."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    NOT_RUN = "did not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One program of a check."""

    name: str
    command: Sequence[str]
    limit_s: float
    needs: Sequence[str] = ()
    """Modules that its Python has to find."""
    result: Path | None = None
    """Where it leaves JSON, or the XML of pytest."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the check's own."""
    can_refuse: bool = True
    """Whether exit 2 is one sentence of why there was nothing to do; pytest means something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a step."""

    name: str
    status: Status
    seconds: float = 0.0
    why: str = ""
    """One line, where it did not pass."""
    result: Mapping[str, Any] = field(default_factory=dict)
    tail: Sequence[str] = ()


class Budget:
    """Of time, for all steps together; it begins when it is made."""

    def __init__(self, total_s: float, clock: Clock) -> None:
        self._clock = clock
        self._total_s, self._began_ns = total_s, clock.now_ns()

    @property
    def used_s(self) -> float:
        return (self._clock.now_ns() - self._began_ns) / 1e9

    @property
    def left_s(self) -> float:
        return self._total_s - self.used_s


def run_step(
    step: Step,
    budget: Budget,
    *,
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    spare_s: float = 0.0,
) -> Outcome:
    """Runs a step in ``folder`` until it ends, its limit and ``spare_s`` beyond that, or that of the
    budget.

    What it says goes to ``log``. Afterwards nothing that it started in its group runs any more.
    """
    limit_s = min(step.limit_s + spare_s, budget.left_s - GRACE_S)
    why = _obstacle(step, limit_s)
    if why:
        return Outcome(name=step.name, status=Status.NOT_RUN, why=why)
    began_s = budget.used_s
    try:
        code = _played(step, folder=folder, log=log, environment=environment, limit_s=limit_s)
    except OSError as error:
        why = f"{step.command[0]} cannot be started ({error.strerror})"
        return Outcome(name=step.name, status=Status.FAILED, why=why)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    result = _result(step.result)
    if code is None and "passed" in result:
        # pytest writes the one that was interrupted like those that passed.
        result["passed"] -= 1
    status, why = _judged(step, code, limit_s=limit_s, said=said, result=result)
    return Outcome(
        name=step.name,
        status=status,
        seconds=round(budget.used_s - began_s, 1),
        why=why,
        result=result,
        tail=() if status is Status.PASSED else said[-TAIL_LINES:],
    )


def _obstacle(step: Step, limit_s: float) -> str:
    """Why a step is not even begun; empty where it is."""
    if limit_s < LEAST_S:
        return "no time was left for it"
    lacking = _lacking(step)
    if not lacking:
        return ""
    return (
        f"this Python has no {', '.join(lacking)}; put their wheels into a folder: "
        "make gpu-wheels where there is a network"
    )


def _played(
    step: Step, *, folder: Path, log: Path, environment: Mapping[str, str], limit_s: float
) -> int | None:
    """How a step ended, ``None`` for one that had to be ended. Raises ``OSError``."""
    if step.result is not None:
        step.result.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(step.command),
            cwd=folder,
            env={**os.environ, **environment, **step.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_interruptible,  # noqa: PLW1509, the check has one thread
        )
        return _ended(process, limit_s)


def _lacking(step: Step) -> list[str]:
    """Modules that the Python of a step does not find; all of them where it does not run."""
    if not step.needs:
        return []
    program = (
        "import sys, importlib.util as u; print(*(n for n in sys.argv[1:] if not u.find_spec(n)))"
    )
    try:
        done = subprocess.run(
            [step.command[0], "-c", program, *step.needs],
            capture_output=True,
            text=True,
            timeout=LOOKING_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return list(step.needs)
    return done.stdout.split()


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """Its exit code, or nothing where the time was up; its whole group is gone after this.

    It is asked as by Ctrl-C: of what pytest has run until then it still writes its XML.
    """
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        return None
    finally:
        # Also where it ended well, or this program is interrupted: it may have left others behind.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _interruptible() -> None:
    """In the new process: where a shell started the check in the background, Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _judged(
    step: Step,
    code: int | None,
    *,
    limit_s: float,
    said: Sequence[str],
    result: Mapping[str, Any],
) -> tuple[Status, str]:
    last = said[-1].strip() if said else "it said nothing"
    if code is None:
        return Status.TIMED_OUT, f"not done after {limit_s:.0f} s; the last it said: {last}"
    if code == REFUSED and step.can_refuse:
        return Status.NOT_RUN, last
    if code:
        return Status.FAILED, f"exit code {code}: {last}"
    if step.result is not None and not result:
        return Status.FAILED, f"it left no {step.result.name}"
    return Status.PASSED, ""


def _result(path: Path | None) -> dict[str, Any]:
    """What a step left; nothing where there is none that can be read."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        return junit_told(text) if path.suffix == ".xml" else dict(json.loads(text))
    except (OSError, ValueError, TypeError, ElementTree.ParseError):
        return {}


def junit_told(text: str) -> dict[str, Any]:
    """Counts, names of what failed, and why what was skipped, out of the XML of pytest."""
    failed, skipped, passed = [], [], 0
    for case in ElementTree.fromstring(text).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif skip is not None:
            skipped.append(f"{name}: {skip.get('message')}")
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": skipped}
