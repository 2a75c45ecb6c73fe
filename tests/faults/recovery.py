"""How soon things go on: output after a cut line, new jobs after a killed controller.

The seconds are told in the notes and held against nothing: they are this machine's. What counts is that nothing of
the output is missing, changed or there twice.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence

from tests.command import Hostler, Running
from tests.faults.crash import playground, wait
from tests.faults.frame import Tally, Trial, fault

#: Seconds for which a host refuses everybody.
OUTAGES = (0.0, 1.0, 4.0, 10.0)
#: $1 is a file at whose appearance it ends.
TICKS = 'i=0; while [ ! -e "$1" ] && [ $i -lt 20000 ]; do i=$((i+1)); echo $i; sleep 0.05; done'
WAYS = (("asyncssh", 1), ("openssh", 1), ("asyncssh", 2))
MANY = 10_000


@fault("line cut: the next output shows", full=150.0, alone=True)
def output_after_a_cut(trial: Trial) -> Iterator[Tally]:
    """Cut the line of a job that prints all the time, for longer and longer."""
    with playground(trial.folder, hosts=1) as ground:
        for transport, door in WAYS:
            kind = "with Python" if door == 1 else "without Python"
            found, wrong = _outages(trial, ground.hostler, transport, door, doors=ground.doors)
            note = f"after {_seconds(found)} once the host can be reached again (wanted: 2 s)"
            yield Tally(
                fault=f"line cut: the next output shows ({transport}, {kind})",
                tries=len(found),
                wrong=len(wrong),
                note=note,
                evidence=tuple(wrong),
            )


def _outages(
    trial: Trial, hostler: Hostler, transport: str, number: int, *, doors: Sequence
) -> tuple[list[float], list[str]]:
    door, end = doors[number - 1], hostler.folder / f"end-{transport}-{number}"
    name = f"door{number}" if number == 1 else f"sh{number}"
    given = ["-i", "hosts.yaml", "--hosts", name, "--transport", transport, "--line-buffer"]
    running = hostler.start("batch", *given, "--", "sh", "-c", TICKS, "-", ":::", str(end))
    found, wrong = [], []
    wait(lambda: running.out.count(b"\n") > 10 or running.process.poll() is not None, seconds=60.0)
    assert running.process.poll() is None, running.err
    for outage in OUTAGES * trial.count(sample=1, full=2):
        door.shut()
        time.sleep(max(0.3, outage))
        before = len(running.out)
        door.reopen()
        began = time.monotonic()
        wait(lambda size=before: len(running.out) > size, seconds=60.0)  # type: ignore[misc]
        found.append(time.monotonic() - began)
        time.sleep(trial.chance.uniform(0.5, 1.5))
    end.touch()
    code = running.wait(60.0).code
    lines = running.out.split()
    if code or lines != [b"%d" % (n + 1) for n in range(len(lines))]:
        wrong.append(f"{transport} on {name}: exit code {code}, {len(lines)} lines, the last {lines[-1:]}")
    return found, wrong


@fault("controller killed: --resume of 10,000 jobs starts new ones", full=60.0, alone=True)
def new_jobs_after_a_kill(trial: Trial) -> Iterator[Tally]:
    """Kill the controller of a run of many jobs, and see how soon the next one has a new job begun."""
    with playground(trial.folder, hosts=2, without_python=0) as ground:
        hostler, found = ground.hostler, []
        numbers = "".join(f"{number}\n" for number in range(MANY)).encode()
        given = ["-i", "hosts.yaml", "-j", "4", "--", "sh", "-c", "sleep 0.2; echo $1", "-"]
        running = hostler.start("batch", *given, stdin=numbers)
        for _ in range(trial.count(sample=1, full=5)):
            wait(lambda: _first_begun(hostler, 0.0), seconds=60.0)
            time.sleep(trial.chance.uniform(1.0, 2.0))
            running.kill()
            began = time.time()
            running = hostler.start("batch", "--resume", "last")
            wait(lambda since=began: _first_begun(hostler, since), seconds=60.0)  # type: ignore[misc]
            first = _first_begun(hostler, began)
            found += [first - began] if first else []
        _end(hostler, running)
        wrong = [] if found else ["no new job began within a minute"]
        note = f"after {_seconds(found)}, of which {_start_up(hostler):.1f} s are `hostler --version` (wanted: 2 s)"
        yield Tally(tries=len(found), wrong=len(wrong), note=note, evidence=tuple(wrong))


def _first_begun(hostler: Hostler, since: float) -> float | None:
    """When the first of the attempts began that were given out after this moment."""
    sql = "SELECT min(coalesce(started_at, ended_at - elapsed)) FROM attempt WHERE dispatched_at > ?"
    with contextlib.suppress(sqlite3.Error):
        uri = f"file:{hostler.folder / 'state' / 'store.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            (found,) = db.execute(sql, (since,)).fetchone()
            return None if found is None else float(found)
    return None


def _end(hostler: Hostler, running: Running) -> None:
    hostler("stop", "last")
    running.wait(60.0)


def _start_up(hostler: Hostler) -> float:
    began = time.monotonic()
    hostler("--version")
    return time.monotonic() - began


def _seconds(found: Sequence[float]) -> str:
    if not found:
        return "never"
    busy = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs"
    return f"{statistics.median(found):.1f} s (at most {max(found):.1f} s, {busy})"
