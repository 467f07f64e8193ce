"""The process kubelet with tiny pods."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from borealis_local.control.bootstrap import NODES
from borealis_local.control.provisioner import GROUPS as PROVISIONER_GROUPS
from borealis_local.control.provisioner import PROVISIONER, Provisioner
from borealis_local.control.scheduler import GROUPS as SCHEDULER_GROUPS
from borealis_local.control.scheduler import Scheduler
from borealis_local.node import kubelet, process, shim
from borealis_local.node.environment import Command
from borealis_local.node.kubelet import Kubelet
from borealis_local.node.power import Power
from borealis_local.node.worker import Surroundings, log_path
from borealis_local.server.api import CONTROL
from borealis_local.server.loop import follow, within
from borealis_local.state import State
from borealis_local.testing import MemoryApi

DEADLINE_S = 20.0
SLEEP = "import time; time.sleep(600)"
ORPHANS = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
open(sys.argv[1] + "/ready", "w").close()
time.sleep(600)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
)

SERVE = """
import http.server, sys
http.server.ThreadingHTTPServer((sys.argv[1], 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Machine:
    """A kubelet, a scheduler and a provisioner over an Api in memory."""

    def __init__(self, root: Path) -> None:
        self.state = State(root=root)
        self.state.prepare()
        self.api = MemoryApi(network=200 + os.getpid() % 40)
        self.power = Power(NODES, self._power_changed)
        base = process.base_environment(os.environ)
        around = Surroundings(api=self.api, state=self.state, power=self.power, base_env=base)
        self.kubelet = Kubelet(around, self.api.addresses)

    def _power_changed(self, node: str, on: bool) -> None:
        self.kubelet.node_changed(node, on)

    def loops(self) -> list[Any]:
        store = self.api.store
        provisioner = Provisioner(self.api, self.state.volumes)
        return [
            follow(store, self.kubelet.sync, name="kubelet", matters=within(kubelet.GROUPS)),
            follow(store, Scheduler(self.api).sync, name="scheduler", matters=within(SCHEDULER_GROUPS)),
            follow(store, provisioner.sync, name="provisioner", matters=within(PROVISIONER_GROUPS)),
        ]

    def pod(self, name: str, code: str, *arguments: str, **container: Any) -> None:
        """Create a pod that runs Python code."""
        spec = container.pop("spec", {})
        words = [sys.executable, "-c", code, *arguments]
        main = {"name": "main", "image": "local", "command": words, **container}
        self.api.make("Pod", name, spec={"terminationGracePeriodSeconds": 5, **spec, "containers": [main]})

    async def until(self, condition: Callable[[], Any], what: str = "condition") -> Any:
        """Wait for a condition over the store."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not (found := condition()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                return found
        except TimeoutError:
            pods = [p.get("status") for p in self.api.store.list(kubelet.PODS)]
            raise AssertionError(f"{what}: {pods}") from None

    def status(self, name: str) -> dict[str, Any]:
        pod = self.api.find("Pod", name)
        return pod.get("status", {}) if pod else {}

    def is_ready(self, name: str) -> bool:
        return any(c["type"] == "Ready" and c["status"] == "True" for c in self.status(name).get("conditions", ()))

    def container(self, name: str) -> dict[str, Any]:
        return next(iter(self.status(name).get("containerStatuses", ())), {})

    def processes(self, name: str) -> list[int]:
        """Give all processes of a pod's containers."""
        pod = self.api.find("Pod", name)
        worker = next(w for w in self.kubelet._workers.values() if w.pod["metadata"]["uid"] == pod["metadata"]["uid"])
        return [p for run in worker.runs.values() for p in (run.pid, *shim.descendants(run.pid))]

    async def running(self, name: str, count: int) -> list[int]:
        """Give the processes once there are `count`: one may speak before the kubelet has written its pid down."""
        await self.until(lambda: len(self.processes(name)) == count)
        return self.processes(name)

    def log(self, name: str) -> str:
        path = log_path(self.state, "default", name, "main")
        return path.read_text() if path.exists() else ""


def alive(pid: int) -> bool:
    return shim.parent_of(pid) is not None


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="blk"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def machine(root: Path) -> AsyncIterator[Machine]:
    made, before = Machine(root), set(shim.descendants(os.getpid()))  # of other tests in this process
    loops = [asyncio.create_task(c) for c in made.loops()]
    yield made
    await made.kubelet.stop(0.5)
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    assert set(shim.descendants(os.getpid())) <= before
    made.api.store.close()


async def test_a_pod_runs_on_an_address_and_ends(machine: Machine) -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    machine.pod("p", f"import os; print('at', os.environ['IP'], flush=True); {SLEEP}", env=env)
    await machine.until(lambda: machine.is_ready("p"))
    address = machine.status("p")["podIP"]
    assert address.startswith("127.")
    await machine.until(lambda: f"at {address}" in machine.log("p"))
    pids = await machine.running("p", 2)
    machine.api.remove("Pod", "p")
    assert "deletionTimestamp" in machine.api.find("Pod", "p")["metadata"]
    await machine.until(lambda: machine.api.find("Pod", "p") is None)
    assert not any(alive(p) for p in pids)
    assert list(machine.state.pods.iterdir()) == []


async def test_no_orphan_survives_its_pod(machine: Machine) -> None:
    mounts, volumes = [{"name": "v", "mountPath": "/v"}], [{"name": "v", "emptyDir": {}}]
    machine.pod("p", ORPHANS, "/v", volumeMounts=mounts, spec={"volumes": volumes})
    await machine.until(lambda: list(machine.state.pods.glob("*/0/ready")))
    pids = await machine.running("p", 3)  # shim, main process, and the orphan in a session of its own
    machine.api.remove("Pod", "p")
    await machine.until(lambda: machine.api.find("Pod", "p") is None)
    assert not any(alive(p) for p in pids)


async def test_a_deaf_container_is_killed_after_its_grace(machine: Machine) -> None:
    machine.pod("p", STUBBORN, spec={"terminationGracePeriodSeconds": 1})
    await machine.until(lambda: "on" in machine.log("p"))
    began = asyncio.get_running_loop().time()
    machine.api.remove("Pod", "p")
    await machine.until(lambda: machine.api.find("Pod", "p") is None)
    assert asyncio.get_running_loop().time() - began >= 1.0


async def test_force_deletion_kills_at_once(machine: Machine) -> None:
    machine.pod("p", STUBBORN, spec={"terminationGracePeriodSeconds": 300})
    await machine.until(lambda: "on" in machine.log("p"))
    pids = await machine.running("p", 2)
    machine.api.remove("Pod", "p", grace=0)
    assert machine.api.find("Pod", "p") is None
    await machine.until(lambda: not any(alive(p) for p in pids))


@pytest.mark.slow
async def test_a_container_restarts_and_its_emptydir_stays(machine: Machine) -> None:
    code = "import sys, pathlib; p = pathlib.Path(sys.argv[1], 'n'); n = int(p.read_text()) + 1 if p.exists() else 1\n"
    code += f"p.write_text(str(n))\nif n < 3: sys.exit(7)\n{SLEEP}"
    mounts, volumes = [{"name": "v", "mountPath": "/v"}], [{"name": "v", "emptyDir": {}}]
    machine.pod("p", code, "/v", volumeMounts=mounts, spec={"volumes": volumes})
    await machine.until(lambda: machine.container("p").get("restartCount") == 2 and machine.is_ready("p"))
    assert machine.container("p")["lastState"]["terminated"]["exitCode"] == 7


async def test_a_crashing_container_backs_off(machine: Machine) -> None:
    machine.pod("p", "raise SystemExit(1)")
    waiting = lambda: machine.container("p").get("state", {}).get("waiting", {}).get("reason")  # noqa: E731
    await machine.until(lambda: waiting() == "CrashLoopBackOff")
    assert not machine.is_ready("p")


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")]
)
async def test_pods_that_end(machine: Machine, policy: str, code: int, phase: str) -> None:
    machine.pod("p", f"raise SystemExit({code})", spec={"restartPolicy": policy})
    await machine.until(lambda: machine.status("p").get("phase") == phase)
    machine.api.remove("Pod", "p")
    await machine.until(lambda: machine.api.find("Pod", "p") is None)


async def test_readiness_follows_its_probe(machine: Machine) -> None:
    probe = {"exec": {"command": ["test", "-e", "/v/ready"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    mounts, volumes = [{"name": "v", "mountPath": "/v"}], [{"name": "v", "emptyDir": {}}]
    machine.pod("p", SLEEP, volumeMounts=mounts, readinessProbe=probe, spec={"volumes": volumes})
    await machine.until(lambda: machine.container("p").get("started"))
    assert not machine.is_ready("p")
    (directory,) = machine.state.pods.glob("*/0")
    (directory / "ready").touch()
    await machine.until(lambda: machine.is_ready("p"))
    (directory / "ready").unlink()
    await machine.until(lambda: not machine.is_ready("p"))


async def test_http_probes_reach_the_pod_address(machine: Machine) -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    probe = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 0.1}
    ports = [{"name": "web", "containerPort": 8080}]
    machine.pod("p", SERVE, "$(IP)", env=env, ports=ports, readinessProbe=probe)
    await machine.until(lambda: machine.is_ready("p"))


@pytest.mark.slow
async def test_a_failing_liveness_probe_restarts(machine: Machine) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    machine.pod("p", SLEEP, livenessProbe=probe)
    await machine.until(lambda: machine.container("p").get("restartCount", 0) >= 1)


async def test_init_containers_come_first(machine: Machine) -> None:
    mounts, volumes = [{"name": "v", "mountPath": "/v"}], [{"name": "v", "emptyDir": {}}]
    init = {"name": "init", "image": "local", "command": ["touch", "/v/made"], "volumeMounts": mounts}
    code = "import os, sys; assert os.path.exists(sys.argv[1]); " + SLEEP
    machine.pod("p", code, "/v/made", volumeMounts=mounts, spec={"volumes": volumes, "initContainers": [init]})
    await machine.until(lambda: machine.is_ready("p"))
    assert machine.container("p")["restartCount"] == 0


async def test_an_image_that_is_not_there_is_backed_off_from(machine: Machine) -> None:
    machine.pod("p", SLEEP, image="example.org/other:1")
    waiting = lambda: machine.container("p").get("state", {}).get("waiting", {})  # noqa: E731
    await machine.until(lambda: waiting().get("reason") == "ImagePullBackOff")
    assert waiting()["message"].startswith('Back-off pulling image "example.org/other:1": ErrImagePull: local mode')
    assert machine.status("p")["phase"] == "Pending"
    assert machine.processes("p") == []


async def test_a_pod_waits_for_a_claim_that_no_class_serves(machine: Machine) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {}}
    machine.api.make("PersistentVolumeClaim", "c", spec=claim)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    machine.pod("p", SLEEP, spec={"volumes": volumes})
    told = lambda: machine.status("p").get("conditions", [{}])[0]  # noqa: E731
    await machine.until(lambda: told().get("reason") == "Unschedulable")
    assert told()["message"] == "0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    assert machine.api.find("PersistentVolumeClaim", "c")["status"]["phase"] == "Pending"
    machine.api.make("StorageClass", "fast", api="storage.k8s.io/v1", provisioner=PROVISIONER)
    await machine.until(lambda: machine.is_ready("p"))


async def test_a_pod_that_fits_no_node_waits(machine: Machine) -> None:
    machine.pod("p", SLEEP, resources={"requests": {"cpu": "5000"}})
    told = lambda: machine.status("p").get("conditions", [{}])[0]  # noqa: E731
    await machine.until(lambda: told().get("reason") == "Unschedulable")
    assert told()["message"] == "0/6 nodes are available: 6 Insufficient cpu."


async def test_secrets_are_private_files_that_follow_the_secret(machine: Machine) -> None:
    volumes = [{"name": "v", "secret": {"secretName": "s"}}]
    machine.pod("p", SLEEP, volumeMounts=[{"name": "v", "mountPath": "/v"}], spec={"volumes": volumes})
    reason = lambda: machine.container("p").get("state", {}).get("waiting", {})  # noqa: E731
    await machine.until(lambda: 'secret "s" not found' in reason().get("message", ""))
    machine.api.make("Secret", "s", stringData={"key": "one"})
    await machine.until(lambda: machine.is_ready("p"))
    (path,) = machine.state.pods.glob("*/0/key")
    assert path.read_text() == "one"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    resource = machine.api.kind("v1", "Secret")
    secret = machine.api.find("Secret", "s")
    machine.api.writes.update(resource, "default", "s", {**secret, "stringData": {"key": "two"}}, CONTROL)
    await machine.until(lambda: path.read_text() == "two")


async def test_claims_are_directories_that_outlive_pods(machine: Machine) -> None:
    machine.api.make("PersistentVolumeClaim", "c", spec={"accessModes": ["ReadWriteOnce"]})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    code = f"import sys; open(sys.argv[1] + '/f', 'a').write('x'); {SLEEP}"
    for written in ("x", "xx"):
        machine.pod("p", code, "/v", volumeMounts=[{"name": "v", "mountPath": "/v"}], spec={"volumes": volumes})
        await machine.until(lambda wanted=written: wanted in map(Path.read_text, machine.state.volumes.glob("*/f")))
        node = machine.api.find("Pod", "p")["spec"]["nodeName"]
        machine.api.remove("Pod", "p")
        await machine.until(lambda: machine.api.find("Pod", "p") is None)
    (volume,) = machine.api.store.list(machine.api.kind("v1", "PersistentVolume").store)
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == [node]
    machine.api.remove("PersistentVolumeClaim", "c")
    await machine.until(lambda: not list(machine.state.volumes.iterdir()))


async def test_a_node_without_power_runs_nothing(machine: Machine) -> None:
    machine.pod("p", SLEEP)
    await machine.until(lambda: machine.is_ready("p"))
    pids, node = machine.processes("p"), machine.api.find("Pod", "p")["spec"]["nodeName"]
    machine.power.off(node)
    await machine.until(lambda: not any(alive(p) for p in pids))
    assert not machine.is_ready("p")
    machine.api.remove("Pod", "p")
    await asyncio.sleep(0.3)
    assert machine.api.find("Pod", "p") is not None  # nobody confirms the end
    machine.power.on(node)
    await machine.until(lambda: machine.api.find("Pod", "p") is None)


async def test_a_power_cycle_restarts_containers(machine: Machine) -> None:
    machine.pod("p", SLEEP)
    await machine.until(lambda: machine.is_ready("p"))
    node = machine.api.find("Pod", "p")["spec"]["nodeName"]
    machine.power.off(node)
    machine.power.on(node)
    await machine.until(lambda: machine.container("p").get("restartCount") == 1 and machine.is_ready("p"))


async def test_a_killed_main_process_is_seen(machine: Machine) -> None:
    machine.pod("p", SLEEP, spec={"restartPolicy": "Never"})
    await machine.until(lambda: machine.is_ready("p") and len(machine.processes("p")) == 2)
    os.kill(machine.processes("p")[1], signal.SIGKILL)
    await machine.until(lambda: machine.status("p").get("phase") == "Failed")
    assert machine.container("p")["state"]["terminated"]["exitCode"] == 137


async def test_the_shim_kills_all_when_the_kubelet_is_gone(root: Path) -> None:
    words = (sys.executable, "-c", ORPHANS, str(root))
    run = await process.start(Command(argv=words, env={}), directory=root, log=root / "log")
    async with asyncio.timeout(DEADLINE_S):
        while not (root / "ready").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    pids = shim.descendants(run.pid)
    run.process.stdin.close()
    assert await run.wait() == 137
    assert not any(alive(p) for p in pids)
