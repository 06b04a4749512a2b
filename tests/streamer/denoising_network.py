"""The shipped networks for denoising and steadying, for the tests around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.native import native
from streamer.frame import Planes
from streamer.infer.engine import Engine
from streamer.infer.native import NativeEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.model import MODELS, ModelManifest, read_manifest
from streamer.ops.follower import Follower
from tests.streamer.pictures import empty

Tensor = NDArray[np.float32]


def manifest(name: str = "denoise-lite-int8") -> ModelManifest:
    return read_manifest(MODELS / f"{name}.json")


def opened(name: str = "denoise-lite") -> Engine:
    """The shipped network, as it runs here."""
    if native() is None:
        return OrtCpuEngine(manifest(name), threads=1)
    return NativeEngine(manifest(f"{name}-int8"), threads=1)


def denoise(engine: Engine) -> Follower:
    """With the network alone, without anything that looks after it."""

    def change(followed: Tensor, change: NDArray[Any]) -> bool:
        engine.run({"followed": followed}, {"change": change})
        return True

    return Follower(change, kind=engine.manifest.residual_dtype)


def cleaned(it: Follower, came: Planes) -> Planes:
    """What is made of a picture."""
    out = empty(width=came[0].shape[1], height=came[0].shape[0])
    assert it.make(came, out)
    return out
