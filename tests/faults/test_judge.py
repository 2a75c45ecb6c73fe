"""The judge condemns: each kind of harm, done to the records or to the effects by hand, is found and named."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

from tests.command import ALL, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.faults.judge import judge
from tests.faults.plan import ALWAYS, Plan, Task

OK = Task(out=300, err=40)
#: What is done to each job, from 1: its task, the statement that changes its records, and what it is to be called.
HARM: tuple[tuple[Task, str, str], ...] = (
    (OK, "", ""),
    (Task(end="7"), "", ""),
    (Task(end="1", upto=1, out=40), "", ""),
    (Task(end="TERM", upto=ALWAYS), "", ""),
    (OK, "UPDATE attempt SET state = 0, ending = NULL", "lost"),
    (OK, "DELETE FROM attempt", "lost"),
    (OK, "UPDATE attempt SET ending = 'revoked'", "lost"),
    (Task(end="7"), "UPDATE attempt SET code = 8", "wrong"),
    (Task(end="TERM"), "UPDATE attempt SET signal = 9", "wrong"),
    (OK, "UPDATE attempt SET ending = 'timeout'", "wrong"),
    (OK, "UPDATE attempt SET ending = 'lost'", "wrong"),
    (OK, "UPDATE attempt SET worker = 3 - worker", "wrong"),
    (OK, "UPDATE attempt SET out = out - 1", "wrong"),
    (Task(end="1", upto=1), "DELETE FROM attempt", "wrong"),
    (Task(end="1", upto=1), "UPDATE attempt SET ending = 'ok', code = 0", "doubled"),
    (Task(end="1", upto=1), "UPDATE attempt SET ending = 'lost'", "wrong"),
    (OK, "", "lost"),  # its effects are struck out
    (OK, "", "doubled"),  # its effects are written twice
)
PLAN = Plan(tasks=tuple(task for task, _, _ in HARM), retries=1, timeout=30.0)
STRUCK, TWICE = len(HARM) - 1, len(HARM)


def test_each_kind_of_harm_is_found_and_nothing_else(hostler: Hostler) -> None:
    effects = hostler.folder / "effects"
    done = hostler("batch", *ALL, "-j", "2", *PLAN.options, *PLAN.words(effects), stdin=PLAN.lines)
    assert done.code == 1, done.err
    found = judge(hostler, plan=PLAN, effects=effects)
    assert found.clean, found
    assert (found.jobs, found.repeated) == (len(HARM), 0)

    harm(hostler, effects)
    found = judge(hostler, plan=PLAN, effects=effects)
    kinds = {"lost": found.lost, "doubled": found.doubled, "wrong": found.wrong}
    for job, (_, _, kind) in enumerate(HARM, 1):
        lines = [line for line in kinds.get(kind, ()) if re.match(rf"job {job}\b", line)]
        assert lines or not kind, (job, kind, found)
        if not kind:
            told = [line for lines in kinds.values() for line in lines if re.match(rf"job {job}\b", line)]
            assert not told


def test_a_byte_of_output_that_is_not_what_was_printed_is_wrong(hostler: Hostler) -> None:
    plan, effects = Plan(tasks=(OK,)), hostler.folder / "effects"
    assert hostler("batch", *ALL, *plan.options, *plan.words(effects), stdin=plan.lines).code == 0
    [path] = (hostler.folder / "state" / "runs" / "1" / "out").glob("*.dat")
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    [line] = judge(hostler, plan=plan, effects=effects).wrong
    assert "stream 1" in line and "the same up to 10" in line


def test_a_repetition_that_nobody_speaks_of_is_a_doubling(hostler: Hostler) -> None:
    plan, effects = Plan(tasks=(Task(end="1", upto=1),), retries=1), hostler.folder / "effects"
    assert hostler("batch", *ALL, *plan.options, *plan.words(effects), stdin=plan.lines).code == 0
    change(hostler, "UPDATE attempt SET ending = 'lost' WHERE job = 1 AND n = 1")
    said = judge(hostler, plan=plan, effects=effects, forgives=("lost",))
    assert not said.doubled and said.repeated == 1
    asked = hostler.json

    def silent(*words: str) -> object:
        answer = asked(*words)
        for each in answer if words[0] == "log" else ():
            each["maybe_duplicated"] = False
        return answer

    hostler.json = silent  # type: ignore[method-assign]
    assert judge(hostler, plan=plan, effects=effects, forgives=("lost",)).doubled


def harm(hostler: Hostler, effects: Path) -> None:
    """Do all of it: to the records, to the effect log."""
    for job, (_, statement, _) in enumerate(HARM, 1):
        if statement:
            change(hostler, f"{statement} WHERE job = {job} AND n = 1")
    lines = effects.read_text().splitlines(keepends=True)
    lines = [line for line in lines if f"/{STRUCK}/" not in line]
    effects.write_text("".join([*lines, *(line for line in lines if f"/{TWICE}/" in line)]))


def change(hostler: Hostler, statement: str) -> None:
    """Change what the store says."""
    with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db, db:
        assert db.execute(statement).rowcount > 0, statement
