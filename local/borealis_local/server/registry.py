"""Which kinds are served now: the built-in ones and those of the CRDs in the store."""

from collections.abc import Iterator

from borealis_local.errors import no_such_path
from borealis_local.machinery import crd
from borealis_local.machinery.builtin import BUILTIN
from borealis_local.machinery.resources import Group, Resource
from borealis_local.server.store import Change, Store

CRDS = Group("apiextensions.k8s.io", "customresourcedefinitions")


class Registry:
    """Kinds by (group, version, plural); follows the CRDs in the store."""

    def __init__(self, store: Store) -> None:
        """Read the CRDs that are there, and follow the others."""
        self._builtin = {(r.group, r.version, r.plural): r for r in BUILTIN}
        self._custom: dict[tuple[str, str, str], Resource] = {}
        self._following = store.subscribed(self._follow)
        self._following.__enter__()
        for obj in store.list(CRDS):
            self._add(obj)

    def _follow(self, change: Change) -> None:
        if change.key.group != CRDS:
            return
        self._custom = {k: r for k, r in self._custom.items() if f"{r.plural}.{r.group}" != change.key.name}
        if change.type != "DELETED":
            self._add(change.object)

    def _add(self, obj: dict[str, object]) -> None:
        self._custom |= {(r.group, r.version, r.plural): r for r in crd.served(obj)}

    def __iter__(self) -> Iterator[Resource]:
        """Give all served kinds."""
        yield from self._builtin.values()
        yield from self._custom.values()

    def find(self, group: str, version: str, plural: str) -> Resource:
        """Give a served kind; ApiError 404 if there is none."""
        key = (group, version, plural)
        found = self._builtin.get(key) or self._custom.get(key)
        if found is None:
            raise no_such_path()
        return found

    def stored(self, group: Group) -> Resource | None:
        """Give the kind that objects under `group` are stored as."""
        found = [r for r in self if r.store == group]
        return next((r for r in found if r.storage_version), found[0] if found else None)

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Give the kind that an object's apiVersion and kind name."""
        return next((r for r in self if (r.api_version, r.kind) == (api_version, kind)), None)
