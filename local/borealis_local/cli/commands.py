"""The commands of `borealis local` that start, end, show and break a local cluster."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from borealis_local.cli import assets, background, clusters, output, trouble
from borealis_local.cli.client import Client, Kind
from borealis_local.errors import CommandError
from borealis_local.state import ENV_STATE, State, default_directory

READY_S, POLL_S = 180.0, 0.3
SHOWN = ("DBCluster", "DBInstance", "Snapshot", "Pod", "Service", "Node")
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar=ENV_STATE,
        help="Directory that holds everything. Default: /var/lib/borealis for root, else ~/.local/share/borealis.",
    ),
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace.")]
ClusterOption = Annotated[str, typer.Option("--cluster", "-c", help="DBCluster; needed if there are several.")]


def state_of(directory: Path | None) -> State:
    """Give the state directory that is meant."""
    chosen = directory or default_directory(os.environ, root=os.geteuid() == 0)
    return State(root=chosen.expanduser().absolute())


def up(
    state: StateOption = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="Apply this instead of examples/quickstart.yaml.")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Apply nothing but the CRDs and admission policies.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the clusters are available.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = READY_S,
    operator: Annotated[bool, typer.Option("--operator/--no-operator", help="Run the operator.")] = True,
) -> None:
    """Start local mode and a first cluster; what is already there is left alone.

    \b
    Examples:
      borealis local up
      borealis local up --file my-cluster.yaml
      borealis local up --empty --state /tmp/try
    """
    with output.told_errors():
        where = state_of(state)
        with output.progress(f"starting on {where.root}") as progress:
            client = background.start(where, operator=operator)
            apply_crds(client)
            apply_files(client, _chosen(client, file, empty=empty))
            if wait and operator:
                _await_clusters(client, progress, timeout)
        _say_how_to_connect(client, where)


def _chosen(client: Client, files: list[Path] | None, *, empty: bool) -> list[Path]:
    """Give the files to apply: those asked for, else the quick start unless a cluster is already there."""
    if files or empty:
        return files or []
    if client.items(f"{clusters.GROUP}/dbclusters"):
        return []
    return [assets.directory("examples") / assets.QUICKSTART]


def apply_crds(client: Client) -> None:
    """Apply the CRDs and the admission policies that ship with Borealis."""
    for name in ("crds", "policies"):
        apply_files(client, sorted(assets.directory(name).glob("*.yaml")))


def apply_files(client: Client, files: list[Path], namespace: str = "default") -> list[str]:
    """Apply the objects of some files; give what was applied as `kind/name`."""
    applied = []
    for path in files:
        for document in assets.documents(path):
            made = client.apply(document, namespace)
            applied.append(f"{made['kind'].lower()}/{made['metadata']['name']}")
    return applied


def _await_clusters(client: Client, progress: output.Progress, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        found = client.items(f"{clusters.GROUP}/dbclusters")
        unready = [c for c in found if not clusters.is_usable(client, c)]
        for cluster in unready or found:
            progress.update(f"{cluster['metadata']['name']}: {clusters.progress(cluster)}")
        if not unready:
            return
        if time.monotonic() > deadline:
            names = ", ".join(f"{c['metadata']['name']} ({clusters.progress(c)})" for c in unready)
            words = [f"\n  {line}" for c in unready for line in trouble.ailments(c)]
            raise CommandError(
                f"not available after {timeout:.0f} s: {names}; see `borealis local status`{''.join(words)}"
            )
        time.sleep(POLL_S)


def _say_how_to_connect(client: Client, state: State) -> None:
    hint = (
        ""
        if state.root == default_directory({**os.environ, ENV_STATE: ""}, root=os.geteuid() == 0)
        else (f" --state {state.root}")
    )
    for cluster in client.items(f"{clusters.GROUP}/dbclusters"):
        try:
            writer = clusters.login(client, cluster, reader=False)
            reader = clusters.login(client, cluster, reader=True)
        except CommandError as error:
            output.say(str(error))
            continue
        output.say(f"{cluster['metadata']['name']} is {(cluster.get('status') or {}).get('status', 'new')}")
        output.say(f"  writer  {writer.host}:{writer.port}   readers  {reader.host}:{reader.port}")
        output.say(f"  borealis local psql{hint}            SQL as {writer.user}; --reader for a reader")
        output.say(f"  borealis local uri{hint}             the same as a URI, password included")
        output.say(f"  borealis local kill writer{hint}     then watch it fail over")
    output.say(f"  export KUBECONFIG={state.kubeconfig}   for kubectl")


def down(
    state: StateOption = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete all data too.")] = False,
) -> None:
    """Stop everything and keep the data; the next `up` brings the same databases back.

    \b
    Examples:
      borealis local down
      borealis local down --purge
    """
    with output.told_errors():
        where = state_of(state)
        with output.progress("stopping"):
            stopped = background.stop(where)
        if purge:
            background.purge(where)
        told = "stopped" if stopped else "was not up"
        output.say(f"{told}; {'all data is deleted' if purge else f'data is kept in {where.root}'}")


def status(state: StateOption = None) -> None:
    """Show clusters, instances, storage nodes and fake nodes, and in words what is not as it should be.

    \b
    Examples:
      borealis local status
    """
    with output.told_errors():
        client = Client.of(state_of(state))
        found = [k for k in client.kinds() if k.kind in SHOWN]
        for kind in sorted(found, key=lambda k: SHOWN.index(k.kind)):
            accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
            table = client.request("GET", kind.path(""), accept=accept)
            if table["rows"]:
                output.say(f"{kind.kind}s")
                output.show_table(table, wide=kind.kind == "Pod")
                output.say("")
        _say_storage(client, [k for k in found if k.kind == "DBCluster"])
        _say_trouble(client, [k for k in found if k.kind in trouble.KINDS])


def _say_storage(client: Client, kinds: Sequence[Kind]) -> None:
    rows = [row for k in kinds for cluster in client.items(k.path("")) for row in trouble.storage_rows(cluster)]
    if rows:
        output.say("Storage nodes")
        output.columns_of([field.upper() for field in trouble.STORAGE_FIELDS], rows)
        output.say("")


def _say_trouble(client: Client, kinds: Sequence[Kind]) -> None:
    objects = [{**item, "kind": k.kind} for k in kinds for item in client.items(k.path(""))]
    lines = [line for obj in objects for line in trouble.told(obj)]
    for line in ["Not as it should be", *(f"  {line}" for line in lines)] if lines else []:
        output.say(line)


def kubeconfig(state: StateOption = None) -> None:
    """Print the path of the kubeconfig, for kubectl and other clients.

    \b
    Examples:
      export KUBECONFIG=$(borealis local kubeconfig)
    """
    with output.told_errors():
        where = state_of(state)
        if not where.kubeconfig.exists():
            raise CommandError("there is no kubeconfig yet: start with `borealis local up`")
        output.say(str(where.kubeconfig))
