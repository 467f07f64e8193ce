"""Much that is written at once goes past the page cache, and stands in the file as if it had not."""

import errno
import os
import random
import threading
from pathlib import Path

import pytest
from borealis_engine.store.direct import AREA, PAGE
from borealis_engine.store.disk import DIRECT_FROM, RealDisk
from hypothesis import given, settings
from hypothesis import strategies as st

Opened = list[int]


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The flags of every descriptor that is opened past the cache."""
    flags, real = Opened(), os.open

    def record(path: str, flag: int, mode: int = 0o777) -> int:
        if flag & os.O_DIRECT:
            flags.append(flag)
        return real(path, flag, mode)

    monkeypatch.setattr(os, "open", record)
    return flags


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    offset=st.integers(0, 3 * PAGE),
    sizes=st.lists(st.sampled_from([1, 32, PAGE - 32, PAGE, 3000, 1 << 18, AREA - 7, AREA]), min_size=1, max_size=8),
)
def test_what_stands_around_it_stays(
    tmp_path_factory: pytest.TempPathFactory, seed: int, offset: int, sizes: list[int]
) -> None:
    chance, disk = random.Random(seed), RealDisk(tmp_path_factory.mktemp("disk"))
    file = disk.create("x")
    before = chance.randbytes(offset + chance.choice([0, sum(sizes), sum(sizes) + DIRECT_FROM + 3 * PAGE + 5]))
    file.write((before,), 0)
    parts = [chance.randbytes(size) for size in [*sizes, DIRECT_FROM]]
    file.write_through(parts, offset)
    written = b"".join(parts)
    assert file.read(2 * len(written) + len(before), 0) == before[:offset] + written + before[offset + len(written) :]
    file.close()


def test_only_much_goes_past_the_cache(tmp_path: Path, past: Opened) -> None:
    file = RealDisk(tmp_path).create("x")
    file.write_through((bytes(DIRECT_FROM - 1),), 5)
    assert past == []
    file.write_through((bytes(300), bytes(DIRECT_FROM)), DIRECT_FROM)
    assert len(past) == 1


def direct(fd: int) -> bool:
    """Say whether a descriptor is past the cache."""
    flags = next(line for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if line.startswith("flags"))
    return bool(int(flags.split()[1], 8) & os.O_DIRECT)


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> list[int]:
    """Have opening past the cache, or writing there, fail; give a list that grows with each refusal."""
    real_open, real_write, refusals = os.open, os.pwrite, list[int]()

    def fail() -> None:
        refusals.append(code)
        raise OSError(code, os.strerror(code))

    def open_(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            fail()
        return real_open(path, flags, mode)

    def write(fd: int, data: memoryview, offset: int) -> int:
        if direct(fd):
            fail()
        return real_write(fd, data, offset)

    monkeypatch.setattr(os, call, open_ if call == "open" else write)
    return refusals


@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_file_system_that_cannot_is_asked_once_and_written_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    data, refusals = random.Random(1).randbytes(DIRECT_FROM + 999), refuse(monkeypatch, call, errno.EINVAL)
    file = RealDisk(tmp_path).create("x")
    for n in range(3):
        file.write_through((data,), n * len(data) + 7)
    assert file.read(4 * len(data), 7) == data * 3
    assert len(refusals) == 1


@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_any_other_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    refuse(monkeypatch, call, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        RealDisk(tmp_path).create("x").write_through((bytes(DIRECT_FROM),), 0)


def test_threads_do_not_mix_what_they_write(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    files = [disk.create(str(n)) for n in range(3)]

    def work(n: int) -> None:
        for k in range(8):
            files[n].write_through((bytes([n]) * DIRECT_FROM,), k * DIRECT_FROM)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, file in enumerate(files):
        assert file.read(9 * DIRECT_FROM, 0) == bytes([n]) * 8 * DIRECT_FROM
