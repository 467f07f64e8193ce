"""The operator's own Lease: of several operators one works, and one that is not sure to be it exits.

The holder renews every third of the lease and gives up after two thirds without success, so it is gone before another
may take over. The other starts to count when it sees the record, by its own clock: clocks need not agree.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from borealis_operator.api.errors import Conflict, KubeDown, KubeError, NotFound
from borealis_operator.kube.port import Kube, Object

log = logging.getLogger(__name__)

DURATION_S: Final = 6.0
RETRY_S: Final = 1.0


class LeaseLost(KubeError):
    """This operator may no longer be the one that works: it must exit at once."""


@dataclass(kw_only=True)
class Lease:
    """A claim of `holder` on the Lease `namespace/name`."""

    kube: Kube
    namespace: str
    name: str
    holder: str
    _record: Object | None = None
    _seen: tuple[str, float] = ("", 0.0)

    async def acquire(self) -> None:
        """Wait until this operator holds the Lease."""
        while True:
            try:
                if await self._try(asyncio.get_running_loop().time()):
                    return
            except KubeDown as error:
                log.warning("cannot reach the Kubernetes API: %s", error)
            await asyncio.sleep(RETRY_S)

    async def keep(self) -> None:
        """Renew until it fails, then raise LeaseLost."""
        clock = asyncio.get_running_loop().time
        renewed = clock()
        while True:
            await asyncio.sleep(DURATION_S / 3)
            try:
                async with asyncio.timeout(max(0.1, renewed + DURATION_S * 2 / 3 - clock())):
                    started = clock()
                    held = await self._try(started)
            except (KubeError, TimeoutError) as error:
                if clock() - renewed >= DURATION_S * 2 / 3:
                    raise LeaseLost(f"could not renew: {error or 'no answer'}") from error
                continue
            if not held or started - renewed > DURATION_S:
                raise LeaseLost("another operator took over" if not held else "this operator stood still")
            renewed = started

    async def release(self) -> None:
        """Give the Lease up, so that another need not wait."""
        if self._record is None:
            return
        spec = {**self._record["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        await self.kube.replace({**self._record, "spec": spec})

    async def _try(self, now: float) -> bool:
        try:
            live = await self.kube.get("Lease", self.namespace, self.name)
        except NotFound:
            return await self._write(None)
        spec = live.get("spec", {})
        if spec.get("holderIdentity") not in ("", None, self.holder) and not self._expired(live, now):
            return False
        return await self._write(live)

    def _expired(self, live: Object, now: float) -> bool:
        version = str(live["metadata"]["resourceVersion"])
        if version != self._seen[0]:
            self._seen = (version, now)
        return now - self._seen[1] > float(live["spec"].get("leaseDurationSeconds", DURATION_S))

    async def _write(self, live: Object | None) -> bool:
        spec = _spec(self.holder, (live or {}).get("spec", {}))
        try:
            if live is None:
                metadata = {"name": self.name, "namespace": self.namespace}
                manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
                self._record = await self.kube.create({**manifest, "spec": spec})
            else:
                head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
                self._record = await self.kube.replace({**head, "metadata": live["metadata"], "spec": spec})
        except Conflict:
            return False
        return True


def _spec(holder: str, before: Mapping[str, Any]) -> Object:
    now = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    same = before.get("holderIdentity") == holder
    transitions = int(before.get("leaseTransitions") or 0)
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(DURATION_S),
        "acquireTime": before.get("acquireTime", now) if same else now,
        "renewTime": now,
        "leaseTransitions": transitions if same else transitions + 1,
    }
