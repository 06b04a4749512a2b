"""The page of models says what the manifests say, no more and no less."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from export.cli import main
from export.demo_pictures import BAR, comparison, write_demo_pictures
from export.model_file import write_manifest
from export.page import PICTURE_SHOTS, page, picture_name, short_licence
from export.published import SUPER_RESOLUTION
from streamer.errors import ConfigError, EngineError
from streamer.model import MODELS, ModelManifest
from tests.streamer.models import write_model

ROOT = Path(__file__).parent.parent.parent


def row(text: str, begin: str) -> list[str]:
    """The cells of the one table row that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {begin} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def trained(folder: Path, **changes: Any) -> None:
    """A manifest with everything that a page may show."""
    write_model(
        folder,
        **{
            "stem": "sr-tiny-x2-live",
            "name": "sr-tiny-x2-live",
            "variant": "tiny",
            "training": "live",
            "parameters": 1234,
            "macs_per_pixel": 20000,
            "recipe": {"name": "sr-tiny", "train": {"batch": 16}, "data": {"patch": 64}},
            "data": [
                {
                    "source": "a/clips",
                    "licence": "MIT (repo LICENSE); footage origin not stated",
                    "files": ["one.mp4", "two.mp4"],
                },
                {"source": "b/clips", "licence": "CC0-1.0", "files": ["three.mp4"]},
            ],
            "quality": {
                "training": {"iterations": 300, "earlier": [{"iterations": 700}], "commit": "abc+"},
                "method": "By eye.",
                "held_out_clips": {"clean": {"bicubic": 30.0, "lanczos": 31.0, "model": 32.5}},
                "set5": {"bicubic_clean": {"bicubic": 33.0, "lanczos": 33.5, "model": 35.25}},
            },
            **changes,
        },
    )


def test_the_committed_page_is_what_the_manifests_give() -> None:
    committed = (ROOT / "MODELS.md").read_text(encoding="utf-8")
    assert committed == page(MODELS), "run: make models-page"


def test_every_picture_of_the_page_is_there_and_small() -> None:
    text = (ROOT / "MODELS.md").read_text(encoding="utf-8")
    places = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert places
    for place in places:
        assert 0 < (ROOT / place).stat().st_size < 100_000
        assert cv2.imread(str(ROOT / place)) is not None


def test_all_shipped_models_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.iterdir()) < 40_000_000


def test_a_network_is_shown_with_its_cost_and_its_quality(tmp_path: Path) -> None:
    trained(tmp_path)
    text = page(tmp_path)
    assert row(text, "`tiny`")[2:] == ["1,234", "20,000"]
    assert row(text, "held-out clips, uncompressed")[1:] == ["30.00", "31.00", "**32.50**"]
    assert "By eye." in text
    assert "1,000 iterations of 16 patches of 64x64 (700 + 300" in text
    assert "by commit abc+" in text


def test_a_network_that_is_worse_than_its_baseline_is_not_the_bold_one(tmp_path: Path) -> None:
    worse = {"held_out_clips": {"clean": {"bicubic": 33.0, "lanczos": 31.0, "model": 32.5}}}
    trained(tmp_path, quality=worse)
    cells = row(page(tmp_path), "held-out clips, uncompressed")
    assert cells[1:] == ["**33.00**", "31.00", "32.50"]


def test_what_enlarges_nothing_is_shown_beside_its_input(tmp_path: Path) -> None:
    measured = {"held_out_clips": {"x264_crf28": {"input": 33.0, "model": 33.25}}}
    trained(tmp_path, scale=1, quality=measured)
    text = page(tmp_path)
    assert row(text, "dB, luma PSNR") == ["dB, luma PSNR", "as it arrives", "`tiny`"]
    assert row(text, "held-out clips, H.264 crf 28")[1:] == ["33.00", "**33.25**"]
    assert "enlarged again" not in text


def test_variants_are_shown_with_what_they_lose(tmp_path: Path) -> None:
    trained(tmp_path)
    trained(
        tmp_path,
        stem="sr-tiny-x2-live-int8",
        name="sr-tiny-x2-live-int8",
        precision="int8",
        origin={"name": "sr-tiny-x2-live", "sha256": "ab"},
        quality={
            "held_out_clips": {"clean": {"bicubic": 30.0, "lanczos": 31.0, "model": 32.4}},
            "cost": {
                "p50_ms": 6.5,
                "picture": "640x360",
                "threads": 2,
                "processor": "P",
                "runtime": "R",
            },
        },
    )
    text = page(tmp_path)
    int8 = row(text, "`sr-tiny-x2-live-int8.onnx`")
    assert int8[1] == "int8"
    assert int8[-2:] == ["at most 0.100", "6.5 at 640x360 (2 threads, P, R)"]
    assert row(text, "`sr-tiny-x2-live.onnx`")[-2:] == ["0", "not measured"]


