"""Clips, recipes and places small enough to train on within a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.half import make_half
from export.networks import build_network
from export.networks.super_resolution import SuperResolution
from export.recipe import PairRecipe
from export.to_onnx import write_model
from export.train import Place
from streamer.model import ModelManifest, read_manifest
from tests.export.tiny import moving_picture, tiny_recipe, write_clips


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_clips(tmp_path_factory.mktemp("data"), frames=6, picture=moving_picture)
    (folder / "train_video" / "MANIFEST.tsv").write_text(
        "file\tsource_repo\tsource_path\tlicence\nalpha_1.mp4\tsomeone/clips\ta.mp4\tCC0-1.0\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def recipe() -> PairRecipe:
    return tiny_recipe()


@pytest.fixture
def make_place(tmp_path: Path, data_folder: Path) -> Callable[[str, int | None], Place]:
    torch.set_num_threads(1)

    def make(name: str, stop_after: int | None = None) -> Place:
        return Place(
            data=data_folder,
            cache=tmp_path / "cache",
            work=tmp_path / name,
            log_every=10,
            stop_after=stop_after,
        )

    return make


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (36, 48), dtype=np.uint8)


@pytest.fixture(scope="session")
def network() -> SuperResolution:
    torch.manual_seed(0)
    network = build_network(tiny_recipe())
    assert isinstance(network, SuperResolution)
    return network


@pytest.fixture(scope="session")
def exported(network: SuperResolution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_model(network, tiny_recipe(), folder=folder, weights=folder)
    return folder


@pytest.fixture
def manifest(exported: Path, tmp_path: Path) -> ModelManifest:
    """A copy of the exported model that a test may spoil."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return read_manifest(tmp_path / f"{tiny_recipe().name}.json")


@pytest.fixture(scope="session")
def halved(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp16 variant's manifest, beside the exported model."""
    folder = tmp_path_factory.mktemp("halved") / "models"
    shutil.copytree(exported, folder)
    manifest = read_manifest(folder / f"{tiny_recipe().name}.json")
    return make_half(manifest, folder, report=lambda line: None)


@pytest.fixture
def half_variant(halved: Path, manifest: ModelManifest) -> ModelManifest:
    """A copy of the fp16 variant beside ``manifest``, which a test may spoil as well."""
    shutil.copytree(halved.parent, manifest.folder, dirs_exist_ok=True)
    return read_manifest(manifest.folder / halved.name)
