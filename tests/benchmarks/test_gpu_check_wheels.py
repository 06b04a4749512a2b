"""What travels to a machine without a network: parts, transfers, and what pip is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu_check_wheels
from benchmarks.gpu_check_wheels import PART_MIB, TRIP_MIB, split, target_options, trips
from export.parcel import MANIFEST
from streamer.errors import ConfigError

MIB = 2**20


def parts(*sizes_mib: float) -> list[dict[str, object]]:
    return [
        {"name": f"part-{n:02d}", "size_bytes": int(size * MIB)} for n, size in enumerate(sizes_mib)
    ]


def sizes(made: list[list[dict[str, object]]]) -> list[list[float]]:
    return [[int(str(part["size_bytes"])) / MIB for part in trip] for trip in made]


def test_parts_go_together_as_far_as_there_is_room() -> None:
    assert sizes(trips(parts(48, 1.5), 54 * MIB)) == [[48, 1.5]]  # type: ignore[arg-type]
    assert sizes(trips(parts(48, 48, 5), 54 * MIB)) == [[48], [48, 5]]  # type: ignore[arg-type]
    assert trips([], 54 * MIB) == []


def test_a_part_that_never_fits_is_refused_with_what_does() -> None:
    with pytest.raises(
        ConfigError, match=r"part-00 has 48\.0 MiB, .* room for 47\.0; .*--part-mib"
    ):
        trips(parts(48), 47 * MIB)
    with pytest.raises(ConfigError, match=r"room for 0\.0"):
        trips(parts(1), -5 * MIB)


def test_parts_of_the_usual_size_fit_beside_the_tree() -> None:
    left = TRIP_MIB * MIB - gpu_check_wheels.tree_bytes()
    assert sizes(trips(parts(PART_MIB, PART_MIB), left)) == [[PART_MIB, PART_MIB]]  # type: ignore[arg-type]


def test_wheels_of_older_systems_and_none_of_newer_ones_are_taken() -> None:
    options = target_options("3.12", glibc_minor=28)
    platforms = [each for each in options if each.startswith("--platform=")]
    assert platforms[0] == "--platform=manylinux_2_28_x86_64"
    assert {"--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"} <= set(platforms)
    assert "--platform=manylinux_2_34_x86_64" not in platforms
    assert options[options.index("--python-version") + 1] == "3.12"
    assert "--only-binary=:all:" in options


def test_the_parcel_tells_its_wheels_and_stays_out_of_git(tmp_path: Path) -> None:
    one = tmp_path / "one-1.0-py3-none-any.whl"
    one.write_bytes(b"x" * 5000)
    made = split([one], tmp_path / "wheels", part_mib=1)
    assert [path.name for path in made] == ["part-00", MANIFEST]
    manifest = json.loads(made[-1].read_text(encoding="utf-8"))
    assert manifest["note"]["wheels"] == {one.name: 5000}
    assert (tmp_path / "wheels" / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_what_travels_is_listed_with_the_transfers_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one-1.0-py3-none-any.whl"
    one.write_bytes(bytes(range(256)) * 4096)
    split([one], tmp_path / "wheels", part_mib=1)
    where = ["show", "--to", str(tmp_path / "wheels"), "--trip-mib", "4000"]
    assert gpu_check_wheels.main(where) == 0
    told = capsys.readouterr().out
    assert "working tree: " in told
    assert "1.00 MiB  one-1.0-py3-none-any.whl" in told
    assert "transfer 1: " in told
    assert "transfer 2: " not in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fetch", "--with", "torch"), "--with torch must be some of onnxruntime-gpu, tensorrt"),
        (("fetch", "--part-mib", "0.5"), "--part-mib 0.5 must be at least 1"),
        (("show", "--to", "/nowhere/at/all"), "holds no parcel of wheels; run: make gpu-wheels"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_check_wheels.main(arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
