"""`python -m installcheck`: start a cluster in local mode, run both suites through its writer endpoint, judge it.

The suites want a superuser, whom Borealis gives to nobody. So the cluster's PostgreSQL is this machine's, but for an
`initdb` that makes another role beside Borealis's; nothing else differs from what users have. Ends with a closing line
`N passed, N failed, N skipped`; exit status 1 if a test fails, or if the writer was not the same all the time.
"""

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account, choose_account, own
from borealis_engine.postgres.binaries import Binaries, find_binaries
from borealis_local.trial import Local

from installcheck.source import Suites, Unavailable, fetch

PLACES: Final = ("/var/tmp", tempfile.gettempdir())  # the roomier one is used
ROOM: Final = 8 << 30  # bytes: the suites took 4 GB at most, and storage nodes keep a reserve
SUITE_S: Final = 420.0
ROLE: Final = "installcheck"  # a name that starts with `regress` would be the suite's own
READERS: Final = 1  # which replays all that the suites write
MANIFEST: Final = """\
apiVersion: borealis.dev/v1alpha1
kind: DBCluster
metadata: {name: quickstart}
spec: {engine: postgresql, readers: 1, databaseName: app, storage: {size: 50Gi}}
"""
INITDB: Final = """\
#!/bin/sh
set -e
for word do
  shift
  case "$before" in
    --username) admin=$word word={role} before= ;;
    --pgdata) data=$word before= ;;
    *) before=$word ;;
  esac
  set -- "$@" "$word"
done
{initdb} "$@"
{postgres} --single -D "$data" postgres <<END
alter role {role} password '{password}'
create role $admin superuser createdb createrole replication bypassrls login
END
"""
_PASSED: Final = re.compile(r"^(?:test .*\.\.\. ok|ok \d+|     \S+ +\.\.\. ok)\b", re.MULTILINE)
_FAILED: Final = re.compile(r"^(?:test .*\.\.\. FAILED|not ok \d+|     \S+ +\.\.\. FAILED)", re.MULTILINE)
_WARNED: Final = re.compile(r"\bread-only: |\bthere is room: ")  # of postgres/room.py


