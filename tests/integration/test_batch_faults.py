"""Jobs that will not end, hosts that are bad from the beginning, logins that are prepared: a batch among them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Effects, Hostler, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import entry
from tests.lab import Lab, wait_until
from tests.lab import fresh_lab as fresh_lab
from tests.town import Town

#: A number that no other sleep on this machine has.
NAP = f"9{os.getpid()}{{number}}"
#: Jobs that do what they can to stay; each leaves a process that sleeps for its own number of seconds.
STUBBORN = {
    "traps every signal": "trap '' TERM INT HUP QUIT USR1; sleep {nap} & sleep {nap}; wait",
    "leaves its session": "setsid sleep {nap} & sleep {nap}",
    "is a daemon": "(setsid sh -c '(sleep {nap} </dev/null >/dev/null 2>&1 &) ' &) ; sleep {nap}",
    "cleans its environment": "env -i sleep {nap} & exec env -i sleep {nap}",
    "hides from all of it": "setsid env -i sh -c 'cd /; (sleep {nap} </dev/null >/dev/null 2>&1 &)'; sleep {nap}",
    "stands still": "sleep {nap} & kill -STOP $! $$; sleep {nap}",
}

#: What has left its session, its parents, its environment and its output can only be known by the runner's mark.
BEYOND_SH = "hides from all of it"


def napping(number: int) -> list[str]:
    """The processes that sleep for the number of this job."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", NAP.format(number=number).encode()]:
            found.append(pid)
    return found


@pytest.mark.parametrize("python", ["python3", pytest.param("none", marks=pytest.mark.slow)])
def test_jobs_that_do_all_they_can_to_stay_are_gone_after_their_time(
    hostler: Hostler, ground: Lab, python: str
) -> None:
    host = ground.shared(1)[0]
    vars = f", vars: {{python: {python}, spool: '{hostler.folder}/spool'}}}}\n"
    sheet = entry(host, "box").replace("}\n", vars)
    (hostler.folder / "box.yaml").write_text("hosts:\n" + sheet)
    tricks = {name: text for name, text in STUBBORN.items() if python != "none" or name != BEYOND_SH}
    texts = [text.format(nap=NAP.format(number=number)) for number, text in enumerate(tricks.values())]
    try:
        done = hostler(
            "batch",
            "-i",
            "box.yaml",
            "-j",
            "6",
            "--timeout",
            "2",
            "--",
            "sh",
            "-c",
            "{raw}",
            ":::",
            *texts,
            seconds=100,
        )
        endings = [attempt["ending"] for attempt in hostler.json("log", "last")]
        left = {name: napping(number) for number, name in enumerate(tricks)}
        assert not any(left.values()), left
        assert (done.code, set(endings)) == (3, {"timeout"}), done.err
        assert survivors(hostler.uid()) == {}
    finally:
        for number in range(len(STUBBORN)):
            for pid in napping(number):
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk without any room."""
    place = tmp_path / "full"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount; below the command the same is tried without a mount")
    words = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "hostler-test", str(place)]
    subprocess.run(words, check=True, timeout=20)
    try:
        (place / "ballast").write_bytes(bytes(64 << 10))
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bad_hosts_among_good_ones_cost_no_job_and_are_named(
    tmp_path: Path, fresh_lab: Lab, effects: Effects, full: Path
) -> None:
    """One that refuses, one that hangs, one that resets, chatty, slow, frozen and full ones; and one that is well."""
    faults = ("refuse", "silent", "reset", "freeze", "chatty", "slow")
    *bad, filled, well = fresh_lab.shared(len(faults) + 2)
    hostler = Hostler(tmp_path / "controller", fresh_lab)
    try:
        rows = "".join(entry(host, name) for name, host in zip(faults, bad, strict=True)) + entry(
            well, "well"
        )
        rows += entry(filled, "full").replace("}\n", f", vars: {{spool: '{full}'}}}}\n")
        (hostler.folder / "hosts.yaml").write_text("hosts:\n" + rows)
        hostler.env["HOSTLER_SANDBOX_DIR"] = str(tmp_path / "elsewhere")  # known by the sheet alone
        for name, host in zip(faults, bad, strict=True):
            given = hostler("sandbox", "faults", host.name, name, HOSTLER_SANDBOX_DIR=str(fresh_lab.path))
            assert given.code == 0, given.err
        jobs = [str(number) for number in range(30)]
        text = f"echo {{}} >> {effects}; sleep 0.2; echo {{}}"
        done = hostler(
            "batch",
            "-i",
            "hosts.yaml",
            "-j",
            "2",
            "--connect-timeout",
            "5",
            "--",
            text,
            ":::",
            *jobs,
            seconds=200,
        )
        assert done.code == 0, done.err
        assert sorted(done.lines, key=int) == jobs
        assert effects.counts == dict.fromkeys(jobs, 1)
        for name in ("refuse", "reset", "full"):
            assert f"hostler: {name}: " in done.err, done.err
        assert "No space left" in done.err or "no room" in done.err or "full" in done.err
        hosts = {attempt["host"] for attempt in hostler.json("log", "last") if attempt["ending"] == "ok"}
        assert "well" in hosts and hosts <= {"well", "chatty", "slow"}
    finally:
        hostler.close()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="accounts of one's own can only be made by root")
def test_a_batch_over_logins_of_every_kind_is_as_over_any(hostler: Hostler) -> None:
    """csh and fish, start-up files that print, umasks of 000 and 077, /tmp where nothing may be executed."""
    noise = b"Welcome to \xff\xfe\x00 this host!\r\n\x1b[2J\x1b]0;title\x07 no newline"
    shells = {
        name: found
        for name in ("bash", "dash", "fish", "csh", "tcsh", "zsh")
        if (found := shutil.which(name))
    }
    assert {"bash", "dash", "fish", "csh"} <= set(shells)
    start_up = {"chatty": (".bashrc", "bash"), "chattycsh": (".cshrc", "csh"),
                "chattyfish": (".config/fish/config.fish", "fish")}  # fmt: skip
    masks = {"open": "000", "shut": "077"}
    accounts = {**shells, **{name: shells[shell] for name, (_, shell) in start_up.items()}}
    accounts |= dict.fromkeys(masks, shells["bash"])
    noexec = ["mount --bind /tmp /tmp && mount -o remount,bind,noexec,nosuid /tmp"]
    with Town(accounts, mounts=noexec) as town:
        for name, (file, _) in start_up.items():
            town.write(name, "noise", noise)
            town.write(name, file, "cat ~/noise\n")
        for name, mask in masks.items():
            town.write(name, ".bashrc", f"umask {mask}\n")
        (hostler.folder / "town.yaml").write_text(town.inventory(*accounts))
        # Without -j 1 one quick host might do all of it.
        words = ["batch", "-i", "town.yaml", "-j", "1", "--tag", "--", "echo $(id -un) $(umask) {}; sleep 1"]
        done = hostler(*words, ":::", *map(str, range(2 * len(accounts))), seconds=100)
        assert done.code == 0, done.err
        said = [line.split("\t")[-1].split() for line in done.lines]
        assert {name for name, _, _ in said} == set(accounts)
        assert sorted(int(number) for _, _, number in said) == [*range(2 * len(accounts))]
        assert {mask for name, mask, _ in said if name in masks} == {"0000", "0077"}
        assert "Welcome" not in done.out.decode() + done.err
    wait_until(lambda: not survivors(hostler.uid()))
