"""Mount paths, environment and command line of containers."""

from pathlib import Path
from typing import Any

import pytest
from borealis_local.errors import PodError
from borealis_local.node.environment import command, expand, field
from borealis_local.node.paths import Rewriter

MOUNTS = {"/data": Path("/s/p/1"), "/data/deep": Path("/s/p/2"), "/etc/tls/": Path("/s/p/3")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/s/p/1"),
        ("/data/x", "/s/p/1/x"),
        ("/data/deep/x", "/s/p/2/x"),
        ("--dir=/data", "--dir=/s/p/1"),
        ("host=/data port=1", "host=/s/p/1 port=1"),
        ('{"path":"/etc/tls/ca.crt"}', '{"path":"/s/p/3/ca.crt"}'),
        ("/data:/etc/tls", "/s/p/1:/s/p/3"),
        ("/database", "/database"),
        ("/var/data", "/var/data"),
        ("x/data", "x/data"),
        ("https://host/data", "https://host/data"),
    ],
)
def test_rewriting(text: str, expected: str) -> None:
    assert Rewriter(MOUNTS).text(text) == expected


def test_a_mount_beneath_its_own_target_is_rewritten_once() -> None:
    paths = Rewriter({"/var/lib/b": Path("/var/lib/b/p/1")})
    container = {"name": "c", "command": ["run", "$(DIR)"], "env": [{"name": "DIR", "value": "/var/lib/b"}]}
    made = command(container, {}, base={}, lookup=lambda *_: None, paths=paths)
    assert made.argv == ("run", "/var/lib/b/p/1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$(A)$(A)", "11"), ("$A", "$A")],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


OBJECTS: dict[tuple[str, str], Any] = {
    ("Secret", "s"): {"data": {"password": "L2RhdGE="}},
    ("ConfigMap", "c"): {"data": {"k": "v"}},
}
POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a.b/c": "l"}},
    "spec": {"nodeName": "node-1"},
    "status": {"podIP": "127.1.2.3"},
}


def made(**container: Any) -> Any:
    described = {"name": "c", "command": ["run"], **container}
    return command(
        described, POD, base={"PATH": "/bin"}, lookup=lambda k, n: OBJECTS.get((k, n)), paths=Rewriter(MOUNTS)
    )


def test_variables_come_from_everywhere() -> None:
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP)/$(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
    ]
    found = made(env=env, envFrom=[{"configMapRef": {"name": "c"}, "prefix": "P_"}]).env
    assert found["URL"] == "http://127.1.2.3/$(LATER)"
    assert (found["PW"], found["K"], found["P_k"], found["PATH"]) == ("/data", "v", "v", "/bin")
    assert "GONE" not in found


@pytest.mark.parametrize(
    "container",
    [
        {"command": []},
        {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x"}}}]},
        {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "none"}}}]},
        {"envFrom": [{"secretRef": {"name": "none"}}]},
    ],
    ids=["no command", "no secret", "no key", "no source"],
)
def test_what_cannot_be_run(container: Any) -> None:
    with pytest.raises(PodError) as refused:
        made(**container)
    assert refused.value.reason == "CreateContainerConfigError"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("spec.nodeName", "node-1"),
        ("metadata.labels['a.b/c']", "l"),
        ("metadata.labels['x']", ""),
    ],
)
def test_the_downward_api(path: str, value: str) -> None:
    assert field(POD, path) == value
