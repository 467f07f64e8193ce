"""Build hook of hatchling: compiles the engine's native library, and does without it where that cannot be.

The library speaks C alone, through ctypes: one build fits every version of Python, so only the platform is in the tag.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "engine/borealis_engine/native"


class NativeLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Runs `native/build` before a wheel, editable or not, is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel carry what came out."""
        done = subprocess.run([str(Path(self.root, FOLDER, "build"))], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.stderr.write(f"borealis: going on without the native library, slower:\n{done.stderr.strip()}\n")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(f"{FOLDER}/libborealis.so")
