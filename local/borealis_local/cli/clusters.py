"""What commands need to know of DBClusters: which one is meant, how far it is, how to reach it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from borealis_local.cli.client import Client, Object
from borealis_local.errors import CommandError

GROUP = "/apis/borealis.dev/v1alpha1"


def cluster_path(namespace: str, name: str = "") -> str:
    """Give the path of DBClusters."""
    return f"{GROUP}/namespaces/{namespace}/dbclusters" + (f"/{name}" if name else "")


def choose(client: Client, namespace: str, name: str) -> Object:
    """Give the cluster that is meant: by name, or the only one. CommandError says what to type otherwise."""
    if name:
        found = client.find(cluster_path(namespace, name))
        if found is None:
            raise CommandError(f'there is no DBCluster "{name}" in namespace {namespace}')
        return found
    clusters = client.items(cluster_path(namespace))
    if not clusters:
        raise CommandError("there is no DBCluster; make one with `borealis local apply -f examples/quickstart.yaml`")
    if len(clusters) > 1:
        names = ", ".join(c["metadata"]["name"] for c in clusters)
        raise CommandError(f"there are several clusters ({names}): choose one with --cluster")
    return clusters[0]


def wanted_readers(cluster: Mapping[str, Any]) -> int:
    """Give how many readers a cluster should have: spec.readers, within the limits of spec.readerAutoscaling."""
    wanted, limits = int(cluster["spec"].get("readers", 0)), cluster["spec"].get("readerAutoscaling")
    return min(max(wanted, limits.get("minReaders", 1)), limits["maxReaders"]) if limits else wanted


def is_available(cluster: Mapping[str, Any]) -> bool:
    """Whether a cluster is complete: available, observed, with all its readers and storage nodes."""
    status = cluster.get("status") or {}
    wanted = wanted_readers(cluster)
    observed = status.get("observedGeneration", 0) >= cluster["metadata"].get("generation", 0)
    storage = str(status.get("storage", "0/0")).partition("/")
    complete = storage[0] == storage[2] != "0"
    return bool(observed and status.get("status") == "available" and status.get("readers", 0) >= wanted and complete)


def is_usable(client: Client, cluster: Mapping[str, Any]) -> bool:
    """Whether a cluster is complete, its pods are ready now, and its writer endpoint takes a connection.

    The last two because after a start the status may still speak of the time before. A pod that no node takes is what
    somebody asked for on top, and not waited for.
    """
    if not is_available(cluster):
        return False
    metadata = cluster["metadata"]
    query = urlencode({"labelSelector": f"borealis.dev/cluster={metadata['name']}"})
    pods = client.items(f"/api/v1/namespaces/{metadata['namespace']}/pods?{query}")
    if not pods or not all(_is_ready(p) for p in pods if p["spec"].get("nodeName")):
        return False
    try:
        to = login(client, cluster, reader=False)
        with psycopg.connect(to.uri, connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except (CommandError, psycopg.Error):
        return False
    return True


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def progress(cluster: Mapping[str, Any]) -> str:
    """Say in a line how far a cluster is."""
    status = cluster.get("status") or {}
    if not status.get("status"):
        return "waiting for the operator"
    parts = [f"status {status['status']}", f"storage {status.get('storage') or '0/6'}"]
    parts.append(f"writer {status.get('writer') or 'none yet'}")
    parts.append(f"readers {status.get('readers', 0)}/{wanted_readers(cluster)}")
    return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a client connects."""

    host: str
    port: int
    user: str
    password: str
    database: str

    @property
    def uri(self) -> str:
        """Give it as a URI, password included."""
        secret = quote(self.password, safe="")
        return f"postgresql://{quote(self.user, safe='')}:{secret}@{self.host}:{self.port}/{self.database}"


def login(client: Client, cluster: Mapping[str, Any], *, reader: bool) -> Login:
    """Give how to connect to an endpoint of a cluster; CommandError while it has none."""
    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    base = f"/api/v1/namespaces/{namespace}"
    told = ((cluster.get("status") or {}).get("masterUserSecret") or {}).get("name") or f"{name}-master"
    secret = client.find(f"{base}/secrets/{told}")
    service = client.find(f"{base}/services/{name}-ro" if reader else f"{base}/services/{name}")
    if secret is None or service is None:
        raise CommandError(f"{name} has no endpoint yet ({progress(cluster)})")
    values = {k: base64.b64decode(v).decode() for k, v in secret["data"].items()}
    return Login(
        host=service["spec"]["clusterIP"],
        port=int(values.get("port") or 5432),
        user=values.get("username") or values["user"],
        password=values["password"],
        database=values.get("dbname") or "postgres",
    )
