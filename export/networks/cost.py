"""What a network costs: parameters, and multiply-accumulates counted while it runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def count_parameters(fused: nn.Module) -> int:
    """Weights and biases of a fused network."""
    return sum(parameter.numel() for parameter in fused.parameters())


@torch.no_grad()
def count_macs(fused: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Multiply-accumulates of all convolutions for these inputs: kernel size times outputs."""
    total = 0

    def count(layer: nn.Conv2d, _: object, output: Tensor) -> None:
        nonlocal total
        total += layer.weight[0].numel() * output.numel()

    layers = [module for module in fused.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        fused(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
