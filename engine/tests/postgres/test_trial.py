"""Parameters that only a start of PostgreSQL shows to be wrong are tried before, and cost themselves alone."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from borealis_engine.contract.settings import Settings
from borealis_engine.net.testing.authority import SERVER, make_certificates
from borealis_engine.postgres import memory, tuning
from borealis_engine.postgres.settings import MIB
from borealis_engine.postgres.trial import part

from .test_tuning import Attach, begin, maker, show


@pytest.mark.postgres
async def test_a_bad_value_that_only_a_start_shows_costs_itself_alone(attach: Attach) -> None:
    wanted = Settings(parameters={"min_wal_size": "2MB", "work_mem": "5MB", "nix": "1"}, read_only=True, digest="one")
    attached, tuning = await begin(attach, wanted)
    assert attached.server.alive
    assert (await show(attached, "work_mem"), await show(attached, "default_transaction_read_only")) == ("5MB", "on")
    assert (tuning.digest, set(tuning.refused)) == ("one", {"min_wal_size", "nix"})
    assert '"min_wal_size" must be at least' in tuning.refused["min_wal_size"]
    assert "no such parameter" in tuning.refused["nix"]


@pytest.mark.postgres
async def test_without_its_parameters_if_it_does_not_start_and_no_trial_shows_why(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "find_culprits", lambda site, parameters, alone: {})
    wanted = Settings(parameters={"min_wal_size": "2MB", "work_mem": "5MB"}, digest="one")
    attached, tuned = await begin(attach, wanted)
    assert (attached.server.alive, await show(attached, "work_mem")) == (True, "4MB")
    assert set(tuned.refused) == {"min_wal_size", "work_mem"}
    assert "did not start" in tuned.refused["work_mem"]
    assert "min_wal_size" in tuned.refused["work_mem"]


@pytest.mark.postgres
async def test_what_a_start_would_show_is_told_before_it_is_in_force(attach: Attach, tmp_path: Path) -> None:
    certificate = make_certificates(tmp_path, cluster_uid="uid")[SERVER]
    bad = {
        "ssl_ciphers": ("nonsense", "could not set the cipher list"),
        "huge_pages": ("on", "Cannot allocate memory"),
        "autovacuum_max_workers": ("200000", "would take"),
        "min_dynamic_shared_memory": ("100GB", "would take"),
        "shared_preload_libraries": ("/nowhere/nix", "could not access file"),
    }
    attached, tuned = await begin(attach, Settings(parameters={"work_mem": "5MB"}, digest="one"), certificate)
    given = {name: value for name, (value, _) in bad.items()}
    tuned.wanted = Settings(parameters={**given, "work_mem": "6MB", "wal_buffers": "2MB"}, digest="two")
    await tuned.apply(attached)
    assert (tuned.digest, set(tuned.refused), tuned.pending) == ("two", set(bad), ("wal_buffers",))
    for name, (_, words) in bad.items():
        assert re.search(words, tuned.refused[name]), tuned.refused
    assert await show(attached, "work_mem") == "6MB"
    assert [path.name for path in attached.site.data.iterdir()] == [attached.data.name]  # the trial left nothing


@pytest.mark.postgres
async def test_a_start_that_the_memory_does_not_suffice_for_is_not_made(attach: Attach) -> None:
    attached, tuned = await begin(
        attach, Settings(parameters={"autovacuum_max_workers": "200000", "work_mem": "5MB"}, digest="one")
    )
    assert list(tuned.refused) == ["autovacuum_max_workers"]
    assert "would take" in tuned.refused["autovacuum_max_workers"]
    assert await show(attached, "work_mem") == "5MB"


@pytest.mark.postgres
async def test_what_a_removal_leaves_is_tried_too(attach: Attach, tmp_path: Path) -> None:
    certificate = make_certificates(tmp_path, cluster_uid="uid")[SERVER]
    old = {"ssl_max_protocol_version": "TLSv1.1"}
    both = Settings(parameters={"ssl_min_protocol_version": "TLSv1.1", **old, "work_mem": "5MB"}, digest="one")
    attached, tuned = await begin(attach, both, certificate)
    assert not tuned.refused
    tuned.wanted = Settings(parameters={**old, "work_mem": "5MB"}, digest="two")
    await tuned.apply(attached)
    assert (list(tuned.refused), await show(attached, "work_mem")) == ([*old], "5MB")


@pytest.mark.postgres
async def test_what_started_once_and_does_not_any_more_costs_itself_alone(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached, tuned = await begin(
        attach, Settings(parameters={"wal_buffers": "512MB", "work_mem": "5MB"}, digest="one")
    )
    assert (await show(attached, "wal_buffers"), tuned.refused) == ("512MB", {})
    await attached.stop()
    tuned.forget()
    monkeypatch.setattr(memory, "memory", lambda: 4 * 500 * MIB)
    attached = await tuned.start(maker(attach, tuned))
    assert list(tuned.refused) == ["wal_buffers"]
    assert await show(attached, "work_mem") == "5MB"


@pytest.mark.postgres
async def test_of_two_that_do_not_go_together_the_one_in_force_stays(attach: Attach, tmp_path: Path) -> None:
    certificate = make_certificates(tmp_path, cluster_uid="uid")[SERVER]
    first = {"ssl_min_protocol_version": "TLSv1.3"}
    attached, tuned = await begin(attach, Settings(parameters=first, digest="one"), certificate)
    tuned.wanted = Settings(parameters={"ssl_max_protocol_version": "TLSv1.2", **first}, digest="two")
    await tuned.apply(attached)
    assert list(tuned.refused) == ["ssl_max_protocol_version"]
    assert await show(attached, "ssl_min_protocol_version") == "TLSv1.3"


def test_of_parameters_that_do_not_go_together_the_first_stays_and_few_starts_find_the_bad_one() -> None:
    tried = list[Mapping[str, str]]()

    def attempt(parameters: Mapping[str, str]) -> str:
        tried.append(parameters)
        return "no" if "bad" in parameters or {"a", "b"} <= set(parameters) else ""

    many = {f"p{n}": "" for n in range(30)}
    assert part({"a": "", **many, "bad": "", "b": ""}, attempt) == {"bad": "no", "b": "no"}
    assert len(tried) < 20
    assert part(many, attempt) == {}
