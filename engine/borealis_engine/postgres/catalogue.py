"""What this PostgreSQL says of parameters before it runs with them: which there are, and which values it takes.

Its own programs are asked, so the answer is right for the major at hand and in PostgreSQL's own words. The invariant:
nothing reaches a configuration file that these programs did not take, and nothing that is Borealis's own.
"""

import difflib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from borealis_engine.contract.settings import OWN
from borealis_engine.postgres.account import make_private
from borealis_engine.postgres.attached import Site
from borealis_engine.postgres.errors import CommandFailed
from borealis_engine.postgres.process import run
from borealis_engine.postgres.settings import NAME, SLOT_LIMIT, parse_slot_limit

LIKENESS: Final = 0.75  # from which on another name is offered
UNFIT: Final[Mapping[str, str]] = {  # nobody could connect, or follow
    "pre_auth_delay": "it is for developers of PostgreSQL and delays every connection",
    "post_auth_delay": "it is for developers of PostgreSQL and delays every connection",
    "db_user_namespace": "it changes the names by which users log in",
    "dynamic_library_path": "readers could not follow: PostgreSQL finds its own libraries by it",
}
WAL_LEVELS: Final = ("replica", "logical")  # readers follow no other
LIBRARIES: Final = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")
_COMPLAINT: Final = re.compile(r"\b(?:FATAL|ERROR|HINT|DETAIL): {2}(.*)$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetted:
    """A user's parameters, parted."""

    accepted: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # name -> why


class Catalogue:
    """The parameters of the PostgreSQL at a site; its methods block for as long as PostgreSQL's programs take."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def vet(self, parameters: Mapping[str, str]) -> Vetted:
        """Part parameters into those that PostgreSQL takes and those that it, or Borealis, does not."""
        refused = {name: why for name, value in parameters.items() if (why := self._object(name, value))}
        rest = {name: value for name, value in parameters.items() if name not in refused}
        if rest:
            with self._scratch() as scratch:
                if self._complaint(scratch, rest):
                    each = {name: self._complaint(scratch, {name: value}) for name, value in rest.items()}
                    refused |= {name: self._explain(name, why) for name, why in each.items() if why}
        return Vetted(accepted={n: v for n, v in rest.items() if n not in refused}, refused=refused)

    @cached_property
    def names(self) -> frozenset[str]:
        """Give the names that PostgreSQL describes, in lower case."""
        text = self._ask("--describe-config")
        return frozenset(line.split("\t")[0].lower() for line in text.splitlines() if line)

    def _object(self, name: str, value: str) -> str:
        """Say what Borealis has against a parameter."""
        if name in OWN:
            return f"it is Borealis's own: {OWN[name]}"
        if name in UNFIT:
            return UNFIT[name]
        if not NAME.fullmatch(name):
            return "it is no name of a parameter: use lower case, digits, underscores, and one dot for an extension's"
        if why := object_to_value(name, value):
            return why
        missing = self._missing(value) if name in LIBRARIES else ""
        return f"this engine image has no library {missing}" if missing else ""

    def _missing(self, libraries: str) -> str:
        """Give the first library that PostgreSQL would not find; empty if all are there, or nobody knows where."""
        places = self._library_places
        for library in (each.strip().strip('"') for each in libraries.split(",")):
            plain = library.removeprefix("$libdir/").removesuffix(".so")
            if places and library and "/" not in plain and not any((p / f"{plain}.so").exists() for p in places):
                return library
        return ""

    @cached_property
    def _library_places(self) -> tuple[Path, ...]:
        try:
            asked = run([self._site.binaries.path("pg_config"), "--pkglibdir"], None, cwd=Path("/"))
        except CommandFailed:
            return ()
        place = Path(asked.strip())
        return (place, place / "plugins")

    def _complaint(self, scratch: Path, parameters: Mapping[str, str]) -> str:
        """Have the server read these and no others; give what it says against them."""
        given = [part for name, value in parameters.items() for part in ("-c", f"{name}={value}")]
        try:
            self._ask("-D", str(scratch), "-c", "log_line_prefix=", *given, "-C", "port")
        except CommandFailed as error:
            return complaint(str(error))
        return ""

    def _explain(self, name: str, why: str) -> str:
        if "unrecognized configuration parameter" not in why:
            return why
        return explain_unknown(name, self.names, self._site.binaries.major)

    def _ask(self, *arguments: str) -> str:
        return run([self._site.binaries.path("postgres"), *arguments], self._site.account, cwd=self._site.data)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        scratch = self._site.fresh("vet")
        make_private(scratch, self._site.account)
        try:
            (scratch / "postgresql.conf").touch(mode=0o644)
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def complaint(text: str) -> str:
    """Return what PostgreSQL complains of in a text that it wrote; all of it if that is not to be told."""
    words = _COMPLAINT.findall(text)
    return ". ".join(word.rstrip(".") for word in words) or text


def explain_unknown(name: str, names: Collection[str], major: int) -> str:
    """Say that there is no such parameter, and which one may have been meant."""
    offered = sorted(set(names) - set(OWN))
    close = difflib.get_close_matches(name, offered, n=1, cutoff=LIKENESS)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"PostgreSQL {major} has no such parameter{meant}"


def object_to_value(name: str, value: str) -> str:
    """Say what Borealis has against a value that PostgreSQL might take; empty if nothing."""
    if "\0" in value:
        return "its value holds a zero byte"
    if any("\ud800" <= each <= "\udfff" for each in value):
        return "its value is no text in UTF-8"
    if name == "wal_level" and value.lower() not in WAL_LEVELS:
        return f"Borealis knows {' and '.join(WAL_LEVELS)} only: readers and storage nodes live by the log"
    if name == SLOT_LIMIT and not parse_slot_limit(value):
        return "it must be a size above 0, such as 4GB: without a bound a forgotten slot fills the instance's disk"
    return ""
