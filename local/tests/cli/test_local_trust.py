"""How clients here verify a database, and how the commands tell what ails one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from borealis_local.cli.clusters import Login, wanted_readers
from borealis_local.cli.trouble import ailments, storage_rows, told
from borealis_local.cli.trust import SSL_REQUEST, Trust, offers_tls
from borealis_local.errors import CommandError
from psycopg.conninfo import conninfo_to_dict

LOGIN = Login(host="127.0.0.2", port=5432, user="u", password="a/b@c", database="d")
TRUST = Trust(host="q.default.svc", authority=Path("/s/ca/default-q.crt"))


@contextmanager
def answering(word: bytes) -> Iterator[tuple[str, int]]:
    """A server that answers one SSLRequest."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if connection.recv(64) == SSL_REQUEST:
                    connection.sendall(word)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            thread.join()


@pytest.mark.parametrize(("word", "offered"), [(b"S", True), (b"N", False), (b"", False)], ids=["yes", "no", "cut"])
def test_whether_a_server_offers_tls(word: bytes, offered: bool) -> None:
    with answering(word) as address:
        assert offers_tls(*address) is offered


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    with pytest.raises(CommandError, match=f"{host}:{port} does not answer"):
        offers_tls(host, port)


def test_a_verified_uri_is_what_libpq_reads() -> None:
    assert conninfo_to_dict(TRUST.uri(LOGIN)) == {
        "host": "q.default.svc",
        "hostaddr": "127.0.0.2",
        "port": "5432",
        "user": "u",
        "password": "a/b@c",
        "dbname": "d",
        "sslmode": "verify-full",
        "sslrootcert": "/s/ca/default-q.crt",
    }
    assert TRUST.environment(LOGIN) == {
        "PGHOST": "q.default.svc",
        "PGHOSTADDR": "127.0.0.2",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/s/ca/default-q.crt",
    }


def condition(kind: str, status: str, message: str = "words") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "Why", "message": message}


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        (condition("Ready", "True"), None),
        (condition("PodsRunning", "False"), "PodsRunning is False (Why): words"),
        (condition("Ready", "Unknown", ""), "Ready is Unknown (Why)"),
        (condition("SnapshotsExist", "True"), "SnapshotsExist is True (Why): words"),
        (condition("SnapshotsExist", "False"), None),
        (condition("Restorable", "False"), None),
    ],
    ids=["good", "bad", "unknown", "notice", "no notice", "by design"],
)
def test_what_ails_an_object(condition: dict[str, Any], line: str | None) -> None:
    obj = {"kind": "DBCluster", "metadata": {"name": "q"}, "status": {"conditions": [condition]}}
    assert list(ailments(obj)) == ([line] if line else [])
    assert list(told(obj)) == ([f"dbcluster/q: {line}"] if line else [])


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"readers": 2}, 2),
        ({}, 0),
        ({"readers": 1, "readerAutoscaling": {"minReaders": 2, "maxReaders": 3}}, 2),
        ({"readers": 9, "readerAutoscaling": {"minReaders": 2, "maxReaders": 3}}, 3),
        ({"readers": 2, "readerAutoscaling": {"maxReaders": 3}}, 2),
    ],
    ids=["told", "none", "at least", "at most", "between"],
)
def test_how_many_readers_are_wanted(spec: dict[str, Any], wanted: int) -> None:
    assert wanted_readers({"spec": spec}) == wanted


def test_storage_nodes_are_shown_with_what_is_done_about_them() -> None:
    node = {"name": "q-storage-3", "id": "x", "zone": "a", "node": "node-1", "state": "missing", "since": "now"}
    cluster = {"status": {"storageNodes": [node | {"message": "has lost its claim; q-storage-6 takes its place"}]}}
    rows = [("q-storage-3", "a", "node-1", "missing", "now", "has lost its claim; q-storage-6 takes its place")]
    assert list(storage_rows(cluster)) == rows
    assert list(storage_rows({})) == []


def test_a_replacement_under_way_is_worth_saying() -> None:
    told_now = {
        "type": "StorageReplacement",
        "status": "True",
        "reason": "Joining",
        "message": "b takes the place of a",
    }
    assert list(ailments({"status": {"conditions": [told_now]}})) == [
        "StorageReplacement is True (Joining): b takes the place of a"
    ]
