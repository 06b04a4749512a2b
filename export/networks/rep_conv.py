"""A 3x3 convolution that trains as several branches and runs as one."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class RepConv(nn.Module):
    """Sum of a 3x3, a 1x1, a 3x3-expand-1x1-squeeze branch and, where sizes agree, the identity.

    All branches are linear and pad before their only 3x3, so their sum is one 3x3 kernel exactly.
    That kernel is computed anew in every step (SESR's collapsed training), so that a step costs
    about as much as the plain convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        expansion: int,
        gain: float = 1.0,
        may_keep: bool = True,
    ) -> None:
        """``gain`` scales the initial kernel; He initialisation for a ReLU is 1.

        A last layer is told that it ``may_keep`` nothing: it has no identity branch.
        """
        super().__init__()
        self.wide = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.point = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.expand = nn.Parameter(torch.empty(expansion, inputs, 3, 3))
        self.squeeze = nn.Parameter(torch.empty(outputs, expansion))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.has_identity = may_keep and inputs == outputs
        # The four branches share the variance 2 / fan-in that one kernel would have.
        share = gain / (2.0 if self.has_identity else 3.0**0.5)
        nn.init.normal_(self.wide, std=share * (2 / (9 * inputs)) ** 0.5)
        nn.init.normal_(self.point, std=share * (2 / (9 * inputs)) ** 0.5)
        nn.init.normal_(self.expand, std=share * (2 / (9 * inputs)) ** 0.5)
        nn.init.normal_(self.squeeze, std=(1 / expansion) ** 0.5)

    def kernel(self) -> Tensor:
        """The fused (outputs, inputs, 3, 3) kernel of all branches."""
        fused = self.wide + functional.pad(self.point, (1, 1, 1, 1))
        fused = fused + torch.einsum("oe,eikl->oikl", self.squeeze, self.expand)
        if self.has_identity:
            eye = torch.eye(fused.shape[0], dtype=fused.dtype, device=fused.device)
            fused = fused + functional.pad(eye[:, :, None, None], (1, 1, 1, 1))
        return fused

    def branches(self, x: Tensor) -> Tensor:
        """The same result branch by branch: the definition that ``kernel`` must match."""
        total = functional.conv2d(x, self.wide, self.bias, padding=1)
        total = total + functional.conv2d(x, self.point)
        expanded = functional.conv2d(x, self.expand, padding=1)
        total = total + functional.conv2d(expanded, self.squeeze[:, :, None, None])
        return total + x if self.has_identity else total

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, padding=1)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor) -> None:
        """Makes ``kernel()`` this (outputs, inputs, 3, 3); all branches but the 3x3 stay."""
        self.wide.add_(kernel - self.kernel())
        self.bias.copy_(bias)

    def fused(self) -> nn.Conv2d:
        """One plain convolution with this layer's present weights."""
        return plain_convolution(self.kernel(), self.bias, edges="zeros")


@torch.no_grad()
def plain_convolution(
    kernel: Tensor, bias: Tensor, *, edges: Literal["zeros", "replicate"]
) -> nn.Conv2d:
    """A convolution by a copy of an (outputs, inputs, 3, 3) kernel and its (outputs,) bias."""
    plain = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, padding_mode=edges)
    plain.weight.copy_(kernel)
    cast(Tensor, plain.bias).copy_(bias)
    return plain
