"""What the quality benchmark adds where this machine has it: LPIPS and VMAF."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import command, extras
from tests.benchmarks.drawn import coloured, panned, texture, write_picture

WEIGHTS = "alexnet-owt-7be5be79.pth"


def packages(monkeypatch: pytest.MonkeyPatch, home: Path, **more: object) -> None:
    """Stands for lpips and torchvision, which are not among our own packages; ``home`` is torch's."""
    pytest.importorskip("torch")
    names = ("lpips", "torchvision", "torchvision.models")
    lpips, vision, models = (ModuleType(name) for name in names)
    lpips.__dict__.update(more)
    # As torchvision describes the weights that its AlexNet is opened with.
    described = type("Weights", (), {"url": f"https://weights.invalid/models/{WEIGHTS}"})
    models.__dict__["AlexNet_Weights"] = type("All", (), {"IMAGENET1K_V1": described})
    vision.__dict__["models"] = models
    monkeypatch.setenv("TORCH_HOME", str(home))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for module in (lpips, vision, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def put_weights(home: Path, name: str = WEIGHTS) -> Path:
    """An empty file where torch looks for them."""
    path = home / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def said() -> str:
    """Why LPIPS is left out, in one line."""
    found = extras.find_extras()
    assert found.lpips is None
    (reason,) = (text for text in found.left_out if text.startswith("LPIPS: "))
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize("missing", ["lpips", "torchvision"])
def test_lpips_without_its_packages_is_left_out(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == missing else object()
    )
    assert said() == f"LPIPS: the package {missing} is not installed"


def test_lpips_with_packages_that_do_not_fit_each_other_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages(monkeypatch, tmp_path)
    (tmp_path / "lpips.py").write_text("raise RuntimeError('operator does not exist\\nat all')")
    monkeypatch.delitem(sys.modules, "lpips")
    monkeypatch.syspath_prepend(tmp_path)
    assert said() == "LPIPS: its packages cannot be imported (operator does not exist)"


@pytest.mark.parametrize("other", [None, "alexnet-owt-4df8aa71.pth"])
def test_lpips_without_local_weights_is_left_out_and_not_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: str | None
) -> None:
    """Without any, or with those of another torchvision: it would fetch its own."""
    packages(monkeypatch, tmp_path, LPIPS=lambda **_: pytest.fail("this downloads them"))
    if other is not None:
        put_weights(tmp_path, other)
    assert said() == f"LPIPS: torch's cache holds no AlexNet weights ({WEIGHTS})"


def test_lpips_with_weights_that_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def open_empty(**_: object) -> Any:
        raise EOFError("Ran out of input")

    packages(monkeypatch, tmp_path, LPIPS=open_empty)
    put_weights(tmp_path)
    assert said() == f"LPIPS: {WEIGHTS} is no AlexNet (Ran out of input)"


def test_the_real_lpips_measures_each_item(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On weights by chance, which need no download: plumbing, not judgement."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    if WEIGHTS not in (reason := said()):
        pytest.skip(reason)
    torch, vision = (sys.modules[name] for name in ("torch", "torchvision"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("fetched"))
    with torch.device("meta"):
        state = vision.models.alexnet(weights=None).state_dict()
    torch.manual_seed(1)
    # What LPIPS cuts off is most of it: one number in the file, whatever the shape.
    filled = {
        name: (torch.randn(v.shape) / 10 if "features" in name else torch.zeros(1).expand(v.shape))
        for name, v in state.items()
    }
    torch.save(filled, put_weights(tmp_path / "torch"))
    lpips = extras.find_extras().lpips
    assert lpips is not None
    assert lpips(panned(0), panned(0)) == 0.0
    assert lpips(panned(0), panned(3)) > 0.0
    write_picture(tmp_path / "set" / "one.png", coloured(128, 160))
    out = tmp_path / "out.json"
    command.main(["--task", "sr", "--data", str(tmp_path / "set"), "--out", str(out)])
    whole = json.loads(out.read_text())
    (item,) = whole["items"]
    assert all(method["lpips"] > 0 for method in item["methods"].values())
    assert "lpips" in whole["definitions"]
    assert not any(text.startswith("LPIPS") for text in whole["left_out"])
    assert "lpips" in capsys.readouterr().out


def test_vmaf_prefers_the_picture_that_is_like_the_original() -> None:
    found = extras.find_extras()
    if found.vmaf_ffmpeg is None:
        pytest.skip(next(text for text in found.left_out if text.startswith("VMAF")))
    scores = []
    for result in (texture(180, 320), texture(180, 320, sigma=3)):
        recording = extras.Recording(found)
        chroma = np.full((90, 160), 128, np.uint8)
        recording.add((result, chroma, chroma), (texture(180, 320), chroma, chroma))
        scores.append(recording.vmaf())
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] > scores[1] + 10
