"""Steps of the check: limits that end whole groups, what is told of each, with real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check_run import (
    GRACE_S,
    LEAST_S,
    TAIL_LINES,
    Budget,
    Outcome,
    Status,
    Step,
    junit_told,
    run_step,
)
from streamer.clock import ManualClock, MonotonicClock
from tests.command import ROOT

LONG_S = 15.0
"""Enough for a Python to begin, also on a slow machine."""
NEVER_S = 3600.0
"""Longer than any test: whoever waits for it was not ended."""


def step(program: str, *, folder: Path, limit_s: float = 120.0, **rest: object) -> Step:
    """One that runs a program of Python."""
    command = (sys.executable, "-c", program)
    return Step(name="one", command=command, limit_s=limit_s, **rest)  # type: ignore[arg-type]


def ran(one: Step, folder: Path, *, budget_s: float = 600.0) -> Outcome:
    budget = Budget(budget_s, MonotonicClock())
    return run_step(one, budget, folder=folder, log=folder / "log", environment={"SEEN": "yes"})


def test_a_step_that_ends_well_passes_with_what_it_left(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    program = (
        "import json, os; seen = os.environ['SEEN'] + os.environ['OWN']; "
        f"open({str(out)!r}, 'w').write(json.dumps({{'seen': seen}}))"
    )
    done = ran(step(program, folder=tmp_path, result=out, environment={"OWN": "!"}), tmp_path)
    assert (done.status, done.why, done.tail) == (Status.PASSED, "", ())
    assert done.result == {"seen": "yes!"}


def test_a_step_that_fails_is_told_with_the_end_of_what_it_said(tmp_path: Path) -> None:
    program = "import sys; print(*range(100), sep='\\n'); sys.exit('broken')"
    done = ran(step(program, folder=tmp_path), tmp_path)
    assert (done.status, done.why) == (Status.FAILED, "exit code 1: broken")
    assert len(done.tail) == TAIL_LINES
    assert done.tail[-2:] == ["99", "broken"]


def test_a_sentence_and_exit_two_is_a_step_that_did_not_run(tmp_path: Path) -> None:
    program = "import sys; print('there is no card; buy one'); sys.exit(2)"
    done = ran(step(program, folder=tmp_path), tmp_path)
    assert (done.status, done.why) == (Status.NOT_RUN, "there is no card; buy one")
    done = ran(step(program, folder=tmp_path, can_refuse=False), tmp_path)
    assert done.status is Status.FAILED


def test_a_step_that_leaves_no_result_has_failed_whatever_an_earlier_one_left(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.json"
    out.write_text('{"of": "an earlier run"}')
    done = ran(step("pass", folder=tmp_path, result=out), tmp_path)
    assert (done.status, done.why) == (Status.FAILED, "it left no out.json")


def test_a_program_that_is_not_there_has_failed(tmp_path: Path) -> None:
    done = ran(Step(name="one", command=("/nowhere/at/all",), limit_s=60), tmp_path)
    assert done.status is Status.FAILED
    assert "cannot be started" in done.why


def test_what_a_python_lacks_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    program = f"open({str(marker)!r}, 'w')"
    one = step(program, folder=tmp_path, needs=("json", "no_such_module", "nor_this"))
    done = ran(one, tmp_path)
    assert done.status is Status.NOT_RUN
    assert done.why.startswith("this Python has no no_such_module, nor_this;")
    assert not marker.exists()


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A pipe with a name: whoever reads it sees its end once no process holds it any more."""
    path = tmp_path / "held"
    os.mkfifo(path)
    return path


def holder(held: Path) -> str:
    """A program that holds the pipe and does not end when it is asked to."""
    return (
        "import signal, time; "
        "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]; "
        f"out = open({str(held)!r}, 'w'); out.write('x'); out.flush(); time.sleep({NEVER_S})"
    )


def test_nothing_that_a_step_started_outlives_it(tmp_path: Path, held: Path) -> None:
    # Both ends, so that the program below does not wait for a reader.
    reader = os.open(held, os.O_RDWR | os.O_NONBLOCK)
    program = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {holder(held)!r}]); "
        f"open({str(held)!r}).read(1)"
    )
    done = ran(step(program, folder=tmp_path), tmp_path)
    assert done.status is Status.PASSED, done
    wait_until_let_go(held)
    os.close(reader)


def test_a_step_that_takes_too_long_is_ended_though_it_resists(tmp_path: Path, held: Path) -> None:
    reader = os.open(held, os.O_RDWR | os.O_NONBLOCK)
    done = ran(step(holder(held), folder=tmp_path, limit_s=2), tmp_path)
    assert done.status is Status.TIMED_OUT
    assert done.why.startswith("not done after 2 s")
    wait_until_let_go(held)
    os.close(reader)


def wait_until_let_go(held: Path) -> None:
    """Who was killed is listed until the system is done with it."""
    deadline = time.monotonic() + 60
    while not is_let_go(held):
        assert time.monotonic() < deadline, "somebody outlives it"
        time.sleep(0.01)


