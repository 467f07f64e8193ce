"""The `borealis` command."""

import typer

from borealis_local.cli import commands, kill, objects, sql
from borealis_local.ledger import app as ledger

app = typer.Typer(
    help="Aurora-style PostgreSQL clusters.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
local = typer.Typer(
    help="Clusters on this machine, without Kubernetes: the same operator, agents and storage nodes as processes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for command in (
    commands.up,
    commands.down,
    commands.status,
    commands.kubeconfig,
    sql.psql,
    sql.uri,
    objects.apply,
    objects.get,
    objects.delete,
    objects.logs,
):
    local.command()(command)
local.add_typer(kill.app, name="kill")
app.add_typer(local, name="local")
app.add_typer(ledger, name="ledger")


def main() -> None:
    """Run the command line."""
    app()
