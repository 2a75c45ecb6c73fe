"""What `hostler top` asks of runs: by the verb that asks for it, as a process of its own.

So it is asked by the same rules as everywhere, nothing of it ends with the screen, and nothing it says stands there
unasked. It must never have a terminal: what would need a password says so instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from hostler.cli.storing import again
from hostler.views.text import one_line

#: Seconds that an answer may take: a stop without an owner visits hosts.
PATIENCE = 300.0


def ask(words: Sequence[str]) -> str:
    """Run `hostler WORDS...`, and give what it said last."""
    options, variables = again(words[0])
    argv = [sys.executable, "-P", "-m", "hostler", *words, *options]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | variables,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(words)}: no answer within {PATIENCE:.0f} s; it may still be done"
    except OSError as error:
        return f"{' '.join(words)}: {error.strerror}"
    said = done.stdout.strip().rsplit(b"\n", 1)[-1].removeprefix(b"hostler: ")
    return one_line(said, width=1000) or f"{' '.join(words)}: done"
