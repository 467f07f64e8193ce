"""Pod status: from the states of its containers to what the API shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class ContainerState:
    """What is known of one container; changed by its runner alone."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False

    def waiting(self, reason: str, message: str = "") -> None:
        """It does not run, for this reason."""
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.ready = self.started = False

    def running(self, now: str) -> None:
        """It runs since now."""
        self.state = {"running": {"startedAt": now}}

    def terminated(self, code: int, now: str) -> None:
        """It ended with this exit code."""
        since = self.state.get("running", {}).get("startedAt", now)
        reason = "Completed" if code == 0 else "Error"
        self.state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": since, "finishedAt": now}}
        self.last = self.state
        self.ready = self.started = False

    @property
    def exit_code(self) -> int | None:
        """Exit code if it ended."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def render(self) -> Object:
        """Give the containerStatus."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "state": self.state,
            "lastState": self.last if self.restarts else {},
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }


def phase(containers: Sequence[ContainerState], *, restart_policy: str, initialized: bool) -> str:
    """Give the pod's phase."""
    codes = [c.exit_code for c in containers]
    if restart_policy != "Always" and containers and all(c is not None for c in codes):
        failed = any(codes)
        if not failed:
            return "Succeeded"
        return "Failed" if restart_policy == "Never" else "Running"
    waiting_first = all("waiting" in c.state and not c.restarts and not c.last for c in containers)
    return "Pending" if waiting_first or not initialized else "Running"


def render(
    pod: Mapping[str, Any],
    containers: Sequence[ContainerState],
    inits: Sequence[ContainerState] = (),
    *,
    address: str,
    initialized: bool,
    node_ready: bool,
    now: str,
) -> Object:
    """Give the pod's status; times of conditions that did not change stay."""
    old = pod.get("status", {})
    restart_policy = pod["spec"].get("restartPolicy", "Always")
    word = phase(containers, restart_policy=restart_policy, initialized=initialized)
    ready = node_ready and word == "Running" and all(c.ready for c in containers)
    reason = "" if ready else ("ContainersNotReady" if node_ready else "NodeNotReady")
    known = {c["type"]: c for c in old.get("conditions", ())}
    wanted = (
        ("PodScheduled", True, ""),
        ("Initialized", initialized, "" if initialized else "ContainersNotInitialized"),
        ("ContainersReady", ready, reason),
        ("Ready", ready, reason),
    )
    status = {
        **old,
        "phase": word,
        "conditions": [_condition(known.get(t), t, value, why, now) for t, value, why in wanted],
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": old.get("startTime", now),
        "containerStatuses": [c.render() for c in containers],
    }
    if inits:
        status["initContainerStatuses"] = [c.render() for c in inits]
    return status


def _condition(old: Object | None, type_: str, value: bool, reason: str, now: str) -> Object:
    word = str(value)
    since = old["lastTransitionTime"] if old and old["status"] == word and "lastTransitionTime" in old else now
    condition = {"type": type_, "status": word, "lastProbeTime": None, "lastTransitionTime": since}
    return {**condition, "reason": reason} if reason else condition
