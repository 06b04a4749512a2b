"""How every benchmark ends: one line of JSON, and a file of it where one is wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(result: dict[str, Any], out: Path | None) -> None:
    """Print ``result`` as the last line; with ``out`` also write it there, indented."""
    keep(result, out)
    print(json.dumps(result))


def keep(result: dict[str, Any], out: Path | None) -> None:
    """Write what there is so far, for whoever is ended before the last line."""
    if out is not None:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
