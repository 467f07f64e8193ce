"""How an instance goes: the least wanted first, out of the reader endpoint before its pod is deleted."""

from .conftest import KEY, Stage
from .test_operator_instances import add, change, pods_of


class Watcher:
    """Notes, at each write, whether the addresses of pods on their way out were still offered."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.offered, self.order = stage, list[str](), list[tuple[str, str]]()
        stage.kube.on_write = self.note

    def note(self, verb: str, kind: str, name: str) -> None:
        if verb not in ("delete", "replace"):
            return
        self.order.append((verb, kind))
        going = pods_of(self.stage, name) if kind == "DBInstance" else [self.stage.pod(name)] if kind == "Pod" else []
        ips = {p["status"]["podIP"] for p in going}
        self.offered += sorted(ips & set(self.stage.addresses("orders-ro")))


async def test_a_reader_leaves_the_endpoint_before_it_is_deleted(running: Stage) -> None:
    watcher = Watcher(running)
    change(running, readers=1)
    await running.reconciler.once(KEY)
    assert watcher.order == [("replace", "EndpointSlice"), ("delete", "DBInstance")]
    await running.reconciler.once(KEY)
    assert watcher.order[2:] == [("delete", "Pod")]
    await running.settle()
    assert watcher.offered == []
    assert len(running.addresses("orders-ro")) == 1


async def test_the_last_reader_leaves_its_endpoint_to_the_writer(running: Stage) -> None:
    watcher = Watcher(running)
    change(running, readers=0)
    await running.settle()
    assert watcher.offered == []
    assert running.addresses("orders-ro") == running.addresses("orders") != []
    assert running.status["readers"] == 0
    assert sum(1 for n in running.named("Pod") if "instance" in n) == 1


async def test_an_instance_that_its_user_deletes_leaves_the_endpoint_first(running: Stage) -> None:
    add(running, "mine")
    await running.settle()
    (pod,) = pods_of(running, "mine")
    running.kube.remove("DBInstance", KEY.namespace, "mine")
    await running.reconciler.once(KEY)
    assert pod["status"]["podIP"] not in running.addresses("orders-ro")
    assert pod["metadata"]["name"] in running.named("Pod")
    await running.settle()
    assert pod["metadata"]["name"] not in running.named("Pod")


async def test_the_highest_tier_goes_first_and_then_the_newest(running: Stage) -> None:
    change(running, readers=4)
    await running.settle()
    names = [n for n in running.named("DBInstance") if not running.status["writer"].startswith(n)]
    for seconds, name in enumerate(names):
        metadata = running.kube.objects["DBInstance", KEY.namespace, name]["metadata"]
        metadata["creationTimestamp"] = f"2026-01-01T00:00:{seconds:02}Z"
    running.kube.objects["DBInstance", KEY.namespace, names[0]]["spec"]["promotionTier"] = 9
    gone = []
    for readers in (3, 2, 1):
        before = set(running.named("DBInstance"))
        change(running, readers=readers)
        await running.settle()
        gone += before - set(running.named("DBInstance"))
    assert gone == [names[0], names[3], names[2]]


async def test_a_silent_reader_goes_too(running: Stage) -> None:
    reader = next(n for n in running.named("DBInstance") if not running.status["writer"].startswith(n))
    (pod,) = pods_of(running, reader)
    running.world.unplug(pod["metadata"]["uid"], silent_for=2.0)
    change(running, readers=0)
    await running.settle()
    assert pods_of(running, reader) == []


async def test_the_writer_goes_when_its_user_deletes_it(stage: Stage) -> None:
    stage.declare({"readers": 0})
    await stage.settle()
    old = stage.status["writer"]
    stage.kube.remove("DBInstance", KEY.namespace, "orders-instance-1")
    await stage.settle()
    assert old not in stage.named("Pod")
    assert stage.status["status"] == "available"
