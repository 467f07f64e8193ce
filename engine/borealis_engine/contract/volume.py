"""The volume's configuration: who the members are, and where they were last seen.

`generation` is for safety and changes only by compare-and-swap on the Kubernetes API; `revision` orders address
books within a generation. Nodes keep the higher (generation, revision).

A member is replaced in two generations, one member at a time: g+1 is the joint configuration, the old six and who is
`joining`; g+2 has the new member in place of the old one, once it has reported at generation g+1 that it is
`current` (or the old six again: given up). Why no two generations ever decide apart: docs/decisions/011.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
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
class Joining:
    """A replacement under way: `member`, with a new identity and an empty disk, is to take the place of `replaces`."""

    member: Member
    replaces: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeConfig:
    """Membership and address book of one volume; `members` are the old six while somebody is `joining`."""

    cluster_uid: str
    generation: Generation
    revision: int
    sealed: bool
    members: tuple[Member, ...]
    joining: Joining | None = None

    @property
    def everyone(self) -> tuple[Member, ...]:
        """All who take part in any way: the six, and who is joining."""
        return self.members if self.joining is None else (*self.members, self.joining.member)

    @property
    def version(self) -> tuple[int, int]:
        """Order of configurations: the higher one is kept."""
        return (self.generation, self.revision)

    @lru_cache(maxsize=16)  # noqa: B019 - values, and few: each refusal of a generation carries one
    def to_json(self) -> str:
        """Render for environment, ConfigMap and wire."""
        raw: dict[str, Any] = {
            "clusterUid": self.cluster_uid,
            "generation": self.generation,
            "revision": self.revision,
            "sealed": self.sealed,
            "members": [_render_member(member) for member in self.members],
        }
        if self.joining is not None:
            raw["joining"] = {**_render_member(self.joining.member), "replaces": self.joining.replaces}
        return json.dumps(raw, separators=(",", ":"))

    @classmethod
    @lru_cache(maxsize=16)
    def from_json(cls, text: str) -> "VolumeConfig":
        """Parse `to_json`; KeyError, TypeError or ValueError on anything else. Where it may be damaged: `parse`."""
        raw: dict[str, Any] = json.loads(text)
        uid, joining = raw["clusterUid"], raw.get("joining")
        return cls(
            cluster_uid=uid,
            generation=Generation(int(raw["generation"])),
            revision=int(raw["revision"]),
            sealed=bool(raw["sealed"]),
            members=tuple(_parse_member(member) for member in raw["members"]),
            joining=Joining(member=_parse_member(joining), replaces=MemberId(joining["replaces"])) if joining else None,
        )


def parse(text: str) -> VolumeConfig:
    """Read a configuration that may be damaged or made by hand; ValueError says what is wrong with it."""
    try:
        config = VolumeConfig.from_json(text)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a volume configuration: {error!r}") from error
    if wrong := malformation(config):
        raise ValueError(f"no possible volume configuration: {wrong}")
    return config


def malformation(config: VolumeConfig) -> str:
    """Say what in a configuration cannot be, whoever sent it; empty if nothing is wrong."""
    ids, names = [m.id for m in config.everyone], [m.name for m in config.everyone]
    joining, sealed = config.joining, config.generation > 0
    words = [(m.id, 16) for m in config.everyone] + [(m.name, 253) for m in config.everyone]
    addresses = [(f"-{m.address}", 80) for m in config.everyone]
    faults = {
        "clusterUid is missing, or generation or revision is negative": not config.cluster_uid
        or min(config.generation, config.revision) < 0,
        f"generation {config.generation} and sealed={config.sealed} do not fit": config.sealed != sealed,
        f"members has {len(config.members)} entries, not {MEMBERS}": len(config.members) != MEMBERS,
        "two members have the same id or name": len({*ids}) != len(ids) or len({*names}) != len(names),
        "a member's id, name or address is none": not all(_is_word(*word) for word in words + addresses),
        "who is joining replaces no member": joining is not None
        and not (sealed and joining.replaces in ids[: len(config.members)]),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _is_word(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isascii() and text.isprintable() and " " not in text


def _render_member(member: Member) -> dict[str, str]:
    return {"id": member.id, "name": member.name, "zone": member.zone, "address": member.address}


def _parse_member(raw: dict[str, str]) -> Member:
    return Member(id=MemberId(raw["id"]), name=raw["name"], zone=raw["zone"], address=raw.get("address", ""))


def format_lsn(lsn: int) -> str:
    """Give PostgreSQL's text form, `X/X`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> Lsn:
    """Read PostgreSQL's text form, `X/X`; ValueError on anything else."""
    high, low = text.split("/")
    return Lsn((int(high, 16) << 32) | int(low, 16))
