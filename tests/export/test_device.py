"""The choice of a device, and what moves there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from export.device import CPU, choose_device, device_name, has_room, lower_precision, moved
from streamer.errors import ConfigError

META = torch.device("meta")
"""A device that every torch has: shapes without memory."""


class Couple(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True)
class Labelled:
    values: Tensor
    label: str
    couples: tuple[Couple, ...]


def test_everything_that_holds_tensors_moves_and_keeps_its_kind() -> None:
    couple = Couple(torch.ones(2), torch.zeros(3))
    batch = moved({"a": [Labelled(torch.ones(4), "four", (couple,))], "b": (7, couple)}, META)
    labelled = batch["a"][0]
    assert isinstance(labelled, Labelled)
    assert labelled.label == "four"
    assert labelled.values.device == META
    assert isinstance(batch["b"][1], Couple)
    assert batch["b"][0] == 7
    assert all(part.device == META for part in (*labelled.couples[0], *batch["b"][1]))


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.ones(2).to(memory_format=torch.contiguous_format)
    assert moved((tensor,), CPU)[0] is tensor


def test_an_unknown_device_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'tpu', known are auto, cpu, cuda"):
        choose_device("tpu")


def test_cuda_is_refused_where_torch_sees_no_gpu() -> None:
    if torch.cuda.is_available():
        assert choose_device("cuda").type == "cuda"
        return
    with pytest.raises(ConfigError, match="--device cpu"):
        choose_device("cuda")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert (choose_device("auto").type == "cuda") == torch.cuda.is_available()


def test_a_cpu_computes_in_full_precision_unless_told_and_has_room() -> None:
    a, b = torch.randn(8, 8), torch.randn(8, 8)
    with lower_precision(CPU):
        assert (a @ b).dtype == torch.float32
    with lower_precision(CPU, on_cpu=True):
        assert (a @ b).dtype == torch.bfloat16
    assert device_name(CPU) == "cpu"
    assert has_room(1 << 50, CPU)
