"""Decisions of the PostgreSQL side that need no PostgreSQL: timelines, cuts, lag, settings, places."""

import array
import base64
import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.core.messages import Feed, Reign
from borealis_engine.postgres import timelines
from borealis_engine.postgres.account import Account, require_reachable
from borealis_engine.postgres.binaries import find_binaries
from borealis_engine.postgres.cutter import Cutter
from borealis_engine.postgres.database import ITERATIONS, verifies
from borealis_engine.postgres.directory import _GET_FLAGS, _TOP, spread
from borealis_engine.postgres.errors import BinariesMissing, FeedBroken, PlaceUnusable
from borealis_engine.postgres.image import segment_name
from borealis_engine.postgres.lag import Lag
from borealis_engine.postgres.settings import MIB, choose_buffers, listen_addresses, render_settings
from borealis_engine.proto.testing import SEGMENT, WalBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

HISTORY = (
    Reign(epoch=Epoch(1), start=Lsn(0x100), image="i"),
    Reign(epoch=Epoch(2), start=Lsn(0x200)),
    Reign(epoch=Epoch(7), start=Lsn(0x1000)),
)


@pytest.mark.parametrize(
    ("durable", "newest"),
    [(0x1000, 2), (0x1030, 2), (0x1000 + timelines.FIRST_RECORD - 1, 2), (0x1000 + timelines.FIRST_RECORD, 7)],
)
def test_the_newest_timeline_is_named_once_its_first_record_is_durable(durable: int, newest: int) -> None:
    assert timelines.newest(timelines.named_reigns(HISTORY, Lsn(durable))) == newest


def test_a_timeline_ends_where_the_next_begins_even_if_that_one_may_not_be_named() -> None:
    named = timelines.named_reigns(HISTORY, Lsn(0x1000))
    assert timelines.following(named, Epoch(1)) == (2, 0x200)
    assert timelines.following(named, Epoch(2)) is None
    assert timelines.limit(HISTORY, Epoch(2)) == 0x1000
    assert timelines.limit(HISTORY, Epoch(7)) is None
    with pytest.raises(KeyError):
        timelines.following(named, Epoch(3))


def test_the_newest_history_file_has_the_ancestors_and_all_before_it_are_empty() -> None:
    files = dict(timelines.standby_files(HISTORY))
    assert sorted(files) == [f"{n:08X}.history" for n in range(2, 8)]
    assert not any(files[f"{n:08X}.history"] for n in range(2, 7))
    assert files["00000007.history"].splitlines() == [b"1\t0/200\tepoch 1 ended", b"2\t0/1000\tepoch 2 ended"]
    assert timelines.parse_switchpoint(files["00000007.history"].decode()) == (2, 0x1000)
    assert timelines.render_history(HISTORY, Epoch(2)) == b"1\t0/200\tepoch 1 ended\n"
    assert timelines.render_history(HISTORY, Epoch(5)) == b""
    assert dict(timelines.standby_files(HISTORY[:1])) == {}


def test_a_promotion_adds_the_numbers_that_were_burnt_since_and_no_others() -> None:
    assert list(timelines.burnt_files(Epoch(7), Epoch(8))) == []
    assert list(timelines.burnt_files(Epoch(7), Epoch(10))) == [(f"{n:08X}.history", b"") for n in (8, 9)]


class Counted(tuple[Reign, ...]):
    """A history that counts the reigns that are looked at."""

    looks = 0

    def __reversed__(self) -> Iterator[Reign]:
        for at in range(len(self) - 1, -1, -1):
            self.looks += 1
            yield self[at]

    def __iter__(self) -> Iterator[Reign]:
        for at in range(len(self)):
            self.looks += 1
            yield self[at]


def test_after_10000_reigns_a_piece_of_log_costs_what_it_cost_after_one_and_a_standby_one_history_file() -> None:
    first = Reign(epoch=Epoch(1), start=Lsn(0x100), image="i")
    history = Counted((first, *(Reign(epoch=Epoch(n), start=Lsn(n * 1000)) for n in range(2, 10_001))))
    assert timelines.limit(history, Epoch(9_999)) == 10_000 * 1000
    assert timelines.following(history, Epoch(9_999)) == (10_000, 10_000 * 1000)
    assert timelines.limit(history, Epoch(10_000)) is None
    assert timelines.following(history, Epoch(10_000)) is None
    assert timelines.newest(timelines.named_reigns(history, Lsn(10_001 * 1000))) == 10_000
    assert history.looks <= 8
    assert history.looks, "the double counts"
    files = list(timelines.standby_files(history))
    assert len(files) == 9_999
    assert [name for name, content in files if content] == [f"{10_000:08X}.history"]
    assert history.looks <= 2 * 10_000 + 8


@settings(deadline=None)
@given(lengths=st.lists(st.integers(24, 20_000), min_size=1, max_size=30), data=st.data())
def test_a_cutter_passes_whole_records_once_over_any_number_of_connections(
    lengths: list[int], data: st.DataObject
) -> None:
    built = WalBuilder()
    for length in lengths:
        built.record(length)
    cutter, got = Cutter(passed=Lsn(built.start), segment_size=SEGMENT), b""
    for _ in range(data.draw(st.integers(1, 4))):
        at = cutter.start
        for _ in range(data.draw(st.integers(0, 5))):
            end = min(built.position, at + data.draw(st.integers(0, 30_000)))
            piece = cutter.receive(feed(built, at, end))
            assert not piece.data or piece.end in built.ends
            got, at = got + piece.data, end
        cutter = cutter.resume()
    got += cutter.receive(feed(built, cutter.start, built.position)).data
    assert got == built.data


