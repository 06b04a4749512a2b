"""The whole check: its steps and their limits, its end without a device, without time, and its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import gpu_check, gpu_check_report
from benchmarks.__main__ import BENCHMARKS
from benchmarks.gpu_check import Check
from benchmarks.gpu_check_run import GRACE_S, Budget, Outcome, Status, Step
from benchmarks.report import page as report_page
from benchmarks.report import read_results
from streamer.clock import MonotonicClock
from tests.command import ROOT
from tests.device_tests import left_out
from tests.kernels.conftest import why_no_device
from tests.kernels.host_build import HostKernels
from tests.streamer.gpu.emulated import Emulated

MACHINE = {"gpu": "NVIDIA H200", "capability": "9.0", "driver_cuda": "13.0", "memory_gb": 143.8}
GOAL = {"what": "pack, share", "at_least": 0.8, "measured": 0.5, "is_met": False}
LOST = {"what": "frames lost", "at_most": 0, "measured": 20, "is_met": False}
NAMES = ["python", "native", "compile", "tests", "kernels", "engines", "path", "file", "live"]


def check(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout, done.stderr


def test_the_limits_of_all_steps_fit_the_budget(tmp_path: Path) -> None:
    steps = [
        gpu_check.python_step(tmp_path, tmp_path),
        *gpu_check.steps_of("python3", work=tmp_path, architecture="sm_90"),
    ]
    assert [step.name for step in steps] == NAMES
    assert gpu_check.BUDGET_S == 9 * 60
    assert sum(step.limit_s for step in steps) + gpu_check.CLOSING_S <= gpu_check.BUDGET_S
    assert gpu_check.CLOSING_S > GRACE_S


def test_every_step_names_a_program_that_is_there(tmp_path: Path) -> None:
    for step in gpu_check.steps_of("python3", work=tmp_path, architecture="sm_90"):
        assert step.command[1] == "-m"
        if step.command[2] == "benchmarks":
            assert step.command[3] in BENCHMARKS
        assert step.result is None or str(step.result) in step.command[-1]
    tests = next(
        step
        for step in gpu_check.steps_of("python3", work=tmp_path, architecture="sm_90")
        if step.name == "tests"
    )
    assert tests.environment["FAIL_WITHOUT_CUDA"] == "1"
    for path in gpu_check.device_tests():
        assert (ROOT / path).exists(), path
        assert path in tests.command


def test_a_test_that_needs_a_device_is_one_that_is_run() -> None:
    """Every run of the tests looks at what it collected."""
    for path in ("kernels/test_pack.py", "streamer/infer/test_on_a_device.py", "export/test_a.py"):
        assert left_out([ROOT / "tests" / path]) == []
    elsewhere = ROOT / "tests" / "end_to_end" / "test_cli.py"
    assert left_out([elsewhere, ROOT / "tests" / "streamer" / "gpu" / "test_door.py"]) == [
        elsewhere
    ]


def test_tests_on_a_device_import_nothing_that_is_not_looked_for() -> None:
    """Else a package that only the developer's Python has takes most of them out of the check."""
    others = ("httpx", "onnx", "onnxscript", "openvino", "playwright", "safetensors", "tensorrt")
    assert not {*others} & {*gpu_check.TESTING}
    hidden = f"import sys; sys.modules.update(dict.fromkeys({(*others, 'torch')}))"
    collect = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    options = ("--collect-only", "-q", "-m", gpu_check.MARK, "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; {collect}", *gpu_check.device_tests(), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_without_a_device_it_says_so_in_one_sentence() -> None:
    if not why_no_device():
        pytest.skip("there is a device")
    code, out, said = check()
    assert code == 2
    assert out == ""
    assert said.startswith("gpu-check needs a machine with an NVIDIA GPU: ")
    assert said.count("\n") == 1


def test_it_begins_with_nothing_but_the_standard_library() -> None:
    """The machine's Python may have none of the project's packages."""
    program = (
        "import sys, benchmarks.gpu_check, benchmarks.gpu_check_python, benchmarks.__main__; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    ours = {"benchmarks", "export", "kernels", "streamer", "__main__", "__mp_main__"}
    assert set(done.stdout.split()) - ours <= sys.stdlib_module_names | {"_distutils_hack"}


def test_without_time_it_ends_at_once_and_says_of_every_step_that_it_did_not_run(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    """A whole run, with a device that this computer plays."""
    driver = tmp_path / "driver"
    driver.mkdir()
    for name in ("libcuda.so.1", "libcuda.so"):
        shutil.copy(Emulated(host_kernels).path, driver / name)
    options = ("--work", str(tmp_path / "work"), "--results", str(tmp_path / "results"))
    code, out, said = check(
        *options, "--budget-s", "0", environment={"LD_LIBRARY_PATH": str(driver)}
    )
    assert code == gpu_check_report.INCOMPLETE, said
    stem = tmp_path / "results" / "gpu-device-of-a-test"
    told = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    assert [step["name"] for step in told["steps"]] == NAMES
    assert told["missing"] == [f"{name}: no time was left for it" for name in NAMES]
    assert told["machine"]["architecture"] == "sm_90"
    page = stem.with_suffix(".md").read_text(encoding="utf-8")
    assert page in out
    assert "- live: no time was left for it" in page
    assert not list((tmp_path / "results").glob("*.part"))


def test_a_result_that_cannot_be_told_costs_no_other(tmp_path: Path) -> None:
    machine = {"gpu": "A", "capability": "9.0", "driver_cuda": "13.0", "memory_gb": 1.0}
    whole = Check(
        Budget(600, MonotonicClock()), work=tmp_path, stem=tmp_path / "gpu-a", machine=machine
    )
    told = ('{"table": "a table"}', '{"scenarios": {"one": {"goals": [{"what": "it"}]}}}', "{}")
    for number, text in enumerate(told):
        out = tmp_path / f"{number}.json"
        program = f"open({str(out)!r}, 'w').write({text!r})"
        command = (sys.executable, "-c", program)
        whole.run(Step(name=f"step {number}", command=command, limit_s=60, result=out))
    states = [(one.status, one.why) for one in whole.outcomes]
    assert states[0] == (Status.PASSED, "")
    assert states[1][0] is Status.FAILED
    assert "its result cannot be told (KeyError: " in states[1][1]
    assert states[2][0] is Status.FAILED
    page = (tmp_path / "gpu-a.md").read_text(encoding="utf-8")
    assert "a table" in page
    assert "| step 2 | failed |" in page
    assert json.loads((tmp_path / "gpu-a.json").read_text(encoding="utf-8"))["steps"]


def outcome(name: str, status: Status = Status.PASSED, **rest: object) -> Outcome:
    return Outcome(name=name, status=status, **rest)  # type: ignore[arg-type]


def test_the_exit_code_tells_failures_from_what_is_missing() -> None:
    good = outcome("python")
    skipped = outcome("tests", result={"passed": 3, "failed": [], "skipped": ["a: needs tensorrt"]})
    lacking = outcome("engines", result={"missing": {"tensorrt": "not installed"}})
    for outcomes, code in (
        ([good], 0),
        ([good, outcome("live", Status.NOT_RUN, why="no time")], 3),
        ([good, skipped], 3),
        ([good, lacking], 3),
        ([lacking, outcome("tests", Status.FAILED)], 1),
        ([good, outcome("live", Status.TIMED_OUT)], 1),
    ):
        assert gpu_check_report.verdict(outcomes) == code


def test_the_page_names_what_is_missing_the_goals_and_the_end_of_what_failed() -> None:
    outcomes = [
        outcome("tests", Status.FAILED, why="exit code 1", tail=["one | two", "```"], seconds=3.0,
                result={"passed": 2, "failed": ["t::bad"], "skipped": ["t::odd: needs tensorrt"]}),
        outcome("kernels", result={
            "scenarios": {"kernels": {"claim": "fast", "goals": [GOAL, LOST]}},
            "machine": {"versions": {"numpy": "2"}},
            "table": "| kernel | GB/s |\n|---|---|\n| pack_nv12_f16 | 3000 |",
        }),
        outcome("engines", Status.NOT_RUN, why="no network of that kind"),
    ]  # fmt: skip
    result = gpu_check_report.result_of(outcomes, machine=MACHINE, seconds=12.34)
    assert result["machine"]["versions"] == {"numpy": "2"}
    page = gpu_check_report.page(result)
    assert page.startswith("# NVIDIA H200\n")
    assert "| tests | failed | 3.0 | 2 passed, 1 failed, 1 skipped; t::bad |" in page
    assert "- tests: t::odd: needs tensorrt\n- engines: no network of that kind" in page
    assert "| pack, share | ≥ 0.8 | 0.50 | **no** |" in page
    assert "| frames lost | ≤ 0 | 20.00 | **no** |" in page
    assert "| pack_nv12_f16 | 3000 |" in page
    assert "```\none | two\n'''\n```" in page


def test_results_are_a_chapter_of_the_report_of_all_benchmarks(tmp_path: Path) -> None:
    outcomes = [
        outcome("kernels", result={"scenarios": {"kernels": {"claim": "c", "goals": [GOAL]}}})
    ]
    result = gpu_check_report.result_of(outcomes, machine=MACHINE, seconds=1.0)
    gpu_check_report.write(result, tmp_path / "gpu-h200")
    page = report_page(read_results(tmp_path))
    assert "## gpu-h200" in page
    assert "kernels: pack, share" in page


@pytest.mark.parametrize(
    ("card", "name"),
    [("NVIDIA H200", "h200"), ("NVIDIA GeForce RTX 4090", "geforce-rtx-4090"), ("/..", "unknown")],
)
def test_files_are_called_after_the_card(card: str, name: str) -> None:
    assert gpu_check_report.slug(card) == name
