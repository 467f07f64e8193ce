"""Which PostgreSQL majors can run here: those that are installed and that Borealis knows."""

import contextlib
from collections.abc import Mapping
from typing import Final

from borealis_engine.contract.names import ENV_ENGINE_VERSION
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing

MAJORS: Final = ("15", "16", "17")


def engine_majors(environ: Mapping[str, str]) -> list[str]:
    """Give the majors whose server programs are found, oldest first."""
    found = []
    for major in MAJORS:
        with contextlib.suppress(BinariesMissing):
            find_binaries({**environ, ENV_ENGINE_VERSION: major})
            found.append(major)
    return found


def explain_missing(environ: Mapping[str, str]) -> str:
    """Say why none of what is installed can run here; empty if one can."""
    try:
        find_binaries(environ)
    except BinariesMissing as error:
        return str(error)
    return ""
