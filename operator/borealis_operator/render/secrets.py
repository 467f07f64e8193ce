"""Secrets: the master user's connection, and certificates. Values are given; nothing is invented here."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from borealis_engine.contract.names import POSTGRES_PORT
from borealis_engine.contract.status import DatabaseSpec

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.extensions import Extensions
from borealis_operator.api.names import ca_name, master_name, reader_service, server_ca_name, tls_name, writer_service
from borealis_operator.render.metadata import Object, render_metadata

DEFAULT_DATABASE = "postgres"


def writer_host(cluster: Cluster) -> str:
    """DNS name of the writer endpoint, as seen from any namespace."""
    return f"{writer_service(cluster.name)}.{cluster.key.namespace}.svc"


def server_hosts(cluster: Cluster) -> tuple[str, ...]:
    """DNS names of both endpoints in all forms that a resolver in Kubernetes takes, the writer's full one first."""
    namespace = cluster.key.namespace
    forms = (f".{namespace}.svc", f".{namespace}.svc.cluster.local", f".{namespace}", "")
    return tuple(f"{s}{form}" for s in (writer_service(cluster.name), reader_service(cluster.name)) for form in forms)


def render_master(cluster: Cluster, password: str, ca: str = "") -> Object:
    """Give the Secret by which applications connect as the master user; `ca` (PEM) as soon as there is one."""
    user, host = cluster.spec.master_username, writer_host(cluster)
    dbname = cluster.spec.database_name or DEFAULT_DATABASE
    return _secret(
        cluster,
        master_name(cluster.name),
        {
            "host": host,
            "port": str(POSTGRES_PORT),
            "username": user,
            "user": user,
            "password": password,
            "dbname": dbname,
            "uri": f"postgresql://{user}:{quote(password, safe='')}@{host}:{POSTGRES_PORT}/{dbname}",
            **({"ca.crt": ca} if ca else {}),
        },
    )


def render_server_ca(cluster: Cluster, certificate: str) -> Object:
    """Give the Secret by which clients check PostgreSQL's certificate (`sslrootcert`), PEM; it may be copied freely."""
    return _secret(cluster, server_ca_name(cluster.name), {"ca.crt": certificate})


def render_ca(cluster: Cluster, certificate: str, key: str) -> Object:
    """Give the Secret of the cluster's authority, PEM."""
    return _secret(cluster, ca_name(cluster.name), {"tls.crt": certificate, "tls.key": key})


def render_leaf(cluster: Cluster, role: str, ca: str, certificate: str, key: str) -> Object:
    """Give the Secret of one role's leaf certificate, or of PostgreSQL's own (`SERVER`), PEM."""
    data = {"ca.crt": ca, "tls.crt": certificate, "tls.key": key}
    return _secret(cluster, tls_name(cluster.name, role), data)


def render_database(cluster: Cluster, password: str) -> DatabaseSpec:
    """Give what the writer must make true in SQL; the digest changes when anything in it does."""
    spec, extensions = cluster.spec, render_extensions(cluster)
    parts = (
        cluster.uid,
        spec.master_username,
        password,
        spec.database_name,
        *([repr(extensions)] if extensions else []),
    )
    return DatabaseSpec(
        master_username=spec.master_username,
        master_password=password,
        database_name=spec.database_name,
        digest=hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32],
        extensions=extensions,
    )


def render_extensions(cluster: Cluster) -> Extensions:
    """Give the extensions of each database, with the first one's name in place of FIRST."""
    found = dict[str, set[str]]()
    for database, names in cluster.spec.extensions.items():
        found.setdefault(database or cluster.spec.database_name or DEFAULT_DATABASE, set()).update(names)
    return {database: tuple(sorted(found[database])) for database in sorted(found)}


def read_secret(secret: Mapping[str, Any], key: str) -> str:
    """Give one value of a live Secret; empty if it is not there or no text: users may put anything into it."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()
    except ValueError:
        return ""


def _secret(cluster: Cluster, name: str, values: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": render_metadata(cluster, name),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
