"""The names that begin with HOSTLER_: which are settings, which mean something else, and which mean nothing.

It must never take a variable that a job was given for a setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hostler.settings.fields import Field, did_you_mean

PREFIX = "HOSTLER_"

#: What jobs are told. Never settings, whatever flags there will be.
OF_JOBS = ("HOSTLER_ATTEMPT", "HOSTLER_RUN", "HOSTLER_JOB", "HOSTLER_HOST", "HOSTLER_SLOT")

#: Variables that no flag stands for.
FIXED = {
    "HOSTLER_STATE_DIR": "the folder of runs and their output (a full path)",
    "HOSTLER_DEBUG": "1 shows where an error came from",
    "HOSTLER_SANDBOX_DIR": "the folder of sandbox hosts",
    "HOSTLER_SANDBOX_SERVER": "the SSH server of sandbox hosts: sshd or asyncssh",
    "HOSTLER_SANDBOX_HOME": "the HOME of what runs on sandbox hosts",
    "HOSTLER_SANDBOX_FUSE": "how long the sandbox hosts of a run outlive its controller (15m; 7d with detach)",
    "HOSTLER_SANDBOX": "set on sandbox hosts: which one it is",
}


def variable(key: str, *words: str) -> str:
    """The variable of a key, of one verb (its words) or of all.

    >>> variable("connect-timeout", "batch"), variable("color")
    ('HOSTLER_BATCH_CONNECT_TIMEOUT', 'HOSTLER_COLOR')
    """
    return PREFIX + "_".join((*words, key)).upper().replace("-", "_")


def names_of(words: tuple[str, ...], fields: Iterable[Field]) -> dict[str, Field]:
    """The variables that set a verb's fields; its own ones, then those of all verbs."""
    settable = [field for field in fields if not field.never]
    own = {variable(field.key, *words): field for field in settable}
    every = {variable(field.key): field for field in settable}
    return own | {name: field for name, field in every.items() if name not in (*OF_JOBS, *FIXED, *own)}


def strange(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Variables of our prefix that mean nothing, beside the `known` ones."""
    expected = {*OF_JOBS, *FIXED, *known}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in expected)


def remark(names: list[str], known: Iterable[str]) -> str:
    """One line about variables that mean nothing."""
    every = [*FIXED, *known]
    some = [f"{name} is no setting and changes nothing{did_you_mean(name, every)}" for name in names[:3]]
    return "; ".join(some) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
