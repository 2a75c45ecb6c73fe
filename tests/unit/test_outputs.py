"""Output files: packed or a file each, whole after any cut, and never written twice."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import StoreError, StoreFull
from hostler.model.jobs import OutputRef
from hostler.stores.chunks import SIZE
from hostler.stores.output_reading import last_part, read_last
from hostler.stores.outputs import RunOutputs, log_ref, read_both, read_output, tail

NASTY = bytes(range(256)) + b"\n\x1b[2J\xff\xfe\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder."""
    return tmp_path / "runs" / "1"


def streams(folder: Path, ref: OutputRef | None) -> tuple[bytes, bytes]:
    """Both streams as they are kept."""
    assert ref is not None
    return b"".join(read_output(folder, ref, 1)), b"".join(read_output(folder, ref, 2))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk is like."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_short_output_is_packed_in_one_file_per_controller(folder: Path) -> None:
    files = RunOutputs(folder, epoch=3)
    kept = [(b"one\n", b""), (b"", b"two\n"), (NASTY, NASTY[::-1]), (b"x" * 65536, b"y")]
    refs = [files.whole(*each) for each in kept]
    files.sync()
    assert [streams(folder, ref) for ref in refs] == kept
    assert {ref.file for ref in refs if ref} == {"out/3.dat"}
    assert sorted(os.listdir(folder / "out")) == ["3.dat"]


