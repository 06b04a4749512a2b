"""A Python for the check: real environments, real pip, wheels made here, and never a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from benchmarks import gpu_check_python
from benchmarks.gpu_check_python import (
    install,
    make,
    names_of,
    package_of,
    requirements,
    wheel_folders,
)
from benchmarks.gpu_check_wheels import split
from streamer.errors import ConfigError


def wheel(folder: Path, name: str, *, version: str = "1.0", size: int = 0, needs: str = "") -> Path:
    """A wheel with one module of that name, padded with bytes that nothing compresses."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    told += f"Requires-Dist: {needs}\n" if needs else ""
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{name}_data.bin", bytes(range(256)) * (size // 256))
        archive.writestr(f"{info}/METADATA", told)
        archive.writestr(f"{info}/WHEEL", kind)
        archive.writestr(f"{info}/RECORD", "")
    return path


def said_by(python: Path, program: str) -> str:
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


def test_it_sees_what_its_maker_has_and_what_wheels_add(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "ours_alone", needs="ours_too")
    wheel(tmp_path / "wheels" / "deeper", "ours_too")
    folders = wheel_folders(tmp_path / "wheels", tmp_path / "scratch")
    python = make(tmp_path / "venv")
    assert install(python, ["ours-alone>=1", "numpy", "pytest"], folders) == ""
    told = said_by(python, "import numpy, ours_alone, ours_too; print(numpy.__version__)")
    import numpy

    assert told == numpy.__version__
    assert said_by(python, "import sys; print(sys.prefix)") == str(tmp_path / "venv")
    # The maker's own packages are left as they are.
    with pytest.raises(subprocess.CalledProcessError):
        said_by(Path(sys.executable), "import ours_alone")


def test_a_wheel_counts_for_more_than_what_the_maker_has(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "iniconfig", version="99.0")
    python = make(tmp_path / "venv")
    folders = wheel_folders(tmp_path / "wheels", tmp_path / "scratch")
    assert install(python, ["iniconfig>=99"], folders) == ""
    assert said_by(python, "import iniconfig; print(iniconfig.version)") == "99.0"


def test_what_is_nowhere_is_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    python = make(tmp_path / "venv")
    why = install(python, ["no-such-package-anywhere>=3"], [])
    assert why.startswith("ERROR: ")
    assert "no-such-package-anywhere" in why


def test_a_missing_package_keeps_no_other_from_being_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path / "wheels", "ours_alone")
    monkeypatch.setattr(
        gpu_check_python, "requirements", lambda _: ["nowhere-at-all", "ours-alone"]
    )
    where = ["--wheels", str(tmp_path / "wheels"), "--to", str(tmp_path / "venv")]
    assert gpu_check_python.main(where) == 0
    assert "nowhere-at-all is missing: ERROR: " in capsys.readouterr().out
    python = tmp_path / "venv" / "bin" / "python"
    assert said_by(python, "import ours_alone; print(ours_alone.version)") == "1.0"


def test_wheels_larger_than_a_part_arrive_whole(tmp_path: Path) -> None:
    """As a parcel: the wheel is cut, carried over in parts and put together again."""
    made = wheel(tmp_path / "made", "large_one", size=3 << 20)
    parts = split([made], tmp_path / "parcel", part_mib=1 / 128)
    assert len(parts) > 3
    assert max(part.stat().st_size for part in parts) <= 8192
    folders = wheel_folders(tmp_path / "parcel", tmp_path / "scratch")
    assert names_of(folders) == {"large-one"}
    (arrived,) = folders[0].glob("*.whl")
    assert arrived.read_bytes() == made.read_bytes()
    parts[1].unlink()
    with pytest.raises(ConfigError, match=r"part-01 is missing"):
        wheel_folders(tmp_path / "parcel", tmp_path / "scratch")
    done = gpu_check_python.main(
        ["--wheels", str(tmp_path / "parcel"), "--to", str(tmp_path / "v")]
    )
    assert done == 1


def test_without_a_folder_of_wheels_there_is_what_the_maker_has(tmp_path: Path) -> None:
    assert wheel_folders(tmp_path / "nowhere", tmp_path / "scratch") == []


def test_runtimes_of_a_gpu_are_asked_for_where_there_are_wheels_of_them() -> None:
    plain = {package_of(each) for each in requirements(set())}
    assert {"av", "numpy", "pytest", "blockbuster", "onnxruntime"} <= plain
    assert not plain & {"onnxruntime-gpu", "tensorrt", "torch", "mypy"}
    gpu = {package_of(each) for each in requirements({"onnxruntime-gpu", "av"})}
    # Both have the same module, so one of them is enough.
    assert gpu - plain == {"onnxruntime-gpu"}
    assert plain - gpu == {"onnxruntime"}


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("PyYAML>=6.0,<7", "pyyaml"), ("torch==2.13.0", "torch"), ("a_b.c[x]>1; os", "a-b-c")],
)
def test_a_requirement_names_a_package(requirement: str, name: str) -> None:
    assert package_of(requirement) == name
