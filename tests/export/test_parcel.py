"""A parcel arrives whole or is refused by name."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from export.parcel import MANIFEST, pack, read_manifest, unpack
from streamer.errors import ConfigError

PART_BYTES = 10_000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two files that do not compress, one in a folder, and an empty one."""
    noise = np.random.default_rng(1)
    contents = {"a": noise.bytes(25_000), "deep/b": noise.bytes(3_000), "empty": b""}
    paths = {}
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = tmp_path / f"source-{number}"
        paths[name].write_bytes(content)
    return paths


@pytest.fixture
def parcel(tmp_path: Path, files: dict[str, Path]) -> Path:
    folder = tmp_path / "parcel"
    pack(files, folder, part_bytes=PART_BYTES, note={"commit": "abc"})
    return folder


def test_what_is_packed_comes_out_the_same(
    tmp_path: Path, parcel: Path, files: dict[str, Path]
) -> None:
    assert sorted(unpack(parcel, tmp_path / "out")) == sorted(files)
    for name, path in files.items():
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes()
    assert read_manifest(tmp_path / "out")["note"] == {"commit": "abc"}


def test_no_part_is_larger_than_asked_and_all_but_the_last_are_full(parcel: Path) -> None:
    sizes = [path.stat().st_size for path in sorted(parcel.glob("part-*"))]
    assert len(sizes) == 3
    assert sizes[:-1] == [PART_BYTES] * 2
    assert 0 < sizes[-1] <= PART_BYTES


def test_parts_put_together_are_an_archive_that_tar_reads(
    tmp_path: Path, parcel: Path, files: dict[str, Path]
) -> None:
    whole = tmp_path / "whole.tar.gz"
    whole.write_bytes(b"".join(path.read_bytes() for path in sorted(parcel.glob("part-*"))))
    with tarfile.open(whole) as archive:
        assert sorted(archive.getnames()) == sorted(files)


def test_a_missing_part_is_named_and_nothing_is_written(tmp_path: Path, parcel: Path) -> None:
    (parcel / "part-01").unlink()
    with pytest.raises(ConfigError, match="part-01 is missing"):
        unpack(parcel, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_part_with_another_byte_is_refused(tmp_path: Path, parcel: Path) -> None:
    spoilt = bytearray((parcel / "part-02").read_bytes())
    spoilt[10] ^= 1
    (parcel / "part-02").write_bytes(spoilt)
    with pytest.raises(ConfigError, match=r"part-02 .* is not what"):
        unpack(parcel, tmp_path / "out")


def test_a_folder_without_a_parcel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=MANIFEST):
        unpack(tmp_path, tmp_path / "out")


def test_a_smaller_parcel_leaves_no_part_of_the_one_before(
    tmp_path: Path, parcel: Path, files: dict[str, Path]
) -> None:
    pack({"deep/b": files["deep/b"]}, parcel, part_bytes=PART_BYTES, note={})
    assert [path.name for path in parcel.glob("part-*")] == ["part-00"]
    assert unpack(parcel, tmp_path / "out") == ["deep/b"]


def test_names_that_lead_out_of_the_target_are_not_followed(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    pack({"../escaped": files["a"]}, tmp_path / "bad", part_bytes=PART_BYTES, note={})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(tmp_path / "bad", tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
