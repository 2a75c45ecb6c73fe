"""A real SSH host whose runner lies to the real command: it spoils its own answers at most, and the run goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest

from hostler.engine.hands import STRIKES
from hostler.remote.runner import wire
from tests.command import Hostler, survivors
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until

HELLO = {
    "protocol": 1, "spool": "0" * 32, "boot": "b", "uid": 7, "pid": 1, "python": "3.11.7", "slots": 2, "standings": [],
}  # fmt: skip
Lie = Callable[[int], bytes]


def result(serial: int, out: bytes, elapsed: float = 0.1) -> bytes:
    """The frame of a job that went well."""
    head = wire.RESULT.pack(serial, 0, 0, 0, elapsed, len(out), 0, 1, len(out), 0, 0)
    return wire.frame(wire.R_RESULT, head + out)


class Liar:
    """An SSH server in a thread of this process: `hello` is its greeting, `lie` its answer to a start."""

    def __init__(self, hello: object, lie: Lie) -> None:
        self._hello, self._lie = hello, lie
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        self.port = self._listener.get_port()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        class Anybody(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return False

        return await asyncssh.create_server(
            Anybody,
            "127.0.0.1",
            0,
            server_host_keys=[self._key],
            process_factory=self._session,
            encoding=None,
        )

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        read, write = process.stdin.readexactly, process.stdout.write
        with suppress(asyncio.IncompleteReadError, asyncssh.Error, OSError):
            await read(int((await read(72))[:8]))
            while True:
                size, kind = wire.HEAD.unpack(await read(5))
                body = await read(size)
                if kind == wire.HELLO and body:
                    write(wire.MAGIC + wire.frame(wire.R_HELLO, json.dumps(self._hello).encode()))
                elif kind == wire.RENEW:
                    write(wire.frame(wire.R_RENEWED, body[:8]))
                elif kind == wire.STARTS:
                    for start in wire.unpack_starts(body):
                        write(self._lie(start[0]))
                elif kind == wire.BYE:
                    write(wire.frame(wire.R_BYE, wire.AGAIN))
                    process.exit(0)
                    return

    def inventory(self, folder: Path) -> Path:
        """A file of hosts that names this one."""
        key = self._key.export_public_key().decode().strip()
        path = folder / "liar.yaml"
        path.write_text(
            f"hosts:\n  liar: {{address: 127.0.0.1, port: {self.port}, user: me, host_key: '{key}', slots: 2}}\n"
        )
        return path

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._listener.close)
        self._loop.call_soon_threadsafe(self._loop.call_later, 0.2, self._loop.stop)


@pytest.fixture
def lying(hostler: Hostler) -> Iterator[Callable[[object, Lie], tuple[str, ...]]]:
    """Begins such a host; gives the words by which a run has it."""
    made: list[Liar] = []

    def begin(hello: object, lie: Lie) -> tuple[str, ...]:
        made.append(Liar(hello, lie))
        return ("batch", "-i", str(made[-1].inventory(hostler.folder)), "--hosts", "liar,sandbox1", "-j", "2")

    yield begin
    for one in made:
        one.close()


def test_a_hello_of_numbers_where_words_belong_ends_that_host_and_not_the_run(
    hostler: Hostler, lying
) -> None:
    words = lying({**HELLO, "spool": int("1" * 32)}, lambda serial: result(serial, b"false\n"))
    done = hostler(*words, "--", "echo", ":::", *"abcd")
    assert done.code == 0 and sorted(done.lines) == [*"abcd"], done.err
    assert "liar: its runner's hello made no sense" in done.err


def test_a_second_result_of_an_attempt_is_neither_printed_nor_kept(hostler: Hostler, lying) -> None:
    late = wire.frame(wire.R_OUTPUT, wire.OUTPUT.pack(1, 1, 5) + b"late\n")
    words = lying(HELLO, lambda serial: result(serial, b"once\n") + result(serial, b"twice\n") + late)
    done = hostler(*words, "--", "sleep 0.3; echo {}", ":::", *"abcd")
    assert done.code == 0 and len(done.lines) == 4 and "twice" not in done.lines, (done.lines, done.err)
    assert "once" in done.lines and "gap" not in done.err


def test_a_flood_of_reasons_and_beginnings_is_one_line_of_news(hostler: Hostler, lying) -> None:
    flood = b"".join(wire.frame(wire.R_HELD, b"reason %d" % n) for n in range(5000))

    def lie(serial: int) -> bytes:
        began = wire.frame(wire.R_BEGAN, wire.BEGAN.pack(serial, 1e8)) * 5000
        return flood + began + result(serial, b"told\n", elapsed=9.5e8)

    done = hostler(*lying(HELLO, lie), "--", "sleep 0.3; echo {}", ":::", *"abcd")
    assert done.code == 0 and "told" in done.lines, (done.lines, done.err)
    assert done.err.count("reason") <= 2, done.err


@pytest.mark.slow
def test_jobs_of_a_host_that_talks_nonsense_are_done_elsewhere_after_its_lease(
    hostler: Hostler, lying
) -> None:
    words = lying(HELLO, lambda serial: wire.frame(wire.R_RESULT, b"nonsense"))
    done = hostler(*words, "--on-disconnect", "lease=1s", "--", "echo", ":::", *"abcd")
    assert done.code == 0 and sorted(done.lines) == [*"abcd"], done.err
    assert 1 < done.err.count("liar: its runner made no sense") <= STRIKES + 1 and "given up" in done.err, (
        done.err
    )


#: Takes a copy of the descriptor by which its parent, the runner, speaks to the controller.
SPOIL = r"""
import ctypes, os, sys
job, once = sys.argv[1:]
if job == "c" and not os.path.exists(once):
    open(once, "w").close()
    system = ctypes.CDLL(None, use_errno=True).syscall
    os.write(system(438, system(434, os.getppid(), 0), 11, 0), b"thirty bytes of a job's garbage")
