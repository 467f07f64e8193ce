"""Reaching the database: `psql` and `uri`."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.errors import BinariesMissing

from borealis_local.cli import clusters, output
from borealis_local.cli.client import Client
from borealis_local.cli.commands import ClusterOption, NamespaceOption, StateOption, state_of
from borealis_local.errors import CommandError

ReaderOption = Annotated[bool, typer.Option("--reader", help="The reader endpoint instead of the writer's.")]


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql.")] = None,
    reader: ReaderOption = False,
    cluster: ClusterOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Open psql on the writer endpoint, or on the reader endpoint.

    \b
    Examples:
      borealis local psql
      borealis local psql --reader
      borealis local psql -- -c 'select pg_is_in_recovery()'
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        login = clusters.login(client, clusters.choose(client, namespace, cluster), reader=reader)
        program = _find_psql()
        env = {
            **os.environ,
            "PGHOST": login.host,
            "PGPORT": str(login.port),
            "PGUSER": login.user,
            "PGPASSWORD": login.password,
            "PGDATABASE": login.database,
        }
        os.execve(program, ["psql", *(arguments or ())], env)


def _find_psql() -> str:
    """Give the path of psql; CommandError says how to get it."""
    if found := shutil.which("psql"):
        return found
    try:
        beside = Path(find_binaries(os.environ).path("psql"))
    except BinariesMissing:
        beside = Path("psql")
    if beside.is_file():
        return str(beside)
    raise CommandError(
        "psql is not installed (package postgresql-client); any other client can use `borealis local uri`"
    )


def uri(
    reader: ReaderOption = False,
    cluster: ClusterOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Print a connection URI, password included.

    \b
    Examples:
      psql "$(borealis local uri)"
      borealis ledger run --url "$(borealis local uri)"
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        output.say(clusters.login(client, clusters.choose(client, namespace, cluster), reader=reader).uri)
