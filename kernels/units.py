"""What is compiled: each unit is a file of ``cu/`` with its settings, and gives these entries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from kernels.arguments import Layout, Precision

SOURCES = Path(__file__).parent / "cu"

SCALES = (1, 2, 3, 4)
"""Factors that the residual's kernel is compiled for."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One compilation: ``cu/<file>.cu`` with ``defines``; a module on the device."""

    name: str
    file: str
    entries: tuple[str, ...]
    defines: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        return SOURCES / f"{self.file}.cu"


def _entries(name: str, *parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("_".join((name, *chosen)) for chosen in product(*parts))


_LAYOUTS, _PRECISIONS, _BITS = tuple(Layout), tuple(Precision), ("8", "10")

PACK = Unit("pack", "pack", _entries("pack", _LAYOUTS, _PRECISIONS))
ADD_RESIDUAL = {
    scale: Unit(
        f"add_residual_x{scale}",
        "add_residual",
        _entries("add_residual", _LAYOUTS, _PRECISIONS),
        (f"SCALE={scale}",),
    )
    for scale in SCALES
}
PLANAR = Unit("planar", "planar", _entries("planar", (Layout.NV12, Layout.P010)))
INTERLEAVE = Unit("interleave", "interleave", _entries("interleave", (Layout.NV12,)))
WARP = Unit(
    "warp",
    "warp",
    _entries("warp", ("two", "one"), ("plane", "pairs"), _BITS, ("linear", "cubic")),
)
COVER = Unit("cover", "cover", _entries("cover", ("1", "2", "4")))
FINISH = Unit("finish", "finish", _entries("finish", _BITS))
DIFFERENCE = Unit("difference", "difference", _entries("difference", _BITS, ("sum", "bins")))
WATCH = Unit("watch", "watch", _entries("watch", _PRECISIONS))

UNITS = (
    *(PACK, PLANAR, INTERLEAVE, *ADD_RESIDUAL.values()),
    *(WARP, COVER, FINISH, DIFFERENCE, WATCH),
)
