"""Pictures and clips that the benchmark's tests judge, drawn on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from export.data.planes import Planes as Record
from export.data.planes import to_i420
from streamer.frame import Planes

Picture = NDArray[np.uint8]


def texture(height: int, width: int, *, seed: int = 1, sigma: float = 2.0) -> Picture:
    """(H, W) soft blobs over the whole range of limited luma: every place looks different."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), sigma)
    low, high = int(soft.min()), int(soft.max())
    return (16 + (soft.astype(np.float64) - low) * 219 / (high - low)).astype(np.uint8)


def coloured(height: int, width: int, *, seed: int = 1) -> Picture:
    """(H, W, 3) RGB, three textures."""
    return np.stack([texture(height, width, seed=seed + c) for c in range(3)], axis=-1)


def panned(index: int, *, height: int = 96, width: int = 128, speed: int = 2) -> Planes:
    """Frame ``index`` of a pan to the right over a texture, ``speed`` (even) pixels per frame."""
    wide = texture(height, width + 64 * speed)
    y = np.ascontiguousarray(wide[:, speed * index : speed * index + width])
    return y, np.ascontiguousarray(y[::2, ::2]), np.full((height // 2, width // 2), 128, np.uint8)


def write_clip(path: Path, frames: list[Planes]) -> Path:
    """A lossless clip of these frames (FFV1, so ``path`` ends in .mkv)."""
    height, width = frames[0][0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for planes in frames:
            frame = VideoFrame.from_ndarray(to_i420(Record(*planes)), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_picture(path: Path, picture: Picture) -> Path:
    """A PNG of an RGB or grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_written, blob = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    assert is_written
    path.write_bytes(blob.tobytes())
    return path
