"""How PostgreSQL's own suites are found and counted; running them is `make installcheck`."""

import os
import subprocess
from pathlib import Path

import pytest
from borealis_engine.postgres.binaries import Binaries

from installcheck import __main__ as installcheck
from installcheck import deviations
from installcheck.source import Unavailable, fetch, source_lists

PARAGRAPHS = """\
# Types: deb is said in a comment
Types: deb deb-src
URIs: https://archive.example/debian
Suites: stable stable-updates
Components: main
"""
OLD = """\
parallel group (2 tests):  name varchar
     name                         ... ok           68 ms
     varchar                      ... FAILED       12 ms
test tablespace                   ... ok          210 ms
 1 of 3 tests failed.
"""
TAP = """\
# parallel group (2 tests):  name varchar
ok 1         - test_setup                                 95 ms
ok 2         + name                                       68 ms
not ok 3     + varchar                                    12 ms
1..3
"""
STANDIN = """\
#!/bin/sh
while [ $# -gt 0 ]; do echo "{name} $1" >>{log}; shift; done
if [ {name} = postgres ]; then cat >>{log}; fi
"""


def test_lists_of_an_archive_become_lists_of_its_sources() -> None:
    texts = {
        "one.list": "# a\ndeb [arch=amd64] https://archive.example/debian stable main\n",
        "two.sources": PARAGRAPHS,
    }
    found = source_lists(
        {**texts, "other.list": "deb https://other.example/apt x main\n"}, "https://archive.example/debian/"
    )
    assert found["one.list"] == "deb-src [arch=amd64] https://archive.example/debian stable main\n"
    assert found["two.sources"].splitlines()[0] == "Types: deb-src"
    assert set(found) == {"one.list", "two.sources"}


@pytest.mark.parametrize("output", [OLD, TAP], ids=["before 16", "TAP"])
def test_tests_are_counted_in_both_forms_of_the_report(output: str) -> None:
    assert installcheck.count(output) == (2, 1)


def test_a_disk_on_which_the_volume_would_run_full_is_told_at_once() -> None:
    installcheck.check_room(installcheck.ROOM)
    with pytest.raises(Unavailable, match="8191 MiB available, they need 8192"):
        installcheck.check_room(installcheck.ROOM - 1)


def test_a_machine_without_the_package_says_so(tmp_path: Path) -> None:
    nowhere = Binaries(directory=tmp_path / "bin", major=999, version="999.1")
    with pytest.raises(Unavailable, match=r"."):
        fetch(tmp_path, nowhere)


def test_the_suites_superuser_owns_the_catalogs_and_borealis_has_its_own(tmp_path: Path) -> None:
    real, log = tmp_path / "real", tmp_path / "log"
    real.mkdir()
    for name in ("initdb", "postgres", "psql"):
        (real / name).write_text(STANDIN.format(name=name, log=log))
        (real / name).chmod(0o755)
    programs = installcheck.write_programs(tmp_path, Binaries(directory=real, major=15, version="15.1"), "secret")
    words = ["--pgdata", "/some where", "--username", "borealis_admin", "--auth", "trust"]
    subprocess.run([programs / "initdb", *words], check=True, env={"PATH": os.defpath})
    said = log.read_text().splitlines()
    assert said[:6] == [f"initdb {word}" for word in (*words[:3], installcheck.ROLE, *words[4:])]
    assert said[6:10] == [f"postgres {word}" for word in ("--single", "-D", "/some where", "postgres")]
    assert said[10] == f"alter role {installcheck.ROLE} password 'secret'"
    assert said[11].startswith("create role borealis_admin superuser")
    assert (programs / "psql").resolve() == real / "psql"


def test_what_borealis_refuses_is_expected_in_each_place_and_nowhere_else() -> None:
    made, other = "regress_write_server_files", "CREATE ROLE regress_monitor IN ROLE pg_monitor;"
    told = f"CREATE ROLE {made} IN ROLE pg_write_server_files;\n{other}\nDROP ROLE {made};\n"
    lines = deviations.without_ways_out(told).splitlines()
    assert lines[1:3] == [deviations.REFUSED, other]
    assert lines[4:] == [f'ERROR:  role "{made}" does not exist']


@pytest.mark.parametrize(
    ("major", "others"), [(15, ["create_role.out", "create_role_1.out"]), (16, ["create_role.out"])]
)
def test_from_16_on_the_rule_is_postgresqls_own(tmp_path: Path, major: int, others: list[str]) -> None:
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected" / "create_role.out").write_text("DROP ROLE regress_x;\n")
    deviations.write(tmp_path, major)
    assert sorted(path.name for path in (tmp_path / "expected").iterdir()) == others
