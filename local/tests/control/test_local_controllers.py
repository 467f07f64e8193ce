"""Garbage, namespaces and services, over an Api in memory."""

import asyncio
import contextlib
from typing import Any

import pytest
from borealis_local.control.cleanup import Cleanup
from borealis_local.control.garbage import Collector
from borealis_local.control.proxy import Address, Pipe, ServicePort, wanted
from borealis_local.server.api import CONTROL
from borealis_local.testing import MemoryApi

LOOP = "127.0.0.1"


def owner_of(obj: dict[str, Any], **more: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": "v1",
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
    }
    return {"ownerReferences": [{**reference, **more}]}


async def settle(api: MemoryApi) -> None:
    for _ in range(4):
        await Collector(api).sync()
        await Cleanup(api).sync()


async def test_what_is_owned_goes_in_chains() -> None:
    api = MemoryApi()
    first = api.make("ConfigMap", "first")
    second = api.make("ConfigMap", "second", metadata=owner_of(first))
    api.make("ConfigMap", "third", metadata=owner_of(second))
    api.make("ConfigMap", "other")
    await settle(api)
    assert api.find("ConfigMap", "third") is not None
    api.remove("ConfigMap", "first")
    await settle(api)
    assert api.find("ConfigMap", "second") is None
    assert api.find("ConfigMap", "third") is None
    assert api.find("ConfigMap", "other") is not None


async def test_one_of_two_owners_keeps_it() -> None:
    api = MemoryApi()
    one, two = api.make("ConfigMap", "one"), api.make("ConfigMap", "two")
    both = owner_of(one)["ownerReferences"] + owner_of(two)["ownerReferences"]
    api.make("ConfigMap", "kept", metadata={"ownerReferences": both})
    api.remove("ConfigMap", "one")
    await settle(api)
    kept = api.find("ConfigMap", "kept")
    assert kept is not None
    assert [o["name"] for o in kept["metadata"]["ownerReferences"]] == ["two"]


async def test_orphans_are_let_go() -> None:
    api = MemoryApi()
    owner = api.make("ConfigMap", "owner")
    api.make("ConfigMap", "orphan", metadata=owner_of(owner))
    api.remove("ConfigMap", "owner", propagation="Orphan")
    await settle(api)
    orphan = api.find("ConfigMap", "orphan")
    assert api.find("ConfigMap", "owner") is None
    assert orphan is not None
    assert not orphan["metadata"].get("ownerReferences")


async def test_a_successor_of_the_same_name_is_no_owner() -> None:
    api = MemoryApi()
    owner = api.make("ConfigMap", "owner")
    api.make("ConfigMap", "owned", metadata=owner_of(owner))
    api.remove("ConfigMap", "owner")
    api.make("ConfigMap", "owner")
    await settle(api)
    assert api.find("ConfigMap", "owned") is None


async def test_a_namespace_takes_its_contents_along() -> None:
    api = MemoryApi()
    api.make("ConfigMap", "c", metadata={"finalizers": ["x/hold"]})
    api.remove("Namespace", "default")
    await settle(api)
    assert api.find("Namespace", "default") is not None  # something holds out
    config_map = api.find("ConfigMap", "c")
    assert config_map is not None
    new = {**config_map, "metadata": {**config_map["metadata"], "finalizers": []}}
    api.writes.update(api.kind("v1", "ConfigMap"), "default", "c", new, CONTROL)
    await settle(api)
    assert api.find("Namespace", "default") is None


# --- services ------------------------------------------------------------------------------------------------------


def slice_of(service: str, *endpoints: tuple[str, bool], port: int = 1, name: str = "") -> dict[str, Any]:
    listed = [{"addresses": [a], "conditions": {"ready": ready}} for a, ready in endpoints]
    metadata = {"name": f"{service}-s", "namespace": "n", "labels": {"kubernetes.io/service-name": service}}
    return {"metadata": metadata, "endpoints": listed, "ports": [{"name": name, "port": port}]}


def service_of(service: str, ip: str = "127.0.9.9", **port: Any) -> dict[str, Any]:
    return {"metadata": {"name": service, "namespace": "n"}, "spec": {"clusterIP": ip, "ports": [{"port": 80, **port}]}}


def test_ready_endpoints_of_the_right_port_are_wanted() -> None:
    slices = [slice_of("a", ("10.0.0.1", True), ("10.0.0.2", False)), slice_of("b", ("10.0.0.3", True), name="x")]
    plan = wanted([service_of("a"), service_of("b", "127.0.9.8", name="y"), service_of("c", "None")], slices)
    assert plan == {Address("127.0.9.9", 80): (Address("10.0.0.1", 1),), Address("127.0.9.8", 80): ()}


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(writer.wait_closed(), 10)


class Backend:
    """A server that says its name, then echoes."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self) -> Address:
        self.writers: list[asyncio.StreamWriter] = []
        self.server = await asyncio.start_server(self._serve, LOOP, 0)
        return Address(*self.server.sockets[0].getsockname()[:2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(self.name.encode() + b"\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        await closed(writer)

    async def stop(self) -> None:
        self.server.close()
        for writer in self.writers:
            await closed(writer)


async def greeting(port: ServicePort) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*port.address)
    line = await asyncio.wait_for(reader.readline(), 10)
    return line.decode().strip(), reader, writer


async def free_address() -> Address:
    probe = await asyncio.start_server(lambda *_: None, LOOP, 0)
    address = Address(*probe.sockets[0].getsockname()[:2])
    probe.close()
    await probe.wait_closed()
    return address


async def test_clients_take_turns_and_data_flows() -> None:
    one, two = Backend("one"), Backend("two")
    port = ServicePort(await free_address())
    await port.serve((await one.start(), await two.start()))
    try:
        names = set()
        for _ in range(4):
            name, reader, writer = await greeting(port)
            names.add(name)
            blob = bytes(range(256)) * 4096
            writer.write(blob)
            assert await asyncio.wait_for(reader.readexactly(len(blob)), 10) == blob
            await closed(writer)
        assert names == {"one", "two"}
    finally:
        await port.close()
        await one.stop()
        await two.stop()


class Written(asyncio.Transport):
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def test_what_a_client_says_before_it_is_joined_is_passed_on() -> None:
    front, back, wire = Pipe(), Pipe(), Written()
    back.connection_made(wire)
    front.data_received(b"start")
    front.join(back)
    front.data_received(b"up")
    assert wire.data == b"startup"


async def test_a_removed_endpoint_loses_its_clients() -> None:
    one, two = Backend("one"), Backend("two")
    old, new = await one.start(), await two.start()
    port = ServicePort(await free_address())
    await port.serve((old,))
    try:
        name, reader, writer = await greeting(port)
        assert name == "one"
        await port.serve((new,))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        await closed(writer)
        name, _, writer = await greeting(port)
        assert name == "two"
        await closed(writer)
    finally:
        await port.close()
        await one.stop()
        await two.stop()


async def test_without_endpoints_clients_are_refused() -> None:
    one = Backend("one")
    port = ServicePort(await free_address())
    await port.serve((await one.start(),))
    await port.serve(())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*port.address)
    await one.stop()
