"""Events for conditions that turned: posted once, when what is said now differs from what was said before."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from borealis_operator.plan.actions import Announce
from borealis_operator.plan.conditions import Condition

GOOD: Final[Mapping[str, str]] = {
    "PodsRunning": "True",
    "StorageSpace": "True",
    "CertificateAuthority": "True",
    "SnapshotsExist": "False",
}  # type to its good status
WELL_AGAIN: Final[Mapping[str, str]] = {"PodsRunning": "PodsRunning", "StorageSpace": "StorageSpaceEnough"}


def announce_turns(before: Sequence[Mapping[str, Any]], after: Sequence[Condition]) -> list[Announce]:
    """Give an event for each condition of `GOOD` that turned bad, turned bad in another way, or turned good again."""
    old = {c["type"]: (c["status"], c["reason"]) for c in before}
    told = []
    for new in after:
        kind = new["type"]
        was, why = old.get(kind, (GOOD.get(kind, ""), ""))
        if kind not in GOOD or (was == new["status"] and (was == GOOD[kind] or why == new["reason"])):
            continue
        good = new["status"] == GOOD[kind]
        reason = WELL_AGAIN.get(kind, "DeletionGoesOn") if good else event_reason(kind, str(new["reason"]))
        told.append(Announce(reason=reason, message=new["message"], warning=not good))
    return told


def event_reason(kind: str, reason: str) -> str:
    """Give the name of the event for a condition that is bad for `reason`."""
    if kind == "CertificateAuthority":
        return f"{kind}{reason}"
    return f"Storage{reason}" if kind == "StorageSpace" else "DeletionWaits" if kind == "SnapshotsExist" else reason
