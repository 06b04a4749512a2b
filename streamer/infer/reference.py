"""The reference engine: no network, a residual of zero; the plain upscale stays as it is."""

from __future__ import annotations

from streamer.infer.engine import Tensors
from streamer.model import ModelManifest, TensorSpec

PLAIN = "plain"
"""Its variant, and so the tier that is the plain upscale and nothing else."""


class ReferenceEngine:
    """The cheapest engine, the test double, and the definition of the fallback at once."""

    backend = "reference"

    def __init__(self, scale: int) -> None:
        self.manifest = ModelManifest(
            name=f"bicubic-x{scale}",
            task="super_resolution",
            variant=PLAIN,
            training="none",
            scale=scale,
            file="",
            sha256="",
            opset=0,
            precision="uint8",
            inputs=(TensorSpec(name="packed", shape=(1, 6, "h", "w")),),
            outputs=(TensorSpec(name="residual", shape=(1, 6 * scale * scale, "h", "w")),),
        )

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill every output with zeros."""
        for array in outputs.values():
            array[...] = 0

    def close(self) -> None: ...
