"""What ails objects, in words: the conditions that are not as they should be.

Most conditions are good when True. Some tell of a thing that is there (a notice), some of what this release has not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Object = Mapping[str, Any]
NOTICES: Final = ("SnapshotsExist", "NameReserved", "StorageReplacement")  # worth saying when True
EXPECTED: Final = ("Restorable",)  # False by design
STORAGE_FIELDS: Final = ("name", "zone", "node", "state", "since", "message")
KINDS: Final = ("DBCluster", "DBInstance", "Snapshot")


def ailments(obj: Object) -> Iterator[str]:
    """Give a line for each condition that the user should know of."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        kind, word = condition["type"], condition["status"]
        if kind in EXPECTED or word == ("False" if kind in NOTICES else "True"):
            continue
        reason, message = condition.get("reason", ""), condition.get("message", "")
        yield f"{kind} is {word} ({reason}): {message}" if message else f"{kind} is {word} ({reason})"


def storage_rows(cluster: Object) -> Iterator[tuple[str, ...]]:
    """Give a row for each storage node of a DBCluster: where it is, how it is, since when, and what is being done."""
    for node in (cluster.get("status") or {}).get("storageNodes") or ():
        yield tuple(str(node.get(key) or "") for key in STORAGE_FIELDS)


def told(obj: Object) -> Iterator[str]:
    """Give the ailments of an object, each under its name."""
    name = f"{obj['kind'].lower()}/{obj['metadata']['name']}"
    yield from (f"{name}: {line}" for line in ailments(obj))
