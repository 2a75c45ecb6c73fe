"""The log of starts and results: what a later runner reads of it is what was written, or known to be damaged."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostler.model.reports import Lost
from hostler.remote.runner import log as log_module
from hostler.remote.runner.log import GROW, SIZE, Log
from hostler.remote.runner.wire import ENDINGS, NO_CODE
from tests.integration.runner_rig import Rig, rigged

LOST = ENDINGS.index("lost")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


def filled(folder: Path, count: int = 10) -> Log:
    """A log with starts, of which the even ones have results."""
    log = Log(str(folder))
    log.reserve(count)
    for serial in range(1, count + 1):
        log.start(serial, 100 + serial, 1, serial)
    for serial in range(2, count + 1, 2):
        log.result(serial, 1, serial, 0, 0.5, 10, 20)
    log.write()
    return log


def content(log: Log) -> tuple[object, ...]:
    """What a log knows."""
    return (log.starts, log.results, log.high, log.epoch, log.damaged)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.lead(7)
    log.forget([2, 4])
    log.write()
    again = Log(str(tmp_path))
    assert content(again) == content(log) and again.id == log.id
    assert set(again.starts) == {1, 3, 5, 6, 7, 8, 9, 10} and set(again.results) == {6, 8, 10}
    assert again.results[6] == (1, 6, 0, 0.5, 10, 20) and again.starts[6] == (106, 1, 6)
    assert (again.epoch, again.high, again.damaged) == (7, 10, False)
    assert again.reserved == 5 and again.end == log.end


def test_what_is_pending_is_not_there_yet(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.reserve(1)
    log.start(11, 111, 1, 11)
    assert 11 not in Log(str(tmp_path)).starts
    log.unwrite([11])
    log.write()
    assert 11 not in Log(str(tmp_path)).starts and 11 not in log.starts


def test_a_record_torn_at_any_byte_is_no_record_and_is_noticed(tmp_path: Path) -> None:
    log = filled(tmp_path)
    whole = (tmp_path / "log").read_bytes()
    for cut in range(log.end - SIZE + 1, log.end):
        (tmp_path / "log").write_bytes(whole[:cut] + bytes(len(whole) - cut))
        torn = Log(str(tmp_path))
        assert torn.damaged and torn.results == {s: r for s, r in log.results.items() if s != 10}
        os.close(torn.fd)
        if cut > log.end - SIZE + 2:
            (tmp_path / "log").write_bytes(whole[:cut])
            torn = Log(str(tmp_path))
            assert 10 not in torn.results and 8 in torn.results
            os.close(torn.fd)


def test_a_flipped_bit_anywhere_loses_its_own_record_and_is_noticed(tmp_path: Path) -> None:
    log = filled(tmp_path)
    whole = (tmp_path / "log").read_bytes()
    chance = random.Random(3)
    for _ in range(300):
        at = chance.randrange(log.end)
        bad = bytearray(whole)
        bad[at] ^= 1 << chance.randrange(8)
        (tmp_path / "log").write_bytes(bad)
        hurt = Log(str(tmp_path))
        assert hurt.damaged and hurt.end == log.end
        for serial, result in hurt.results.items():
            assert log.results[serial] == result
        for serial, start in hurt.starts.items():
            assert log.starts[serial] == start
        assert len(hurt.starts) + len(hurt.results) >= len(log.starts) + len(log.results) - 1
        os.close(hurt.fd)


def test_a_page_of_zeros_in_the_middle_is_noticed(tmp_path: Path) -> None:
    log = filled(tmp_path, 100)
    whole = bytearray((tmp_path / "log").read_bytes())
    whole[4096 : 4096 + SIZE] = bytes(SIZE)
    (tmp_path / "log").write_bytes(whole)
    hurt = Log(str(tmp_path))
    assert hurt.damaged and hurt.end == log.end


def test_a_result_whose_start_can_not_be_read_stands(tmp_path: Path) -> None:
    filled(tmp_path)
    whole = bytearray((tmp_path / "log").read_bytes())
    whole[SIZE + 20] ^= 1  # the start of 2
    (tmp_path / "log").write_bytes(whole)
    hurt = Log(str(tmp_path))
    assert hurt.starts[2] == (102, 1, 2) and hurt.results[2] == (1, 2, 0, 0.5, 10, 20)


def test_a_full_disk_takes_no_room_from_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, 100)

    def full(fd: int, at: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    more = (log.room - log.end) // SIZE // 2
    serial, started = 101, []
    for _ in range(more + 10):
        try:
            log.reserve(1)
        except OSError:
            break
        log.start(serial, serial, 1, serial)
        started.append(serial)
        serial += 1
    log.forget(list(range(2, 101, 2)))  # good to know, but never in the room of results
    for each in [*range(1, 101, 2), *started]:
        log.result(each, 0, 0, 0, 0.1, 0, 0)
    log.write()
    assert log.end <= log.room == os.fstat(log.fd).st_size
    assert set(Log(str(tmp_path)).results) >= {*range(1, 101, 2), *started}


def test_a_log_that_is_mostly_acknowledged_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "COMPACT", 20 * SIZE)
    log = Log(str(tmp_path))
    largest = 0
    for serial in range(1, 2001):
        log.reserve(1)
        log.start(serial, serial, 1, serial)
        log.write()
        if serial % 3:
            log.result(serial, 0, 0, 0, 0.0, 0, 0)
            log.write()
        if serial > 5 and (serial - 5) in log.results:
            log.forget([serial - 5])
        if serial == 1000:
            log.lead(9)
        largest = max(largest, os.fstat(log.fd).st_size)
        if serial % 400 == 0:
            log.write()
            assert content(Log(str(tmp_path))) == content(log)
    assert largest < 10 * GROW and log.high == 2000 and log.epoch == 9


def test_a_rewriting_that_fails_leaves_the_old_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path)

    def full(fd: int, at: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        log.compact()
    before = content(log)
    log.result(1, 0, 0, 0, 0.0, 0, 0)
    log.write()
    assert content(Log(str(tmp_path))) == content(log) == before
    log.compact()
    assert content(Log(str(tmp_path))) == before


OPS = st.lists(
    st.tuples(st.sampled_from(["start", "result", "ack", "lead", "die", "compact"]), st.integers(0, 50)),
    max_size=80,
)


@settings(max_examples=60)
@given(OPS)
def test_any_history_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, ops: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log, serial = Log(str(folder)), 0
    starts: dict[int, tuple[int, int, int]] = {}
    results: dict[int, tuple[int, int, int, float, int, int]] = {}
    for op, number in ops:
        if op == "start":
            serial += 1 + number % 3
            log.reserve(1)
            log.start(serial, number, 2, serial)
            starts[serial] = (number, 2, serial)
        elif op == "result" and (open_ones := sorted(set(starts) - set(results))):
            one = open_ones[number % len(open_ones)]
            log.result(one, number % LOST, NO_CODE, 9, 0.25, number, 1 << 40)
            results[one] = (number % LOST, NO_CODE, 9, 0.25, number, 1 << 40)
        elif op == "ack" and results:
            some = sorted(results)[: 1 + number % 8]
            log.forget(some)
            for one in some:
                del starts[one], results[one]
        elif op == "lead":
            log.lead(number)
        elif op == "compact":
            log.compact()
        log.write()
        if op == "die":
            before = (log.high, log.epoch)
            os.close(log.fd)
            log = Log(str(folder))
            assert (log.high, log.epoch) == before
        assert (log.starts, log.results) == (starts, results)
    assert content(Log(str(folder))) == content(log) and not log.damaged
    assert log.reserved == len(starts) - len(results)


def test_after_damage_whatever_is_not_known_counts_as_lost_and_never_as_unseen(rig: Rig) -> None:
    line = rig.line()
    for serial in (1, 2, 3):
        line.start(serial, f"echo {serial} >>{rig.folder}/begun; exit {serial}")
        line.result(serial)
    os.kill(line.answer()["pid"], 9)
    line.end()
    log = rig.spool / "log"
    data = bytearray(log.read_bytes())
    for at in range(0, 16 * SIZE, SIZE):  # all that is known of 3
        if data[at : at + 2] == b"hr" and data[at + 2] in (1, 2) and data[at + 15] == 3:
            data[at + 30] ^= 1
    log.write_bytes(data)
    again = rig.line(ask=[1, 2, 3, 4])
    assert again.answer()["standings"] == [[1, 3], [2, 3], [3, 4], [4, 4]]
    again.start(3, f"echo 3 >>{rig.folder}/begun")
    assert "forgotten" in again.one(Lost, 3).why
    again.start(5, f"echo 5 >>{rig.folder}/begun")
    assert again.result(5).code == 0 and again.result(2).code == 2
    assert (rig.folder / "begun").read_text() == "1\n2\n3\n5\n"


def test_a_runner_s_own_log_is_rewritten_while_it_works(rig: Rig) -> None:
    rig.changes = [("COMPACT = 4 << 20", "COMPACT = 600")]
    line = rig.line()
    line.start(1, "sleep 60")
    for serial in range(2, 80):
        line.start(serial, "true")
        line.result(serial)
        line.ack(serial - 1 if serial > 2 else 2)
    os.kill(line.answer()["pid"], 9)
    line.end()
    assert (rig.spool / "log").stat().st_size < 2 * GROW
    again = rig.line(ask=[1, 80])
    assert dict(again.answer()["standings"])[1] == 4 and dict(again.answer()["standings"])[80] == 0
