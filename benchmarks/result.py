"""How every benchmark ends: one line of JSON, and a file of it where one is wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(result: dict[str, Any], out: Path | None) -> None:
    """Print ``result`` as the last line; with ``out`` also write it there, indented."""
    if out is not None:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))
