"""DBCluster: the parsed wish of a user, and what the operator itself wrote into its status before.

The engine version is decided once: a cluster that did not ask for one keeps the default of the day it was made.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from borealis_engine.contract.names import REPLICATION, SUPERUSER

from borealis_operator.api.autoscaling import MAX_READERS, Autoscaling, parse_autoscaling
from borealis_operator.api.catalogue import ENGINES, Catalogue
from borealis_operator.api.classes import CLASS_NAME, Resources
from borealis_operator.api.clients import Peer, parse_clients
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.extensions import Extensions, parse_extensions
from borealis_operator.api.fields import Raw, duration, flag, number, quantity, section, text

DEFAULT_READERS: Final = 1
DEFAULT_SIZE: Final = "10Gi"
DEFAULT_DELAY: Final = "5m"
DEFAULT_MASTER: Final = "borealis"
IDENTIFIER: Final = r"[a-z_][a-z0-9_]{0,62}"
RESERVED: Final = frozenset({"postgres", "public", "none", "current_user", "session_user", "user"})
AGENTS: Final = frozenset({SUPERUSER, REPLICATION})
MAX_NAME: Final = 45  # leaves room for "-instance-<n>-<5 characters>" in a label of 63
SERVICE_NAME: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
PARAMETER_NAME: Final = r"[a-z_][a-z0-9_]{0,62}([.][a-z_][a-z0-9_]{0,62})?"
PARAMETER_REMEDY: Final = "write it in lower case, with digits, underscores and at most one dot, such as work_mem"
OBJECT_NAME: Final = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"  # no slash: the name becomes a part of a path that we read


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterKey:
    """Which DBCluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSpec:
    """PVC of each storage node (an empty class means the default one), and how long a lost one is waited for."""

    class_name: str
    size: str
    replacement_delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What the user asked for, with defaults filled in."""

    engine: str
    engine_version: str
    image: str
    readers: int
    storage: StorageSpec
    database_name: str
    master_username: str
    master_secret: str  # name of the user's own Secret, empty: a password is generated
    resources: Resources  # of instances; beside an instance class there are none
    instance_class: str = ""
    autoscaling: Autoscaling | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # as written, Borealis's own not left out
    deletion_protection: bool = False
    clients: tuple[Peer, ...] | None = None  # who may connect; None: everybody
    extensions: Extensions = field(default_factory=dict)  # by database; "" for the first one

    @property
    def wanted_readers(self) -> int:
        """`readers`, within the bounds of autoscaling if there is any."""
        return self.autoscaling.clamp(self.readers) if self.autoscaling else self.readers


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """What the operator wrote before; the only memory that outlives it besides the objects themselves."""

    phase: str
    epoch: int
    writer: str
    raw: Mapping[str, Any]

    @property
    def conditions(self) -> Sequence[Raw]:
        """The conditions as they were written last."""
        return self.raw.get("conditions") or ()

    def condition(self, kind: str) -> Raw:
        """Give one of them; empty if it was never written."""
        return next((c for c in self.conditions if c["type"] == kind), {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One DBCluster as of now."""

    key: ClusterKey
    uid: str
    generation: int
    deleting: bool
    spec: ClusterSpec
    status: ClusterStatus

    @property
    def name(self) -> str:
        """Its name, from which all others derive."""
        return self.key.name


def parse_cluster(raw: Raw, catalogue: Catalogue) -> Cluster:
    """Parse a DBCluster; ConfigInvalid names the first field that is wrong."""
    meta, status = section(raw, "metadata"), parse_status(raw)
    if len(meta["name"]) > MAX_NAME:
        raise ConfigInvalid("metadata.name", f"is longer than {MAX_NAME} characters", "use a shorter name")
    remedy = "use lower case letters, digits and '-', starting with a letter"
    text(meta, "name", "metadata.name", pattern=SERVICE_NAME, remedy=remedy)
    return Cluster(
        key=ClusterKey(namespace=meta["namespace"], name=meta["name"]),
        uid=meta["uid"],
        generation=int(meta.get("generation", 1)),
        deleting=bool(meta.get("deletionTimestamp")),
        spec=parse_spec(section(raw, "spec"), status, catalogue),
        status=status,
    )


def parse_status(raw: Raw) -> ClusterStatus:
    """Give what the operator wrote before, with zero values where it has not written yet."""
    status = section(raw, "status")
    return ClusterStatus(
        phase=str(status.get("status", "")),
        epoch=int(status.get("epoch", 0)),
        writer=str(status.get("writer", "")),
        raw=status,
    )


