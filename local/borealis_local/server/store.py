"""Objects, their versions and the recent history of changes, kept in SQLite.

Every write gets the next resource version, is on disk before it is seen, and is told to all subscribers in order.
Objects in here are never changed in place. After a restart the history is empty: a watch from an older version is told
to list again, as Kubernetes does after compaction.
"""

import json
import os
import sqlite3
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from borealis_local.errors import gone
from borealis_local.machinery.resources import Group

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]
HISTORY = 4096
FIRST_VERSION = 1000  # so that small versions are too old to resume from, as on a cluster that has lived a while
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS objects (
        grp TEXT, plural TEXT, namespace TEXT, name TEXT, body TEXT NOT NULL,
        PRIMARY KEY (grp, plural, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


class Key(NamedTuple):
    """Where an object is stored; `namespace` is empty for cluster-wide kinds."""

    group: Group
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write: the object after it (for a deletion: at it), and before it."""

    version: int
    type: EventType
    key: Key
    object: Object
    old: Object | None


class Store:
    """All objects of one local Kubernetes."""

    def __init__(self, path: Path | None = None, *, history: int = HISTORY) -> None:
        """Open or create the store; without a path it lives in memory."""
        if path is not None:  # it holds secrets; SQLite gives its other files the mode of this one
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
        # The store is used from one thread; its end may be the garbage collector's, which runs in any.
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._closing = weakref.finalize(self, self._db.close)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._objects: dict[Group, dict[tuple[str, str], Object]] = {}
        self._subscribers: list[Callable[[Change], None]] = []
        self.version = self._load()
        self._history: deque[Change] = deque(maxlen=history)
        self._oldest = self.version

    def _load(self) -> int:
        for grp, plural, namespace, name, body in self._db.execute("SELECT * FROM objects"):
            self._objects.setdefault(Group(grp, plural), {})[namespace, name] = json.loads(body)
        row = self._db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        return int(row[0]) if row else FIRST_VERSION

    def close(self) -> None:
        """Close the file; the store is of no use afterwards."""
        self._closing()

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        """Give the object, not to be changed, or None."""
        return self._objects.get(key.group, {}).get((key.namespace, key.name))

    def list(self, group: Group, namespace: str = "") -> list[Object]:
        """Give the objects of a kind, of one namespace or of all, ordered by namespace and name."""
        found = sorted(self._objects.get(group, {}).items())
        return [obj for (space, _), obj in found if not namespace or space == namespace]

    def everything(self) -> Iterator[tuple[Key, Object]]:
        """Give all objects of all kinds."""
        for group, objects in list(self._objects.items()):
            for (namespace, name), obj in list(objects.items()):
                yield Key(group, namespace, name), obj

    def since(self, version: int) -> Sequence[Change]:
        """Give all changes after `version`; ApiError 410 if they are no longer known."""
        if version < self._oldest:
            raise gone(version, self._oldest)
        return [c for c in self._history if c.version > version]

    # --- writing --------------------------------------------------------------------------------------------------

    def put(self, key: Key, obj: Object) -> Object:
        """Write an object; give it with its new resource version."""
        old = self.get(key)
        stored = self._stamped(obj)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (*key.group, *key[1:], json.dumps(stored))
            )
        self._objects.setdefault(key.group, {})[key.namespace, key.name] = stored
        self._tell("MODIFIED" if old is not None else "ADDED", key, stored, old)
        return stored

    def delete(self, key: Key, last: Object | None = None) -> Object:
        """Remove an object; give its last state with the version of its end. KeyError if there is none."""
        old = self._objects[key.group].pop((key.namespace, key.name))
        last = self._stamped(last or old)
        with self._transaction():
            self._db.execute(
                "DELETE FROM objects WHERE grp = ? AND plural = ? AND namespace = ? AND name = ?",
                (*key.group, *key[1:]),
            )
        self._tell("DELETED", key, last, old)
        return last

    def _stamped(self, obj: Object) -> Object:
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        yield
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (str(self.version),))
        self._db.execute("COMMIT")

    def _tell(self, type_: EventType, key: Key, obj: Object, old: Object | None) -> None:
        change = Change(version=self.version, type=type_, key=key, object=obj, old=old)
        if len(self._history) == self._history.maxlen:
            self._oldest = self._history[0].version
        self._history.append(change)
        for subscriber in list(self._subscribers):
            subscriber(change)

    @contextmanager
    def subscribed(self, subscriber: Callable[[Change], None]) -> Iterator[None]:
        """Call `subscriber` with every change until the block ends; it must not block or write."""
        self._subscribers.append(subscriber)
        try:
            yield
        finally:
            self._subscribers.remove(subscriber)
