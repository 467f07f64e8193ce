"""Starts on trial: whether PostgreSQL starts with parameters, asked of a database that is made for it and thrown away.

Much is found only by a start: what the machine has no room for, libraries and ciphers that do not load, values that do
not go together. The invariant: a trial touches nothing of the instance but room on its disk and a socket name of its
own; it takes no connection but the agent's user could make, and what it needs in memory is asked before it begins.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from borealis_engine.postgres import directory
from borealis_engine.postgres.account import make_private, own
from borealis_engine.postgres.attached import START_S, Site
from borealis_engine.postgres.catalogue import complaint
from borealis_engine.postgres.errors import CommandFailed
from borealis_engine.postgres.image import run_initdb
from borealis_engine.postgres.memory import shortage
from borealis_engine.postgres.process import try_start
from borealis_engine.postgres.servertls import install
from borealis_engine.postgres.settings import FEED_PORT, MIB, Configuration, command_line

TRIAL_PORT: Final = FEED_PORT + 1  # names the socket beside PostgreSQL's own and the feed's
TRIAL_S: Final = 120.0  # for all starts together
BUFFERS: Final = 1 * MIB  # of a trial beside the instance: how many there are is Borealis's own
PLAINLY: Final = ("-c", "log_error_verbosity=default")  # no places in PostgreSQL's source


def find_culprits(site: Site, parameters: Mapping[str, str], *, alone: bool) -> dict[str, str]:
    """Return the parameters without which PostgreSQL starts with all the others, each with what it said (blocks).

    `alone`: the instance's own does not run, so the trial has all of its buffers. CommandFailed if that is not found:
    there is no room for another database, it starts with none, or TRIAL_S are over.
    """
    with _database(site) as data:
        attempt = _Attempt(site, data, site.place.shared_buffers if alone else BUFFERS)
        if wrong := attempt({}):
            raise CommandFailed(f"PostgreSQL does not start on trial: {wrong}")
        return part(parameters, attempt)


def part(parameters: Mapping[str, str], attempt: Callable[[Mapping[str, str]], str]) -> dict[str, str]:
    """Return what has to be left out so that `attempt` says nothing against the rest, each with what it said.

    Halves are tried, so one bad one among many costs few attempts. Of those that do not go together the first stays.
    """
    good, bad = dict[str, str](), dict[str, str]()

    def take(names: list[str]) -> None:
        wrong = attempt({**good, **{name: parameters[name] for name in names}})
        if not wrong:
            good.update({name: parameters[name] for name in names})
        elif len(names) == 1:
            bad[names[0]] = wrong
        else:
            middle = len(names) // 2
            take(names[:middle])
            take(names[middle:])

    if parameters:
        take(list(parameters))
    return bad


class _Attempt:
    """One start after the other, in one directory."""

    def __init__(self, site: Site, data: Path, buffers: int) -> None:
        self._site, self._data, self._deadline = site, data, time.monotonic() + TRIAL_S
        place = replace(site.place, addresses=(), port=TRIAL_PORT, sockets=str(site.run), shared_buffers=buffers)
        self._plain = Configuration(place=place, tls=install(site.server_tls, data))
        own(data, site.account)

    def __call__(self, parameters: Mapping[str, str]) -> str:
        """Start with these and no others; return what is wrong, empty if nothing is."""
        site, data, major = self._site, self._data, self._site.binaries.major
        directory.configure(data, replace(self._plain, parameters=parameters), account=site.account)
        command = [site.binaries.path("postgres"), "-D", str(data), *command_line(major), *PLAINLY]
        if (left := self._deadline - time.monotonic()) <= 0:
            raise CommandFailed(f"what PostgreSQL does not start with was not found in {TRIAL_S:g} s")
        try:
            lacking = shortage(command, site.account, data=data, buffers=self._plain.place.shared_buffers)
        except CommandFailed as error:
            return complaint(str(error))
        if lacking:
            return lacking
        said = try_start(command, site.account, data=data, timeout=min(START_S, left))
        return "" if said is None else complaint(said)


@contextmanager
def _database(site: Site) -> Iterator[Path]:
    scratch = site.fresh("trial")
    make_private(scratch, site.account)
    data = scratch / "data"
    try:
        run_initdb(site.binaries, data, site.account)
        (data / "pg_hba.conf").write_text("local all all reject\n")
        yield data
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
