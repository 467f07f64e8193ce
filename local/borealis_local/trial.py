"""A whole cluster in local mode for tests, driven as a user drives it: by the `borealis` command."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from borealis_local.cli.client import Client
from borealis_local.state import State

COMMAND_S = 240
RECOVERY_S = 90.0
POLL_S = 0.2
CLUSTER = "/apis/borealis.dev/v1alpha1/namespaces/default/dbclusters/quickstart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Local mode with its own state directory, and the quickstart in it."""

    state: Path
    scratch: Path
    env: Mapping[str, str] = field(default_factory=dict)  # what the commands get besides this process's environment

    def borealis(self, *words: str) -> str:
        """Run the command; its stdout, or a failed assertion with its stderr."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("borealis")), *words],
            env={**os.environ, **self.env, "BOREALIS_STATE": str(self.state)},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"borealis {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def client(self) -> Client:
        """Give a client of the API server."""
        return Client.of(State(root=self.state))

    def status(self) -> dict[str, Any]:
        """Give the quickstart's status."""
        return dict(self.client().request("GET", CLUSTER).get("status", {}))

    def patch(self, spec: dict[str, Any]) -> None:
        """Change the quickstart's spec."""
        self.client().request("PATCH", CLUSTER, {"spec": spec}, kind="application/merge-patch+json")

    def kill_postgres(self, pod: str) -> None:
        """SIGKILL the PostgreSQL server of an instance pod."""
        body = {"postgres": {"namespace": "default", "name": pod}}
        assert self.client().request("POST", "/local/kill", body)["killed"]

    def names(self, kind: str) -> list[str]:
        """Give the names of all objects of a kind."""
        found = self.borealis("local", "get", kind, "-o", "name").splitlines()
        return [reference.rpartition("/")[2] for reference in found]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` holds, or fail with `what`, the cluster's status and the words of odd members."""
        deadline = time.monotonic() + RECOVERY_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self._evidence()}"
            time.sleep(POLL_S)

    def healthy(self, readers: int = 2) -> bool:
        """Whether everything that is wanted is there."""
        status = self.status()
        return (status.get("status"), status.get("readers", 0), status.get("storage")) == ("available", readers, "6/6")

    def _evidence(self) -> str:
        status = self.status()
        odd = [member["name"] for member in status.get("members", ()) if member["state"] != "current"]
        logs = [f"{name}:\n{self.borealis('local', 'logs', name)[-4000:]}" for name in odd]
        return "\n".join([json.dumps(status, indent=1), *logs])

    @contextmanager
    def ledger(self) -> Iterator["Ledger"]:
        """Load with a memory, for as long as the block runs."""
        program = str(Path(sys.executable).with_name("borealis"))
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            book = Path(directory, "book.jsonl")
            words = ["ledger", "run", "--url", self.borealis("local", "uri"), "--book", str(book), "--clients", "3"]
            with (self.scratch / "ledger.log").open("ab") as log:
                process = subprocess.Popen([program, *words], stdout=log, stderr=log)
            ledger = Ledger(local=self, book=book, process=process)
            try:
                ledger.await_commit(since=0.0)
                yield ledger
            finally:
                ledger.stop()


@dataclass(slots=True, kw_only=True)
class Ledger:
    """A running ledger."""

    local: Local
    book: Path
    process: "subprocess.Popen[bytes]"

    def await_commit(self, *, since: float) -> None:
        """Wait until a commit that began after `since` (seconds since the epoch) is acknowledged."""

        def acked() -> bool:
            lines = self.book.read_text().splitlines() if self.book.exists() else []
            entries = [json.loads(line) for line in lines if line.endswith("}") and '"acked"' in line]
            return any(entry["start"] > since for entry in entries)

        self.local.until(acked, "commits do not go on")

    def stop(self) -> None:
        """End the load."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0

    def audit(self) -> dict[str, Any]:
        """End the load and judge it: what `borealis ledger check --json` prints."""
        self.stop()
        url = self.local.borealis("local", "uri")
        done = self.local.borealis("ledger", "check", "--url", url, "--book", str(self.book), "--json")
        return dict(json.loads(done))
