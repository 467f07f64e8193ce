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
from borealis_local.cli.trust import find_trust
from borealis_local.errors import CommandError

ReaderOption = Annotated[bool, typer.Option("--reader", help="The reader endpoint instead of the writer's.")]


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql.")] = None,
    reader: ReaderOption = False,
    cluster: ClusterOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Open psql on the writer endpoint, or on the reader endpoint; by verified TLS where the server offers it.

    \b
    Examples:
      borealis local psql
      borealis local psql --reader
      borealis local psql -- -c 'select pg_is_in_recovery()'
      borealis local psql -- -c 'select ssl, version from pg_stat_ssl where pid = pg_backend_pid()'
    """
    with output.told_errors():
        where = state_of(state)
        client = Client.of(where)
        chosen = clusters.choose(client, namespace, cluster)
        login = clusters.login(client, chosen, reader=reader)
        trust = find_trust(client, where, chosen, login, reader=reader)
        program = _find_psql()
        env = {
            **os.environ,
            "PGHOST": login.host,
            "PGPORT": str(login.port),
            "PGUSER": login.user,
            "PGPASSWORD": login.password,
            "PGDATABASE": login.database,
            **(trust.environment(login) if trust else {}),
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
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the server's certificate (sslmode=verify-full, for libpq's clients)."),
    ] = False,
    cluster: ClusterOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Print a connection URI, password included.

    Clients of libpq encrypt by themselves where the server offers TLS; --verify has them check who answers, too.

    \b
    Examples:
      psql "$(borealis local uri)"
      psql "$(borealis local uri --verify)"
      borealis ledger run --url "$(borealis local uri)"
    """
    with output.told_errors():
        where = state_of(state)
        client = Client.of(where)
        chosen = clusters.choose(client, namespace, cluster)
        login = clusters.login(client, chosen, reader=reader)
        if not verify:
            output.say(login.uri)
            return
        trust = find_trust(client, where, chosen, login, reader=reader)
        if trust is None:
            raise CommandError(f"{chosen['metadata']['name']} offers no TLS yet; leave out --verify, or try again")
        output.say(trust.uri(login))