def is_let_go(held: Path) -> bool:
    """Whether no other process has the pipe open, as the system lists them."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            try:
                files = list((process / "fd").iterdir())
                if any(os.path.realpath(file) == str(held.resolve()) for file in files):
                    return False
            except OSError:
                continue
    return True


def test_an_interrupted_check_ends_its_step(tmp_path: Path, held: Path) -> None:
    script = (
        "import pathlib, signal, sys\n"
        "from benchmarks.gpu_check import _interrupt\n"
        "from benchmarks.gpu_check_run import Budget, Step, run_step\n"
        "from streamer.clock import MonotonicClock\n"
        "signal.signal(signal.SIGTERM, _interrupt)\n"
        f"command = (sys.executable, '-c', {holder(held)!r})\n"
        f"one = Step(name='one', command=command, limit_s={NEVER_S})\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "run_step(one, Budget(7200, MonotonicClock()), folder=folder, log=folder / 'log',\n"
        "         environment={})\n"
    )
    check = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, cwd=ROOT)
    with held.open("rb") as reader:
        assert reader.read(1) == b"x"
        check.send_signal(signal.SIGTERM)
        _, said = check.communicate(timeout=60)
        assert b"KeyboardInterrupt" in said
        assert reader.read() == b""


def test_a_step_gets_no_more_than_the_budget_has_left(tmp_path: Path) -> None:
    program = f"import time; time.sleep({NEVER_S})"
    done = ran(step(program, folder=tmp_path, limit_s=NEVER_S), tmp_path, budget_s=GRACE_S + 2)
    assert done.status is Status.TIMED_OUT
    assert done.why.startswith(("not done after 2 s", "not done after 1 s"))


def test_without_time_left_a_step_is_not_begun(tmp_path: Path) -> None:
    clock = ManualClock()
    budget = Budget(100.0, clock)
    clock.advance_ms(1000 * (100.0 - GRACE_S - LEAST_S / 2))
    one = step("open('started', 'w')", folder=tmp_path, needs=("no_such_module",))
    done = run_step(one, budget, folder=tmp_path, log=tmp_path / "log", environment={})
    assert (done.status, done.why) == (Status.NOT_RUN, "no time was left for it")
    assert not (tmp_path / "started").exists()
    assert budget.used_s == pytest.approx(95.5)


def test_the_tests_of_a_step_are_counted(tmp_path: Path) -> None:
    """By a real pytest, with one of each kind."""
    (tmp_path / "test_kinds.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "def test_skipped(): pytest.skip('needs tensorrt')\n"
        "@pytest.fixture\n"
        "def broken(): raise RuntimeError\n"
        "def test_broken(broken): pass\n"
    )
    out = tmp_path / "tests.xml"
    options = ("-p", "no:cacheprovider", f"--junitxml={out}", "-c", os.devnull)
    command = (sys.executable, "-m", "pytest", "-q", *options, "test_kinds.py")
    one = Step(name="tests", command=command, limit_s=120, result=out, can_refuse=False)
    done = ran(one, tmp_path)
    assert done.status is Status.FAILED
    assert done.result == junit_told(out.read_text())
    assert done.result["passed"] == 1
    assert done.result["failed"] == ["test_kinds::test_bad", "test_kinds::test_broken"]
    assert done.result["skipped"] == ["test_kinds::test_skipped: needs tensorrt"]


def test_of_tests_that_take_too_long_those_that_ran_are_counted(tmp_path: Path) -> None:
    marker, out = tmp_path / "began", tmp_path / "tests.xml"
    tests = tmp_path / "test_two.py"
    tests.write_text(
        "import time\n"
        "def test_good(): pass\n"
        f"def test_endless():\n    open({str(marker)!r}, 'w')\n    time.sleep({NEVER_S})\n"
    )
    command = (
        sys.executable,
        "-m",
        "pytest",
        str(tests),
        f"--junitxml={out}",
        "-p",
        "no:cacheprovider",
    )
    # As started in the background, where Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = ran(Step(name="tests", command=command, limit_s=LONG_S, result=out), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert marker.exists()
    assert done.status is Status.TIMED_OUT
    assert done.result["passed"] == 1


def test_a_test_that_hangs_in_the_driver_is_named(tmp_path: Path) -> None:
    """It cannot be interrupted, and so there is no XML of those before it."""
    (tmp_path / "test_driver.py").write_text(
        "import pytest, signal, time\n"
        "pytestmark = pytest.mark.needs_cuda\n"
        "def test_good(): pass\n"
        "def test_endless():\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"    time.sleep({NEVER_S})\n"
    )
    steps = gpu_check.steps_of(sys.executable, work=tmp_path, architecture="sm_90")
    (tests,) = (one for one in steps if one.name == "tests")
    own = [part for part in tests.command if part not in gpu_check.device_tests()]
    command = (*own, "-c", os.devnull, "--rootdir", str(tmp_path), "test_driver.py")
    done = ran(replace(tests, command=command, limit_s=LONG_S, needs=()), tmp_path)
    assert done.status is Status.TIMED_OUT
    assert done.why.endswith("test_driver.py::test_endless")


def test_a_step_takes_what_earlier_ones_left_of_their_time(tmp_path: Path) -> None:
    one = step("import time; time.sleep(0.5)", folder=tmp_path, limit_s=0)
    budget = Budget(600, MonotonicClock())
    where: dict[str, Any] = {"folder": tmp_path, "log": tmp_path / "log", "environment": {}}
    assert run_step(one, budget, **where).status is Status.NOT_RUN
    assert run_step(one, budget, **where, spare_s=300).status is Status.PASSED
