"""``python -m benchmarks.gpu_check_wheels``: the wheels for ``gpu-check``, for a machine without a network.

They are those of that machine's Python, not of this one, and leave as a parcel (``export/parcel.py``):
parts of one size with checksums, so that a wheel larger than a transfer travels too. What lies in the
other Python already is left out by ``--have``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_check_python import RUNTIMES, plain, requirements
from export.parcel import MANIFEST, pack
from streamer.errors import ConfigError

ROOT = Path(__file__).parent.parent

SOURCE_ONLY = ("forbiddenfruit",)
"""Packages without wheels that need no compiler: one is built here."""
GLIBC_MINOR = 34
"""Of the other machine's glibc 2, at least: wheels for older ones are taken too."""
CACHE = ROOT / "build" / "gpu-wheels"
"""Where wheels stay before they are cut: beside the parts they would travel twice."""
PART_MIB, TRIP_MIB = 16.0, 64.0
"""Of one part, and of one transfer, which holds the working tree besides: what is sent at once is often
limited to that. Two parts go together while the tree has less than 32."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches or lists; 2 with one sentence where it cannot."""
    options = _parser().parse_args(arguments)
    try:
        {"fetch": _fetch, "show": _show}[options.verb](options)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check_wheels")
    verbs = parser.add_subparsers(dest="verb", required=True)
    fetch = verbs.add_parser("fetch", help="download the wheels and cut them into parts")
    fetch.add_argument("--to", type=Path, default=ROOT / "wheels")
    fetch.add_argument("--python", default="3.12", help="version of the other machine's Python")
    fetch.add_argument("--glibc", type=int, default=GLIBC_MINOR, help="its glibc, 34 for 2.34")
    fetch.add_argument("--have", default="", help="packages that are there, with commas between")
    fetch.add_argument("--with", dest="runtimes", default="", help=f"of {', '.join(RUNTIMES)}")
    fetch.add_argument("--part-mib", type=float, default=PART_MIB)
    show = verbs.add_parser("show", help="what has to travel, and in how many transfers")
    show.add_argument("--to", type=Path, default=ROOT / "wheels")
    show.add_argument("--trip-mib", type=float, default=TRIP_MIB, help="most of one transfer")
    return parser


def _fetch(options: argparse.Namespace) -> None:
    have = {plain(name) for name in options.have.split(",") if name}
    runtimes = {plain(name) for name in options.runtimes.split(",") if name}
    if not runtimes <= set(RUNTIMES):
        raise ConfigError(f"--with {options.runtimes} must be some of {', '.join(RUNTIMES)}")
    if options.part_mib < 1:
        raise ConfigError(f"--part-mib {options.part_mib:g} must be at least 1")
    target = target_options(options.python, glibc_minor=options.glibc)
    wheels = download(requirements(runtimes), target=target, have=have, folder=CACHE)
    split(wheels, options.to, part_mib=options.part_mib)
    _show(argparse.Namespace(to=options.to, trip_mib=TRIP_MIB))


def target_options(python: str, *, glibc_minor: int) -> list[str]:
    """pip's, for wheels of another Python on x86-64; each of its platforms matches only itself."""
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    options += [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(glibc_minor, 4, -1)]
    return [*options, "--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"]


def download(
    wanted: Sequence[str], *, target: Sequence[str], have: set[str], folder: Path
) -> list[Path]:
    """The wheels of all that ``wanted`` needs, but of ``have``; raises ``ConfigError``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCE_ONLY:
        if name not in have:
            _pip("wheel", "--no-deps", "--wheel-dir", str(folder), name)
    chosen = [each for each in _plan(wanted, target, folder) if each[0] not in have]
    exact = [f"{name}=={version}" for name, version in chosen]
    _pip(
        "download", "--no-deps", "--find-links", str(folder), "--dest", str(folder), *target, *exact
    )
    return sorted(wheel for wheel in folder.glob("*.whl") if _described(wheel) in chosen)


def _plan(wanted: Sequence[str], target: Sequence[str], folder: Path) -> list[tuple[str, str]]:
    """Name and version of all that pip would install there."""
    report = folder / "plan.json"
    # Nothing is installed, but pip wants to be told where.
    nowhere = ["--dry-run", "--ignore-installed", "--target", str(folder / "nowhere")]
    links = ["--find-links", str(folder), "--report", str(report)]
    _pip("install", *nowhere, *links, *target, *wanted)
    told = [each["metadata"] for each in json.loads(report.read_text("utf-8"))["install"]]
    return [(plain(each["name"]), each["version"]) for each in told]


def split(wheels: Sequence[Path], to: Path, *, part_mib: float) -> list[Path]:
    """The parcel of the wheels in ``to``, its manifest last; an earlier one there is replaced.

    The folder keeps itself out of git.
    """
    to.mkdir(parents=True, exist_ok=True)
    (to / ".gitignore").write_text("*\n", encoding="utf-8")
    files = {f"wheels/{wheel.name}": wheel for wheel in wheels}
    note = {"wheels": {wheel.name: wheel.stat().st_size for wheel in wheels}}
    return pack(files, to, part_bytes=int(part_mib * 2**20), note=note)


def _show(options: argparse.Namespace) -> None:
    """The tree and the parts, and which transfers they make."""
    in_tree = tree_bytes()
    print(f"working tree: {in_tree / 2**20:.1f} MiB")
    if not (options.to / MANIFEST).is_file():
        raise ConfigError(f"{options.to} holds no parcel of wheels; run: make gpu-wheels")
    manifest = json.loads((options.to / MANIFEST).read_text(encoding="utf-8"))
    for name, size in sorted(manifest["note"]["wheels"].items(), key=lambda item: -item[1]):
        print(f"  {size / 2**20:7.2f} MiB  {name}")
    left_bytes = options.trip_mib * 2**20 - in_tree
    for number, trip in enumerate(trips(manifest["parts"], left_bytes), start=1):
        size = sum(part["size_bytes"] for part in trip) / 2**20
        print(f"transfer {number}: {size:.1f} MiB of {', '.join(p['name'] for p in trip)}")
    print(f"with the first one also {MANIFEST}; each lies in {options.to.name}/ there as here")


def trips(parts: Sequence[Mapping[str, Any]], left_bytes: float) -> list[list[Mapping[str, Any]]]:
    """Parts in order, as many to a transfer as fit beside the tree; raises ``ConfigError``."""
    made: list[list[Mapping[str, Any]]] = []
    used = float("inf")
    for part in parts:
        size = part["size_bytes"]
        if size > left_bytes:
            raise ConfigError(
                f"{part['name']} has {size / 2**20:.1f} MiB, beside the tree there is room for "
                f"{max(0.0, left_bytes) / 2**20:.1f}; cut smaller ones with --part-mib"
            )
        if used + size > left_bytes:
            made.append([])
            used = 0
        made[-1].append(part)
        used += size
    return made


def tree_bytes() -> int:
    """Of what is in the tree and not ignored; raises ``ConfigError``."""
    return sum((ROOT / name).stat().st_size for name in _tracked() if (ROOT / name).is_file())


def _tracked() -> list[str]:
    """What is in the tree and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{ROOT} is no checkout of git ({error}); run it in one") from error
    return [name for name in done.stdout.split("\0") if name]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        first = next((line for line in said if line.startswith("ERROR: ")), said[-1])
        raise ConfigError(f"pip {arguments[0]} failed: {first.removeprefix('ERROR: ')}")


def _described(wheel: Path) -> tuple[str, str]:
    name, version, *_ = wheel.name.split("-")
    return plain(name), version


if __name__ == "__main__":
    sys.exit(main())
