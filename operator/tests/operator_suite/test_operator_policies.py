"""NetworkPolicies: the cluster's ports for whom they are, clients as asked, and nothing without a place of our own."""

from dataclasses import replace
from typing import Any

import pytest
from borealis_operator.api.catalogue import parse_operator_peer
from borealis_operator.api.clients import parse_clients
from borealis_operator.api.errors import ConfigInvalid, KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest

from .conftest import KEY, Stage
from .test_operator_faults import told

OPERATOR = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "borealis-system"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "borealis-operator"}},
}
OWN = {"podSelector": {"matchLabels": {"borealis.dev/cluster": "orders"}}}
SHOP = {"podSelector": {"matchLabels": {"app": "shop"}}}


def policy(stage: Stage) -> dict[str, Any]:
    return stage.kube.objects["NetworkPolicy", KEY.namespace, KEY.name]


def spec(stage: Stage) -> dict[str, Any]:
    live: dict[str, Any] = stage.kube.objects["DBCluster", KEY.namespace, KEY.name]["spec"]
    return live


def admitted(stage: Stage) -> dict[int, Any]:
    """Give who may reach each port; None for everybody. A port that no rule names is nobody's."""
    rules = policy(stage)["spec"]["ingress"]
    return {port["port"]: rule.get("from") for rule in rules for port in rule["ports"]}


def told_where_it_is(stage: Stage, peer: Any = OPERATOR) -> None:
    """Have the operator know its own place in the network."""
    stage.reconciler.catalogue = replace(stage.reconciler.catalogue, operator_peer=peer)


@pytest.fixture
async def guarded(stage: Stage) -> Stage:
    """A cluster at rest whose operator knows its place."""
    told_where_it_is(stage)
    stage.declare({"readers": 1})
    await stage.settle()
    return stage


async def test_each_port_is_for_whom_it_is(guarded: Stage) -> None:
    among = [OWN, OPERATOR]
    assert admitted(guarded) == {7400: among, 7401: among, 7402: None, 5432: None}
    live = policy(guarded)
    assert live["spec"]["podSelector"] == OWN["podSelector"]
    assert live["spec"]["policyTypes"] == ["Ingress"]
    assert live["metadata"]["ownerReferences"][0]["kind"] == "DBCluster"
    for name in guarded.named("Pod"):
        assert guarded.pod(name)["metadata"]["labels"]["borealis.dev/cluster"] == "orders"


async def test_it_is_there_before_the_first_pod(stage: Stage) -> None:
    told_where_it_is(stage)
    stage.declare({"readers": 0})
    await stage.settle()
    made = [kind for verb, kind, *_ in stage.kube.writes if verb == "create"]
    assert made.index("NetworkPolicy") < made.index("Pod")


async def test_clients_are_as_asked_and_a_change_takes_hold(guarded: Stage) -> None:
    for asked in ([SHOP, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], [SHOP], None):
        spec(guarded)["allowedClients"] = asked
        await guarded.settle()
        assert admitted(guarded)[5432] == asked


async def test_what_somebody_else_added_is_taken_away(guarded: Stage) -> None:
    spec(guarded)["allowedClients"] = [SHOP]
    await guarded.settle()
    policy(guarded)["spec"]["ingress"].append({})  # everybody, everywhere
    await guarded.settle()
    assert admitted(guarded)[5432] == [SHOP]
    assert len(policy(guarded)["spec"]["ingress"]) == 3


async def test_a_mistake_lets_nobody_in_who_was_not(guarded: Stage) -> None:
    spec(guarded)["allowedClients"] = [SHOP]
    await guarded.settle()
    spec(guarded)["allowedClients"] = [{"ipBlock": {"cidr": "everywhere"}}]
    await guarded.settle()
    assert admitted(guarded)[5432] == [SHOP]
    assert told(guarded)["Reconciled"]["reason"] == "ConfigInvalid"
    assert told(guarded)["Reconciled"]["message"].startswith("spec.allowedClients: ")
    assert told(guarded)["Ready"]["status"] == "True"
    del guarded.kube.objects["NetworkPolicy", KEY.namespace, KEY.name]
    await guarded.settle()
    assert 5432 not in admitted(guarded)


async def test_without_a_place_of_our_own_there_is_none_and_what_there_was_goes(guarded: Stage) -> None:
    told_where_it_is(guarded, None)
    await guarded.settle()
    assert guarded.named("NetworkPolicy") == []


async def test_somebody_elses_policy_of_that_name_is_left_alone_and_said(stage: Stage) -> None:
    told_where_it_is(stage)
    theirs = {"kind": "NetworkPolicy", "metadata": {"name": KEY.name, "namespace": KEY.namespace}, "spec": {"x": 1}}
    stage.kube.put(theirs)
    stage.declare({"readers": 0})
    for _ in range(10):
        await stage.reconciler.once(KEY)
        stage.world.run()
        stage.now += 2.0
    assert policy(stage)["spec"] == {"x": 1}
    assert told(stage)["Reconciled"]["reason"] == "NameTaken"
    assert "NetworkPolicy" in told(stage)["Reconciled"]["message"]
    assert stage.status["writer"], "the database does not wait for it"


async def test_one_that_the_api_refuses_stops_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    create = FakeKube.create

    async def refuse(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == "NetworkPolicy":
            raise KubeError("forbidden")
        return await create(self, manifest)

    monkeypatch.setattr(FakeKube, "create", refuse)
    told_where_it_is(stage)
    stage.declare({"readers": 0})
    for _ in range(10):
        await stage.reconciler.once(KEY)
        stage.world.run()
        stage.now += 2.0
    assert stage.status["writer"]
    assert "forbidden" in told(stage)["Reconciled"]["message"]


async def test_it_goes_with_the_cluster(guarded: Stage) -> None:
    owners = policy(guarded)["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner["name"], owner["controller"]) for owner in owners] == [("DBCluster", "orders", True)]


def test_peers_are_kept_as_an_api_server_gives_them_back() -> None:
    raw = [
        {"podSelector": {"matchLabels": {}, "matchExpressions": []}, "namespaceSelector": {}},
        {"podSelector": {"matchExpressions": [{"key": "a/b", "operator": "Exists", "values": []}]}},
        {"ipBlock": {"cidr": "fd00::/8", "except": []}},
    ]
    assert parse_clients({"allowedClients": raw}) == (
        {"podSelector": {}, "namespaceSelector": {}},
        {"podSelector": {"matchExpressions": [{"key": "a/b", "operator": "Exists"}]}},
        {"ipBlock": {"cidr": "fd00::/8"}},
    )


@pytest.mark.parametrize(
    "text",
    ["no JSON", "[]", "{}", '{"podSelector": {"matchLabels": {"a": "b"}}}'],
    ids=["text", "list", "empty", "half"],
)
def test_a_place_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="BOREALIS_OPERATOR_PEER"):
        parse_operator_peer(text)
    assert parse_operator_peer("") is None
