"""Bodies in protobuf: what Kubernetes' own serializer wrote means what its JSON says, and damage is said."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from borealis_local.machinery import protobuf
from borealis_local.machinery.builtin import BUILTIN

BODIES = json.loads(Path(__file__).with_name("protobuf_bodies.json").read_text())  # of kubectl 1.34 and k8s.io/api 0.37


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("one", BODIES["go"], ids=lambda one: f"{one['json']['apiVersion']}-{one['json']['kind']}")
def test_a_body_means_what_its_json_says(one: dict[str, Any]) -> None:
    assert protobuf.decode(base64.b64decode(one["protobuf"])) == without_nulls(one["json"])


def test_every_kind_of_kubernetes_that_is_served_can_be_read() -> None:
    there = {f"{resource.api_version}/{resource.kind}" for resource in BUILTIN}
    assert there - set(protobuf.MESSAGES["kinds"]) == {"apiextensions.k8s.io/v1/CustomResourceDefinition"}


def test_a_kind_that_is_not_served_is_none() -> None:
    (deployment,) = (one for one in BODIES["kubectl"] if one["path"].endswith("deployments"))
    assert protobuf.decode(base64.b64decode(deployment["protobuf"])) is None


def test_damage_is_said_and_nothing_else() -> None:
    whole = base64.b64decode(next(one for one in BODIES["go"] if one["json"]["kind"] == "Lease")["protobuf"])
    refused = 0
    for damaged in (*(whole[:end] for end in range(len(whole))), *(_flipped(whole, at) for at in range(len(whole)))):
        try:
            protobuf.decode(damaged)
        except ValueError:
            refused += 1
    assert refused > len(whole)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x87]) + data[at + 1 :]