print(job)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user may not be let at another process's descriptors")
def test_a_job_that_writes_into_its_runner_s_line_costs_no_job_and_no_host(hostler: Hostler) -> None:
    script, once = hostler.folder / "spoil.py", hostler.folder / "once"
    script.write_text(SPOIL)
    done = hostler(
        "batch",
        "--hosts",
        "sandbox1",
        "-j",
        "1",
        "--",
        "python3",
        str(script),
        "{}",
        str(once),
        ":::",
        *"abcdef",
    )
    assert done.code == 0 and sorted(done.lines) == [*"abcdef"], done.err
    assert once.exists() and "sandbox1: its runner made no sense" in done.err and "back again" in done.err


@pytest.mark.slow
def test_jobs_of_a_frozen_runner_are_done_elsewhere_though_its_host_answers(hostler: Hostler) -> None:
    running = hostler.start(
        "batch", "--hosts", "@sandbox", "-j", "1", "--on-disconnect", "lease=1s", "--", "sleep 1; echo {}",
        ":::", *"abcd",
    )  # fmt: skip
    found: dict[int, str] = {}

    def begun() -> bool:
        runs = hostler.json("runs")
        found.update(survivors(runs[0]["uid"]) if runs else {})
        return bool(found)

    wait_until(begun)
    runner = next(parent for pid in found if (parent := _runner_of(pid)))
    os.kill(runner, signal.SIGSTOP)
    try:
        done = running.wait(60)
    finally:
        os.kill(runner, signal.SIGCONT)
    assert done.code == 0 and {*"abcd"} <= {*done.lines}, done.err
    assert "its runner has said nothing" in done.err


def _runner_of(pid: int) -> int:
    """The runner that a job's process descends from; 0 when it has gone."""
    with suppress(OSError, ValueError):
        while pid > 1:
            if b"-ISc" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0
