"""The store, and the verbs where no client of Kubernetes can look."""

import sys
import threading
from pathlib import Path

import pytest
from borealis_local.errors import ApiError
from borealis_local.machinery.resources import Group
from borealis_local.server.api import CONTROL, Selection
from borealis_local.server.store import Change, Key, Store
from borealis_local.testing import MemoryApi

KEY = Key(Group("", "things"), "n", "one")


def thing(value: int) -> dict[str, object]:
    return {"metadata": {"name": "one", "namespace": "n"}, "value": value}


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.put(KEY, thing(1))
    stored = store.put(KEY, thing(2))
    store.put(KEY._replace(name="two"), thing(3))
    store.delete(KEY._replace(name="two"))
    version = store.version
    store.close()
    again = Store(tmp_path / "db")
    assert again.get(KEY) == stored
    assert again.list(KEY.group) == [stored]
    assert again.version == version
    assert int(again.put(KEY, thing(4))["metadata"]["resourceVersion"]) == version + 1
    again.close()


def test_history_of_before_a_restart_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    first = store.version
    store.put(KEY, thing(1))
    assert [c.type for c in store.since(first)] == ["ADDED"]
    store.close()
    again = Store(tmp_path / "db")
    assert again.since(again.version) == []
    with pytest.raises(ApiError) as refused:
        again.since(first)
    assert refused.value.code == 410
    again.close()


def test_history_is_bounded() -> None:
    store = Store(history=3)
    first = store.version
    for value in range(3):
        store.put(KEY, thing(value))
    assert len(store.since(first)) == 3
    store.put(KEY, thing(9))
    assert [c.object["value"] for c in store.since(first + 1)] == [1, 2, 9]
    with pytest.raises(ApiError):
        store.since(first)


def test_subscribers_see_all_in_order() -> None:
    store, seen = Store(), list[Change]()
    with store.subscribed(seen.append):
        store.put(KEY, thing(1))
        store.put(KEY, thing(2))
        store.delete(KEY)
    store.put(KEY, thing(3))
    assert [c.type for c in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[1].old == seen[0].object
    assert [c.version for c in seen] == sorted(c.version for c in seen)


def test_a_store_that_nobody_closed_is_closed_by_the_collector_of_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error here would be raised in whatever runs then: another test, another part of the program."""
    held, errors = [Store()], list[object]()
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert errors == []


def test_a_pod_on_a_node_waits_for_its_kubelet() -> None:
    api = MemoryApi()
    spec = {"containers": [{"name": "c", "image": "i"}]}
    api.make("Pod", "free", spec=spec)
    api.make("Pod", "bound", spec={**spec, "nodeName": "node-1"})
    api.remove("Pod", "free")
    api.remove("Pod", "bound")
    assert api.find("Pod", "free") is None
    bound = api.find("Pod", "bound")
    assert bound is not None
    assert bound["metadata"]["deletionGracePeriodSeconds"] == 30
    api.remove("Pod", "bound", grace=0)
    assert api.find("Pod", "bound") is None


@pytest.mark.parametrize(("field", "code"), [("image", 0), ("command", 422)])
def test_a_pod_is_what_it_was_made(field: str, code: int) -> None:
    api = MemoryApi()
    pod = api.make("Pod", "p", spec={"containers": [{"name": "c", "image": "i"}]})
    container = {**pod["spec"]["containers"][0], field: "other" if field == "image" else ["other"]}
    new = {**pod, "spec": {**pod["spec"], "containers": [container]}}
    resource = api.kind("v1", "Pod")
    if not code:
        assert api.writes.update(resource, "default", "p", new, CONTROL)["spec"]["containers"] == [container]
        return
    with pytest.raises(ApiError) as refused:
        api.writes.update(resource, "default", "p", new, CONTROL)
    assert refused.value.code == code


def test_services_get_addresses_of_their_own() -> None:
    api = MemoryApi(network=251)
    one = api.make("Service", "one", spec={"ports": [{"port": 1}]})
    two = api.make("Service", "two", spec={"ports": [{"port": 1}]})
    headless = api.make("Service", "none", spec={"clusterIP": "None", "ports": [{"port": 1}]})
    addresses = {s["spec"]["clusterIP"] for s in (one, two)}
    assert len(addresses) == 2
    assert all(a.startswith("127.251.") for a in addresses)
    assert headless["spec"]["clusterIP"] == "None"


def test_events_have_two_faces() -> None:
    api = MemoryApi()
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    api.make("Event", "e", involvedObject=about, reason="R", message="m", type="Normal")
    fresh = api.registry.find("events.k8s.io", "v1", "events")
    assert [e["reason"] for e in api.list(fresh, Selection(namespace="default"))] == ["R"]
