"""``python3 -m benchmarks.gpu_check_python``: a Python for the check, without a network.

It sees all packages of the Python that made it, as torch or ONNX Runtime that are there already, and
on top of them what wheels of a folder add. Nothing but the standard library is needed, and pip.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from export.parcel import MANIFEST, unpack
from streamer.errors import StreamerError

ROOT = Path(__file__).parent.parent

TOOLS = ("blockbuster", "hypothesis", "pytest")
"""Of the extra ``dev``, what the tests on a device need."""
RUNTIMES = ("onnxruntime-gpu", "tensorrt")
"""Taken where there are wheels of them, and not missed where there are none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes it, and says what it lacks; 1 where it cannot be made at all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check_python")
    parser.add_argument("--wheels", type=Path, required=True, help="folder, or parts of a parcel")
    parser.add_argument("--to", type=Path, required=True, help="folder of the environment")
    options = parser.parse_args(arguments)
    try:
        folders = wheel_folders(options.wheels, options.to.with_name("unpacked"))
        python = make(options.to)
    except (StreamerError, OSError, subprocess.SubprocessError) as error:
        print(f"no Python could be made: {error}")
        return 1
    wanted = requirements(names_of(folders))
    # A single wheel that is missing keeps pip from installing any, so then one by one.
    if install(python, wanted, folders):
        for requirement in wanted:
            if why := install(python, [requirement], folders):
                print(f"{requirement} is missing: {why}", flush=True)
    print(f"{python} is ready")
    return 0


def wheel_folders(given: Path, scratch: Path) -> list[Path]:
    """Those below ``given`` that hold wheels; parts of a parcel are put together in ``scratch``.

    Raises ``ConfigError`` where a part is missing or damaged.
    """
    if (given / MANIFEST).is_file():
        shutil.rmtree(scratch, ignore_errors=True)
        unpack(given, scratch)
        given = scratch
    return sorted({wheel.parent.resolve() for wheel in given.rglob("*.whl")})


def names_of(folders: Iterable[Path]) -> set[str]:
    """The packages that there are wheels of, as ``plain`` writes them."""
    return {plain(w.name.split("-")[0]) for folder in folders for w in folder.glob("*.whl")}


def plain(name: str) -> str:
    """A package's name without the spellings that mean the same."""
    return name.lower().replace("_", "-").replace(".", "-")


def requirements(wheels: set[str]) -> list[str]:
    """What the check needs, out of pyproject.toml; runtimes only where ``wheels`` has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tools = [each for each in extras["dev"] if package_of(each) in TOOLS]
    runtimes = [each for each in extras["gpu"] if package_of(each) in RUNTIMES]
    chosen = [each for each in runtimes if package_of(each) in wheels] or extras["cpu"]
    return [*project["dependencies"], *tools, *chosen]


def package_of(requirement: str) -> str:
    """``av`` of ``av>=18.1,<19``."""
    return plain(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def make(folder: Path) -> Path:
    """An environment without pip, whose Python sees the packages of this one; the path of that.

    ``--system-site-packages`` would show those of the Python that this one was made from, where
    this one is an environment itself.
    """
    command = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]
    subprocess.run(command, check=True)
    python = folder / "bin" / "python"
    (own,) = folder.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({each!r})" for each in site.getsitepackages()]
    (own / "of_the_maker.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return python


def install(python: Path, requirements: Sequence[str], folders: Iterable[Path]) -> str:
    """Why the requirements could not be met; nothing where they are."""
    links = [part for folder in folders for part in ("--find-links", str(folder))]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    # Nothing is fetched, whatever the settings of the machine's pip say.
    options = ["--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [*command, *options, *links, *requirements],
        capture_output=True,
        text=True,
        env={**environment, "PIP_CONFIG_FILE": os.devnull},
        check=False,
    )
    if not done.returncode:
        return ""
    said = done.stderr.splitlines() or ["pip says nothing"]
    return next((line for line in said if line.startswith("ERROR: ")), said[-1])


if __name__ == "__main__":
    sys.exit(main())
