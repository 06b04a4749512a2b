"""What a network for made frames takes, packed as the streamer does."""

from __future__ import annotations

from kernels.native import native
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import MULTIPLE
from streamer.ops.motion_guides import CompiledGuiding, EngineGuiding, Guiding, NetworkInputs

INPUTS = ("pictures", "motion", "guide")
"""In the order the network takes them."""


def network_inputs() -> NetworkInputs:
    """What packs a pair of pictures for a network, as the streamer does on this machine."""
    compiled = native()
    plain: Guiding = (
        EngineGuiding(ReferenceMotionEngine()) if compiled is None else CompiledGuiding(compiled)
    )
    return NetworkInputs(plain, MULTIPLE)
