"""One ssh program that holds one line open, and what it says of it on stderr.

Its argv names a host, a user, a port and files, never a command or a secret. It must never be left running: it ends
with its line, and the system ends it when we are killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

from msgspec import Struct, field

KEPT = 30  # lines of what it says
LINE = 8 << 10  # bytes of one line
GOODBYE = 3.0  # seconds that it may take to end
NUDGE = 0.1  # seconds after which it is told to end again
LAST_WORDS = 0.2  # seconds for what it said before it ended
OFFER = re.compile(r"(?P<name>.*) \S+ (?P<print>SHA256:\S+)(?P<rest>.*)")


class Heard(Struct):
    """What the program told: facts from its notes, and its own lines to people.

    `tried` are the keys that were offered, agent's ones as None; `shown` is the host's key: its type and fingerprint,
    `banner` what a host said in the place of SSH's first line.
    """

    reached: bool = False
    proved: bool = False
    shown: tuple[str, str] | None = None
    tried: list[str | None] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    no_agent: bool = False
    banner: str | None = None
    methods: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))

    def line(self, text: str) -> None:
        """Take in one line of stderr."""
        note = text.removeprefix("debug1: ")
        if note is text or note == text:
            if text and not text.startswith(("OpenSSH_", "debug2: ", "debug3: ", "Authenticated to ")):
                self.lines.append(text[:400])
        elif note.startswith(("Connection established", "Remote protocol version")):
            self.reached = True
        elif note.startswith("Server host key: "):
            words = note.split()
            self.shown = (words[3], words[4]) if len(words) > 4 else None
        elif note.startswith("Server host certificate: "):
            words = note.replace(",", " ").split()
            self.shown = (words[3], words[4]) if len(words) > 4 else None
        elif note.startswith("kex_exchange_identification: banner line "):
            self.banner = self.banner or note.partition(": ")[2].partition(": ")[2]
        elif "ssh_get_authentication_socket" in note:
            self.no_agent = True
        elif note.startswith("SSH2_MSG_SERVICE_ACCEPT"):
            self.proved = True
        elif note.startswith("Authentications that can continue: "):
            self.methods = note.partition(": ")[2]
        elif note.startswith("Offering public key: ") and (offer := OFFER.match(note.partition(": ")[2])):
            named = "explicit" in offer["rest"] or "agent" not in offer["rest"]
            self.tried.append(offer["name"] if named else None)
        elif note.startswith("Server accepts key: ") and (offer := OFFER.match(note.partition(": ")[2])):
            self.taken.append(offer["name"])


class Program:
    """The process. `path` is the control socket that appears when the line is open."""

    def __init__(self, process: asyncio.subprocess.Process, stderr: int, path: str) -> None:
        self.path, self.heard = path, Heard()
        self._process = process
        self._news = asyncio.Event()
        self.over = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(stderr), name=f"ssh {process.pid}")

    @classmethod
    async def start(cls, words: Sequence[str], *, env: Mapping[str, str], path: str) -> Program:
        """Start `ssh words…`. Raises OSError."""
        # A pipe of our own: asyncio waits for the end of its pipes, which what ssh has started may hold open.
        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *_tied(), "ssh", *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=theirs,
                env=dict(env), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process, ours, path)

    async def opened(self) -> bool:
        """Wait until its line is open, or it has ended; which."""
        while not os.path.exists(self.path) and not self.over.is_set():
            self._news.clear()
            await self._news.wait()
        return not self.over.is_set()

    async def took(self, key: str | None) -> bool:
        """Whether the host took this key and no other, once the line is open: what it said of that may come behind."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                while not self.heard.taken and not self.over.is_set():
                    self._news.clear()
                    await self._news.wait()
        return self.heard.taken == [key]

    async def end(self) -> None:
        """End it, and wait until it is gone."""
        # Asked more than once: a signal that comes right before it falls asleep is noticed when it next wakes.
        for _ in range(round(GOODBYE / NUDGE)):
            if self.over.is_set():
                return
            self._signal(kill=False)
            with suppress(TimeoutError):
                async with asyncio.timeout(NUDGE):
                    await self.over.wait()
        self._signal(kill=True)
        await self.over.wait()

    def kill(self) -> None:
        """End it without waiting."""
        self._signal(kill=True)

    def _signal(self, *, kill: bool) -> None:
        with suppress(ProcessLookupError):
            if self._process.returncode is None:
                self._process.kill() if kill else self._process.terminate()

    async def _watch(self, stderr: int) -> None:
        listening = asyncio.create_task(self._listen(stderr))
        try:
            await self._process.wait()
            await asyncio.wait([listening], timeout=LAST_WORDS)
        finally:
            self._signal(kill=True)
            listening.cancel()
            self.over.set()
            self._news.set()

    async def _listen(self, stderr: int) -> None:
        reader, held = asyncio.StreamReader(), b""
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stderr, "rb", 0)
        )
        try:
            while data := await reader.read(1 << 16):
                *lines, held = (held + data).split(b"\n")
                for line in lines:
                    self.heard.line(_text(line))
                held = held[-LINE:]
                self._news.set()
        finally:
            pipe.close()


def _text(line: bytes) -> str:
    text = line[:LINE].decode("utf-8", "replace").rstrip("\r")
    return "".join(char if char.isprintable() else "?" for char in text)


@cache
def _tied() -> tuple[str, ...]:
    """The words that have the system end a program when the process that started it is gone."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()
