"""Secrets: passwords of users are never believed blindly nor owned, and a client's certificate check holds."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from borealis_engine.contract.names import ENV_SERVER_TLS_DIR
from borealis_engine.contract.status import InstanceStatus
from borealis_engine.net.errors import PeerRejected
from borealis_engine.net.tls import Tls, load_tls
from borealis_operator.api.errors import KubeError
from borealis_operator.kube.port import Object
from borealis_operator.kube.testing import FakeKube
from borealis_operator.plan.facts import Manifest
from borealis_operator.plan.password import Flaw, read_password
from borealis_operator.reconcile.removal import Remover

from .conftest import KEY, Stage

GOOD = "correct horse"
HOSTS = [
    f"{service}{form}"
    for service in ("orders", "orders-ro")
    for form in ("", ".shop", ".shop.svc", ".shop.svc.cluster.local")
]


def told(stage: Stage) -> dict[str, Any]:
    return {c["type"]: c for c in stage.status["conditions"]}


def encode(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def give(stage: Stage, name: str, data: dict[str, str]) -> None:
    live = stage.kube.objects.get(("Secret", KEY.namespace, name), {"kind": "Secret", "metadata": {}})
    metadata = {**live["metadata"], "name": name, "namespace": KEY.namespace}
    stage.kube.put({**live, "metadata": metadata, "data": data})


def in_force(stage: Stage) -> str:
    """The password that applications read; the writer's digest says whether SQL has it too."""
    data = stage.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    password = base64.b64decode(data["password"]).decode()
    assert f":{password.replace(' ', '%20')}@" in base64.b64decode(data["uri"]).decode()
    return password


def applied(stage: Stage) -> str:
    return next(s.database for s in stage.world.statuses.values() if isinstance(s, InstanceStatus) and s.database)


FLAWS = {
    "no data": ({}, "KeyMissing"),
    "another key": ({"pass": encode(GOOD)}, "KeyMissing"),
    "not text": ({"password": encode(b"\xff\xfe12345678")}, "PasswordNotText"),
    "not base64": ({"password": "*"}, "PasswordNotText"),
    "empty": ({"password": ""}, "PasswordTooShort"),
    "7": ({"password": encode("seven77")}, "PasswordTooShort"),
    "129": ({"password": encode("x" * 129)}, "PasswordTooLong"),
    "by echo": ({"password": encode(GOOD + "\n")}, "PasswordUnfit"),
    "NUL": ({"password": encode(GOOD + "\0")}, "PasswordUnfit"),
}
FIT = ["eight888", "x" * 128, "pässwörd", "a b'\"\\%$"]


@pytest.mark.parametrize(("data", "reason"), FLAWS.values(), ids=FLAWS)
def test_flaws(data: dict[str, str], reason: str) -> None:
    found = read_password({"data": data})
    assert isinstance(found, Flaw)
    assert found.reason == reason
    assert GOOD not in found.problem + found.remedy


@pytest.mark.parametrize("password", FIT)
def test_what_can_be_used(password: str) -> None:
    assert read_password({"data": {"password": encode(password)}}) == password


@pytest.mark.parametrize(("data", "reason"), FLAWS.values(), ids=FLAWS)
async def test_a_bad_secret_of_the_user_is_named_and_the_last_good_password_stays(
    stage: Stage, data: dict[str, str], reason: str
) -> None:
    give(stage, "mine", {"password": encode(GOOD)})
    stage.declare({"readers": 1, "masterUserSecret": {"name": "mine"}})
    await stage.settle()
    give(stage, "mine", data)
    await stage.settle()
    found = told(stage)["MasterUserSecretReady"]
    assert (found["status"], found["reason"]) == ("False", reason)
    assert found["message"].startswith("spec.masterUserSecret.name: Secret 'mine' ")
    assert in_force(stage) == GOOD
    assert told(stage)["Reconciled"]["status"] == "True"
    old = stage.writer_pod()
    before = applied(stage)
    stage.world.die(old["metadata"]["uid"])
    await stage.settle()
    assert stage.status["writer"] not in ("", old["metadata"]["name"])
    assert stage.status["status"] == "available"
    assert applied(stage) == before


