"""Users' parameters on a real PostgreSQL: vetted in its words, reloaded or kept waiting, and never in the way."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import psycopg
import pytest
from borealis_engine.contract.settings import OWN, Settings
from borealis_engine.contract.volume import Lsn
from borealis_engine.postgres.attached import Attached
from borealis_engine.postgres.catalogue import UNFIT, Catalogue, explain_unknown
from borealis_engine.postgres.errors import ServerDied
from borealis_engine.postgres.promotion import catch_up, stay_standby
from borealis_engine.postgres.settings import (
    DEFAULTS,
    SLOT_LIMIT,
    Configuration,
    Place,
    render_configuration,
    render_settings,
)
from borealis_engine.postgres.sql import session
from borealis_engine.postgres.testing import MemoryVolume
from borealis_engine.postgres.tuning import LONGEST, Make, Tuning, parse_settings
from borealis_engine.proto.wal import find_end

Attach: TypeAlias = Callable[..., Attached]
PLACE = Place(name="i", addresses=("127.0.0.1",), port=5432, sockets="/s")


# --- without PostgreSQL ----------------------------------------------------------------------------------------------


def parse(text: str) -> dict[str, str]:
    """Read configuration lines; the last one of a name counts."""
    return {name: value.strip("'") for name, _, value in (line.partition(" = ") for line in text.splitlines())}


def test_nothing_that_is_borealis_s_own_can_be_replaced() -> None:
    plain = parse(render_configuration(Configuration(place=PLACE)))
    assert set(plain) <= {*OWN, *DEFAULTS, SLOT_LIMIT}  # the last one is the user's for the agent, never PostgreSQL's
    everything = {name: "spoilt" for name in plain if name not in DEFAULTS}
    spoilt = Configuration(place=PLACE, parameters=everything)
    assert parse(render_configuration(spoilt)) == plain
    defaults = Configuration(place=PLACE, parameters={"log_checkpoints": "on"})
    assert parse(render_configuration(defaults)) == {**plain, "log_checkpoints": "on"}


@pytest.mark.parametrize("own", [{"read_only": True}, {"urgent": True}, {"tls": True}], ids=str)
def test_what_borealis_switches_wins_over_the_user(own: Mapping[str, bool]) -> None:
    switched = replace(Configuration(place=PLACE), **own)
    changed = set(parse(render_configuration(switched)).items())
    changed -= set(parse(render_configuration(Configuration(place=PLACE))).items())
    assert changed
    against = replace(switched, parameters={name: "spoilt" for name, _ in changed})
    assert changed <= set(parse(render_configuration(against)).items())


@pytest.mark.parametrize(
    ("value", "line"),
    [("a'b", "x = 'a''b'\n"), ("a\\b", "x = 'a\\\\b'\n"), ("a\nfsync = on", "x = 'a\\nfsync = on'\n")],
    ids=["quote", "backslash", "newline"],
)
def test_a_value_stays_one_value_on_one_line(value: str, line: str) -> None:
    assert render_settings({"x": value}) == line


def test_an_unknown_name_comes_with_a_likely_one_but_never_one_that_is_refused_too() -> None:
    assert explain_unknown("wrk_mem", {"work_mem", "fsync"}, 17).endswith("did you mean work_mem?")
    assert explain_unknown("fsynk", {"work_mem", "fsync"}, 17) == "PostgreSQL 17 has no such parameter"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "3", '{"parameters":[]}', '{"parameters":{"a":1}}', '{"read_only":"no"}', '{"digest":7}'],
)
def test_nonsense_is_no_settings(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_settings(text)


@pytest.mark.parametrize(
    ("given", "limit"),
    [({}, 4 << 30), ({SLOT_LIMIT: "512"}, 512 << 20), ({SLOT_LIMIT: "2 GB"}, 2 << 30), ({SLOT_LIMIT: "-1"}, 4 << 30)],
    ids=str,
)
def test_slots_always_have_a_bound_that_never_holds_for_the_log_writers(given: dict[str, str], limit: int) -> None:
    configuration = Configuration(place=PLACE, parameters=given)
    assert configuration.slot_limit == limit
    assert parse(render_configuration(configuration))[SLOT_LIMIT] == "-1"


def test_settings_come_back_as_they_went() -> None:
    settings = Settings(parameters={"work_mem": "8MB"}, read_only=True, digest="d")
    assert parse_settings(settings.to_json()) == settings


# --- with PostgreSQL -------------------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("wrok_mem", "8MB", r"PostgreSQL \d+ has no such parameter; did you mean work_mem\?"),
        ("work_mem", "lots", 'invalid value for parameter "work_mem": "lots"'),
        ("work_mem", "1", "1 kB is outside the valid range"),
        ("log_statement", "some", r"invalid value.*Available values: none, ddl, mod, all"),
        ("timezone", "Nowhere", "Nowhere"),
        ("block_size", "16384", 'parameter "block_size" cannot be changed'),
        ("include", "/etc/passwd", "has no such parameter"),
        ("fsync", "off", "Borealis's own: durability"),
        ("post_auth_delay", "60", "delays every connection"),
        ("session_preload_libraries", "auto_explain,nix", "this engine image has no library nix"),
        ("Work_Mem", "8MB", "no name of a parameter"),
        ("a.b.c", "1", "no name of a parameter"),
        ("work_mem", "1\0", "zero byte"),
        ("my.text", "\ud800", "no text in UTF-8"),
        ("my.word", "\udc80", "no text in UTF-8"),
        ("dynamic_library_path", "/nowhere", "readers could not follow"),
        ("wal_level", "minimal", "replica and logical only"),
        ("max_slot_wal_keep_size", "-1", "must be a size above 0"),
        ("my.text", "x" * 200_000, "too long"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_wrong_is_refused_in_plain_words_and_the_rest_is_taken(
    attach: Attach, name: str, value: str, words: str
) -> None:
    catalogue = Catalogue(attach(1).site)
    good = {"maintenance_work_mem": "64MB", "my_app.tenant": "it's \\ fine", "search_path": '"$user", public'}
    vetted = catalogue.vet({**good, name: value})
    assert vetted.accepted == good
    assert list(vetted.refused) == [name]
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(vetted.refused[name])


@pytest.mark.postgres
def test_every_parameter_of_our_own_and_every_unfit_one_is_refused(attach: Attach) -> None:
    catalogue = Catalogue(attach(1).site)
    vetted = catalogue.vet(dict.fromkeys([*OWN, *UNFIT], "1"))
    assert (vetted.accepted, set(vetted.refused)) == ({}, {*OWN, *UNFIT})


def maker(attach: Attach, tuning: Tuning, server_tls: Path | None = None) -> Make:
    """Start instance 1 with a configuration, or leave nothing."""

    async def make(configuration: Configuration) -> Attached:
        attached = attach(1, configuration=configuration, server_tls=server_tls)
        try:
            await attached.start(tuning.note)
        except ServerDied:
            await attached.stop()
            raise
        return attached

    return make


async def begin(attach: Attach, wanted: Settings, server_tls: Path | None = None) -> tuple[Attached, Tuning]:
    """Start instance 1 with these."""
    tuning = Tuning(attach(1, server_tls=server_tls).site, wanted)
    return await tuning.start(maker(attach, tuning, server_tls)), tuning


async def show(attached: Attached, name: str) -> str:
    """Ask as a client would: in a session that sets nothing for itself."""
    conninfo = psycopg.conninfo.make_conninfo(attached.site.door.conninfo(), options="")
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        row = await (await connection.execute("select current_setting(%s)", (name,))).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.postgres
async def test_a_change_is_reloaded_or_waits_for_the_restart_and_a_removal_likewise(attach: Attach) -> None:
    first = Settings(parameters={"work_mem": "5MB", "wrk_mem": "1", "datestyle": "x" * 1000}, digest="one")
    attached, tuning = await begin(attach, first)
    assert (await show(attached, "work_mem"), tuning.digest, tuning.pending) == ("5MB", "one", ())
    assert list(tuning.refused) == ["wrk_mem", "datestyle"]
    assert len(tuning.refused["datestyle"]) == LONGEST

    tuning.wanted = Settings(
        parameters={"work_mem": "6MB", "wal_buffers": "2MB", "my.app": "'"}, read_only=True, digest="two"
    )
    await tuning.apply(attached)
    assert (tuning.digest, tuning.pending, tuning.refused) == ("two", ("wal_buffers",), {})
    shown = [await show(attached, name) for name in ("work_mem", "my.app", "default_transaction_read_only")]
    assert shown == ["6MB", "'", "on"]
    async with session(attached.site.door) as agent:
        row = await (await agent.execute("show default_transaction_read_only")).fetchone()
    assert row == ("off",)

    tuning.wanted = Settings(digest="three")
    await tuning.apply(attached)
    assert (tuning.digest, tuning.pending, tuning.refused) == ("three", (), {})
    assert [await show(attached, name) for name in ("work_mem", "default_transaction_read_only")] == ["4MB", "off"]


@pytest.mark.postgres
async def test_a_parameter_of_the_start_waits_also_when_it_is_taken_away(attach: Attach) -> None:
    attached, tuning = await begin(attach, Settings(parameters={"wal_buffers": "2MB"}, digest="one"))
    assert (await show(attached, "wal_buffers"), tuning.pending) == ("2MB", ())
    tuning.wanted = Settings(digest="two")
    await tuning.apply(attached)
    assert tuning.pending == ("wal_buffers",)


@pytest.mark.postgres
async def test_a_change_for_a_postgresql_that_has_ended_waits_for_the_next_one(attach: Attach) -> None:
    attached, tuning = await begin(attach, Settings(digest="one"))
    await attached.halt()
    tuning.wanted = Settings(parameters={"work_mem": "6MB"}, digest="two")
    with pytest.raises(ServerDied, match="has ended"):
        await tuning.apply(attached)
    assert tuning.digest == "one"


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("session_preload_libraries", "/nowhere/nix", "could not access file"),
        ("session_preload_libraries", "$libdir/plugins/nix", "could not access file"),
        ("local_preload_libraries", "auto_explain", "could not access file"),  # it is not among the plugins
    ],
)
async def test_libraries_that_no_session_can_load_are_taken_back(
    attach: Attach, name: str, value: str, words: str
) -> None:
    given = {"work_mem": "5MB", name: value}
    attached, tuning = await begin(attach, Settings(parameters=given, digest="one"))
    for digest in ("one", "two"):
        tuning.wanted = Settings(parameters=given, digest=digest)
        await tuning.apply(attached)
        assert (await show(attached, "work_mem"), await show(attached, name)) == ("5MB", "")
        assert (tuning.digest, list(tuning.refused), tuning.pending) == (digest, [name], ())
        assert words in tuning.refused[name]


@pytest.mark.postgres
async def test_no_parameter_keeps_the_agent_from_its_work_nor_outlives_a_candidacy(
    attach: Attach, volume: MemoryVolume
) -> None:
    hostile = {
        "statement_timeout": "1",
        "lock_timeout": "1",
        "idle_session_timeout": "1",
        "idle_in_transaction_session_timeout": "1",
        "default_transaction_isolation": "serializable",
        "exit_on_error": "on",
        "client_encoding": "sql_ascii",
        "datestyle": "German",
        "search_path": "public",
        "max_standby_streaming_delay": "7s",
    }
    attached, _ = await begin(attach, Settings(parameters=hostile, digest="one"))
    async with session(attached.site.door) as agent:
        await agent.execute("select pg_sleep(0.05)")
        assert await (await agent.execute("show search_path")).fetchone() == ("pg_catalog",)
        found = find_end(volume.start, bytes(volume.log), attached.image.head.description.segment_size)
        assert found
        await catch_up(attached, Lsn(found.end))
        query = "show max_standby_streaming_delay"
        assert await (await agent.execute(query)).fetchone() == ("0",)
        await stay_standby(attached)
        assert await (await agent.execute(query)).fetchone() == ("7s",)


@pytest.fixture
def bare(attach: Attach, folder: Path) -> Attached:
    """An instance whose certificate directory is empty."""
    empty = folder / "empty"
    empty.mkdir()
    return attach(2, server_tls=empty)


@pytest.mark.postgres
async def test_a_missing_or_broken_certificate_means_no_tls_and_no_failure(bare: Attached) -> None:
    assert bare.site.server_tls is not None
    (bare.site.server_tls / "tls.crt").write_text("nonsense")
    (bare.site.server_tls / "tls.key").write_text("nonsense")
    await bare.start(lambda line: None)
    assert not bare.configuration.tls
    assert await show(bare, "ssl") == "off"
    assert not (bare.data / "server.key").exists()