def feed(built: WalBuilder, start: int, end: int) -> Feed:
    data = bytes(built.data[start - built.start : end - built.start])
    return Feed(lsn=Lsn(start), durable=Lsn(end), data=data, history=None)


def test_a_cutter_refuses_a_gap() -> None:
    cutter = Cutter(passed=Lsn(SEGMENT), segment_size=SEGMENT)
    with pytest.raises(FeedBroken):
        cutter.receive(Feed(lsn=Lsn(SEGMENT + 8), durable=Lsn(0), data=b"x", history=None))


def test_lag_is_the_age_of_the_oldest_byte_not_replayed() -> None:
    lag = Lag()
    assert lag.observe(target=Lsn(100), replay=Lsn(100), now=0) == 0
    assert lag.observe(target=Lsn(200), replay=Lsn(100), now=1) == 0
    assert lag.observe(target=Lsn(300), replay=Lsn(100), now=3) == 2
    assert lag.observe(target=Lsn(300), replay=Lsn(200), now=4) == 1
    assert lag.observe(target=Lsn(300), replay=Lsn(300), now=9) == 0


def test_addresses_and_buffers() -> None:
    assert listen_addresses("10.0.0.7") == ("10.0.0.7", "127.0.0.1")
    assert listen_addresses("127.3.0.7") == ("127.3.0.7",)
    assert choose_buffers(None) == 128 * MIB
    assert choose_buffers(1024 * MIB) == 256 * MIB
    assert choose_buffers(10 * MIB) == 32 * MIB
    assert render_settings({"a": "it's"}) == "a = 'it''s'\n"


@pytest.mark.parametrize(
    ("size", "lsn", "name"),
    [(1 << 24, 0x3000028, "000000070000000000000003"), (1 << 20, (1 << 32) + 5, "000000070000000100000000")],
)
def test_segment_names(size: int, lsn: int, name: str) -> None:
    assert segment_name(7, lsn, size) == name


def test_a_verifier_is_checked_as_rfc_7677_shows_it() -> None:
    verifier = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert verifies(verifier, "pencil")
    assert not verifies(verifier, "Pencil")
    assert not verifies("None", "pencil")
    assert not verifies("md5abc", "pencil")


def test_a_verifier_that_takes_long_to_check_is_not_checked() -> None:
    slow = hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt", ITERATIONS + 1)
    stored = hashlib.sha256(hmac.digest(slow, b"Client Key", "sha256")).digest()
    salt, key = (base64.b64encode(each).decode() for each in (b"salt", stored))
    assert not verifies(f"SCRAM-SHA-256${ITERATIONS + 1}:{salt}${key}:", "pencil")


def program(directory: Path, name: str, major: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}.2'\n")
    (directory / name).chmod(0o755)


def test_the_newest_programs_are_found_and_pg_bin_overrides(tmp_path: Path) -> None:
    for major in (15, 17, 9):
        for name in ("postgres", "initdb", "pg_controldata"):
            program(tmp_path / f"usr/lib/postgresql/{major}/bin", name, major)
    program(tmp_path / "usr/lib/postgresql/18/bin", "postgres", 18)  # a client package: no initdb
    quiet = {"PATH": str(tmp_path)}
    assert find_binaries(quiet, root=tmp_path).major == 17
    assert find_binaries({**quiet, "BOREALIS_ENGINE_VERSION": "15"}, root=tmp_path).version == "15.2"
    explicit = {**quiet, "PG_BIN": str(tmp_path / "usr/lib/postgresql/15/bin")}
    assert find_binaries(explicit, root=tmp_path).major == 15
    with pytest.raises(BinariesMissing, match="PG_BIN"):
        find_binaries({**quiet, "BOREALIS_ENGINE_VERSION": "16"}, root=tmp_path)
    with pytest.raises(BinariesMissing, match="PG_BIN"):
        find_binaries({**quiet, "PG_BIN": str(tmp_path)}, root=tmp_path)


def test_programs_built_without_tls_are_told_instead_of_run(tmp_path: Path) -> None:
    for name in ("postgres", "initdb", "pg_controldata"):
        program(tmp_path, name, 17)
    silent = '#!/bin/sh\n[ "$1" = --version ] && echo "postgres (PostgreSQL) 17.2"\n[ "$1" = -C ] && echo\n'
    (tmp_path / "postgres").write_text(f"{silent}exit 0\n")
    with pytest.raises(BinariesMissing, match=r"PostgreSQL 17 in .* was built without TLS.*--with-ssl=openssl.*PG_BIN"):
        find_binaries({"PG_BIN": str(tmp_path)})


def test_a_closed_parent_is_named_with_the_remedy(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = Account(name="stranger", uid=64_999, gid=64_999)
    with pytest.raises(PlaceUnusable, match=r"BOREALIS_DATA_DIR.*chmod o\+x"):
        require_reachable(closed / "data", stranger, "BOREALIS_DATA_DIR")
    require_reachable(closed / "data", None, "BOREALIS_DATA_DIR")


def flags_of(directory: Path) -> int:
    """Read what chattr writes; a skip where the file system has no such thing."""
    flags = array.array("l", [0])
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    except OSError as error:
        pytest.skip(f"no flags here: {error}")
    finally:
        os.close(descriptor)
    return flags[0]


def test_what_is_laid_out_in_a_spread_directory_lies_apart_and_its_other_flags_stay(tmp_path: Path) -> None:
    before = flags_of(tmp_path)
    spread(tmp_path)
    spread(tmp_path)
    assert flags_of(tmp_path) == before | _TOP


def test_a_file_system_that_has_no_flags_is_left_as_it_is() -> None:
    spread(Path("/proc"))
