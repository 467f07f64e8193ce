"""`borealis-storage inspect` and `verify`: what they print, their exit statuses, and that they change nothing."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
from borealis_engine.contract.volume import format_lsn
from borealis_engine.core.journal import DurableState
from borealis_engine.main import storage
from borealis_engine.main.inspection import PROGRESS_S, Progress
from borealis_engine.store.disk import ReadOnlyDisk, RealDisk

from .members import CLUSTER, MEMBER, filled

COMMANDS = (["inspect"], ["inspect", "--json"], ["verify"])
NOBODY = 65534
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a healthy member with several journal files."""
    folder = tmp_path / "data"
    made(folder)
    return folder


def made(folder: Path) -> DurableState:
    folder.mkdir(exist_ok=True)
    store = filled(RealDisk(folder))
    store.journal.close()
    return store.journal.state


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the program in this process; give exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["borealis-storage", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            storage.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, out.getvalue(), err.getvalue()


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def journal(root: Path) -> list[Path]:
    return sorted((root / "journal").iterdir())


def everything(root: Path) -> dict[str, tuple[int, ...]]:
    """Give names, modes, sizes, times of change and contents of all that is there."""
    found = {}
    for path in (root, *root.rglob("*")):
        stat, content = path.stat(), path.read_bytes() if path.is_file() else b""
        digest = int.from_bytes(hashlib.sha256(content).digest())
        found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest)
    return found


_watched: list[tuple[str, tuple[object, ...]]] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _watched is not None and event.startswith(("open", "os.", "fcntl.", "shutil.")):
        _watched.append((event, arguments))


sys.addaudithook(_hear)


@contextmanager
def changing_calls() -> Iterator[list[str]]:
    """Collect calls that open for writing, lock, or change names: what permissions do not forbid to root."""
    global _watched  # noqa: PLW0603 - an audit hook stays for good
    found, _watched = list[str](), []
    try:
        yield found
    finally:
        for event, arguments in _watched:
            writing = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
            if writing or event not in ("open", "os.listdir", "os.scandir"):
                found.append(f"{event} {arguments}")
        _watched = None


def test_inspect_tells_what_the_member_holds(tmp_path: Path) -> None:
    state, (status, out, err) = made(tmp_path), run("inspect", tmp_path)
    assert (status, err) == (0, "")
    for told in (MEMBER, CLUSTER, "generation 4, revision 7, sealed", f"epoch {state.promised} to {state.owner}"):
        assert told in out
    assert f"log         [{format_lsn(state.start)}, {format_lsn(state.flush)})\n" in out
    assert f"D           {format_lsn(state.committed)}, as told in epoch {state.committed_epoch}\n" in out
    assert all(f"epoch {reign.epoch} from {format_lsn(reign.start)}" in out for reign in state.history)
    assert all(f"journal/{path.name}" in out for path in journal(tmp_path))
    assert "4.0 KiB, complete" in out


def test_inspect_gives_one_json_object(tmp_path: Path) -> None:
    state, (status, out, _) = made(tmp_path), run("inspect", "--json", tmp_path)
    told = json.loads(out)
    assert status == 0
    assert (told["member"], told["clusterUid"], told["format"], told["volume"]["generation"]) == (MEMBER, CLUSTER, 2, 4)
    assert told["promised"] == {"epoch": state.promised, "owner": state.owner, "resigned": state.resigned}
    assert (told["first"], told["flush"]) == (format_lsn(state.start), format_lsn(state.flush))
    assert told["durable"] == {"epoch": state.committed_epoch, "lsn": format_lsn(state.committed)}
    assert [(each["epoch"], each["start"]) for each in told["history"]] == [
        (reign.epoch, format_lsn(reign.start)) for reign in state.history
    ]
    assert [each["size"] for each in told["journal"]] == [path.stat().st_size for path in journal(tmp_path)]
    assert [each["complete"] for each in told["images"]] == [True]
    assert (told["findings"], told["damaged"]) == ([], False)


def test_verify_says_that_all_is_good(root: Path) -> None:
    status, out, err = run("verify", root)
    assert (status, err) == (0, "")
    assert out.startswith("all good; journal files: ")
    assert len(out.splitlines()) == 1


def test_a_torn_end_is_told_and_is_good(root: Path) -> None:
    last = journal(root)[-1]
    end = json.loads(run("inspect", "--json", root)[1])["journal"][-1]["end"]
    data = last.read_bytes()
    last.write_bytes(data[:end] + b"torn" + data[end + 4 :])
    status, out, _ = run("verify", root)
    note, good = out.splitlines()
    assert status == 0
    assert note.startswith(f"note: journal/{last.name}, offset {end}, LSN ")
    assert "cut at the next start" in note
    assert good.startswith("all good")


@pytest.mark.parametrize("command", COMMANDS)
def test_damage_of_the_journal_has_its_exit_status_and_place(root: Path, command: list[str]) -> None:
    name = journal(root)[1].name
    flip(root / "journal" / name, 4000)
    status, out, _ = run(*command, root)
    assert status == 1
    if "--json" in command:
        (finding,) = json.loads(out)["findings"]
        assert finding["file"] == f"journal/{name}"
        assert 512 <= finding["offset"] <= 4000
        return
    (line,) = [line for line in out.splitlines() if line.startswith("damage: ")]
    assert line.startswith(f"damage: journal/{name}, offset ")
    assert ", LSN 0/1" in line
    assert "BorealisMemberLost" in line


