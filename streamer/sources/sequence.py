"""Numbered files as one source, as libav's ``image2`` reads them: ``frames/%04d.png``."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

_NUMBER = re.compile(r"%(0?\d*)d")


def numbers_of(path: str) -> list[int]:
    """The numbers of the files that a pattern means, rising; empty where it is no pattern."""
    folder, name = Path(path).parent, Path(path).name
    found = list(_NUMBER.finditer(name))
    if len(found) != 1 or os.path.lexists(path):
        return []
    width = int(found[0][1] or 0)
    before, after = (
        re.escape(part.replace("%%", "%"))
        for part in (name[: found[0].start()], name[found[0].end() :])
    )
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    texts = [match[1] for one in names if (match := re.fullmatch(rf"{before}(\d+){after}", one))]
    return sorted(int(text) for text in texts if text == f"{int(text):0{width}d}")


def escaped(path: str) -> str:
    """A pattern as libav takes it, for which a percent sign in the folder's name begins a number, too."""
    folder, name = os.path.split(path)
    return os.path.join(folder.replace("%", "%%"), name)


def first_gap(numbers: list[int]) -> tuple[int, int] | None:
    """The first number that is missing in between, and how many come after it."""
    for place, (number, following) in enumerate(pairwise(numbers), start=1):
        if following != number + 1:
            return number + 1, len(numbers) - place
    return None
