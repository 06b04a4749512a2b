"""What the training loop asks of a task."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from export.networks.base import Network


class Task(Protocol):
    """Data, loss and judgement of one recipe."""

    def batch(self, iteration: int) -> Any:
        """The batch of an iteration: always the same one for the same seed and number."""

    def loss(self, network: Network, batch: Any) -> Tensor:
        """The training loss of a network on a batch."""

    def judge(self, network: Network) -> str | None:
        """How a network does on held-out clips; ``None`` where none are held out."""