@pytest.mark.parametrize(("data", "reason"), FLAWS.values(), ids=FLAWS)
async def test_a_bad_edit_of_the_generated_secret_is_named(running: Stage, data: dict[str, str], reason: str) -> None:
    before = applied(running)
    give(running, "orders-master", data)
    await running.settle()
    found = told(running)["MasterUserSecretReady"]
    assert (found["status"], found["reason"]) == ("False", reason)
    assert found["message"].startswith("Secret 'orders-master' ")
    assert "delete the Secret" in found["message"]
    assert applied(running) == before
    assert running.status["status"] == "available"
    running.kube.remove("Secret", KEY.namespace, "orders-master")
    await running.settle()
    assert told(running)["MasterUserSecretReady"]["status"] == "True"
    assert applied(running) != before


async def test_a_missing_secret_is_named_and_the_cluster_comes_up_when_it_is_there(stage: Stage) -> None:
    stage.declare({"readers": 0, "masterUserSecret": {"name": "mine"}})
    await stage.settle()
    found = told(stage)["MasterUserSecretReady"]
    assert found["reason"] == "SecretMissing"
    assert "there is no Secret 'mine'; create it in the namespace" in found["message"]
    assert stage.status["status"] == "creating"
    give(stage, "mine", {"password": encode(GOOD)})
    await stage.settle()
    assert stage.status["status"] == "available"
    assert in_force(stage) == GOOD


@pytest.mark.parametrize("name", ["mine", "orders-master"])
async def test_a_changed_password_is_applied_in_the_next_settled_pass(stage: Stage, name: str) -> None:
    give(stage, "mine", {"password": encode("the first one")})
    stage.declare({"readers": 1} | ({"masterUserSecret": {"name": "mine"}} if name == "mine" else {}))
    await stage.settle()
    before = applied(stage)
    assert await stage.reconciler.once(KEY) <= 10.0
    data = stage.kube.objects["Secret", KEY.namespace, name]["data"]
    give(stage, name, {**data, "password": encode("the second one")})
    await stage.reconciler.once(KEY)
    assert applied(stage) != before
    assert in_force(stage) == "the second one"


async def test_a_secret_of_the_user_is_neither_owned_nor_changed_nor_deleted(stage: Stage) -> None:
    give(stage, "mine", {"password": encode(GOOD)})
    theirs = dict(stage.kube.objects["Secret", KEY.namespace, "mine"])
    stage.declare({"readers": 1, "masterUserSecret": {"name": "mine"}})
    await stage.settle()
    remover = Remover(kube=stage.kube, agents=stage.world)
    for _ in range(5):
        if await remover.once(KEY):
            break
    stage.kube.remove("DBCluster", KEY.namespace, KEY.name)
    assert stage.named("Secret") == ["mine"]
    assert stage.kube.objects["Secret", KEY.namespace, "mine"] == theirs
    assert [w for w in stage.kube.writes if w[1:] == ("Secret", "mine")] == []


async def test_a_secret_that_nobody_may_change_stops_no_failover(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user made the connection Secret immutable, and the operator has to mend it."""
    apply = FakeKube.apply

    async def refuse(self: FakeKube, manifest: Manifest) -> Object:
        if manifest["kind"] == "Secret":
            raise KubeError("422 field is immutable when `immutable` is set")
        return await apply(self, manifest)

    monkeypatch.setattr(FakeKube, "apply", refuse)
    data = running.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    give(running, "orders-master", {k: v for k, v in data.items() if k != "ca.crt"})
    old = running.writer_pod()
    running.kube.remove("Pod", KEY.namespace, old["metadata"]["name"])
    running.world.run()
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert running.status["readers"] == 2
    assert "immutable" in told(running)["Reconciled"]["message"]


# --- certificates ---------------------------------------------------------------------------------------------


def write(stage: Stage, secret: str, folder: Path) -> Path:
    """Lay a Secret out as a pod would see it."""
    folder.mkdir(exist_ok=True)
    for key, value in stage.kube.objects["Secret", KEY.namespace, secret]["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    return folder


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "") -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Do a handshake in memory; ssl.SSLError from whoever does not accept the other."""
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, server_hostname=host or None))
    for _ in range(6):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def postgres(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def application(ca: Path) -> ssl.SSLContext:
    """A client with sslmode=verify-full."""
    return ssl.create_default_context(cafile=ca)


@pytest.fixture
def peer(running: Stage, tmp_path: Path) -> Tls:
    """An instance on its internal ports."""
    uid = running.kube.objects["DBCluster", KEY.namespace, KEY.name]["metadata"]["uid"]
    return load_tls(write(running, "orders-tls-instance", tmp_path / "instance"), cluster_uid=uid)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("source", ["orders-server-ca", "orders-master"])
async def test_verify_full_holds_under_every_name_of_the_services(
    running: Stage, tmp_path: Path, host: str, source: str
) -> None:
    server = postgres(write(running, "orders-tls-server", tmp_path / "server"))
    ca = write(running, source, tmp_path / "ca") / "ca.crt"
    shake_hands(server, application(ca), host)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server, application(ca), f"not-{host}")


