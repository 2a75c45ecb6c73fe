"""What a controller says, cut at each byte: what did not come whole starts nothing, and what is sent again starts once.

Over the runner and over attempt.sh, where every byte of the stream is ours; and over the whole of a real line, through
a door that closes after so many bytes from the controller.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from hostler.links import attempt_words as say
from hostler.model.hosts import Host
from hostler.model.reports import Result, Standing
from hostler.remote import source
from hostler.remote.attempt_source import message
from hostler.remote.runner import wire
from tests.door import Door, inventory
from tests.faults.forking import QuickHostler
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, Task
from tests.integration.runner_rig import Forked, Line, Rig, rigged, start_frame
from tests.integration.spoken import Spoken
from tests.lab import Lab

PLAN = Plan(tasks=(Task(out=40), Task(end="7", out=3000), Task(seconds=0.05, err=10)))


@fault("start cut at each byte, to the runner", sample=1.5, full=60.0)
def runner(trial: Trial) -> Iterator[Tally]:
    """Source and hello: nothing is made. A start: nothing begins, and the same one sent whole begins once."""
    with rigged(trial.folder) as rig:
        boot = compile(source.BOOT % "str(5)", "<boot>", "exec")
        hello = wire.frame(wire.HELLO, json.dumps(rig.hello).encode())
        parcel = source.parcel()
        places = [*range(80), *range(80, len(parcel), 97), len(parcel) - 1]
        yield from _unheard(rig, (Line(Forked(boot)) for _ in places), parcel, trial.pick(places, sample=8))
        places = [*range(len(hello))]
        yield from _unheard(rig, (rig.fork() for _ in places), hello, trial.pick(places, sample=8))
        rig.line()
        for serial, place in enumerate(trial.pick(range(len(_start(rig, 1))), sample=30), 1):
            whole, harm = _start(rig, serial), []
            cut = rig.attach(ready=False)
            cut.send(whole[:place])
            cut.close()
            line = rig.attach(ask=[serial])
            known = line.answer()["standings"] != [[serial, Standing.UNKNOWN]]
            if known or _begun(rig, serial):
                harm.append(f"start, {place} bytes: known: {known}; begun: {_begun(rig, serial)}")
            line.send(whole)
            line.result(serial)
            line.ack(serial)
            line.close()
            if _begun(rig, serial) != 1:
                harm.append(f"start, {place} bytes: it began {_begun(rig, serial)} times")
            yield Tally(tries=1, doubled=len(harm), evidence=tuple(harm))


def _unheard(rig: Rig, lines: Iterator[Line], whole: bytes, places: Iterable[int]) -> Iterator[Tally]:
    """Say so many bytes on each of these lines, and see that nothing is answered, and nothing made."""
    for place in places:
        line = next(lines)
        line.send(whole[:place])
        line.stdin.close()
        said, made = line.end() + line.noise, rig.base.exists()
        line.process.wait()
        line.close()
        harm = [f"{place} of {len(whole)} bytes: {said!r}, made: {made}"] if made or line.greeted else []
        yield Tally(tries=1, wrong=len(harm), evidence=tuple(harm))


def _start(rig: Rig, serial: int) -> bytes:
    return start_frame(
        serial, "/bin/sh", "-c", f"echo {serial:05} >>{rig.folder}/began", "and", "more", "words"
    )


def _begun(rig: Rig, serial: int) -> int:
    path = rig.folder / "began"
    return path.read_text().split().count(f"{serial:05}") if path.exists() else 0


@fault("start cut at each byte, to attempt.sh", sample=1.5, full=90.0)
def shell(trial: Trial) -> Iterator[Tally]:
    """The opening: nothing is made. A start: nothing waits or begins; now and then the same one is sent whole."""
    spoken = Spoken(trial.folder, "dash")
    try:
        opening = message(say.beginning(spoken.shell, "n") + spoken.opening() + b"_hdone\n")
        places = [*range(120), *range(120, len(opening), 97), len(opening) - 1]
        for place in trial.pick(places, sample=10):
            said, made = spoken.run(opening[:place]), spoken.spool.exists()
            harm = [f"opening, {place} bytes: {said!r}, made: {made}"] if said or made else []
            yield Tally(tries=1, wrong=len(harm), evidence=tuple(harm))
        spoken.open(lease=3600.0)
        size = len(_message(spoken, 1))
        for serial, place in enumerate(trial.pick(range(size), sample=20), 1):
            text, harm = _message(spoken, serial), []
            said = spoken.run(text[:place])
            if said or list((spoken.spool / "a").iterdir()):
                harm.append(f"start, {place} bytes: {said!r}, {list((spoken.spool / 'a').iterdir())}")
            if not serial % 10:
                spoken.run(text)
                end = spoken.result(serial)
                if not isinstance(end, Result) or spoken.begun(serial) != 1:
                    harm.append(f"start, {place} bytes: {end}, it began {spoken.begun(serial)} times")
                spoken.ask(b"".join(say.acknowledging([serial])))
            elif spoken.begun(serial):
                harm.append(f"start, {place} bytes: it began")
            yield Tally(tries=1, doubled=len(harm), evidence=tuple(harm))
    finally:
        spoken.close()


def _message(spoken: Spoken, serial: int) -> bytes:
    body = spoken.entered(say.starting([spoken.start(serial, "echo x; exit 3")]))
    return message(say.beginning(spoken.shell, "n") + body + b"_hdone\n")


@fault("line cut after each so many bytes of a controller", full=150.0)
def line(trial: Trial) -> Iterator[Tally]:
    """The first line of a run is cut after so many bytes, wherever in its life those are; the next one goes on."""
    with Lab(path=trial.folder / "lab") as lab:
        (host,) = lab.shared(1)
        whole = _run_through_a_door(trial, lab, host, "whole", None)[1]
        steps = 70
        for step in range(steps):
            after = int(whole * (step + trial.chance.random()) / steps)
            tally, _ = _run_through_a_door(trial, lab, host, f"after-{after}", after)
            trial.say("\n".join([f"   cut after {after} of {whole} bytes", *tally.evidence]))
            yield tally
            if trial.left < 0 and not trial.sample:
                return


def _run_through_a_door(
    trial: Trial, lab: Lab, host: Host, name: str, after: int | None
) -> tuple[Tally, int]:
    """A run over a line that is cut after so many bytes; how it was judged, and the bytes of its controller."""
    with Door(host, cut_after=after) as door:
        hostler = QuickHostler(trial.folder / name, lab, HOSTLER_SANDBOX_DIR=str(trial.folder / "none"))
        try:
            (hostler.folder / "hosts.yaml").write_text(inventory(door))
            effects = hostler.folder / "effects"
            done = hostler("batch", "-i", "hosts.yaml", "-j", "2", *PLAN.words(effects), stdin=PLAN.lines)
            verdict = judge(hostler, plan=PLAN, effects=effects)
            return verdict.tally(tries=1, note=f"exit {done.code}"), door.passed
        finally:
            hostler.close()
