"""The outputs that engines are tested against at run time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.cli import main
from export.model_file import write_manifest
from export.networks.super_resolution import SuperResolution
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import SIZES, check, drawn_inputs, sampled
from streamer.model import ModelManifest, read_manifest


def test_an_exported_model_says_what_torch_gives(
    manifest: ModelManifest, network: SuperResolution
) -> None:
    packed = torch.from_numpy(drawn_inputs(manifest, SIZES)["packed"])
    with torch.no_grad():
        given = network.fused()(packed).numpy()
    np.testing.assert_allclose(
        manifest.self_test["residual"], sampled({"residual": given})["residual"], atol=1e-4
    )
    check(OrtCpuEngine(manifest, threads=1))


def test_variants_are_tested_against_the_fp32_model_and_older_manifests_can_be_completed(
    manifest: ModelManifest,
    half_variant: ModelManifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert half_variant.self_test == manifest.self_test
    check(OrtCpuEngine(half_variant, threads=1))
    paths = [tmp_path / f"{each.name}.json" for each in (manifest, half_variant)]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        write_manifest(replace(read_manifest(path), self_test={}))
        assert b"self_test" not in path.read_bytes()
    assert main(["self-test", "--models", str(tmp_path)]) == 0
    assert [path.read_bytes() for path in paths] == before
    assert capsys.readouterr().out == f"{manifest.name}: residual\n"


def test_a_damaged_model_gets_none(
    manifest: ModelManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.path.write_bytes(b"damaged")
    assert main(["self-test", "--models", str(tmp_path)]) == 2
    assert "the file is damaged or foreign" in capsys.readouterr().err
