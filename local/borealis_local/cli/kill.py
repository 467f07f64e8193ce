"""Breaking things on purpose: the writer's PostgreSQL, a node, a zone."""

from typing import Annotated

import typer

from borealis_local.cli import clusters, output
from borealis_local.cli.client import Client
from borealis_local.cli.commands import ClusterOption, NamespaceOption, StateOption, state_of
from borealis_local.errors import CommandError

app = typer.Typer(help="Break something on purpose, and see what happens.", no_args_is_help=True)
SecondsOption = Annotated[float, typer.Option("--seconds", help="How long the power stays off.")]


@app.command()
def writer(cluster: ClusterOption = "", namespace: NamespaceOption = "default", state: StateOption = None) -> None:
    """SIGKILL the PostgreSQL server of the writer.

    \b
    Examples:
      borealis local kill writer
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        found = clusters.choose(client, namespace, cluster)
        pod = (found.get("status") or {}).get("writer")
        if not pod:
            raise CommandError(f"{found['metadata']['name']} has no writer now ({clusters.progress(found)})")
        body = {"postgres": {"namespace": namespace, "name": pod}}
        killed = client.request("POST", "/local/kill", body)["killed"]
        if not killed:
            raise CommandError(f"no PostgreSQL runs in pod {pod}")
        output.say(f"killed PostgreSQL of {pod} (process {', '.join(map(str, killed))})")


@app.command()
def node(
    name: Annotated[str, typer.Argument(help="Node: node-1 to node-6, or just the number.")],
    seconds: SecondsOption = 10.0,
    state: StateOption = None,
) -> None:
    """Power-cycle a fake node: all of its processes get SIGKILL, and come back after some seconds.

    \b
    Examples:
      borealis local kill node 2
      borealis local kill node node-2 --seconds 30
    """
    with output.told_errors():
        wanted = f"node-{name}" if name.isdigit() else name
        _off(state_client=Client.of(state_of(state)), body={"node": wanted, "seconds": seconds})


@app.command()
def zone(
    name: Annotated[str, typer.Argument(help="Zone: zone-a, zone-b or zone-c, or just the letter.")],
    seconds: SecondsOption = 10.0,
    state: StateOption = None,
) -> None:
    """Power-cycle both nodes of a zone.

    \b
    Examples:
      borealis local kill zone b
    """
    with output.told_errors():
        wanted = f"zone-{name}" if len(name) == 1 else name
        _off(state_client=Client.of(state_of(state)), body={"zone": wanted, "seconds": seconds})


def _off(*, state_client: Client, body: dict[str, object]) -> None:
    nodes = state_client.request("POST", "/local/kill", body)["off"]
    output.say(f"{', '.join(nodes)} without power for {body['seconds']:g} s")