def test_verify_alone_reads_the_bytes_of_images(root: Path) -> None:
    (image,) = (root / "images").iterdir()
    flip(image, 3000)
    assert run("inspect", root)[0] == 0
    status, out, _ = run("verify", root)
    assert status == 1
    assert out.startswith(f"damage: images/{image.name}: ")


def test_a_missing_file_is_damage(root: Path) -> None:
    missing = journal(root)[1]
    missing.unlink()
    status, out, _ = run("verify", root)
    assert status == 1
    assert f"damage: journal/{missing.name}, LSN 0/1" in out


@pytest.mark.parametrize("damage", ["none", "journal", "image", "torn", "leftovers"])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_changed(root: Path, command: list[str], damage: str) -> None:
    if damage in ("journal", "image"):
        flip(journal(root)[1] if damage == "journal" else next((root / "images").iterdir()), 2000)
    if damage == "torn":
        journal(root)[-1].write_bytes(journal(root)[-1].read_bytes().rstrip(b"\0")[:-3])
    if damage == "leftovers":
        (root / "journal" / "0000000000000099.log.new").write_bytes(b"begun")
        (root / "images" / "begun.0.new").write_bytes(b"begun")
    before = everything(root)
    with changing_calls() as changing:
        run(*command, root)
    assert changing == []
    assert everything(root) == before


def test_a_disk_to_look_at_refuses_every_change(root: Path) -> None:
    disk, before = ReadOnlyDisk(root), everything(root)
    changes: list[Callable[[], object]] = [
        lambda: disk.create("new"),
        lambda: disk.make_folder("folder"),
        lambda: disk.rename("identity.json", "other"),
        lambda: disk.remove("identity.json"),
        lambda: disk.sync_directory(""),
        lambda: disk.open("identity.json").write((b"x",), 0),
        lambda: disk.open("identity.json").truncate(0),
    ]
    for change in changes:
        with pytest.raises(OSError, match=r"[Rr]ead-only|Bad file|Invalid"):
            change()
    assert everything(root) == before


def unprivileged(*arguments: str | Path) -> tuple[int, str]:
    """Run the program as somebody who is not root; give exit status and all that it wrote."""
    if os.geteuid() != 0:
        status, out, err = run(*arguments)
        return status, out + err
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        status, out, err = run(*arguments)
        os.write(writing, (out + err).encode())
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.fixture
def reachable() -> Iterator[Path]:
    """The directory of a member that belongs to whoever `unprivileged` is, with nothing in it that may be written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        made(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o500 if path.is_dir() else 0o400)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        Path(name).chmod(0o755)
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)


@pytest.mark.parametrize("command", COMMANDS)
def test_permission_to_read_is_enough(reachable: Path, command: list[str]) -> None:
    before = everything(reachable)
    assert unprivileged(*command, reachable)[0] == 0
    assert everything(reachable) == before


@pytest.mark.parametrize("inside", ["", "journal", "journal/0000000000000001.log", "identity.json", "images"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_may_not_be_read_is_named_with_the_remedy(reachable: Path, command: list[str], inside: str) -> None:
    (reachable / inside).chmod(0)
    status, told = unprivileged(*command, reachable)
    assert status == 2
    assert f"{reachable} cannot be read: " in told
    assert "Permission denied" in told
    assert "run as the user of the storage node" in told


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["empty", "absent", "file"])
def test_what_is_no_member_is_named_with_the_remedy(tmp_path: Path, command: list[str], kind: str) -> None:
    root = tmp_path / kind
    if kind == "empty":
        root.mkdir()
    if kind == "file":
        root.write_bytes(b"")
    status, out, err = run(*command, root)
    assert (status, out) == (2, "")
    assert f"{root} is not the data directory of a storage node: " in err
    assert "BOREALIS_DATA_DIR" in err
    assert kind != "empty" or list(root.iterdir()) == []


def test_progress_is_told_once_it_takes_long(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = Progress(root, digests=True, clock=lambda: now)
    progress("journal/0000000000000001.log", 2048)
    assert capsys.readouterr().err == ""
    now = PROGRESS_S
    progress("journal/0000000000000001.log", 1024)
    progress("journal/0000000000000002.log", 1024)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("borealis-storage: read 2.0 KiB of ")
    assert line.endswith(", now journal/0000000000000001.log")
    now = 2 * PROGRESS_S
    progress("journal/0000000000000002.log", 4096)
    assert "read 6.0 KiB of " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_help_shows_examples_and_exit_statuses(command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"  borealis-storage {command} " in out
    assert "exit status:" in out


def test_the_program_itself_verifies_and_without_a_command_serves(root: Path) -> None:
    program = [sys.executable, "-m", "borealis_engine.main.storage"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BOREALIS_")}
    verified = subprocess.run([*program, "verify", root], env=environment, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.startswith("all good")
    served = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert served.returncode == 2
    assert "BOREALIS_VOLUME is not set" in served.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_seen_enough_is_no_error(root: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does, only sooner
    flip(next((root / "images").iterdir()), 3000)
    program = [sys.executable, "-m", "borealis_engine.main.storage", *command, str(root)]
    ended = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (int("verify" in command), b"")
