"""kubectl's four commonest commands, for machines without kubectl."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from borealis_local.cli import output
from borealis_local.cli.client import Client
from borealis_local.cli.commands import NamespaceOption, StateOption, apply_files, state_of

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def apply(
    file: Annotated[list[Path], typer.Option("--file", "-f", help="YAML file; may be repeated.")],
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Apply the objects of YAML files, server-side.

    \b
    Examples:
      borealis local apply -f examples/quickstart.yaml
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        for name in apply_files(client, file, namespace):
            output.say(f"{name} applied")


def get(
    kind: Annotated[str, typer.Argument(help="Kind: dbcluster, pods, svc, ...")],
    name: Annotated[str, typer.Argument(help="Name; all of the kind without it.")] = "",
    form: Annotated[str, typer.Option("--output", "-o", help="json, yaml, name or wide.")] = "",
    namespace: NamespaceOption = "default",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    state: StateOption = None,
) -> None:
    """Show objects.

    \b
    Examples:
      borealis local get dbcluster
      borealis local get pods -o wide
      borealis local get dbcluster quickstart -o json
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        path = client.find_kind(kind).path("" if everywhere else namespace, name)
        if form in ("", "wide"):
            output.show_table(client.request("GET", path, accept=TABLE), wide=form == "wide")
            return
        found = client.request("GET", path)
        if form == "name":
            for item in found.get("items", [found]):
                output.say(item["metadata"]["name"])
            return
        output.show(found, form)


def delete(
    kind: Annotated[str, typer.Argument(help="Kind.")],
    name: Annotated[str, typer.Argument(help="Name.")],
    now: Annotated[bool, typer.Option("--now", help="Kill a pod without grace.")] = False,
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Delete an object.

    \b
    Examples:
      borealis local delete dbcluster quickstart
      borealis local delete pod quickstart-storage-0 --now
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        found = client.find_kind(kind)
        body = {"propagationPolicy": "Background", **({"gracePeriodSeconds": 0} if now else {})}
        client.request("DELETE", found.path(namespace, name), body)
        output.say(f"{found.kind.lower()}/{name} deleted")


def logs(
    pod: Annotated[str, typer.Argument(help="Pod.")],
    container: Annotated[str, typer.Option("--container", help="Container; the first without it.")] = "",
    tail: Annotated[int, typer.Option("--tail", help="Last lines only; -1 for all.")] = -1,
    namespace: NamespaceOption = "default",
    state: StateOption = None,
) -> None:
    """Print the log of a pod.

    \b
    Examples:
      borealis local logs quickstart-storage-0 --tail 20
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        query = {"container": container} if container else {}
        query |= {"tailLines": str(tail)} if tail >= 0 else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        text = client.request("GET", f"{path}?{urlencode(query)}")
        typer.echo(text, nl=False)
