"""Compiles what is compiled for processors while the package is built or installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):
    """Puts ``kernels/_cpu_*.so`` beside their callers; without a compiler all works, slower."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        done = subprocess.run(
            # Installed once more, with other extras, there is nothing to compile.
            [sys.executable, "-m", "kernels.native_build", "--missing"],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.app.display_warning(done.stderr.strip())
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"] += [Path(line).name for line in done.stdout.splitlines()]
