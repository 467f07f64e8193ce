"""HorizontalPodAutoscalers are kept, and DBClusters scaled, though nothing measures load here."""

from typing import Any

from borealis_local.cli.assets import directory, documents
from borealis_local.server.api import CONTROL
from borealis_local.testing import MemoryApi

BOREALIS = "borealis.dev/v1alpha1"
BEHAVIOR = {"scaleUp": {"stabilizationWindowSeconds": 7}, "scaleDown": {"stabilizationWindowSeconds": 9}}


def test_an_autoscaler_is_filled_in_as_by_kubernetes() -> None:
    api = MemoryApi()
    target = {"apiVersion": BOREALIS, "kind": "DBCluster", "name": "q"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "behavior": BEHAVIOR}
    made = api.make("HorizontalPodAutoscaler", "h", api="autoscaling/v2", spec=spec)
    assert made["spec"]["minReplicas"] == 1
    up, down = made["spec"]["behavior"]["scaleUp"], made["spec"]["behavior"]["scaleDown"]
    assert (up["stabilizationWindowSeconds"], up["selectPolicy"], len(up["policies"])) == (7, "Max", 2)
    assert (down["stabilizationWindowSeconds"], down["selectPolicy"], len(down["policies"])) == (9, "Max", 1)
    (told,) = made["status"]["conditions"]
    assert (told["type"], told["status"]) == ("ScalingActive", "False")
    assert api.writes.read(api.kind("autoscaling/v2", "HorizontalPodAutoscaler"), "default", "h") == made


def test_a_cluster_that_names_no_number_of_readers_is_scaled() -> None:
    api = MemoryApi()
    for document in documents(directory("crds") / "dbclusters.borealis.dev.yaml"):
        api.writes.create(api.kind(document["apiVersion"], document["kind"]), "", document, CONTROL)
    spec: dict[str, Any] = {"readerAutoscaling": {"minReaders": 2, "maxReaders": 4}}
    made = api.make("DBCluster", "q", api=BOREALIS, spec=spec)
    kind = api.kind(BOREALIS, "DBCluster")
    scale = api.scale(kind, made)
    assert scale["spec"]["replicas"] == 1
    wider = api.rescale(kind, made, {**scale, "spec": {"replicas": 4}}, CONTROL)
    assert wider["spec"]["replicas"] == 4
    after = api.writes.read(kind, "default", "q")
    assert (after["spec"]["readers"], after["metadata"]["generation"]) == (4, 2)
