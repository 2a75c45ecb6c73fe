"""The one tree of errors, split by what the caller can do about each.

    HostlerError
    ├── UsageError            the user can mend it: wrong words, wrong file; exit code 2
    │   └── SpecError         ... and it stands in a file, at a line
    ├── HostError             about one host; the others go on
    │   ├── Unreachable       worth another try: refused, timed out, no route
    │   │   └── Crowded           ... soon, with fewer at once: it hung up before the login began
    │   ├── LineLost          worth another try: an open line broke; the far side may go on working
    │   ├── HostRefused       no use trying again: no key accepted, name unknown
    │   │   └── HostKeyMismatch   ... because the host is not who it was
    │   └── RunnerFailed      the host was reached but can't hold our work (its spool refused)
    │       └── NoPython          ... by Python: sh may
    ├── StoreError            hostler itself can't go on; exit code 6, the run is resumable
    │   ├── StoreFull         worth another try: no space, or locked for the moment
    │   └── StaleEpoch        another controller has taken this run over
    ├── RunBusy               the run has a living owner
    └── ProviderError         a machine could not be had or ended

It must never hold an error that nobody can tell from another by what to do next.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """Words that a host may have had a say in, as one line that no terminal obeys and no reader takes for two.

    >>> plain("no\\nway \\x1b[2J")
    'no way ?[2J'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.splitlines()))


class HostlerError(Exception):
    """Something went wrong that hostler can name."""

    exit_code = 6


class UsageError(HostlerError):
    """The request can't be understood as it stands."""

    exit_code = 2


class SpecError(UsageError):
    """A file says something that can't be used. Whatever stands in it, the complaint is one harmless line.

    >>> str(SpecError("hosts.yaml", 3, "port must be 1 to 65535"))
    'hosts.yaml:3: port must be 1 to 65535'
    """

    def __init__(self, path: str, line: int | None, why: str) -> None:
        self.path, self.line, self.why = path, line, plain(why)
        super().__init__(f"{path}:{line}: {self.why}" if line else f"{path}: {self.why}")


class HostError(HostlerError):
    """One host could not do what was asked of it."""

    exit_code = 4

    def __init__(self, host: str, why: str) -> None:
        self.host, self.why = host, plain(why)
        super().__init__(f"{host}: {self.why}")


class Unreachable(HostError):
    """The host did not answer; a later try may succeed."""


class Crowded(Unreachable):
    """The host takes no more new lines at the moment; the same try will do when fewer come at once."""


class LineLost(HostError):
    """An open line to the host broke; what runs there may go on."""


class HostRefused(HostError):
    """The host, or we, refused to go on; the same try will fail again."""


class HostKeyMismatch(HostRefused):
    """The host's key is not the one on record."""


class RunnerFailed(HostError):
    """The host was reached but can't hold our work."""


class NoPython(RunnerFailed):
    """The host has no Python that the runner can use; sh will do."""


class StoreError(HostlerError):
    """The store can't be used."""


class StoreFull(StoreError):
    """The store can't take a write now; a later try may succeed."""


class Unheard(StoreFull):
    """The store was told to commit, and never answered: what was written may be there or not."""


class StaleEpoch(StoreError):
    """Another controller has taken this run over."""


class RunBusy(HostlerError):
    """The run has a living owner."""

    def __init__(self, run: int, owner: str) -> None:
        super().__init__(f"run {run} is being worked on by {owner}")
        self.run, self.owner = run, owner


class ProviderError(HostlerError):
    """A machine could not be launched or ended."""
