"""Where PostgreSQL's server programs are: PG_BIN, then the usual places, newest major first.

Nothing of a PostgreSQL that is already on the machine is touched but its programs.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.contract.names import ENV_ENGINE_VERSION, ENV_PG_BIN
from borealis_engine.postgres.errors import BinariesMissing

NEEDED: Final = ("postgres", "initdb", "pg_controldata")
PLACES: Final = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql@*/bin",
)
OLDEST: Final = 15
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """A directory of server programs of one version."""

    directory: Path
    major: int
    version: str
    tls: bool = True  # built with it; clients of a cluster are always offered it

    def path(self, program: str) -> str:
        """Give the path of a program."""
        return str(self.directory / program)


def find_binaries(environment: Mapping[str, str], *, root: Path = Path("/")) -> Binaries:
    """Find the programs of the major that BOREALIS_ENGINE_VERSION asks for, else of the newest one.

    BinariesMissing names PG_BIN and what was found instead.
    """
    wanted = int(environment.get(ENV_ENGINE_VERSION) or 0)
    if explicit := environment.get(ENV_PG_BIN):
        found = [inspect(Path(explicit))]
    else:
        found = [inspect(place) for place in _candidates(environment, root)]
    fit = [each for each in found if each and each.major >= OLDEST and wanted in (0, each.major)]
    usable = [each for each in fit if each.tls]
    if fit and not usable:
        raise BinariesMissing(
            f"PostgreSQL {fit[0].major} in {fit[0].directory} was built without TLS, which clients are offered; use "
            f"one built --with-ssl=openssl, as the package postgresql is, and name its directory in {ENV_PG_BIN}"
        )
    if not usable:
        seen = ", ".join(f"{each.major} in {each.directory}" for each in found if each) or "none"
        what = f"PostgreSQL {wanted}" if wanted else f"PostgreSQL {OLDEST} or newer"
        raise BinariesMissing(
            f"no server programs of {what} found (found: {seen}); set {ENV_PG_BIN} to the directory that holds "
            f"{', '.join(NEEDED)}, or install the package postgresql"
        )
    return max(usable, key=lambda each: each.major)


def inspect(directory: Path) -> Binaries | None:
    """Give what is in `directory`, or None unless all needed programs are."""
    if not all(os.access(directory / program, os.X_OK) for program in NEEDED):
        return None
    asked = subprocess.run(
        [directory / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    match = _VERSION.search(asked.stdout)
    if not match:
        return None
    tls = not _lacks_tls(directory)
    return Binaries(directory=directory, major=int(match[1]), version=match[1] + match[2], tls=tls)


def _lacks_tls(directory: Path) -> bool:
    """Whether PostgreSQL says that it knows no TLS; `-C` as the first argument is for every user, root too."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "postgresql.conf").touch()
        command = [str(directory / "postgres"), "-C", "ssl_library", "-D", folder]
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return asked.returncode == 0 and not asked.stdout.strip()


def _candidates(environment: Mapping[str, str], root: Path) -> Iterator[Path]:
    for pattern in PLACES:
        yield from sorted(root.glob(pattern), reverse=True)
    path = environment.get("PATH")
    if config := shutil.which("pg_config", path=path):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False, timeout=10)
        yield Path(asked.stdout.strip())
    if postgres := shutil.which("postgres", path=path):
        yield Path(postgres).resolve().parent