async def test_the_ca_for_clients_holds_nothing_secret(running: Stage) -> None:
    assert set(running.kube.objects["Secret", KEY.namespace, "orders-server-ca"]["data"]) == {"ca.crt"}
    everywhere = [k for (kind, _, name), o in running.kube.objects.items() if kind == "Pod" for k in [str(o["spec"])]]
    assert not any("'orders-ca'" in spec for spec in everywhere)


async def test_the_servers_certificate_is_no_peers(running: Stage, peer: Tls, tmp_path: Path) -> None:
    folder = write(running, "orders-tls-server", tmp_path / "server")
    thief = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    thief.check_hostname = False
    thief.load_verify_locations(folder / "ca.crt")
    thief.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with pytest.raises(ssl.SSLError, match=r"unsuitable certificate purpose|unsupported certificate purpose"):
        shake_hands(peer.server, thief)


async def test_whoever_shows_the_servers_certificate_is_not_spoken_to(
    running: Stage, peer: Tls, tmp_path: Path
) -> None:
    impostor = postgres(write(running, "orders-tls-server", tmp_path / "server"))
    _, ours = shake_hands(impostor, peer.client)
    with pytest.raises(PeerRejected):
        peer.role_of(ours)


async def test_a_true_peer_is_accepted(running: Stage, peer: Tls) -> None:
    theirs, ours = shake_hands(peer.server, peer.client)
    assert (peer.role_of(theirs), peer.role_of(ours)) == ("instance", "instance")


async def test_instances_show_the_certificate_and_only_they_hold_it(running: Stage) -> None:
    for name in running.named("Pod"):
        spec = running.pod(name)["spec"]
        secrets = {v["secret"]["secretName"]: v["secret"]["defaultMode"] for v in spec["volumes"] if "secret" in v}
        env = {e["name"]: e.get("value") for e in spec["containers"][0]["env"]}
        mounts = {m["mountPath"]: m for m in spec["containers"][0]["volumeMounts"]}
        if "instance" in name:
            assert secrets["orders-tls-server"] == 0o440
            assert mounts[env[ENV_SERVER_TLS_DIR] or ""]["readOnly"]
        else:
            assert set(secrets) == {"orders-tls-storage"}


async def test_an_existing_cluster_gets_a_certificate_and_goes_on_without_meanwhile(running: Stage) -> None:
    for name in ("orders-tls-server", "orders-server-ca"):
        running.kube.remove("Secret", KEY.namespace, name)
    old, pods = running.writer_pod(), running.named("Pod")
    await running.settle()
    assert {"orders-tls-server", "orders-server-ca"} <= set(running.named("Secret"))
    assert running.named("Pod") == pods
    assert running.status["writer"] == old["metadata"]["name"]


async def test_a_lost_authority_stops_nothing_that_runs(running: Stage) -> None:
    for name in ("orders-ca", "orders-tls-server", "orders-server-ca"):
        running.kube.remove("Secret", KEY.namespace, name)
    old = running.writer_pod()
    running.world.die(old["metadata"]["uid"])
    await running.settle()
    assert running.status["writer"] not in ("", old["metadata"]["name"])
    assert running.status["status"] == "available"


async def test_a_secret_that_does_not_let_in_is_told_with_the_remedy(running: Stage) -> None:
    running.world.no_access = "the role borealis cannot be changed: an open transaction holds it (process 7)"
    data = running.kube.objects["Secret", KEY.namespace, "orders-master"]["data"]
    give(running, "orders-master", {**data, "password": encode(GOOD)})
    for _ in range(3):
        await running.reconciler.once(KEY)
    ready = told(running)["MasterUserSecretReady"]
    assert (ready["status"], ready["reason"]) == ("False", "NoAccess")
    assert ready["message"] == f"Secret 'orders-master' does not let in: {running.world.no_access}"
    running.world.no_access = ""
    await running.settle()
    assert told(running)["MasterUserSecretReady"]["status"] == "True"


async def test_a_cluster_that_cannot_be_set_up_says_why(stage: Stage) -> None:
    stage.world.no_access = "PostgreSQL refuses it: no space left"
    stage.declare({"readers": 0})
    for _ in range(12):
        await stage.reconciler.once(KEY)
        stage.world.run()
    assert stage.status["status"] == "creating"
    assert stage.world.no_access in told(stage)["Ready"]["message"]
