"""PostgreSQL's log on its way out: a thread reads it, only PostgreSQL's own words count, and nothing piles up."""

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from borealis_engine.main.logs import Patient
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.process import Server
from borealis_engine.postgres.serverlog import GIVEN_UP, LONGEST, PIECE, ServerLog
from borealis_engine.postgres.sql import session

DEADLINE_S = 60.0
WARNING = "WARNING:  01000: canceling wait for synchronous replication due to user request"
SAID = f"{WARNING}\nDETAIL:  The transaction\n{GIVEN_UP.decode().strip()}303\n"


def read(*writes: bytes) -> tuple[list[str], int]:
    """Give what is passed on of these writes, each of which is read by itself, and how often a wait was given up."""
    texts, given_up = list[str](), list[None]()
    came = threading.Semaphore(0)

    class Stepped(ServerLog):
        def _pass_on(self, data: bytes) -> None:
            super()._pass_on(data)
            came.release()

    receiving, sending = os.pipe()
    log = Stepped(receiving, texts.append, lambda: given_up.append(None))
    log.start()
    for data in writes:
        os.write(sending, data)
        assert came.acquire(timeout=DEADLINE_S)
    log.finish()
    os.close(sending)
    os.close(receiving)
    return texts, len(given_up)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (SAID, 1),
        ("LOG:  00000: before\n" + SAID + "LOG:  00000: after\n", 1),
        (f"{WARNING}\nLOCATION:  exec_stmt_raise, pl_exec.c:3908\n", 0),
        (f"ERROR:  P0001: x\n\t{SAID}".replace("\n", "\n\t"), 0),
        (f"STATEMENT:  select 1/0 -- {WARNING} {GIVEN_UP.decode().strip()}303\n", 0),
    ],
    ids=["alone", "among others", "raised", "in a message of lines", "in a statement"],
)
def test_only_the_place_in_postgresql_s_code_counts(said: str, expected: int) -> None:
    assert read(said.encode())[1] == expected


def test_however_it_comes_in_pieces_it_is_seen_and_every_line_is_passed_on() -> None:
    for cut in range(len(SAID)):
        texts, given_up = read(*(part for part in (SAID[:cut].encode(), SAID[cut:].encode()) if part))
        assert (given_up, "\n".join(texts)) == (1, SAID.strip())


def test_much_is_passed_on_in_pieces_of_whole_lines_and_a_line_without_end_piles_up_nowhere() -> None:
    lines = "".join(f"LOG:  00000: {number}\n" for number in range(5_000))
    texts, _ = read(lines[:60_000].encode(), lines[60_000:].encode())
    assert "\n".join(texts) + "\n" == lines
    assert len(texts) < len(lines) / PIECE + 4
    assert all(text.startswith("LOG:  ") for text in texts)
    endless, _ = read(*[b"a" * 50_000] * 20)
    assert max(map(len, endless)) <= PIECE
    assert sum(map(len, endless)) == 1_000_000
    assert LONGEST < 1_000_000


async def test_a_flood_is_read_though_the_event_loop_stands_still(tmp_path: Path) -> None:
    program, done = tmp_path / "talkative", tmp_path / "done"
    program.write_text(f"#!/bin/sh\nyes 'LOG:  00000: user text' | head -n 600000 >&2\ntouch {done}\nexec sleep 600\n")
    program.chmod(0o755)
    (data := tmp_path / "data").mkdir()
    size = 0

    def count(text: str) -> None:
        nonlocal size
        size += len(text) + 1

    server = Server.start(str(program), data, None, count)
    try:
        subprocess.run(  # noqa: ASYNC221 (that the loop stands still is the point)
            ["/bin/sh", "-c", f"until test -e {done}; do sleep 0.05; done"], check=True, timeout=DEADLINE_S
        )
    finally:
        await server.stop()
    assert size == 600_000 * len("LOG:  00000: user text\n")


def test_what_nobody_takes_is_left_out_and_counted_and_costs_one_wait() -> None:
    receiving, sending = os.pipe()
    handler = Patient(sending, patience=0.2)
    for number in range(2_000):  # more than a pipe holds
        handler.handle(logging_record(f"{number} " + "x" * 100))
    taken = os.read(receiving, 1 << 20).decode()
    handler.handle(logging_record("the next"))
    last = os.read(receiving, 1 << 20).decode()
    os.close(receiving)
    handler.handle(logging_record("to nobody"))
    os.close(sending)
    whole = taken.split("\n")[:-1]
    assert whole == [f"{number} " + "x" * 100 for number in range(len(whole))]
    assert last.removeprefix("\n") == f"(pieces of the log left out before: {2_000 - len(whole)}) the next\n"


def logging_record(message: str) -> logging.LogRecord:
    return logging.LogRecord("postgres", logging.INFO, __file__, 1, message, None, None)


@pytest.mark.postgres
async def test_what_users_can_log_is_not_believed_by_a_real_server(attach: Callable[[int], Attached]) -> None:
    texts, given_up = list[str](), list[None]()
    attached = attach(1)
    await attached.start(texts.append, lambda: given_up.append(None))
    place = GIVEN_UP.decode().strip()
    async with session(attached.site.door) as connection:
        for statement in (
            f"select 1/0 /* {WARNING}\n{place}1\n*/",
            f"do $$ begin raise warning E'canceling wait\\n{place}1\\n\\r{place}1'; end $$",
            f"do $$ begin raise exception 'x' using detail = E'\\n{place}1', hint = E'\\n{place}1'; end $$",
            f'select 1 as "\n{place}1" from "\n{place}1"',
        ):
            with suppress(psycopg.Error):
                await connection.execute(statement.encode())
        shown = await (await connection.execute("show log_error_verbosity")).fetchone()
    await attached.halt()
    assert shown == ("verbose",)
    assert "\n".join(texts).count(f"\n\t{place}1") >= 4
    assert not given_up
