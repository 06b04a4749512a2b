"""Comparison pictures for the page of models: crops of the drawn scene, plain and enhanced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.codec import Coding
from export.data.degrade import Treatment, damage
from export.data.noise import Dimness, soil
from export.data.noisy_runs import shrunk
from export.data.planes import Plane, Planes, crop
from export.model_file import replace_file
from export.motion_pictures import made_comparison
from export.page import PICTURE_SHOTS, picture_name
from export.pictures import bgr, detailed_place
from export.run_judge import made_run, model_change
from export.runner import model_residual
from export.scenes import drawn_frames
from export.steady_judge import SCALE, judged_upscaler
from export.upscalers import lanczos, residual_upscaler
from export.validation import CONDITIONS, Upscaler, bicubic, psnr_y
from streamer.model import ModelManifest, read_manifest
from streamer.ops.follower import Follower

WIDTH, HEIGHT = 960, 528
"""Of the large picture; both are multiples of 6 and 8, so that x2, x3 and x4 divide them."""

EDGE = 112
ENLARGED = 2
"""Each pixel of a crop is shown as a square of this many."""

CODED_FRAMES = 9
"""The last of these is shown: a predicted frame with the damage of those before it."""

RUN_FRAMES = 10
"""Of what is made with the help of those before; the last one is shown."""

NOISY = Dimness(gauss_sigma=6.0, coding=Coding(codec="mjpeg", quality=4))
"""Of what is cleaned: a webcam in a dim room."""

CAPTION = 32
"""Lines at the bottom that hold the scene's caption."""

LARGEST_BYTES = 98_000
JFIF_BYTES = 20
"""What a JPEG of OpenCV begins with, which must stay in front."""
BAR = 22
"""Height of the strip with the names."""

Bgr = NDArray[np.uint8]


def write_demo_pictures(models: Path, folder: Path, *, report: Callable[[str], None]) -> None:
    """One JPEG per group of networks and shot of the scene, each under 100 kB.

    Those that show what ships already stay as they are: another machine's would differ, and say
    nothing new. Delete one to have it drawn all the same.
    """
    manifests = [read_manifest(path) for path in sorted(models.glob("*.json"))]
    for group in _groups(manifests):
        networks = _comment(" ".join(manifest.sha256 for manifest in group))
        for shot in PICTURE_SHOTS:
            path = folder / picture_name(group[0], shot)
            if path.exists() and networks in path.read_bytes():
                continue
            jpeg = _jpeg(comparison(group, shot))
            replace_file(path, jpeg[:JFIF_BYTES] + networks + jpeg[JFIF_BYTES:])
            report(f"wrote {path}: {path.stat().st_size} bytes")


def _groups(manifests: Sequence[ModelManifest]) -> list[list[ModelManifest]]:
    """fp32 networks that one picture shows, cheapest first."""
    groups: dict[str, list[ModelManifest]] = {}
    for manifest in sorted(manifests, key=lambda m: m.macs_per_pixel):
        if manifest.origin is None:
            groups.setdefault(picture_name(manifest, ""), []).append(manifest)
    return list(groups.values())


def comparison(group: Sequence[ModelManifest], shot: str) -> Bgr:
    """Plain upscales or the input, each network, the original: crops in a row, with names."""
    if group[0].task == "denoising":
        return _cleaned(group[0], shot)
    if group[0].task == "steadying":
        return _steadied(group[0], shot)
    if group[0].task != "super_resolution":
        return made_comparison(group[0], shot, _luma_tile)
    scale = group[0].scale
    run, originals = _arriving(
        shot, scale=scale, is_coded=group[0].training == "live", frames=CODED_FRAMES
    )
    small, large = run[-1], originals[-1]
    plain = {"bicubic": bicubic(scale), "Lanczos": lanczos(scale)}
    upscalers: Mapping[str, Upscaler] = {
        **(plain if scale > 1 else {"as it arrives": bicubic(scale)}),
        **{m.variant: residual_upscaler(model_residual(m), scale=scale) for m in group},
    }
    # The last lines hold the scene's caption, whose letters would always win.
    shown = crop(large, top=0, left=0, height=large.height - CAPTION, width=large.width)
    top, left = detailed_place(shown, edge=EDGE)
    tiles = []
    for name, upscaler in upscalers.items():
        result = upscaler(small)
        psnr_db = psnr_y(result.y, large.y, border=scale)
        tiles.append(_tile(result, f"{name} {psnr_db:.2f} dB", top=top, left=left))
    tiles.append(_tile(large, "original", top=top, left=left))
    return np.hstack(tiles)