def test_no_output_keeps_nothing(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    assert files.whole(b"", b"") is None
    assert files.held(1, 1) == (0, 0)
    assert files.finish(1, 1) is None
    files.sync()
    assert os.listdir(folder / "out") == []


def test_short_output_lies_in_memory_until_it_is_synced_or_much(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    files.whole(b"few", b"")
    assert not (folder / "out" / "1.dat").exists()
    files.whole(b"x" * 70_000, b"")
    assert (folder / "out" / "1.dat").stat().st_size == 70_003
    files.whole(b"few", b"")
    files.sync()
    assert (folder / "out" / "1.dat").stat().st_size == 70_006


def test_long_output_keeps_the_order_in_which_it_came(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(7, 2, 1, 0, b"out 1\n")
    files.append(7, 2, 2, 0, b"err 1\n")
    files.append(7, 2, 1, 6, b"out 2\n")
    ref = files.finish(7, 2)
    files.sync()
    assert ref == OutputRef("out/7.2.log", 0, 12, 6, indexed=True)
    assert list(read_both(folder, ref)) == [(1, b"out 1\n"), (2, b"err 1\n"), (1, b"out 2\n")]
    assert streams(folder, ref) == (b"out 1\nout 2\n", b"err 1\n")
    assert (folder / "out" / "7.2.log").read_bytes() == b"out 1\nerr 1\nout 2\n"


@pytest.mark.parametrize("most", [0, 1, 5, 6, 7, 13, 18, 100])
def test_of_long_output_the_end_is_read_without_the_rest(folder: Path, most: int) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(7, 2, 1, 0, b"out 1\n")
    files.append(7, 2, 2, 0, b"err 1\n")
    files.append(7, 2, 1, 6, b"out 2\n")
    long, short = files.finish(7, 2), files.whole(b"out 1\nout 2\n", b"err 1\n")
    files.sync()
    assert long is not None and short is not None
    assert (
        b"".join(data for _, data in read_last(folder, long, most))
        == b"out 1\nerr 1\nout 2\n"[max(0, 18 - most) :]
    )
    assert (
        b"".join(data for _, data in read_last(folder, short, most))
        == b"out 1\nout 2\nerr 1\n"[max(0, 18 - most) :]
    )
    assert last_part(folder, "out/7.2.log", most) == b"out 1\nerr 1\nout 2\n"[max(0, 18 - most) :]
    assert last_part(folder, "out/8.1.log", most) == b""


def test_what_is_held_already_is_skipped_and_a_gap_refused(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(1, 1, 1, 0, b"abcdef")
    files.append(1, 1, 1, 0, b"abcdef")
    files.append(1, 1, 1, 4, b"efgh")
    files.append(1, 1, 1, 2, b"cd")
    assert files.held(1, 1) == (8, 0)
    with pytest.raises(StoreError, match="stream 1 goes on at byte 9"):
        files.append(1, 1, 1, 9, b"x")
    with pytest.raises(StoreError, match="stream 2"):
        files.append(1, 1, 2, 1, b"x")
    files.append(1, 1, 2, 0, b"x")
    files.sync()
    assert streams(folder, files.finish(1, 1)) == (b"abcdefgh", b"x")


@given(
    st.lists(st.tuples(st.integers(1, 2), st.integers(0, 9), st.binary(min_size=1, max_size=20)), max_size=20)
)
def test_pieces_that_come_again_in_any_cut_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    files = RunOutputs(folder, epoch=1)
    whole = {1: b"", 2: b""}
    for stream, again, data in pieces:
        offset = max(0, len(whole[stream]) - again)
        sent = whole[stream][offset:] + data
        files.append(1, 1, stream, offset, sent)
        whole[stream] += data
    ref = files.finish(1, 1)
    files.sync()
    if pieces:
        assert streams(folder, ref) == (whole[1], whole[2])
    files.close()


def test_a_next_controller_goes_on_with_a_file_that_another_began(folder: Path) -> None:
    first = RunOutputs(folder, epoch=1)
    first.append(1, 1, 1, 0, b"one ")
    first.append(1, 1, 2, 0, b"err")
    second = RunOutputs(folder, epoch=2)
    assert second.held(1, 1) == (4, 3)
    second.append(1, 1, 1, 0, b"one two")
    ref = second.finish(1, 1)
    second.sync()
    assert streams(folder, ref) == (b"one two", b"err")


@pytest.mark.parametrize("cut", range(2 * SIZE + 1))
def test_a_torn_index_is_cut_back_to_its_last_whole_piece(folder: Path, cut: int) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(1, 1, 1, 0, b"first")
    files.append(1, 1, 2, 0, b"second")
    files.close()
    os.truncate(folder / "out" / "1.1.log.idx", cut)
    again = RunOutputs(folder, epoch=2)
    held = [(0, 0), (5, 0), (5, 6)][cut // SIZE]
    assert again.held(1, 1) == held
    again.append(1, 1, 1, held[0], b"first and more"[held[0] :])
    again.append(1, 1, 2, held[1], b"second"[held[1] :])
    assert streams(folder, again.finish(1, 1)) == (b"first and more", b"second")


@pytest.mark.parametrize("cut", range(12))
def test_a_torn_file_is_cut_back_to_its_last_whole_piece(folder: Path, cut: int) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(1, 1, 1, 0, b"first")
    files.append(1, 1, 2, 0, b"second")
    files.close()
    os.truncate(folder / "out" / "1.1.log", cut)
    assert RunOutputs(folder, epoch=2).held(1, 1) == ((0, 0) if cut < 5 else (5, 0) if cut < 11 else (5, 6))


def test_a_file_whose_end_is_not_what_was_written_is_cut_back(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    files.append(1, 1, 1, 0, b"first")
    files.append(1, 1, 1, 5, b"second")
    files.close()
    log = folder / "out" / "1.1.log"
    log.write_bytes(b"first" + bytes(6))  # what a power cut makes of bytes that were never synced
    assert RunOutputs(folder, epoch=2).held(1, 1) == (5, 0)
    assert log.read_bytes() == b"first"
    index = folder / "out" / "1.1.log.idx"
    index.write_bytes(index.read_bytes() + bytes(3 * SIZE))
    assert RunOutputs(folder, epoch=3).held(1, 1) == (5, 0)
    assert index.stat().st_size == SIZE


def test_however_many_attempts_write_few_files_are_open(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(3):
        for job in range(1, 81):
            files.append(job, 1, 1, turn * 4, b"%03d\n" % job)
            files.append(job, 1, 2, turn, b"e")
        assert len(os.listdir("/proc/self/fd")) - before <= 64
        files.sync()
        assert len(os.listdir("/proc/self/fd")) - before <= 64
    for job in range(1, 81):
        assert streams(folder, files.finish(job, 1)) == (b"%03d\n" % job * 3, b"eee")
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_holds_sync_up_and_doubles_nothing(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    refs: list[tuple[OutputRef | None, tuple[bytes, bytes]]] = []
    with largest_file(10_000):
        for number in range(40):
            out = b"%04d" % number * 100
            refs.append((files.whole(out, b"e"), (out, b"e")))
            files.append(1, 1, 1, number * 400, out)
        for _ in range(3):
            with pytest.raises(StoreFull, match="make room"):
                files.sync()
        ended = files.finish(1, 1)
        with pytest.raises(StoreFull):
            files.sync()
    files.sync()
    for ref, kept in refs:
        assert streams(folder, ref) == kept
    assert streams(folder, ended) == (b"".join(kept[0] for _, kept in refs), b"")
    assert (folder / "out" / "1.1.log").stat().st_size == 16_000


def test_while_the_disk_is_full_memory_takes_so_much_and_no_more(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    data = b"x" * (1 << 20)
    with largest_file(4096):
        for taken in range(0, 16 << 20, len(data)):
            files.append(1, 1, 1, taken, data)
        taken += len(data)
        with pytest.raises(StoreFull, match="wait for room"):
            files.append(1, 1, 1, taken, data)
        with pytest.raises(StoreFull):
            files.whole(data, b"")
    files.sync()
    files.append(1, 1, 1, taken, b"end")
    assert streams(folder, files.finish(1, 1)) == (b"x" * taken + b"end", b"")
    files.sync()


def test_output_may_be_taken_in_while_another_thread_syncs(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    done = threading.Event()
    syncs = 0

    def sync() -> None:
        nonlocal syncs
        while not done.is_set():
            files.sync()
            syncs += 1

    thread = threading.Thread(target=sync)
    thread.start()
    refs: list[tuple[OutputRef | None, tuple[bytes, bytes]]] = []
    try:
        for number in range(1_200):
            job = number % 90
            files.append(job, 1, 1, number // 90 * 4, b"%03d\n" % job)
            kept = b"%d" % number, b"!"
            refs.append((files.whole(*kept), kept))
            if number % 10 == 0:
                files.append(number + 1000, 1, 2, 0, b"own")
                refs.append((files.finish(number + 1000, 1), (b"", b"own")))
    finally:
        done.set()
        thread.join()
    files.sync()
    assert syncs > 1
    assert all(streams(folder, ref) == kept for ref, kept in refs)
    for job in range(90):
        out, _ = streams(folder, files.finish(job, 1))
        assert out == b"%03d\n" % job * (1_200 // 90 + (job < 1_200 % 90))


def test_output_comes_in_pieces_of_the_size_that_is_asked_for(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    packed = files.whole(b"x" * 10_000, b"y")
    files.append(1, 1, 1, 0, b"x" * 10_000)
    own = files.finish(1, 1)
    files.sync()
    assert packed and own
    for ref in (packed, own):
        assert [len(piece) for piece in read_output(folder, ref, 1, chunk=4096)] == [4096, 4096, 1808]


def test_the_last_lines_are_found_without_reading_the_whole(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    packed = files.whole(lines, b"e1\ne2\ne3")
    for offset in range(0, len(lines), 5_000):
        files.append(1, 1, 1, offset, lines[offset : offset + 5_000])
    files.append(1, 1, 2, 0, b"e1\ne2\n")
    own = files.finish(1, 1)
    files.sync()
    assert packed and own
    for ref in (packed, own):
        assert tail(folder, ref, 1, 2) == b"line 99998\nline 99999\n"
        assert len(tail(folder, ref, 1, 10_000)) <= 8192
        assert tail(folder, ref, 1, 0) == b""
    assert tail(folder, packed, 2, 2) == b"e2\ne3"
    assert tail(folder, own, 2, 5) == b"e1\ne2\n"
    endless = files.whole(b"z" * 1_000_000, b"")
    files.sync()
    assert endless and tail(folder, endless, 1, 3) == b"z" * 8192


def test_output_of_an_attempt_at_work_can_be_read(folder: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    assert log_ref(folder, 1, 1) is None
    files.append(1, 1, 1, 0, b"so far")
    ref = log_ref(folder, 1, 1)
    assert ref and streams(folder, ref) == (b"so far", b"")
    files.append(1, 1, 1, 6, b" and on")
    assert streams(folder, ref) == (b"so far", b"")


def test_output_that_is_gone_cut_or_elsewhere_is_told(folder: Path, tmp_path: Path) -> None:
    files = RunOutputs(folder, epoch=1)
    ref = files.whole(b"x" * 100, b"")
    files.append(1, 1, 1, 0, b"y" * 100)
    own = files.finish(1, 1)
    files.sync()
    assert ref and own
    os.truncate(folder / "out" / "1.dat", 50)
    os.truncate(folder / "out" / "1.1.log.idx", 0)
    for cut in (ref, own):
        with pytest.raises(StoreError, match="cut short"):
            streams(folder, cut)
    os.unlink(folder / "out" / "1.dat")
    with pytest.raises(StoreError, match="is gone"):
        streams(folder, ref)
    (tmp_path / "secret").write_text("secret")
    (folder / "out" / "link").symlink_to(tmp_path / "secret")
    for file in ("../../secret", str(tmp_path / "secret"), "out/link"):
        with pytest.raises(StoreError):
            streams(folder, OutputRef(file, 0, 6, 0))


def test_output_is_private_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        files = RunOutputs(folder, epoch=1)
        files.whole(b"x", b"")
        files.append(1, 1, 1, 0, b"y")
        files.sync()
    finally:
        os.umask(before)
    assert (folder / "out").stat().st_mode & 0o777 == 0o700
    for name in ("1.dat", "1.1.log", "1.1.log.idx"):
        assert (folder / "out" / name).stat().st_mode & 0o777 == 0o600
