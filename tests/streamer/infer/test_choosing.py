from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Thread

import pytest

from streamer.clock import ManualClock
from streamer.errors import EngineError
from streamer.infer.choosing import Candidate, Chosen, choose_fastest, costs_together
from streamer.infer.engine import Engine, Tensors
from streamer.infer.trial import ROUND_RUNS, SEARCH_RUNS
from streamer.infer.trial_store import LASTS, TrialStore
from streamer.model import ModelManifest, read_manifest
from tests.streamer.infer.timed import Timed
from tests.streamer.models import write_model

TODAY = date(2026, 3, 1)


class Machine:
    """Backends that take as long as the test says, and the trials that were kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.opened: list[Timed] = []

    def candidate(
        self, name: str, *costs_ms: float, error: float = 0.0, precision: str = "fp32"
    ) -> Candidate:
        def open_timed(manifest: ModelManifest) -> Engine:
            self.opened.append(Timed(manifest, self.clock, costs_ms))
            return self.opened[-1]

        path = write_model(self.folder, stem=f"{name}-{error:g}", error=error, precision=precision)
        return Candidate(name, read_manifest(path), open_timed)

    def choose(self, candidates: Sequence[Candidate], *, days_later: int = 0) -> Chosen:
        self.opened.clear()
        store = TrialStore(self.folder / "trials.json", today=TODAY + timedelta(days=days_later))
        return choose_fastest(candidates, store=store, clock=self.clock)

    def together(self, costs_ms: Mapping[str, Sequence[float]]) -> Mapping[str, float]:
        """What networks of these variants are found to take, as a ladder."""
        self.opened.clear()
        manifest = read_manifest(write_model(self.folder))
        for variant, taken_ms in costs_ms.items():
            self.opened.append(Timed(replace(manifest, variant=variant), self.clock, taken_ms))
        store = TrialStore(self.folder / "trials.json", today=TODAY)
        return costs_together(self.opened, store=store, clock=self.clock)

    @property
    def runs(self) -> list[int]:
        return [engine.runs for engine in self.opened]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_fastest_is_taken_and_the_others_are_closed(machine: Machine) -> None:
    chosen = machine.choose([machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)])
    assert chosen.engine is machine.opened[1]
    assert [engine.is_closed for engine in machine.opened] == [True, False]
    assert chosen.reason == "tiny tried here at 640x360: quick fp32 9.0 ms, slow fp32 20.0 ms"


def test_a_second_start_takes_what_the_first_one_found(machine: Machine) -> None:
    candidates = [machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)]
    machine.choose(candidates)
    chosen = machine.choose(candidates)
    # Only the one that is taken is opened, and its self-test is all that it runs.
    assert machine.runs == [1]
    assert chosen.engine is machine.opened[0]
    assert chosen.reason == (
        "tiny as in the trial of 2026-03-01 at 640x360: quick fp32 9.0 ms, slow fp32 20.0 ms"
    )


def test_an_old_trial_is_made_again(machine: Machine) -> None:
    candidates = [machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)]
    machine.choose(candidates)
    chosen = machine.choose(candidates, days_later=LASTS.days + 1)
    assert len(machine.opened) == 2
    assert "tried here" in chosen.reason


def test_a_trial_of_other_candidates_says_nothing(machine: Machine) -> None:
    machine.choose([machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)])
    chosen = machine.choose([machine.candidate("slow", 20.0), machine.candidate("new", 5.0)])
    assert "tried here" in chosen.reason


def test_a_trial_whose_rounds_disagree_is_not_kept(machine: Machine) -> None:
    # One run is the self-test's.
    before = [10.0] * (2 + SEARCH_RUNS)
    candidates = [
        machine.candidate("one", *before, *[10.0] * ROUND_RUNS, *[15.0] * ROUND_RUNS),
        machine.candidate("other", *before, *[15.0] * ROUND_RUNS, *[11.0] * ROUND_RUNS),
    ]
    reasons = [machine.choose(candidates).reason for _ in range(2)]
    assert len(machine.opened) == 2
    assert (
        reasons[0]
        == reasons[1]
        == (
            "tiny tried here at 640x360 while the machine was busy, to be tried again next time: "
            "one fp32 10.0 ms, other fp32 11.0 ms"
        )
    )


def test_a_faster_engine_that_is_wrong_is_not_taken_and_that_is_said(machine: Machine) -> None:
    wrong = machine.candidate("wrong", 5.0, error=0.5, precision="int8")
    candidates = [wrong, machine.candidate("right", 20.0), machine.candidate("slow", 30.0)]
    chosen = machine.choose(candidates)
    assert chosen.engine is machine.opened[1]
    assert machine.opened[0].is_closed
    assert machine.runs[0] == 1
    assert "right fp32 20.0 ms, slow fp32 30.0 ms; without wrong int8: int8 on" in chosen.reason


def test_what_was_refused_in_a_remembered_trial_is_said_as_well(machine: Machine) -> None:
    wrong = machine.candidate("wrong", 5.0, error=0.5, precision="int8")
    candidates = [wrong, machine.candidate("right", 20.0), machine.candidate("slow", 30.0)]
    machine.choose(candidates)
    chosen = machine.choose(candidates)
    assert chosen.reason == (
        "tiny as in the trial of 2026-03-01 at 640x360: right fp32 20.0 ms, slow fp32 30.0 ms; "
        "without wrong int8: refused then"
    )


def test_a_trial_that_fails_leaves_nothing_open(machine: Machine) -> None:
    class FailsLater(Timed):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            if self.runs:
                raise EngineError("no memory for a picture of this size; free some")
            super().run(inputs, outputs)

    def open_one(manifest: ModelManifest) -> Engine:
        machine.opened.append(FailsLater(manifest, machine.clock, [9.0]))
        return machine.opened[-1]

    right = machine.candidate("right", 20.0)
    with pytest.raises(EngineError, match="no memory for a picture"):
        machine.choose([right, Candidate("fails", right.manifest, open_one)])
    assert [engine.is_closed for engine in machine.opened] == [True, True]


def test_what_is_remembered_is_still_tested_and_the_next_one_follows(machine: Machine) -> None:
    candidates = [machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)]
    machine.choose(candidates)
    # As after an update of a driver that no version tells of.
    broken = machine.candidate("quick", 9.0, error=0.5)
    same = Candidate("quick", candidates[1].manifest, lambda manifest: broken.open(broken.manifest))
    chosen = machine.choose([candidates[0], same])
    assert [engine.is_closed for engine in machine.opened] == [True, False]
    assert chosen.engine is machine.opened[1]
    assert chosen.reason.startswith("tiny as in the trial of 2026-03-01 at 640x360: ")
    assert "; without quick fp32: " in chosen.reason


def test_when_nothing_that_is_remembered_works_all_are_tried(machine: Machine) -> None:
    wrong = machine.candidate("wrong", 9.0, error=0.5)
    right = machine.candidate("right", 20.0)
    other = machine.candidate("other", 25.0)
    machine.choose([wrong, right, other])
    path = machine.folder / "trials.json"
    path.write_text(path.read_text().replace("right fp32", "gone fp32").replace("other", "wrong"))
    chosen = machine.choose([wrong, right, other])
    assert chosen.reason.startswith("tiny tried here at 640x360: right fp32 20.0 ms, other fp32")


def test_one_way_alone_needs_no_trial(machine: Machine) -> None:
    chosen = machine.choose([machine.candidate("only", 20.0)])
    assert machine.runs == [1]
    assert chosen.reason == "tiny runs here on only fp32 alone"
    assert not (machine.folder / "trials.json").exists()


def test_without_a_right_engine_there_is_an_error_that_says_why(machine: Machine) -> None:
    def absent(manifest: ModelManifest) -> Engine:
        raise EngineError("it is not installed; install it")

    wrong = machine.candidate("wrong", 9.0, error=0.5)
    candidates = [wrong, Candidate("absent", wrong.manifest, absent)]
    with pytest.raises(EngineError, match=r"^fp32 on .* is off by 0\.5 .*; it is not installed; "):
        machine.choose(candidates)
    assert machine.opened[0].is_closed


def test_streams_that_start_together_wait_for_each_others_trials(machine: Machine) -> None:
    candidates = [machine.candidate("slow", 20.0), machine.candidate("quick", 9.0)]
    opened_meanwhile: list[int] = []
    reasons: list[str] = []

    def second_start() -> None:
        reasons.append(machine.choose(candidates).reason)

    other = Thread(target=second_start)

    def open_and_let_another_start(manifest: ModelManifest) -> Engine:
        if not opened_meanwhile:
            other.start()
            # Long enough for the whole of it, if it did not wait.
            other.join(0.5)
            opened_meanwhile.append(len(machine.opened))
        return candidates[0].open(manifest)

    first = Candidate("slow", candidates[0].manifest, open_and_let_another_start)
    machine.choose([first, candidates[1]])
    other.join()
    assert opened_meanwhile == [0]
    assert reasons[0].startswith("tiny as in the trial of ")


def test_what_a_ladder_costs_is_tried_once(machine: Machine) -> None:
    seen = machine.together({"medium": [30.0], "lite": [6.0]})
    assert dict(seen) == {"medium": 30.0, "lite": 6.0}
    again = machine.together({"medium": [99.0], "lite": [99.0]})
    assert dict(again) == {"medium": 30.0, "lite": 6.0}
    other = machine.together({"medium": [99.0], "nano": [99.0]})
    assert dict(other) == {"medium": 99.0, "nano": 99.0}


def test_what_a_ladder_costs_is_less_once_the_machine_has_time_again(machine: Machine) -> None:
    """One network alone has no ratio that could tell of a load."""
    busy = [31.9]
    assert dict(machine.together({"lite": busy})) == {"lite": 31.9}
    assert dict(machine.together({"lite": [6.0]})) == {"lite": 6.0}
    assert dict(machine.together({"lite": busy})) == {"lite": 6.0}


def test_a_ladder_tried_on_a_restless_machine_is_tried_again_next_time(machine: Machine) -> None:
    restless = [30.0] * 4 + [90.0] * 3
    assert dict(machine.together({"medium": restless, "lite": [6.0]})) == {
        "medium": 30.0,
        "lite": 6.0,
    }
    assert dict(machine.together({"medium": [20.0], "lite": [4.0]})) == {
        "medium": 20.0,
        "lite": 4.0,
    }


def test_a_candidate_far_slower_than_the_fastest_is_hopeless(machine: Machine) -> None:
    candidates = [
        machine.candidate("quick", 9.0),
        machine.candidate("next", 18.0),
        machine.candidate("slow", 18.1),
    ]
    for _ in range(2):
        assert machine.choose(candidates).hopeless == {"slow fp32"}
    assert machine.choose(candidates[:1]).hopeless == frozenset()
