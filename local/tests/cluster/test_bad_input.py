"""Bad input that only the operator can see: each condition names the field and the remedy, and nothing stops for it.

One local Kubernetes holds every mistake at once. What can be mended is mended, and must then be well.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from borealis_local.cli.client import Client
from borealis_local.engines import engine_majors
from borealis_local.trial import Local

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

API = "borealis.dev/v1alpha1"
BASE = f"/apis/{API}/namespaces/default"
SECRETS = "/api/v1/namespaces/default/secrets"
MERGE = "application/merge-patch+json"
DEADLINE_S = 90.0
ABSENT_IMAGE = "example.org/engine:none"
CLASSES = {"db.small": {"cpu": "500m", "memory": "1Gi"}, "db.vast": {"cpu": "5000", "memory": "1Gi"}}
FORMATTING = {"storage": {"className": "nowhere"}}


class Trial:
    """Requests to the local Kubernetes that holds the mistakes."""

    def __init__(self, client: Client, major: str, other: str) -> None:
        self.client, self.major, self.other = client, major, other

    def create(self, kind: str, name: str, **spec: Any) -> None:
        if kind == "DBCluster":
            spec = {"engineVersion": self.major, "readers": 0, **spec}
        body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.client.request("POST", f"{BASE}/{kind.lower()}s", body)

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        self.client.request("PATCH", f"{BASE}/{kind.lower()}s/{name}", {"spec": spec}, kind=MERGE)

    def delete(self, kind: str, name: str) -> None:
        self.client.request("DELETE", f"{BASE}/{kind.lower()}s/{name}")

    def secret(self, **data: str) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": data}
        verb, path = ("PUT", f"{SECRETS}/mine") if self.client.find(f"{SECRETS}/mine") else ("POST", SECRETS)
        self.client.request(verb, path, body)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found = self.client.request("GET", f"{BASE}/{kind.lower()}s/{name}")
        return dict(found.get("status") or {})

    def told(self, kind: str, name: str, type_: str, reason: str, word: str = "False") -> str:
        """Wait for a condition with this reason; give its message."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            conditions = self.status(kind, name).get("conditions") or []
            for condition in conditions:
                if (condition["type"], condition["reason"], condition["status"]) == (type_, reason, word):
                    return str(condition["message"])
            assert time.monotonic() < deadline, f"no {type_} {reason}: {json.dumps(conditions, indent=1)}"
            time.sleep(0.2)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.2)


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """A local Kubernetes with an operator; all clusters are made at once, since most of the time is waiting."""
    majors = engine_majors(os.environ)
    if not majors:
        pytest.skip("no PostgreSQL server programs are installed")
    other = next(m for m in ("16", "17", "15") if m not in majors[-1:])
    scratch = Path(tempfile.mkdtemp(prefix="borealis-bad-", dir="/var/tmp"))
    scratch.chmod(0o755)
    images = {majors[-1]: "local", other: ABSENT_IMAGE}
    env = {"BOREALIS_ENGINE_IMAGES": json.dumps(images), "BOREALIS_INSTANCE_CLASSES": json.dumps(CLASSES)}
    running = Local(state=scratch / "state", scratch=scratch, env=env)
    try:
        running.borealis("local", "up", "--empty")
        trial = Trial(running.client(), majors[-1], other)
        _make_everything(trial)
        yield trial
    finally:
        running.borealis("local", "down", "--purge")
        shutil.rmtree(scratch)


def _make_everything(trial: Trial) -> None:
    trial.create("DBCluster", "main", readers=1, parameters={"work_memm": "4MB"}, masterUserSecret={"name": "mine"})
    trial.create("DBCluster", "noimage", engineVersion=trial.other)
    trial.create("DBCluster", "noclaim", **FORMATTING)
    trial.create("DBInstance", "early", clusterName="later", promotionTier=3)
    trial.create("DBInstance", "main-instance-7", clusterName="main")
    trial.create("DBInstance", "strange", clusterName="main", dbInstanceClass="db.none")
    trial.create("DBInstance", "vast", clusterName="main", dbInstanceClass="db.vast")