def main() -> None:
    """Run everything in a directory of its own, which is removed."""
    place = Path(tempfile.mkdtemp(prefix="borealis-installcheck-", dir=max(PLACES, key=free)))
    place.chmod(0o755)
    try:
        binaries = find_binaries(os.environ)
        try:
            check_room(free(place))
            suites = fetch(place, binaries)
        except Unavailable as reason:
            say(f"left out: PostgreSQL's suites cannot be had here: {reason}")
            say("0 passed, 0 failed, 2 skipped")
            return
        passed, failed = _run(place, binaries, suites)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    say(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def free(place: Path | str) -> int:
    """Return the bytes that a storage node would find available at `place`."""
    return shutil.disk_usage(place).free


def check_room(available: int) -> None:
    """Raise Unavailable if the volume would run full half-way and refuse to write, as it must."""
    if available < ROOM:
        what = f"the disk has {available >> 20} MiB available, they need {ROOM >> 20} (TMPDIR names another place)"
        raise Unavailable(what)


def count(output: str) -> tuple[int, int]:
    """Give how many tests passed and failed, from what pg_regress prints: before PostgreSQL 16, and in TAP's form."""
    return len(_PASSED.findall(output)), len(_FAILED.findall(output))


def write_programs(place: Path, binaries: Binaries, password: str) -> Path:
    """Give a directory of PostgreSQL's programs whose initdb makes the suites' superuser, and Borealis's beside it.

    The suites' is the one who owns the catalogs, for some of them look at that.
    """
    programs = place / "bin"
    programs.mkdir()
    for program in binaries.directory.iterdir():
        if program.name != "initdb":
            (programs / program.name).symlink_to(program)
    (programs / "initdb").write_text(
        INITDB.format(
            initdb=shlex.quote(binaries.path("initdb")), postgres=shlex.quote(binaries.path("postgres")),
            role=ROLE, password=password,
        )
    )  # fmt: skip
    (programs / "initdb").chmod(0o755)
    return programs


def _run(place: Path, binaries: Binaries, suites: Suites) -> tuple[int, int]:
    password = secrets.token_hex(16)
    env = {"PG_BIN": str(write_programs(place, binaries, password))}
    local = Local(state=place / "state", scratch=place, env=env)
    (place / "cluster.yaml").write_text(MANIFEST)
    try:
        local.borealis("local", "up", "--file", str(place / "cluster.yaml"))
        local.until(lambda: local.healthy(READERS), "the cluster did not become whole")
        epoch = local.status()["epoch"]
        found = [_suite(name, local, binaries, suites, place, password) for name in ("regress", "isolation")]
        local.until(lambda: local.healthy(READERS), "the cluster is not whole after the suites")
        if local.status()["epoch"] != epoch:
            say(f"the writer changed: epoch {epoch} at first, {local.status()['epoch']} at last")
            for name, text in _instance_logs(place):
                say(f"--- {name}\n{text[-20_000:]}")
            found.append((0, 1))
        if any(failed for _, failed in found):
            _explain(local, place)
    finally:
        local.borealis("local", "down", "--purge")
    return sum(passed for passed, _ in found), sum(failed for _, failed in found)


def _explain(local: Local, place: Path) -> None:
    """Say what the cluster says of itself, and what its instances warned of, after the differences."""
    for name, text in _instance_logs(place):
        warned = [line for line in text.splitlines() if _WARNED.search(line)]
        say("\n".join([f"--- {name} warned of", *warned[-20:]]))
    for condition in local.status().get("conditions", ()):
        say(f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}")
    say(f"{free(place) >> 20} MiB are available at {place}")


def _instance_logs(place: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each instance and the text of its log."""
    for log in sorted((place / "state" / "logs").glob("*-instance-*/*.log")):
        yield log.parent.name, log.read_text(errors="replace")


def _suite(
    name: str, local: Local, binaries: Binaries, suites: Suites, place: Path, password: str
) -> tuple[int, int]:  # fmt: skip
    """Run one suite as pg_regress does it for a server that runs already; its differences go to standard output."""
    account = choose_account()
    output = place / f"{name}.out"
    output.mkdir()
    source: Path = getattr(suites, name)
    own(source, account)
    own(output, account)
    command = _command(name, source, output, suites, binaries, local)
    done = subprocess.run(
        command, cwd=output, env=_environment(output, password), timeout=SUITE_S, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **_as(account),
    )  # fmt: skip
    passed, failed = count(done.stdout)
    say(done.stdout if failed or done.returncode else f"{name}: {passed} passed")
    for differences in output.glob("*.diffs"):
        say(differences.read_text(errors="replace"))
    return passed, failed or (1 if done.returncode or not passed else 0)


def _command(
    name: str, source: Path, output: Path, suites: Suites, binaries: Binaries, local: Local
) -> Sequence[str]:  # fmt: skip
    """Give the words of GNUmakefile's installcheck-parallel."""
    address = local.borealis("local", "uri").rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    program = "pg_regress" if name == "regress" else "pg_isolation_regress"
    schedule = "parallel_schedule" if name == "regress" else "isolation_schedule"
    return [
        str(suites.programs / "src/test" / name / program), f"--inputdir={source}", f"--outputdir={output}",
        f"--bindir={binaries.directory}", f"--dlpath={suites.libraries}", "--max-concurrent-tests=20",
        f"--schedule={source / schedule}", f"--host={host}", f"--port={port}", f"--user={ROLE}",
    ]  # fmt: skip


def _environment(output: Path, password: str) -> dict[str, str]:
    """Give ours, and no TLS: what libpq says of a lost connection is expected as without."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "HOME": str(output), "PGPASSWORD": password, "PGSSLMODE": "disable"}


def _as(account: Account | None) -> dict[str, object]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


if __name__ == "__main__":
    main()
