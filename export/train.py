"""The training loop: recipe and data in, averaged weights out; start reading at ``train``."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.checkpoint import (
    State,
    checkpoint_path,
    read_checkpoint,
    read_start,
    write_checkpoint,
)
from export.device import CPU, choose_device, device_name, lower_precision, moved
from export.networks import build_network
from export.networks.base import Network
from export.provenance import code_commit
from export.recipe import Recipe, TrainRecipe
from export.tasks import open_task
from export.tasks.base import Task
from export.tasks.resident import on_device
from streamer.clock import Clock
from streamer.errors import ConfigError

Report = Callable[[str], None]

FOREVER_S = 1e9

WEIGHTS_ENDING = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run reads and writes, what it starts from, and how often it speaks."""

    data: Path
    cache: Path
    work: Path
    start_from: Path | None = None
    """A checkpoint of the same network, or shipped weights of it or a smaller one, which a new run
    begins with."""
    log_every: int = 500
    checkpoint_every_s: float = 120.0
    validate_every_s: float = 180.0
    stop_after: int | None = None
    """Leave after this iteration's checkpoint, as a killed run would."""
    limit_s: float | None = None
    """Leave with a checkpoint once this much time has passed, the opening of the data included."""
    device: str = "cpu"
    """``auto``, ``cpu`` or ``cuda``; a checkpoint of one continues on the other."""
    commit: str | None = None
    """Of the code, where it does not lie in a git checkout."""


def train(recipe: Recipe, place: Place, *, clock: Clock, report: Report) -> Network:
    """The averaged network after the recipe's iterations; continues a checkpoint if there is one.

    Every batch follows from the seed and the iteration's number alone, so a run that was killed
    and continued ends at the same weights as one that was not.
    """
    limit = Every(place.limit_s, clock)
    device = choose_device(place.device)
    task = open_task(recipe, data=place.data, cache=place.cache, report=report)
    task = on_device(task, recipe, device)
    learner = _open_learner(recipe, place, device, report)

    path = checkpoint_path(place.work, recipe)
    end = min(recipe.train.iterations, place.stop_after or recipe.train.iterations)
    journal = Journal(place.work / f"{recipe.name}.jsonl")
    journal.note(begins=learner.iteration, device=device_name(device), torch=str(torch.__version__))
    progress = Progress(learner.iteration, recipe.train.iterations, clock)
    checkpoint_due = Every(place.checkpoint_every_s, clock)
    validate_due = Every(place.validate_every_s, clock)
    while learner.iteration < end:
        progress.add(learner.step(task, task.batch(learner.iteration)))
        done = learner.iteration
        is_last = done == end or limit.is_due()
        if done % place.log_every == 0 or is_last:
            line, figures = progress.since_last(done)
            report(line)
            journal.note(**figures)
        if checkpoint_due.is_due() or is_last:
            write_checkpoint(path, learner.state())
        if (validate_due.is_due() or is_last) and (verdict := task.judge(learner.averaged())):
            report(f"{done} {verdict}")
            journal.note(iteration=done, validation=verdict)
        if is_last:
            break
    return learner.averaged()


def _open_learner(recipe: Recipe, place: Place, device: torch.device, report: Report) -> Learner:
    learner = Learner(recipe, device=device, commit=place.commit)
    path = checkpoint_path(place.work, recipe)
    if path.exists():
        learner.restore(read_checkpoint(path, recipe))
        report(f"continues {path.name} at iteration {learner.iteration}")
    elif place.start_from is not None:
        learner.start_from(_start(place.start_from, recipe))
        report(f"starts from the weights of {place.start_from.name}")
    return learner


def _start(path: Path, recipe: Recipe) -> State:
    if path.suffix != WEIGHTS_ENDING:
        return read_start(path, recipe)
    # It needs onnx, which machines that only train may lack.
    from export.reopen import read_weights

    return read_weights(path, recipe)