def test_published_networks_stand_in_the_order_of_their_cost(tmp_path: Path) -> None:
    trained(tmp_path)
    text = page(tmp_path)
    assert row(text, "**sr-tiny-x2-live**")[1:4] == ["20,000", "1,234", "35.25 (+2.25)"]
    assert row(text, "FSRCNN")[3] == "37.00 (+3.34)"
    assert text.index("| SESR-M5") < text.index("| **sr-tiny") < text.index("| ESPCN")
    (fsrcnn,) = [entry for entry in SUPER_RESOLUTION if (entry.name, entry.scale) == ("FSRCNN", 2)]
    # 6 GMAC for an input of 640x360.
    assert fsrcnn.macs_per_pixel == 26042


def test_licences_are_summed_up_with_what_is_not_known(tmp_path: Path) -> None:
    trained(tmp_path)
    text = page(tmp_path)
    assert row(text, "MIT")[1:] == ["2", "a/clips"]
    assert row(text, "CC0-1.0")[1:] == ["1", "b/clips"]
    assert "For 2 of these files" in text


@pytest.mark.parametrize(
    ("stated", "short"),
    [
        ("Apache-2.0 (repo LICENSE); footage origin not stated", "Apache-2.0"),
        ("CC-BY-4.0 per repo dep5 deepin/*.jpg", "CC-BY-4.0"),
        (
            "Big Buck Bunny CC-BY-3.0 (Blender Foundation); repo MIT",
            "Big Buck Bunny CC-BY-3.0 (Blender Foundation)",
        ),
        ("MIT", "MIT"),
    ],
)
def test_a_licence_is_shown_without_remarks_but_with_its_credit(stated: str, short: str) -> None:
    assert short_licence(stated) == short


@pytest.mark.parametrize(
    ("task", "title"),
    [("interpolation", "Frame interpolation"), ("prediction", "Next-frame prediction")],
)
def test_other_tasks_get_a_section_with_their_own_baselines(
    tmp_path: Path, task: str, title: str
) -> None:
    values = {"repetition": 25.0, "motion": 33.0}
    trained(
        tmp_path,
        task=task,
        scale=1,
        quality={"own_clips": {"noisy": {**values, "model": 33.5}}},
    )
    text = page(tmp_path)
    assert f"## {title}" in text
    assert "Super-resolution" not in text
    heads = row(text, "dB, luma PSNR")
    assert heads[1:] == ["repetition", "without a network", "`tiny`"]
    assert row(text, "own clips, noisy")[1:] == ["25.00", "33.00", "**33.50**"]
    assert text.count("![") == len(PICTURE_SHOTS)
    assert "x1, " not in text


def test_what_is_no_manifest_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EngineError, match=r"^odd\.json"):
        page(tmp_path)


def test_a_variant_whose_origin_is_missing_is_refused_by_name(
    manifest: ModelManifest, half_variant: ModelManifest
) -> None:
    (manifest.folder / f"{manifest.name}.json").unlink()
    with pytest.raises(ConfigError, match=rf"^{half_variant.name}\.json was made from"):
        page(manifest.folder)


def test_a_manifest_without_its_model_is_refused_by_name(manifest: ModelManifest) -> None:
    manifest.path.unlink()
    with pytest.raises(ConfigError, match=rf"^{manifest.file} is missing"):
        page(manifest.folder)


def test_a_place_where_no_page_can_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path)
    (tmp_path / "PAGE.md").mkdir()
    assert main(["page", "--models", str(tmp_path), "--out", str(tmp_path / "PAGE.md")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "PAGE.md could not be written" in said
    assert not list(tmp_path.glob("*.partial"))


def test_the_page_is_written_by_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path)
    out = tmp_path / "PAGE.md"
    assert main(["page", "--models", str(tmp_path), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == page(tmp_path)
    assert "PAGE.md" in capsys.readouterr().out


def test_a_comparison_shows_bicubic_lanczos_the_network_and_the_original(
    manifest: ModelManifest,
) -> None:
    picture = comparison([manifest], "atlas")
    tiles = np.split(picture, 4, axis=1)
    # What was enlarged from half the size has less fine detail than the original.
    detail = [float(np.abs(cv2.Laplacian(tile[BAR:], cv2.CV_32F)).mean()) for tile in tiles]
    assert max(detail[:3]) < detail[3]
    assert all(tile[:BAR].max() > 200 for tile in tiles)


def test_a_picture_is_drawn_again_only_when_its_networks_changed(
    manifest: ModelManifest, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    places = [folder / picture_name(manifest, shot) for shot in PICTURE_SHOTS]

    def drawn() -> list[Path]:
        said: list[str] = []
        write_demo_pictures(manifest.folder, folder, report=said.append)
        return [place for place in places if any(str(place) in line for line in said)]

    assert drawn() == places
    assert all(cv2.imread(str(place)) is not None for place in places)
    places[1].unlink()
    assert drawn() == places[1:2]
    changed = onnx.load(manifest.path)
    changed.producer_name = "another"
    blob = changed.SerializeToString()
    manifest.path.write_bytes(blob)
    write_manifest(replace(manifest, sha256=hashlib.sha256(blob).hexdigest()))
    assert drawn() == places
