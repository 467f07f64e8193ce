"""Stock PostgreSQL to compare with: alone, with fsync or without, or with six synchronous receivers, four of a quorum.

The receivers are PostgreSQL's own `pg_receivewal --synchronous`: six processes that each keep a copy of the log and
flush it before they confirm. That is the durability of a Borealis volume, by PostgreSQL's own means. With TLS they
verify the server, and the log travels encrypted, as Borealis's always does.
"""

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from borealis_engine.postgres.account import Account, make_private, own
from borealis_engine.postgres.binaries import Binaries
from borealis_local.tls import self_signed

from benchmarks.pgbench import Database
from benchmarks.processes import BenchmarkFailed, end, run, start

RECEIVERS: Final = 6
QUORUM: Final = 4
START_S: Final = 60.0
POLL_S: Final = 0.1
USER: Final = "bench"
ADDRESS: Final = "127.0.0.1"


@dataclass(slots=True, kw_only=True)
class Stock:
    """One stock server, with or without receivers. Without fsync nothing is durable: it is what the machine can do."""

    name: str
    root: Path
    port: int
    binaries: Binaries
    account: Account | None
    settings: Mapping[str, str]
    synchronous: bool
    fsync: bool = True
    tls: bool = False  # to the receivers
    _server: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _receivers: "list[subprocess.Popen[bytes]]" = field(default_factory=list, init=False)

    @property
    def database(self) -> Database:
        """Give where it listens."""
        return Database(host=ADDRESS, port=self.port, user=USER, name="app")

    @property
    def roots(self) -> tuple[int, ...]:
        """Give the process ids of the server and its receivers."""
        running = [*([self._server] if self._server is not None else []), *self._receivers]
        return tuple(process.pid for process in running)

    def start(self) -> None:
        """Make and start it; with receivers, wait until a quorum of them streams."""
        make_private(self.root, self.account)
        data = self.root / "data"
        words = (
            "--auth=trust",
            f"--username={USER}",
            "--encoding=UTF8",
            "--locale=C",
            "--lc-ctype=C.UTF-8",
            "--lc-collate=C.UTF-8",
            "--data-checksums",
        )
        run([self.binaries.path("initdb"), *words, "--pgdata", str(data)], cwd=self.root, account=self.account)
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self._configuration().items())
        if self.tls:
            self._certify(data)
        command = [self.binaries.path("postgres"), "-D", str(data)]
        self._server = start(command, cwd=self.root, log=self.root / "postgres.log", account=self.account)
        with self._await_server() as connection:
            connection.execute("CREATE DATABASE app")
        if self.synchronous:
            self._start_receivers()

    def stop(self) -> None:
        """End it; its files stay."""
        for receiver in self._receivers:
            end(receiver)
        if self._server is not None:
            end(self._server, signal.SIGQUIT)

    def _configuration(self) -> dict[str, str]:
        fixed = {
            "listen_addresses": ADDRESS,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if self.fsync else "off",
            "synchronous_commit": "on",
            "ssl": "on" if self.tls else "off",
        }
        return {**self.settings, **fixed}

    def _certify(self, data: Path) -> None:
        """Give the server a certificate of its address, which is its own authority."""
        made = self_signed(ADDRESS)
        for name, content in (("server.crt", made.certificate), ("server.key", made.key)):
            (data / name).touch(mode=0o600)
            (data / name).write_bytes(content)
        own(data, self.account)

    def _start_receivers(self) -> None:
        names = [f"copy{number}" for number in range(RECEIVERS)]
        for name in names:
            place = self.root / name
            make_private(place, self.account)
            where = f"host={ADDRESS} port={self.port} user={USER} application_name={name} {self._encryption()}"
            base = [self.binaries.path("pg_receivewal"), "--dbname", where, "--slot", name]
            home = {"HOME": str(self.root)}  # libpq looks there for a certificate of the client's own
            run([*base, "--create-slot"], cwd=self.root, account=self.account, env=home)
            command = [*base, "--directory", str(place), "--synchronous", "--no-loop"]
            log = self.root / f"{name}.log"
            self._receivers.append(start(command, cwd=self.root, log=log, account=self.account, env=home))
        with self._await_server() as connection:
            wanted = f"ANY {QUORUM} ({', '.join(names)})"
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{wanted}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            self._await_quorum(connection)

    def _encryption(self) -> str:
        """Give what a receiver asks for: the strictest that libpq has, or none."""
        root = self.root / "data" / "server.crt"
        return f"sslmode=verify-full sslrootcert={root}" if self.tls else "sslmode=disable"

    def _await_quorum(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        until = time.monotonic() + START_S
        query = (
            "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) "
            f"WHERE sync_state = 'quorum' AND state = 'streaming' AND ssl = {self.tls}"
        ).encode()
        while (row := connection.execute(query).fetchone()) is None or row[0] != RECEIVERS:
            if time.monotonic() > until:
                raise BenchmarkFailed(f"{self.name}: the receivers do not stream; see {self.root}")
            time.sleep(POLL_S)

    def _await_server(self) -> "psycopg.Connection[tuple[object, ...]]":
        until = time.monotonic() + START_S
        target = Database(host=ADDRESS, port=self.port, user=USER, name="postgres")
        while True:
            try:
                return target.connect()
            except psycopg.OperationalError as error:
                dead = self._server is not None and self._server.poll() is not None
                if dead or time.monotonic() > until:
                    log = (self.root / "postgres.log").read_text(errors="replace")
                    raise BenchmarkFailed(f"{self.name} does not start: {error}\n{log[-1500:]}") from error
            time.sleep(POLL_S)
