"""The Lease: one holder, takeover when it is silent, and no holder that is not sure."""

import asyncio

import pytest
from borealis_operator.api.errors import KubeDown
from borealis_operator.kube import lease as leases
from borealis_operator.kube.lease import Lease, LeaseLost
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "DURATION_S", 0.6)
    monkeypatch.setattr(leases, "RETRY_S", 0.05)


def claim(kube: FakeKube, holder: str) -> Lease:
    return Lease(kube=kube, namespace="system", name="operator", holder=holder)


def spec(kube: FakeKube) -> Object:
    return dict(kube.objects["Lease", "system", "operator"]["spec"])


async def test_one_holds_and_the_other_waits_until_it_is_silent() -> None:
    kube = FakeKube()
    await claim(kube, "a").acquire()
    kube.objects["Lease", "system", "operator"]["spec"]["leaseDurationSeconds"] = 0.4
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        await claim(kube, "b").acquire()
    assert asyncio.get_running_loop().time() - began >= 0.4
    assert spec(kube)["holderIdentity"] == "b"
    assert spec(kube)["leaseTransitions"] == 2


async def test_a_released_lease_is_taken_at_once() -> None:
    kube = FakeKube()
    first = claim(kube, "a")
    await first.acquire()
    await first.release()
    async with asyncio.timeout(0.3):
        await claim(kube, "b").acquire()


async def test_the_holder_renews_until_another_takes_over() -> None:
    kube = FakeKube()
    lease = claim(kube, "a")
    await lease.acquire()
    keeper = asyncio.create_task(lease.keep())
    writes = len(kube.writes)
    async with asyncio.timeout(5):
        while len(kube.writes) < writes + 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not keeper.done()
    thief = kube.objects["Lease", "system", "operator"]
    kube.put({**thief, "spec": {**thief["spec"], "holderIdentity": "b", "leaseDurationSeconds": 60}})
    with pytest.raises(LeaseLost, match="took over"):
        async with asyncio.timeout(5):
            await keeper


async def test_the_holder_gives_up_before_another_may_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    lease = claim(kube, "a")
    await lease.acquire()

    async def down(self: FakeKube, kind: str, namespace: str, name: str) -> Object:
        raise KubeDown("no answer")

    monkeypatch.setattr(FakeKube, "get", down)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match="could not renew"):
        async with asyncio.timeout(5):
            await lease.keep()
    assert asyncio.get_running_loop().time() - began < leases.DURATION_S + 0.2
