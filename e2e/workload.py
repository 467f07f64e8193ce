"""Clients inside the cluster: a pod with psycopg and the ledger, on a Kubernetes node that no scenario harms.

The ledger runs in the pod, not under kubectl, so a connection to the API server that breaks does not end it.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from e2e.kind import Kind
from e2e.process import await_that
from e2e.report import Scenario

POD = "client"


def manifest(kind: Kind, image: str, *, name: str = POD, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """Give a client's pod as JSON; it stays on the control plane's node."""
    forever = ["bash", "-c", "while :; do sleep 1; done"]  # reaps what the ledgers leave
    container = {"name": POD, "image": image, "command": forever, "workingDir": "/tmp"}
    spec = {
        "nodeName": kind.control_plane,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client's pod."""

    kind: Kind
    pod: str = POD

    def start(self, image: str, **labels: str) -> None:
        """Make the pod, and wait for it."""
        self.kind.kubectl("apply", "-f", "-", stdin=manifest(self.kind, image, name=self.pod, labels=labels))
        self.kind.kubectl("wait", "--for=condition=Ready", f"pod/{self.pod}", "--timeout=180s", timeout=190)

    def shell(self, script: str, *arguments: str, timeout: float = 60, check: bool = True) -> str:
        """Run a shell script in the pod."""
        return self.kind.kubectl(
            "exec", self.pod, "--", "sh", "-c", script, "sh", *arguments, timeout=timeout, check=check
        )

    def python(self, script: str, *arguments: str, timeout: float = 60) -> str:
        """Run a Python script in the pod, which has psycopg and SQLAlchemy."""
        return self.kind.kubectl("exec", "-i", self.pod, "--", "python", "-", *arguments, timeout=timeout, stdin=script)

    @contextmanager
    def converse(self, script: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        """Run a Python script in the pod that says `open`, and then reads its standard input."""
        command = self.kind.kubectl_command("exec", "-i", self.pod, "--", "python", "-u", "-c", script, *arguments)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout
                first = process.stdout.readline()
                assert first.strip() == "open", first + process.stdout.read()
                yield process
            finally:
                process.kill()


@dataclass(slots=True, kw_only=True)
class Ledger:
    """A ledger that runs while a scenario does its worst; use as a context manager, then `judge`."""

    client: Client
    url: str
    name: str
    clients: int = 4
    verdict: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    _pid: str = ""

    @property
    def _book(self) -> str:
        return f"/tmp/{self.name}.jsonl"

    def __enter__(self) -> "Ledger":
        self._pid = self.client.shell(
            'rm -f "$2"; nohup borealis ledger run --url "$1" --book "$2" --clients "$3" --json '
            '>"$2.out" 2>"$2.err" & echo $!',
            self.url, self._book, str(self.clients),
        ).strip()  # fmt: skip
        self.await_commits(20, timeout=60)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.client.shell('kill -TERM "$1"', self._pid, check=False)
        if kind is None:
            await_that("the ledger has ended", self._ended, timeout=60)
            self.summary = json.loads(self.client.shell('cat "$1.out"', self._book))

    def acked(self) -> int:
        """Count the commits acknowledged until now."""
        return int(self.client.shell("""grep -c '"outcome": "acked"' "$1" || true""", self._book) or 0)

    def await_commits(self, more: int, *, timeout: float) -> None:
        """Wait until that many more commits are acknowledged than now."""
        goal = more + (self.acked() if self.client.shell('ls "$1"', self._book, check=False) else 0)

        def enough() -> bool:
            assert not self._ended(), self.client.shell('tail -c 2000 "$1.err"', self._book)
            return self.acked() >= goal

        await_that(f"{goal} commits of {self.name}", enough, timeout=timeout)

    def judge(self, scenario: Scenario) -> None:
        """Prove that no acknowledged row is lost, and write the figures into the report."""
        out = self.client.shell(
            'borealis ledger check --url "$1" --book "$2" --json', self.url, self._book, check=False
        )
        self.verdict = json.loads(out)
        broken = {key: self.verdict[key] for key in ("lost", "doubled", "risen")}
        scenario.acked += self.verdict["acked"]
        scenario.lost += self.verdict["lost"]
        scenario.seconds = max(scenario.seconds, self.verdict["longest_gap"])
        scenario.figures |= broken | {key: self.summary[key] for key in ("unknown", "refused", "errors")}
        assert not any(broken.values()), f"broken promises: {self.verdict}"

    def judge_undisturbed(self, scenario: Scenario) -> None:
        """Prove besides that no commit failed, and of none the outcome is unknown."""
        self.judge(scenario)
        assert scenario.lost == 0
        assert self.summary["refused"] == self.summary["unknown"] == 0, self.summary

    def _ended(self) -> bool:
        return not self.client.shell('test -d "/proc/$1" && echo runs', self._pid, check=False).strip()


def load_for(client: Client, scenario: Scenario, url: str, name: str, *, seconds: float) -> None:
    """Run a ledger for a while in peace, and judge it."""
    with Ledger(client=client, url=url, name=name) as ledger:
        time.sleep(seconds)
    ledger.judge(scenario)