def parse_spec(spec: Raw, status: ClusterStatus, catalogue: Catalogue) -> ClusterSpec:
    """Fill in defaults and check every field of `spec`."""
    version = _version(spec, status, catalogue)
    storage, resources = section(spec, "storage"), section(spec, "instance", "resources")
    return ClusterSpec(
        engine=_engine(spec),
        engine_version=version,
        image=catalogue.image(version),
        readers=number(spec, "readers", "spec.readers", default=DEFAULT_READERS, low=0, high=MAX_READERS),
        storage=StorageSpec(
            class_name=text(storage, "className", "spec.storage.className"),
            size=quantity(storage, "size", "spec.storage.size", default=DEFAULT_SIZE, zero=False),
            replacement_delay_s=duration(
                storage, "replacementDelay", "spec.storage.replacementDelay", default=DEFAULT_DELAY
            ),
        ),
        database_name=_identifier(spec, "databaseName", default=""),
        master_username=_identifier(spec, "masterUsername", default=DEFAULT_MASTER),
        master_secret=_secret_name(spec),
        resources=Resources(
            cpu=quantity(resources, "cpu", "spec.instance.resources.cpu"),
            memory=quantity(resources, "memory", "spec.instance.resources.memory"),
        ),
        instance_class=_class(spec),
        autoscaling=parse_autoscaling(section(spec, "readerAutoscaling")) if spec.get("readerAutoscaling") else None,
        parameters=_parameters(spec),
        deletion_protection=flag(spec, "deletionProtection", "spec.deletionProtection"),
        clients=parse_clients(spec),
        extensions=parse_extensions(spec),
    )


def _class(spec: Raw) -> str:
    name_field = "spec.instance.dbInstanceClass"
    given = section(spec, "instance")
    name = text(given, "dbInstanceClass", name_field, pattern=CLASS_NAME, remedy="use a name such as db.large")
    if name and given.get("resources"):
        raise ConfigInvalid(name_field, "stands beside spec.instance.resources", "leave out one of them")
    return name


def _parameters(spec: Raw) -> Mapping[str, str]:
    """Give the parameters as text; which of them may be set is not decided here."""
    given = section(spec, "parameters")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigInvalid(f"spec.parameters.{name}", f"{value!r} is not a string", "put it in quotes")
        if not re.fullmatch(PARAMETER_NAME, name):
            raise ConfigInvalid(f"spec.parameters.{name}", "is no name of a parameter", PARAMETER_REMEDY)
    return {name: str(value) for name, value in given.items()}


def _secret_name(spec: Raw) -> str:
    remedy = "use the name of a Secret in the namespace of the DBCluster"
    given = section(spec, "masterUserSecret")
    return text(given, "name", "spec.masterUserSecret.name", pattern=OBJECT_NAME, remedy=remedy)


def _engine(spec: Raw) -> str:
    engine = text(spec, "engine", "spec.engine", default=ENGINES[0])
    if engine not in ENGINES:
        raise ConfigInvalid("spec.engine", f"{engine!r} is unknown", f"use one of {', '.join(ENGINES)}")
    return ENGINES[0]


def _version(spec: Raw, status: ClusterStatus, catalogue: Catalogue) -> str:
    asked = text(spec, "engineVersion", "spec.engineVersion", remedy='quote the major, as in "17"')
    running = str(status.raw.get("engineVersion", ""))
    if asked and running and asked != running:
        raise ConfigInvalid(
            "spec.engineVersion", f"the cluster runs {running} and cannot change to {asked}", f"set it to {running}"
        )
    return running or asked or catalogue.default


def _identifier(spec: Raw, key: str, *, default: str) -> str:
    field = f"spec.{key}"
    remedy = "use lower case letters, digits and underscores, 63 at most, not starting with a digit or pg_"
    name = text(spec, key, field, default=default, pattern=IDENTIFIER, remedy=remedy)
    if name.startswith("pg_") or name in RESERVED or name in {"template0", "template1"}:
        raise ConfigInvalid(field, f"{name!r} is reserved by PostgreSQL", "choose another name")
    if key == "masterUsername" and name in AGENTS:
        raise ConfigInvalid(field, f"{name!r} is a role of Borealis's own", "choose another name")
    return name
