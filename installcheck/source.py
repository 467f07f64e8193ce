"""The suites of the PostgreSQL that is on this machine, from Debian's source package of the same version.

They are fetched when they run, with lists of apt's in a directory of their own, and are not kept. Of the source only
the scripts, what they expect, and one library are needed: PostgreSQL's client package has the programs that run them.
"""

import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.postgres.binaries import Binaries

from installcheck import deviations

COMMAND_S: Final = 180.0
APT: Final = Path("/etc/apt")
LIBRARIES: Final = ("autoinc.so", "refint.so")  # contrib's, which the suite loads from beside its own
SUITES: Final = ("src/test/regress", "src/test/isolation")


class Unavailable(Exception):
    """The suites cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suites:
    """Where they lie."""

    regress: Path
    isolation: Path
    libraries: Path
    programs: Path  # pg_regress and its kin, in folders as in the source


def fetch(place: Path, binaries: Binaries) -> Suites:
    """Fetch and unpack the suites into `place`; Unavailable if this machine cannot."""
    package = f"postgresql-{binaries.major}"
    installed = _said(["dpkg-query", "--show", "--showformat=${Version}", package], place)
    programs = binaries.directory.parent / "lib" / "pgxs"
    if not (programs / SUITES[0] / "pg_regress").exists():
        raise Unavailable(f"{programs} has no pg_regress")
    apt = _apt(place, package)
    _run([*apt, "source", "--download-only", f"{package}={installed}"], place)
    _run(["apt-get", "download", f"postgresql-server-dev-{binaries.major}={installed}"], place)
    source, headers = place / "source", place / "headers"
    source.mkdir()
    tarball = _one(place, "*.orig.tar.*")
    _unpack(tarball, source)
    _run(["dpkg-deb", "-x", str(_one(place, "postgresql-server-dev-*.deb")), str(headers)], place)
    libraries = _libraries(place, source, headers, binaries)
    regress, isolation = (source / suite for suite in SUITES)
    deviations.write(regress, binaries.major)
    return Suites(regress=regress, isolation=isolation, libraries=libraries, programs=programs)


def source_lists(texts: Mapping[str, str], uri: str) -> dict[str, str]:
    """Give those of apt's lists that name `uri`, by file name, as lists of source packages.

    Both forms are known: one line a repository (`deb URI suite ...`), and paragraphs of fields (deb822).
    """
    found = {}
    for name, text in texts.items():
        lines = [_as_source(line) for line in text.splitlines() if not line.lstrip().startswith("#")]
        if any(uri.rstrip("/") in line for line in lines):
            found[name] = "\n".join(lines) + "\n"
    return found


def _as_source(line: str) -> str:
    if line.startswith("deb "):
        return "deb-src " + line.removeprefix("deb ")
    return "Types: deb-src" if line.startswith("Types:") else line


def _apt(place: Path, package: str) -> Sequence[str]:
    """Give apt-get with lists of sources alone, those that this machine's `package` came from."""
    versions = _said(["apt-cache", "madison", package], place).splitlines()
    uris = dict.fromkeys(line.split("|")[2].split()[0] for line in versions)
    files = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    texts = {path.name: path.read_text() for path in files if path.suffix in (".list", ".sources") and path.is_file()}
    parts, lists = place / "parts", place / "lists"
    parts.mkdir()
    (lists / "partial").mkdir(parents=True)
    for uri in uris:
        for name, text in source_lists(texts, uri).items():
            (parts / name).write_text(text)
    if not any(parts.iterdir()):
        raise Unavailable(f"apt's lists name no archive that has {package}")
    own = {
        "Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": parts, "Dir::State::Lists": lists,
        "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "--quiet=2", *(f"--option={key}={value}" for key, value in own.items())]
    _run([*apt, "update"], place)
    return apt


def _unpack(tarball: Path, source: Path) -> None:
    """Unpack the suites alone, without the tarball's own folder."""
    with tarfile.open(tarball) as archive:
        for member in archive:
            member.name = member.name.partition("/")[2]
            if member.name.startswith(SUITES):
                archive.extract(member, source, filter="data")


def _libraries(place: Path, source: Path, headers: Path, binaries: Binaries) -> Path:
    """Compile the suite's library, and put contrib's beside it."""
    libraries = place / "libraries"
    libraries.mkdir()
    for name in LIBRARIES:
        (libraries / name).symlink_to(binaries.directory.parent / "lib" / name)
    include = headers / f"usr/include/postgresql/{binaries.major}/server"
    compiler = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", "-o", str(libraries / "regress.so")]
    _run([*compiler, str(source / SUITES[0] / "regress.c")], place)
    return libraries


def _one(place: Path, pattern: str) -> Path:
    found = list(place.glob(pattern))
    if len(found) != 1:
        raise Unavailable(f"of {pattern} {len(found)} files came: {[path.name for path in found]}")
    return found[0]


def _said(command: Sequence[str], place: Path) -> str:
    return _run(command, place).strip()


def _run(command: Sequence[str], place: Path) -> str:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout
