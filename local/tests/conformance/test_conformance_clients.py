"""Clients written for Kubernetes: the official ones, pykube, kopf and kubectl."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kopf
import pykube
import pytest
import yaml
from kube import MERGE, until
from kubernetes import aio
from kubernetes import client as official
from kubernetes import config as official_config
from widgets import GROUP, PLURAL, VERSION, Widgets, widget


async def test_the_official_asynchronous_client(widgets: Widgets, kubeconfig: Path) -> None:
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    namespace = widgets.kube.namespace
    async with aio.client.ApiClient(configuration) as client:
        custom = aio.client.CustomObjectsApi(client)
        await custom.create_namespaced_custom_object(GROUP, "v1", namespace, PLURAL, widget("w"))
        watch = aio.watch.Watch()
        async with watch.stream(
            custom.list_namespaced_custom_object, GROUP, "v1", namespace, PLURAL, timeout_seconds=5
        ) as stream:
            first = await anext(stream)
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "w")
        core = aio.client.CoreV1Api(client)
        body = aio.client.V1ConfigMap(metadata=aio.client.V1ObjectMeta(name="c"), data={"a": "b"})
        made = await core.create_namespaced_config_map(namespace, body)
        assert made.metadata.uid
        await core.delete_namespaced_config_map("c", namespace)
        with pytest.raises(aio.client.ApiException) as refused:
            await core.read_namespaced_config_map("c", namespace)
        assert refused.value.status == 404


async def test_the_official_synchronous_client(widgets: Widgets, kubeconfig: Path) -> None:
    def work() -> list[str]:
        with official_config.new_client_from_config(str(kubeconfig)) as client:
            core = official.CoreV1Api(client)
            secret = official.V1Secret(metadata=official.V1ObjectMeta(name="s"), string_data={"a": "b"})
            core.create_namespaced_secret(widgets.kube.namespace, secret)
            return [s.metadata.name for s in core.list_namespaced_secret(widgets.kube.namespace).items]

    assert "s" in await asyncio.to_thread(work)


async def test_pykube(widgets: Widgets, kubeconfig: Path) -> None:
    def work() -> int:
        api = pykube.HTTPClient(pykube.KubeConfig.from_file(str(kubeconfig)))
        kind = pykube.object_factory(api, VERSION, "Widget")
        made = kind(api, {**widget("w"), "metadata": {"name": "w", "namespace": widgets.kube.namespace}})
        made.create()
        made.patch({"spec": {"size": 4}})
        found = kind.objects(api).filter(namespace=widgets.kube.namespace).get(name="w")
        api.session.close()
        return int(found.obj["spec"]["size"])

    assert await asyncio.to_thread(work) == 4


def login_by(kubeconfig: Path) -> kopf.ConnectionInfo:
    """Log kopf in by a kubeconfig, without touching the environment."""
    raw = yaml.safe_load(kubeconfig.read_text())
    cluster, user = raw["clusters"][0]["cluster"], raw["users"][0]["user"]
    return kopf.ConnectionInfo(
        server=cluster["server"],
        ca_data=cluster["certificate-authority-data"].encode(),
        token=user.get("token"),
        certificate_data=(user.get("client-certificate-data") or "").encode() or None,
        private_key_data=(user.get("client-key-data") or "").encode() or None,
        default_namespace="default",
    )


async def test_kopf_handles_and_finalizes(widgets: Widgets, kubeconfig: Path) -> None:
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    settings.posting.enabled = True
    settings.persistence.finalizer = f"{GROUP}/kopf"
    deleted: list[str] = []

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return login_by(kubeconfig)

    @kopf.on.create(GROUP, "v1", PLURAL, registry=registry)
    async def create(patch: kopf.Patch, body: kopf.Body, **_: Any) -> None:
        patch.status["phase"] = "handled"
        kopf.info(body, reason="Handled", message="by kopf")

    @kopf.on.delete(GROUP, "v1", PLURAL, registry=registry)
    async def delete(name: str, **_: Any) -> None:
        deleted.append(name)

    stop = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[widgets.kube.namespace],
            standalone=True,
            stop_flag=stop,
        )
    )
    try:
        await widgets.create(widget("w"))

        async def handled() -> bool:
            return (await widgets.get("w")).ok().get("status", {}).get("phase") == "handled"

        await until(handled, "kopf did not handle the creation")
        (await widgets.delete("w")).ok()

        async def gone() -> bool:
            return (await widgets.get("w")).code == 404

        await until(gone, "kopf did not let the object go")
        assert deleted == ["w"]
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


@pytest.fixture
def kubectl(widgets: Widgets, kubeconfig: Path) -> Any:
    """Run kubectl in the test's namespace; give its output."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed")

    async def run(*arguments: str, stdin: str = "") -> str:
        command = [program, "--namespace", widgets.kube.namespace, *arguments]
        env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        done = await asyncio.to_thread(
            subprocess.run, command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    return run


async def test_kubectl_applies_shows_and_deletes(widgets: Widgets, kubectl: Any) -> None:
    manifest = yaml.safe_dump(widget("w", size=3))
    assert "created" in await kubectl("apply", "-f", "-", stdin=manifest)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=manifest)
    assert "serverside-applied" in await kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest
    )
    shown = (await kubectl("get", "widgets")).splitlines()
    assert shown[0].split() == ["NAME", "SIZE", "PHASE", "AGE"]
    assert shown[1].split()[:2] == ["w", "3"]
    assert "scaled" in await kubectl("scale", "widget/w", "--replicas=5")
    assert (await widgets.get("w")).ok()["spec"]["replicas"] == 5
    await kubectl("label", "wdg/w", "a=b")
    await kubectl("patch", "widget", "w", "--type=merge", "-p", '{"spec":{"size":4}}')
    assert await kubectl("get", "wdg", "w", "-o", "jsonpath={.spec.size}") == "4"
    assert "deleted" in await kubectl("delete", "widget", "w")


async def test_kubectl_creates_what_it_sends_in_protobuf(widgets: Widgets, kubectl: Any) -> None:
    for command in (
        "configmap c --from-literal=a=b", "secret generic s --from-literal=password=secret",
        "service clusterip svc --tcp=5432:5432", "serviceaccount sa",
        "poddisruptionbudget p --selector=a=b --min-available=1",
    ):  # fmt: skip
        assert "created" in await kubectl("create", *command.split())
    assert await kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"a":"b"}'
    assert await kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "c2VjcmV0"
    assert await kubectl("get", "service", "svc", "-o", "jsonpath={.spec.ports[0].targetPort}") == "5432"


async def test_kubectl_waits_explains_and_describes(widgets: Widgets, kubectl: Any) -> None:
    await widgets.create(widget("w"))
    await widgets.patch("w", {"status": {"phase": "good"}}, MERGE, "status")
    assert "condition met" in await kubectl("wait", "widget/w", "--for=jsonpath={.status.phase}=good", "--timeout=20s")
    assert "How large." in await kubectl("explain", "widget.spec.size")
    assert "widgets.conformance.borealis.dev" in await kubectl("api-resources", "-o", "name")
    assert "Name:" in await kubectl("describe", "widget", "w")
