"""A ``.npy`` file that grows row by row, for caches larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray


class GrowingArray:
    """A file that rows of one shape and type are appended to; valid once it is closed."""

    def __init__(self, path: Path, shape: tuple[int, ...], kind: DTypeLike = np.uint8) -> None:
        self.count, self.shape, self.kind = 0, shape, np.dtype(kind)
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header for the first axis to grow, so its length does not change.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self.kind),
                "fortran_order": False,
                "shape": (self.count, *self.shape),
            },
        )

    def append(self, row: NDArray[Any]) -> None:
        assert (row.shape, row.dtype) == (self.shape, self.kind)
        self._file.write(np.ascontiguousarray(row).data)
        self.count += 1


def write_rows(
    named: Iterable[tuple[str, Iterable[Sequence[NDArray[Any]]]]],
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
    *,
    home: Path,
    kind: str,
    report: Callable[[str], None],
) -> int:
    """Writes all rows, source by source, a part of each to every array in ``home``; gives how many.

    ``arrays`` say the shape and type of the parts; ``kind`` is what ``report`` calls rows.
    """
    count = 0
    with ExitStack() as files:
        growing = [
            files.enter_context(GrowingArray(home / f"{name}.npy", *of_row))
            for name, of_row in arrays.items()
        ]
        for name, rows in named:
            for row in rows:
                for array, part in zip(growing, row, strict=True):
                    array.append(part)
                count += 1
            report(f"{kind} {count}: {name}")
    return count
