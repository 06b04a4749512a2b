"""What every network can do for the exporter."""

from __future__ import annotations

import copy

import torch
from torch import nn

from export.networks.rep_conv import RepConv


class Network(nn.Module):
    """A network that trains in branches and ships fused."""

    @torch.no_grad()
    def fused(self) -> nn.Module:
        """A copy in evaluation mode whose every ``RepConv`` is one plain convolution."""
        plain = copy.deepcopy(self)
        for name, module in self.named_modules():
            if isinstance(module, RepConv):
                plain.set_submodule(name, module.fused())
        return plain.eval()
