"""The volume's configuration: who the members are, and where they were last seen.

`generation` is for safety and changes only by compare-and-swap on the Kubernetes API; `revision` orders address
books within a generation. Nodes keep the higher (generation, revision).
"""

import json
from dataclasses import dataclass
from typing import Any, NewType

Lsn = NewType("Lsn", int)  # byte position in the WAL
Epoch = NewType("Epoch", int)  # number of a reign; equals the PostgreSQL timeline
MemberId = NewType("MemberId", str)  # 16 hex digits; a new disk is a new member
Generation = NewType("Generation", int)

MEMBERS = 6
WRITE_QUORUM = 4
READ_QUORUM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One storage node of the volume; `address` is `ip:port` of its log protocol, empty while unknown."""

    id: MemberId
    name: str
    zone: str
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeConfig:
    """Membership and address book of one volume."""

    cluster_uid: str
    generation: Generation
    revision: int
    sealed: bool
    members: tuple[Member, ...]

    @property
    def version(self) -> tuple[int, int]:
        """Order of configurations: the higher one is kept."""
        return (self.generation, self.revision)

    def to_json(self) -> str:
        """Render for environment, ConfigMap and wire."""
        return json.dumps(
            {
                "clusterUid": self.cluster_uid,
                "generation": self.generation,
                "revision": self.revision,
                "sealed": self.sealed,
                "members": [{"id": m.id, "name": m.name, "zone": m.zone, "address": m.address} for m in self.members],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "VolumeConfig":
        """Parse `to_json`; KeyError, TypeError or ValueError on anything else."""
        raw: dict[str, Any] = json.loads(text)
        return cls(
            cluster_uid=raw["clusterUid"],
            generation=Generation(int(raw["generation"])),
            revision=int(raw["revision"]),
            sealed=bool(raw["sealed"]),
            members=tuple(
                Member(id=MemberId(m["id"]), name=m["name"], zone=m["zone"], address=m.get("address", ""))
                for m in raw["members"]
            ),
        )


def format_lsn(lsn: int) -> str:
    """Give PostgreSQL's text form, `X/X`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> Lsn:
    """Read PostgreSQL's text form, `X/X`; ValueError on anything else."""
    high, low = text.split("/")
    return Lsn((int(high, 16) << 32) | int(low, 16))
