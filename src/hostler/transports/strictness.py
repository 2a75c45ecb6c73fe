"""Whether the user's SSH configuration wants unknown host keys refused: the one word that AsyncSSH doesn't read.

Words under plain Host blocks are decided here; where one stands under a Match, the ssh program is asked. It must
never take a "no" as leave to skip the check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from hostler.model.hosts import Host
from hostler.transports.sshconfig import Way
from hostler.transports.survey import STRICT_WORD, UNREAD, Said, Survey

STRICT = ("yes", "ask", "true")
LAX = ("no", "off", "false")
PATIENCE = 10.0  # seconds for the ssh program to answer


class Strictness:
    """Answers for each host whether its unknown key is refused. `say` gets remarks, each once.

    `read` says that the other words of the survey do count, for it is ssh that reaches the host.
    """

    def __init__(
        self, config: Sequence[Path], survey: Survey, *, say: Callable[[str], None], read: bool = False
    ) -> None:
        self._config, self._say, self._read = config, say, read
        self._said = survey.said
        self._told: set[str] = set()
        self._asking = asyncio.Semaphore(4)

    async def of(self, host: Host, way: Way) -> bool:
        """True when the configuration says yes or ask for this host."""
        value: str | None = None
        for said in self._said:
            concerns = said.concerns(host.address)
            if concerns is False or said.word not in (STRICT_WORD, *UNREAD):
                continue
            if said.word != STRICT_WORD:
                if not self._read:
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
            if line.startswith(STRICT_WORD + " "):
                return line.split()[1]
        self._remark(f"{said.where}: taken as strict, for ssh -G gave no answer")
        return "yes"