def _cleaned(manifest: ModelManifest, shot: str) -> Bgr:
    """As it arrives, cleaned, and as it was."""
    drawn = drawn_frames(shot, width=WIDTH, height=HEIGHT, frames=RUN_FRAMES)
    clean = [shrunk(planes, 2.0) for planes in drawn]
    noisy = soil(clean, NOISY, np.random.default_rng(0))
    return _before_and_after(manifest, noisy, clean[-1], names=("as it arrives", "cleaned"))


def _steadied(manifest: ModelManifest, shot: str) -> Bgr:
    """Enlarged, steadied, and as it was."""
    small, large = _arriving(shot, scale=SCALE, is_coded=True, frames=RUN_FRAMES)
    upscale = judged_upscaler()
    enlarged = [upscale(planes) for planes in small]
    return _before_and_after(manifest, enlarged, large[-1], names=("enlarged", "steadied"))


def _before_and_after(
    manifest: ModelManifest, run: Sequence[Planes], last: Planes, *, names: tuple[str, str]
) -> Bgr:
    """The last picture of a run before and after its network, and as it was."""
    made = made_run(Follower(model_change(manifest)), run)
    shown = crop(last, top=0, left=0, height=last.height - CAPTION, width=last.width)
    top, left = detailed_place(shown, edge=EDGE)
    tiles = [
        _tile(one, f"{name} {psnr_y(one.y, last.y, border=2):.2f} dB", top=top, left=left)
        for name, one in zip(names, (run[-1], made[-1]), strict=True)
    ]
    return np.hstack([*tiles, _tile(last, "original", top=top, left=left)])


def _arriving(
    shot: str, *, scale: int, is_coded: bool, frames: int
) -> tuple[list[Planes], list[Planes]]:
    """Small pictures as a viewer would get them, and what they were."""
    drawn = drawn_frames(shot, width=WIDTH, height=HEIGHT, frames=frames)
    coding = CONDITIONS["x264_crf28"] if is_coded else None
    treatment = Treatment(kernel="area", coding=coding)
    return damage(drawn, treatment, scale=scale, rng=np.random.default_rng(0))


def _tile(planes: Planes, name: str, *, top: int, left: int) -> Bgr:
    return _named(bgr(planes)[top : top + EDGE, left : left + EDGE], name)


def _luma_tile(luma: Plane, name: str, top: int, left: int) -> Bgr:
    grey = luma[top : top + EDGE, left : left + EDGE]
    return _named(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8), name)


def _named(crop: Bgr, name: str) -> Bgr:
    large = crop.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    bar = np.zeros((BAR, large.shape[1], 3), np.uint8)
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(bar, name, (5, BAR - 7), font, 0.45, white, 1, cv2.LINE_AA)
    tile = np.vstack([bar, large])
    tile[:, -2:] = 0
    return tile


def _comment(text: str) -> bytes:
    """A JPEG's segment that nobody is shown (ITU-T T.81, COM)."""
    return b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text.encode()


def _jpeg(picture: Bgr) -> bytes:
    """The best JPEG that stays small: its own losses must not be taken for the networks'."""
    for quality in range(98, 30, -2):
        settings = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
        _, blob = cv2.imencode(".jpg", picture, settings)
        if len(blob) <= LARGEST_BYTES:
            break
    return blob.tobytes()
