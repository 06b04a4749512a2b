"""LPIPS and VMAF where this machine has them; nothing is ever downloaded."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from benchmarks.quality.matlab import to_rgb
from streamer.errors import ConfigError
from streamer.frame import Planes

DEFINITIONS = {
    "lpips": "LPIPS (Zhang et al. 2018) v0.1 with AlexNet, RGB -1..1",
    "vmaf": "FFmpeg's libvmaf with its default model, mean over the judged frames in order",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is there, and in ``left_out`` a sentence on each that is not."""

    lpips: Callable[[Planes, Planes], float] | None = None
    vmaf_ffmpeg: str | None = None
    left_out: tuple[str, ...] = ()


def find_extras() -> Extras:
    """Looks for both."""
    lpips, no_lpips = _find_lpips()
    ffmpeg, no_vmaf = _find_vmaf()
    left_out = tuple(text for text in (no_lpips, no_vmaf) if text)
    return Extras(lpips=lpips, vmaf_ffmpeg=ffmpeg, left_out=left_out)


def _find_lpips() -> tuple[Callable[[Planes, Planes], float] | None, str]:
    for package in ("lpips", "torchvision"):
        if importlib.util.find_spec(package) is None:
            return None, f"LPIPS: the package {package} is not installed"
    try:
        lpips, torch, vision = map(importlib.import_module, ("lpips", "torch", "torchvision"))
    except (ImportError, OSError, RuntimeError) as error:
        # A torchvision that was built for another torch says so in any of these ways.
        return None, f"LPIPS: its packages cannot be imported ({_line(error)})"
    # lpips brings its linear layers; what is below them torchvision would download, unless this
    # very file is there.
    name = Path(vision.models.AlexNet_Weights.IMAGENET1K_V1.url).name
    if not Path(torch.hub.get_dir(), "checkpoints", name).is_file():
        return None, f"LPIPS: torch's cache holds no AlexNet weights ({name})"
    try:
        with warnings.catch_warnings(action="ignore"):
            network = lpips.LPIPS(net="alex", verbose=False)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        return None, f"LPIPS: {name} is no AlexNet ({_line(error)})"

    def distance(result: Planes, original: Planes) -> float:
        ours, theirs = (lpips.im2tensor(to_rgb(planes)) for planes in (result, original))
        with torch.inference_mode():
            return float(network(ours, theirs).item())

    return distance, ""


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:160]


def _find_vmaf() -> tuple[str | None, str]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None, "VMAF: the program ffmpeg is not on PATH"
    listed = subprocess.run([ffmpeg, "-v", "quiet", "-filters"], capture_output=True, check=False)
    if b" libvmaf " not in listed.stdout:
        return None, "VMAF: this ffmpeg is built without libvmaf"
    return ffmpeg, ""


class Recording:
    """Result and original frames of a method, kept in files until VMAF compares them."""

    def __init__(self, extras: Extras) -> None:
        self._ffmpeg = extras.vmaf_ffmpeg
        self._folder = tempfile.TemporaryDirectory() if self._ffmpeg else None

    def add(self, result: Planes, original: Planes) -> None:
        if self._folder is not None:
            for name, planes in (("result", result), ("original", original)):
                with (Path(self._folder.name) / f"{name}.y4m").open("ab") as file:
                    file.write((y4m_header(planes) if file.tell() == 0 else b"") + y4m(planes))

    def vmaf(self) -> float | None:
        """The mean; ``None`` without libvmaf or without frames. Nothing can be added after."""
        if self._folder is None:
            return None
        with self._folder as folder:
            return self._measured(Path(folder)) if (Path(folder) / "result.y4m").exists() else None

    def _measured(self, folder: Path) -> float:
        command = [
            *(str(self._ffmpeg), "-v", "error", "-i", "result.y4m", "-i", "original.y4m"),
            *("-lavfi", "libvmaf=log_fmt=json:log_path=vmaf.json", "-f", "null", "-"),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            raise ConfigError(f"libvmaf failed: {done.stderr.decode(errors='replace')[-200:]!r}")
        report = json.loads((folder / "vmaf.json").read_text(encoding="utf-8"))
        return float(report["pooled_metrics"]["vmaf"]["mean"])


def y4m_header(planes: Planes, *, rate: str = "30:1") -> bytes:
    """The first line of a Y4M stream of such pictures."""
    height, width = planes[0].shape
    return f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\n".encode()


def y4m(planes: Planes) -> bytes:
    """One picture of a Y4M stream."""
    return b"FRAME\n" + b"".join(plane.tobytes() for plane in planes)
