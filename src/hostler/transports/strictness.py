"""Whether the user's SSH configuration wants unknown host keys refused: the one word that AsyncSSH doesn't read.

The files are looked through once. Words under plain Host blocks are decided here; where one stands under a Match,
the ssh program is asked. It must never take a "no" as leave to skip the check.
"""

from __future__ import annotations

import asyncio
import glob
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from re import compile

from hostler.model.hosts import Host
from hostler.transports.sshconfig import Way

WORD = "stricthostkeychecking"
STRICT = ("yes", "ask", "true")
LAX = ("no", "off", "false")
UNREAD = ("knownhostscommand", "revokedhostkeys", "verifyhostkeydns")
DEPTH, FILES, LONGEST = 8, 256, 1 << 20
PATIENCE = 10.0  # seconds for the ssh program to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One occurrence of a word: the blocks that it stands in (None for a Match), its value and place."""

    word: str
    value: str
    blocks: tuple[tuple[str, ...] | None, ...]
    where: str

    def concerns(self, name: str) -> bool | None:
        """Whether the blocks are about the host typed as `name`; None when only ssh can tell."""
        if not all(matches(block, name) for block in self.blocks if block is not None):
            return False
        return None if None in self.blocks else True


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether a Host line's patterns take in a name.

    >>> matches(("web*", "!web9"), "web1"), matches(("web*", "!web9"), "web9"), matches(("a",), "b")
    (True, False, False)
    """
    hit = False
    for pattern in patterns:
        plain = translate(pattern.removeprefix("!").replace("[", "\x00")).replace("\x00", r"\[")
        if compile(plain).match(name):
            if pattern.startswith("!"):
                return False
            hit = True
    return hit


def scan(config: Sequence[Path]) -> tuple[Said, ...]:
    """Every occurrence, in the order that counts, of the words this module knows."""
    found: list[Said] = []
    budget = [FILES]
    for path in config:
        _scan(path, (), 0, budget, found)
    return tuple(found)


def _scan(
    path: Path, outer: tuple[tuple[str, ...] | None, ...], depth: int, budget: list[int], found: list[Said]
) -> None:
    budget[0] -= 1
    if depth > DEPTH or budget[0] < 0:
        return
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST).decode("utf-8", "replace")
    except OSError:
        return
    blocks = outer
    for number, line in enumerate(text.splitlines(), 1):
        word, values = _split(line)
        if word == "host":
            blocks = (*outer, tuple(values))
        elif word == "match":
            blocks = outer if [value.lower() for value in values] == ["all"] else (*outer, None)
        elif word == "include":
            base = path.parent if path.is_relative_to("/etc/ssh") else Path.home() / ".ssh"
            for value in values:
                for name in sorted(glob.glob(str(base / os.path.expanduser(value)))):
                    _scan(Path(name), blocks, depth + 1, budget, found)
        elif values and (word == WORD or word in UNREAD):
            found.append(Said(word=word, value=values[0], blocks=blocks, where=f"{path}:{number}"))


def _split(line: str) -> tuple[str, list[str]]:
    try:
        words = shlex.split(line.strip().replace("=", " ", 1), comments=True)
    except ValueError:
        return "", []
    return (words[0].lower(), words[1:]) if words else ("", [])


class Strictness:
    """Answers for each host whether its unknown key is refused. `say` gets remarks, each once."""

    def __init__(self, config: Sequence[Path], *, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._said = scan(config)
        self._told: set[str] = set()
        self._asking = asyncio.Semaphore(4)

    async def of(self, host: Host, way: Way) -> bool:
        """True when the configuration says yes or ask for this host."""
        value: str | None = None
        for said in self._said:
            concerns = said.concerns(host.address)
            if concerns is False:
                continue
            if said.word != WORD:
                self._remark(f"{said.where}: {said.word} is not read by hostler")
            elif concerns is None:
                value = await self._ask(host, way, said)
                break
            else:
                value = said.value.lower()
                break
        if value in LAX:
            self._remark(
                "StrictHostKeyChecking no in your SSH configuration is ignored: changed keys are refused"
            )
        return value in STRICT

    def _remark(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._say(text)

    async def _ask(self, host: Host, way: Way, said: Said) -> str | None:
        # ssh -G answers "ask" where nothing is said, as that is its default. A last word of ours after the user's
        # files tells the two apart, for the first word counts.
        quoted = [f'Include "{path.absolute()}"\n' for path in self._config]
        text = "".join(quoted) + "Match all\nStrictHostKeyChecking accept-new\n"
        argv = ["ssh", "-G", "-F", "/dev/stdin", "-l", way.user, "-p", str(way.port), "--", host.address]
        async with self._asking:
            try:
                asked = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            except OSError:
                self._remark(
                    f"{said.where}: taken as strict, for no ssh program is here to say whom the Match means"
                )
                return "yes"
            answer = b""
            try:
                async with asyncio.timeout(PATIENCE):
                    answer, _ = await asked.communicate(text.encode())
            except TimeoutError:
                pass
            finally:
                if asked.returncode is None:
                    asked.kill()
                    await asked.wait()
        for line in answer.decode("utf-8", "replace").splitlines():
            if line.startswith(WORD + " "):
                return line.split()[1]
        self._remark(f"{said.where}: taken as strict, for ssh -G gave no answer")
        return "yes"
