"""Has the processes of `benchmarks.stages` load the library with stamps: on the path of those processes only."""

import os
from pathlib import Path

if folder := os.environ.get("BOREALIS_BENCH_STAMPS"):
    from borealis_engine import native

    native.FILE = Path(folder, "libborealis.so")