def test_a_version_without_an_image(trial: Trial) -> None:
    third = next(m for m in ("15", "16", "17") if m not in (trial.major, trial.other))
    trial.create("DBCluster", "noversion", engineVersion=third)
    there = ", ".join(sorted((trial.major, trial.other)))
    assert trial.told("DBCluster", "noversion", "Ready", "ConfigInvalid") == (
        f"spec.engineVersion: {third} has no engine image in this operator; make the DBCluster anew with one of "
        f"{there}, or add an image to engine.images of the chart"
    )
    trial.delete("DBCluster", "noversion")


def test_an_image_that_cannot_be_pulled(trial: Trial) -> None:
    words = trial.told("DBCluster", "noimage", "PodsRunning", "ImagePullFailed")
    assert words.startswith(f"noimage-storage-0: image '{ABSENT_IMAGE}' cannot be pulled (ImagePullBackOff: ")
    assert "; correct engine.images of the chart, and give the nodes access to that registry" in words


def test_a_claim_that_cannot_be_bound(trial: Trial) -> None:
    words = trial.told("DBCluster", "noclaim", "PodsRunning", "ClaimPending")
    assert words.startswith(
        "noclaim-storage-0: claim noclaim-storage-0 of StorageClass 'nowhere' is not bound "
        "(0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims.); "
        "see that the class exists and that its provisioner works: kubectl get storageclass; "
        "kubectl -n default describe pvc noclaim-storage-0"
    )


def test_passwords(trial: Trial) -> None:
    name, waits = "spec.masterUserSecret.name: ", "; the master user is made once it can be used"
    missing = "there is no Secret 'mine'; create it in the namespace of the DBCluster, with the password under the key "
    assert _password(trial, "SecretMissing") == f"{name}{missing}'password'{waits}"
    trial.secret(pass_word="correct-horse")
    assert _password(trial, "KeyMissing") == (
        f"{name}Secret 'mine' has no key 'password'; put the password under 'password'{waits}"
    )
    trial.secret(password="short")
    assert _password(trial, "PasswordTooShort") == (
        f"{name}Secret 'mine' holds a password of 5 characters; use 8 at least{waits}"
    )
    trial.secret(password="correct-horse")
    trial.told("DBCluster", "main", "MasterUserSecretReady", "Ready", "True")
    trial.told("DBCluster", "main", "Ready", "Available", "True")
    trial.secret(password="tiny")
    assert _password(trial, "PasswordTooShort").endswith("; the last good password stays in force")
    trial.told("DBCluster", "main", "Ready", "Available", "True")
    trial.secret(password="correct-horse")


def _password(trial: Trial, reason: str) -> str:
    return trial.told("DBCluster", "main", "MasterUserSecretReady", reason)


def test_a_misspelt_parameter(trial: Trial) -> None:
    words = (
        f"spec.parameters.work_memm: PostgreSQL {trial.major} has no such parameter; did you mean work_mem?; "
        "correct or remove it, the other parameters are in force"
    )
    assert trial.told("DBCluster", "main", "ParametersApplied", "ParameterRefused") == words
    trial.patch("DBCluster", "main", parameters={"work_memm": None, "work_mem": "5MB"})
    trial.told("DBCluster", "main", "ParametersApplied", "Applied", "True")


def test_a_parameter_with_a_bad_value(trial: Trial) -> None:
    trial.patch("DBCluster", "main", parameters={"work_mem": "plenty"})
    words = trial.told("DBCluster", "main", "ParametersApplied", "ParameterRefused")
    assert words == (
        'spec.parameters.work_mem: invalid value for parameter "work_mem": "plenty"; correct or remove it, the other '
        "parameters are in force"
    )
    trial.patch("DBCluster", "main", parameters={"work_mem": None})


