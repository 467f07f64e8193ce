"""Snapshot: a named point of a cluster's log. This release keeps the object and says that it takes none yet."""

from dataclasses import dataclass

from borealis_operator.api.fields import Raw, section, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One Snapshot."""

    namespace: str
    name: str
    cluster: str
    status: Raw


def parse_snapshot(raw: Raw) -> Snapshot:
    """Parse a Snapshot."""
    meta = section(raw, "metadata")
    return Snapshot(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster=text(section(raw, "spec"), "clusterName", "spec.clusterName"),
        status=section(raw, "status"),
    )
