"""Bodies in protobuf, as Go's clients send them: the bytes that kubectl sent, where there is no kubectl too."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from borealis_local.machinery import protobuf
from kube import Kube

BODIES = json.loads((Path(__file__).parents[1] / "machinery" / "protobuf_bodies.json").read_text())
SENT = [one for one in BODIES["kubectl"] if "/default/" in one["path"] and not one["path"].startswith("/apis/apps/")]
ACCEPT = f"{protobuf.MEDIA_TYPE},application/json"


async def send(kube: Kube, method: str, path: str, body: bytes) -> Any:
    """Send a body as kubectl does, which takes protobuf and JSON for an answer; ours are JSON."""
    return (await kube.send(method, path, body, kind=protobuf.MEDIA_TYPE, accept=ACCEPT)).ok()


def meaning(obj: dict[str, Any]) -> dict[str, Any]:
    """Give an object without what each one has of its own."""
    labels = obj["metadata"].get("labels")
    spec = {key: value for key, value in obj.get("spec", {}).items() if not key.startswith("clusterIP")}
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec.pop("ports", [])]
    return {**{k: v for k, v in obj.items() if k not in ("metadata", "status")}, "spec": [labels, spec, ports]}


@pytest.mark.parametrize("sent", SENT, ids=[f"{at}-{one['path'].rpartition('/')[2]}" for at, one in enumerate(SENT)])
async def test_what_kubectl_sends_is_created_as_if_it_were_json(kube: Kube, sent: dict[str, Any]) -> None:
    body, path = base64.b64decode(sent["protobuf"]), sent["path"].replace("/default/", f"/{kube.namespace}/")
    meant = protobuf.decode(body)
    assert meant is not None
    await send(kube, "POST", path, body)
    stored = (await kube.send("GET", f"{path}/{meant['metadata']['name']}")).ok()
    (await kube.send("DELETE", f"{path}/{meant['metadata']['name']}")).ok()
    plain = (await kube.send("POST", path, meant)).ok()
    assert meaning(stored) == meaning(plain)


async def test_a_deletion_may_say_its_options_in_protobuf(kube: Kube) -> None:
    """A dry run deletes nothing, as `delete_options` must have read."""
    path = f"/api/v1/namespaces/{kube.namespace}/configmaps"
    made = {"metadata": {"name": "c"}, "data": {"a": "b"}}
    (await kube.send("POST", path, made)).ok()
    about, options = b"\x0a\x02v1\x12\x0dDeleteOptions", b"\x2a\x03All"  # field 5: dryRun
    body = protobuf.MAGIC + b"\x0a" + bytes([len(about)]) + about + b"\x12" + bytes([len(options)]) + options
    await send(kube, "DELETE", f"{path}/c", body)
    assert (await kube.send("GET", f"{path}/c")).ok()["data"] == {"a": "b"}


async def test_damaged_protobuf_is_a_bad_request(kube: Kube) -> None:
    path = f"/api/v1/namespaces/{kube.namespace}/configmaps"
    answer = await kube.send("POST", path, protobuf.MAGIC + b"\x0a\xff", kind=protobuf.MEDIA_TYPE)
    assert answer.failed(400, "BadRequest")["message"]
