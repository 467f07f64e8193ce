"""Snapshot: a named point of a cluster's log, as the user asked for it and as the operator last told of it."""

from dataclasses import dataclass

from borealis_operator.api.fields import Raw, section, text, timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One Snapshot."""

    namespace: str
    name: str
    cluster: str
    status: Raw
    uid: str = ""
    generation: int = 1
    version: str = ""  # resourceVersion
    created: float = 0.0  # seconds since 1970
    deleting: bool = False


def parse_snapshot(raw: Raw) -> Snapshot:
    """Parse a Snapshot."""
    meta = section(raw, "metadata")
    return Snapshot(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster=text(section(raw, "spec"), "clusterName", "spec.clusterName"),
        status=section(raw, "status"),
        uid=str(meta.get("uid", "")),
        generation=int(meta.get("generation", 1)),
        version=str(meta.get("resourceVersion", "")),
        created=timestamp(meta.get("creationTimestamp")),
        deleting=bool(meta.get("deletionTimestamp")),
    )
