"""A DBCluster as a user sees it: status, pods, endpoints and credentials, always read from the Kubernetes API anew."""

import base64
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pykube

from e2e.process import await_that

API = "borealis.dev/v1alpha1"
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One DBCluster in one namespace."""

    api: pykube.HTTPClient
    namespace: str
    name: str

    def raw(self) -> dict[str, Any]:
        """Give the whole object."""
        kind = pykube.object_factory(self.api, API, "DBCluster")
        return dict(kind.objects(self.api, namespace=self.namespace).get(name=self.name).obj)

    def status(self) -> dict[str, Any]:
        """Give its status; empty before the operator has seen it."""
        return dict(self.raw().get("status", {}))

    def condition(self, name: str) -> dict[str, Any]:
        """Give a whole condition; its status is `Unknown` when it is not there."""
        found = [dict(c) for c in self.status().get("conditions", []) if c["type"] == name]
        return found[0] if found else {"type": name, "status": "Unknown", "reason": "", "message": ""}

    def await_condition(self, name: str, status: str, *reasons: str, timeout: float) -> dict[str, Any]:
        """Wait until a condition has this status, for one of these reasons if there are any, and give it."""

        def there() -> dict[str, Any] | None:
            seen = self.condition(name)
            return seen if seen["status"] == status and (not reasons or seen["reason"] in reasons) else None

        try:
            return await_that(f"{name}={status} of {self.name}", there, timeout=timeout)
        except AssertionError as late:
            raise AssertionError(f"{late}; conditions are {self.status().get('conditions')}") from late

    def whole(self, readers: int, *, word: str = "available") -> dict[str, Any] | None:
        """Give the status if nothing is missing: Ready, six storage nodes of six, all readers ready."""
        status = self.status()
        ready = status.get("status") == word and status.get("storage") == "6/6"
        ready = ready and self.condition("Ready")["status"] == "True"
        return status if ready and status.get("readers") == readers else None

    def await_whole(self, readers: int, *, timeout: float, word: str = "available") -> dict[str, Any]:
        """Wait until nothing is missing; `word` is what the status says then."""
        return await_that(f"{self.name} is whole", lambda: self.whole(readers, word=word), timeout=timeout)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Give its pods that are not being deleted and bear these labels of `borealis.dev/`."""
        wanted = {"borealis.dev/cluster": self.name} | {f"borealis.dev/{key}": value for key, value in labels.items()}
        found = pykube.Pod.objects(self.api, namespace=self.namespace).filter(selector=wanted)
        return [pod.obj for pod in found if "deletionTimestamp" not in pod.obj["metadata"]]

    def pod(self, name: str) -> dict[str, Any] | None:
        """Give one pod, or None."""
        found = pykube.Pod.objects(self.api, namespace=self.namespace).get_or_none(name=name)
        return dict(found.obj) if found else None

    def writer(self) -> dict[str, Any]:
        """Give the writer's pod."""
        pod = self.pod(self.status()["writer"])
        assert pod, "status.writer names no pod"
        return pod

    def storage_away_from_writer(self) -> dict[str, Any]:
        """Give a storage pod that is not on the writer's Kubernetes node: its loss is no failover."""
        busy = self.writer()["spec"]["nodeName"]
        return next(pod for pod in self.pods(component="storage") if pod["spec"]["nodeName"] != busy)

    def be_patient(self, delay: str) -> None:
        """Have storage nodes that ail replaced after this delay."""
        kind = pykube.object_factory(self.api, API, "DBCluster")
        found = kind.objects(self.api, namespace=self.namespace).get(name=self.name)
        found.patch({"spec": {"storage": {"replacementDelay": delay}}})

    def zones(self) -> dict[str, str]:
        """Give the zone of each Kubernetes node that has one."""
        nodes = pykube.Node.objects(self.api)
        return {n.name: n.labels[ZONE] for n in nodes if ZONE in n.labels}

    def zone_of(self, pod: dict[str, Any]) -> str:
        """Give the zone in which a pod runs."""
        return self.zones()[pod["spec"]["nodeName"]]

    def storage_per_zone(self) -> Counter[str]:
        """Count storage pods in each zone."""
        zones = self.zones()
        return Counter(zones[pod["spec"]["nodeName"]] for pod in self.pods(component="storage"))

    def credentials(self) -> dict[str, str]:
        """Give what the master user's Secret holds."""
        secret = pykube.Secret.objects(self.api, namespace=self.namespace).get(name=f"{self.name}-master")
        return {key: base64.b64decode(value).decode() for key, value in secret.obj["data"].items()}

    def url(self, host: str | None = None, port: int = 5432) -> str:
        """Give a connection URI of the master user, by default through the writer endpoint as the Secret has it."""
        known = self.credentials()
        if host is None:
            return known["uri"]
        user, password = quote(known["username"], safe=""), quote(known["password"], safe="")
        return f"postgresql://{user}:{password}@{host}:{port}/{known['dbname']}"

    def reader_url(self) -> str:
        """Give a connection URI through the reader endpoint."""
        return self.url(f"{self.name}-ro.{self.namespace}.svc")
