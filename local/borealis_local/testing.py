"""Test double of local mode: an Api in memory, with nodes and namespaces but nothing that runs."""

from typing import Any

from borealis_local.control.bootstrap import bootstrap
from borealis_local.node.addresses import AddressBook
from borealis_local.server.api import CONTROL, Api
from borealis_local.server.removal import DeleteOptions
from borealis_local.server.store import Key, Store
from borealis_local.server.writes import Object


class MemoryApi(Api):
    """A fresh cluster in memory, and shorthands for tests."""

    def __init__(self, *, network: int = 250, history: int = 4096) -> None:
        """Bootstrap an empty cluster with addresses of 127.`network`."""
        self.addresses = AddressBook(network)
        super().__init__(Store(history=history), service_address=self.addresses.service)
        bootstrap(self)

    def make(self, kind: str, name: str, *, api: str = "v1", metadata: Object | None = None, **parts: Any) -> Object:
        """Create an object; in namespace default if its kind has any."""
        resource = self.kind(api, kind)
        obj = {"metadata": {"name": name, **(metadata or {})}, **parts}
        return self.writes.create(resource, "default" if resource.namespaced else "", obj, CONTROL)

    def find(self, kind: str, name: str, *, api: str = "v1") -> Object | None:
        """Give an object, or None."""
        resource = self.kind(api, kind)
        return self.store.get(Key(resource.store, "default" if resource.namespaced else "", name))

    def remove(self, kind: str, name: str, *, api: str = "v1", **options: Any) -> None:
        """Delete an object."""
        resource = self.kind(api, kind)
        self.delete(resource, "default" if resource.namespaced else "", name, DeleteOptions(**options))