def test_an_instance_that_fits_no_node(trial: Trial) -> None:
    words = trial.told("DBCluster", "main", "PodsRunning", "Unschedulable")
    assert words.startswith("vast-")
    assert ": no Kubernetes node takes it (0/6 nodes are available: " in words
    assert "Insufficient cpu" in words
    remedy = "; add a Kubernetes node to its zone, make room there, remove taints, or ask for less by dbInstanceClass"
    assert remedy in words
    trial.delete("DBInstance", "vast")
    trial.told("DBCluster", "main", "PodsRunning", "AllRunning", "True")


def test_an_instance_of_an_unknown_class(trial: Trial) -> None:
    assert trial.told("DBInstance", "strange", "Ready", "UnknownClass") == (
        "spec.dbInstanceClass: there is no class 'db.none'; use one of db.small, db.vast (until then there is no pod)"
    )
    trial.patch("DBInstance", "strange", dbInstanceClass="db.small")
    trial.told("DBInstance", "strange", "Ready", "Available", "True")
    trial.delete("DBInstance", "strange")


def test_an_instance_whose_name_the_operator_would_make(trial: Trial) -> None:
    assert trial.told("DBInstance", "main-instance-7", "NameReserved", "GeneratedForm", "True") == (
        "main-instance-7 is of the form that the operator generates for main: it stays yours, spec.readers neither "
        "counts nor removes it, and the operator takes other numbers; choose another name to tell them apart"
    )
    trial.told("DBInstance", "main-instance-7", "Ready", "Available", "True")


def test_a_failover_goes_on_beside_mistakes(trial: Trial) -> None:
    trial.secret(password="tiny")
    trial.patch("DBCluster", "main", parameters={"work_memm": "4MB"})
    _password(trial, "PasswordTooShort")
    trial.told("DBCluster", "main", "ParametersApplied", "ParameterRefused")
    before = trial.status("DBCluster", "main")
    body = {"postgres": {"namespace": "default", "name": before["writer"]}}
    assert trial.client.request("POST", "/local/kill", body)["killed"]
    trial.until(lambda: trial.status("DBCluster", "main")["epoch"] > before["epoch"], "nobody took over")
    trial.told("DBCluster", "main", "Ready", "Available", "True")
    trial.secret(password="correct-horse")
    trial.patch("DBCluster", "main", parameters=None)


def test_an_instance_of_a_missing_cluster_waits_for_it(trial: Trial) -> None:
    assert trial.told("DBInstance", "early", "Ready", "ClusterMissing") == (
        "spec.clusterName: there is no DBCluster 'later' in namespace default; make it, or delete this DBInstance"
    )
    trial.create("DBCluster", "later")
    trial.told("DBInstance", "early", "Ready", "Available", "True")
    trial.delete("DBCluster", "later")


def test_fewer_than_three_zones(trial: Trial) -> None:
    _zones(trial, {"zone-c": "zone-a"})
    try:
        trial.create("DBCluster", "narrow")
        words = trial.told("DBCluster", "narrow", "ThreeZones", "StandIns")
        trial.told("DBCluster", "narrow", "Ready", "Available", "True")
    finally:
        _zones(trial, {})
    assert words == (
        "fewer than 3 zones had nodes when the cluster was made, so Kubernetes nodes stand in for zones and the loss "
        "of a zone may end writing; have nodes that take pods in three zones, by the label topology.kubernetes.io/zone "
        "(now: zone-a, zone-b), and make a new cluster"
    )
    trial.delete("DBCluster", "narrow")


def _zones(trial: Trial, moved: dict[str, str]) -> None:
    """Label the nodes with their zones, some of them with another."""
    for index in range(6):
        zone = ("zone-a", "zone-b", "zone-c")[index % 3]
        labels = {"topology.kubernetes.io/zone": moved.get(zone, zone)}
        path = f"/api/v1/nodes/node-{index + 1}"
        trial.client.request("PATCH", path, {"metadata": {"labels": labels}}, kind=MERGE)
