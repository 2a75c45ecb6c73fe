"""Files of ours under every umask, and links that somebody has laid beforehand: nothing is written through them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.command import ALL, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

ECHO = ("--", "echo", ":::", "a", "b")
ONE = ("--hosts", "sandbox1")


def modes(top: Path) -> dict[str, str]:
    """What is not ours alone below a folder, by path: 0700 for folders, 0600 for files and sockets."""
    wrong = {}
    for path in (top, *top.rglob("*")):
        facts = path.lstat()
        wanted = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
        if not stat.S_ISLNK(facts.st_mode) and stat.S_IMODE(facts.st_mode) != wanted:
            wrong[str(path.relative_to(top.parent))] = oct(stat.S_IMODE(facts.st_mode))
    return wrong


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_state_folder_is_ours_alone_with_all_that_is_in_it_under_any_umask(
    hostler: Hostler, umask: str
) -> None:
    hostler.within = ("sh", "-c", f'umask {umask}; exec "$@"', "-")
    done = hostler(
        "batch", *ALL, "--worker-logs", "--", "sh", "-c", "umask; echo {}; sleep 1.2", ":::", "a", "b"
    )
    assert done.code == 0, done.err
    assert modes(hostler.folder / "state") == {}
    # What jobs find is the host's, whatever ours is.
    assert done.lines.count("0022") + done.lines.count("022") == 2, done.lines


def aimed(folder: Path) -> Path:
    """A file of the user's that a link of somebody else's leads to."""
    victim = folder / "victim"
    victim.write_text("mine\n")
    return victim


@pytest.mark.parametrize("name", ["known_hosts", "store.db", "runs"])
def test_a_link_in_the_state_folder_is_not_written_through(hostler: Hostler, name: str) -> None:
    state = hostler.folder / "state"
    state.mkdir(mode=0o700)
    victim = aimed(hostler.folder)
    away = hostler.folder / "away"
    away.mkdir()
    (state / name).symlink_to(away if name == "runs" else victim)
    hostler("batch", *ONE, *ECHO)
    assert victim.read_text() == "mine\n" and victim.is_file()


@pytest.mark.parametrize("where", ["the base", "the run's"])
def test_a_link_laid_where_a_spool_is_to_be_is_refused_by_the_host(hostler: Hostler, where: str) -> None:
    away, base = hostler.folder / "away", hostler.folder / "base"
    away.mkdir(mode=0o700)
    base.mkdir(mode=0o700)
    (away / "kept").write_text("mine\n")
    if where == "the base":
        (base / "hostler").symlink_to(away)
    else:
        (base / "hostler").symlink_to("/nowhere/at/all")
    inventory = hostler.folder / "trap.yaml"
    host = hostler.lab.shared(1)[0]
    inventory.write_text(
        f"hosts:\n  trap: {{address: {host.address}, port: {host.port}, user: {host.user}, identity: {host.identity}, "
        f"host_key: '{host.host_key}', vars: {{spool: {base}}}}}\n"
    )
    done = hostler("batch", "-i", str(inventory), "--hosts", "trap", "--max-bad-hosts", "0", *ECHO)
    assert done.code in (4, 5) and "not safe for our work: it is not a folder" in done.err, done.err
    assert [path.name for path in away.iterdir()] == ["kept"]


def test_links_laid_for_results_and_joblogs_are_not_written_through(hostler: Hostler) -> None:
    victim = aimed(hostler.folder)
    results, joblog = hostler.folder / "results", hostler.folder / "joblog"
    # A job that has failed is tried again: by then somebody knows where its results will be.
    text = f": {{}}; [ -e {hostler.folder}/second ]"
    words = ("--results", str(results), "--joblog", str(joblog), "--", text, ":::", "a")
    assert hostler("batch", *ONE, *words).code == 1
    for name in ("stdout\\new", "stderr\\new", "seq\\new"):
        (results / "1" / "a" / name).symlink_to(victim)
    (hostler.folder / "second").touch()
    assert hostler("batch", "--retry", "last").code == 0
    assert victim.read_text() == "mine\n"
    assert (results / "1" / "a" / "seq").read_text() == "1\n" and not (
        results / "1" / "a" / "seq"
    ).is_symlink()
    other = hostler.folder / "other"
    other.symlink_to(victim)
    hostler("batch", *ONE, "--joblog", str(other), *ECHO).refused(
        "--joblog", "no joblog, so it is not written over"
    )
    assert victim.read_text() == "mine\n"


def test_pipes_laid_for_results_and_joblogs_are_not_waited_for(hostler: Hostler) -> None:
    """Waiting in an open, hostler would be deaf even to TERM."""
    pipe, results = hostler.folder / "pipe", hostler.folder / "results"
    os.mkfifo(pipe)
    hostler("batch", *ONE, "--joblog", str(pipe), *ECHO).refused(str(pipe), "No such device or address")
    words = ("--results", str(results), "--", f": {{}}; [ -e {hostler.folder}/second ]", ":::", "a")
    assert hostler("batch", *ONE, *words).code == 1
    seq = results / "1" / "a" / "seq"
    seq.unlink()
    os.mkfifo(seq)
    (hostler.folder / "second").touch()
    assert hostler("batch", "--retry", "last").code == 0
    assert (results / "1" / "a\\#1" / "seq").read_text() == "1\n"


def test_pipes_laid_for_a_store_and_an_output_are_refused_and_not_waited_for(hostler: Hostler) -> None:
    assert hostler("batch", *ONE, "--", "head -c 99999 /dev/zero; echo {}", ":::", "a").code == 0
    for path in (hostler.folder / "state" / "runs" / "1" / "out").iterdir():
        path.unlink()
        os.mkfifo(path)
    done = hostler("log", "last", "1")
    assert done.code == 6 and "this output is gone" in done.err
    store = hostler.folder / "state" / "store.db"
    store.unlink()
    os.mkfifo(store)
    hostler("status", "last").refused(str(store), "no file", code=6)


@pytest.mark.parametrize("kind", ["state", "sandbox"])
def test_a_folder_of_ours_that_somebody_else_could_write_to_is_refused(hostler: Hostler, kind: str) -> None:
    place = hostler.folder / "open"
    place.mkdir()
    place.chmod(0o777)
    name = "HOSTLER_STATE_DIR" if kind == "state" else "HOSTLER_SANDBOX_DIR"
    words = ("batch", *ONE, *ECHO) if kind == "state" else ("sandbox", "up", "1")
    done = hostler.start(*words, env={name: str(place)}).wait()
    done.refused(str(place), code=6 if kind == "state" else 2)
    assert not any(place.iterdir())