class Learner:
    """The network, its running average and the optimizer: all that a checkpoint keeps."""

    def __init__(
        self, recipe: Recipe, *, device: torch.device = CPU, commit: str | None = None
    ) -> None:
        self.recipe, self.iteration, self.device = recipe, 0, device
        self.commit = commit or code_commit()
        self.earlier: list[dict[str, Any]] = []
        """Runs whose weights this one started from, oldest first."""
        torch.manual_seed(recipe.train.seed)
        # Made on the CPU and moved, so that a seed means the same weights everywhere.
        self.average = build_network(recipe).to(device)
        self.network = build_network(recipe).to(device)
        # channels_last trains seven times faster on a CPU (50 against 349 ms per step).
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.train.learning_rate,
            weight_decay=recipe.train.weight_decay,
            fused=True,
        )

    def step(self, task: Task, batch: Any) -> Tensor:
        """One iteration; the loss before it, which a GPU may still be computing."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe.train, self.iteration)
        with lower_precision(self.device, on_cpu=self.recipe.train.bfloat16):
            loss = task.loss(self.network, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.train.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.train.clip_norm)
        self.optimizer.step()
        self._follow()
        self.iteration += 1
        return loss.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        # Early on the average looks back less far, or it would remember the initialisation.
        keep = min(self.recipe.train.ema, (1 + self.iteration) / (10 + self.iteration))
        for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - keep)

    def averaged(self) -> Network:
        """The averaged network on the CPU, where it is judged and exported."""
        return self.average if self.device == CPU else copy.deepcopy(self.average).to(CPU)

    def state(self) -> State:
        """What a run continues from, on whatever device; all tensors are on the CPU."""
        state = {
            "recipe": self.recipe.as_dict(),
            "iteration": self.iteration,
            "earlier": self.earlier,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "commit": self.commit,
        }
        return moved(state, CPU)

    def restore(self, state: State) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.iteration, self.earlier = int(state["iteration"]), state["earlier"]

    def start_from(self, state: State) -> None:
        """Takes the averaged weights of another run and remembers what they were trained on.

        Layers that have another shape there, the last one where the scale differs, begin anew.
        """
        ours = self.network.state_dict()
        fitting = {k: v for k, v in state["average"].items() if v.shape == ours[k].shape}
        self.network.load_state_dict(ours | fitting)
        self.average.load_state_dict(ours | fitting)
        run = {key: state["recipe"][key] for key in ("data", "train")}
        self.earlier = [*state.get("earlier", []), {"iterations": state["iteration"], **run}]


class Every:
    """Says yes once per period of a clock; never without a period."""

    def __init__(self, seconds: float | None, clock: Clock) -> None:
        self._period_ns = round((FOREVER_S if seconds is None else seconds) * 1e9)
        self._clock = clock
        self._next_ns = clock.now_ns() + self._period_ns

    def is_due(self) -> bool:
        now_ns = self._clock.now_ns()
        if now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + self._period_ns
        return True


class Journal:
    """What a run reached, one JSON object a line, beside its checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, **figures: float | str) -> None:
        """Raises ``ConfigError`` where it cannot be written, as on a full disk."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(figures) + "\n")
        except OSError as error:
            raise ConfigError(
                f"{self._path} could not be written ({error.strerror}), the last checkpoint is as it was; "
                "make room there, see that it may be written, and run the same again"
            ) from error


class Progress:
    """Mean loss since the last line, speed since the start, time left."""

    def __init__(self, start: int, total: int, clock: Clock) -> None:
        self._start, self._total, self._clock = start, total, clock
        self._began_ns = clock.now_ns()
        self._losses: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        # Not asked for its value yet: a GPU would be waited for in every step.
        self._losses.append(loss)

    def since_last(self, done: int) -> tuple[str, dict[str, float]]:
        """A line for people, and its figures by name."""
        loss = sum(loss.item() for loss in self._losses) / len(self._losses)
        self._losses.clear()
        speed_ms = (self._clock.now_ns() - self._began_ns) / 1e6 / (done - self._start)
        left_min = speed_ms * (self._total - done) / 60_000
        line = (
            f"{done}/{self._total} loss {loss:.5f}, {speed_ms:.1f} ms per iteration, "
            f"{left_min:.1f} min left"
        )
        return line, {"iteration": done, "loss": loss, "ms_per_iteration": speed_ms}


def learning_rate(settings: TrainRecipe, iteration: int) -> float:
    """Linear warm-up, then a cosine to a thousandth."""
    if iteration < settings.warmup:
        return settings.learning_rate * (iteration + 1) / settings.warmup
    share = iteration / settings.iterations
    return settings.learning_rate * max(1e-3, 0.5 * (1 + math.cos(math.pi * share)))
