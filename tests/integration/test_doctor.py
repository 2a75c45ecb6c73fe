"""`hostler doctor` on a real sshd whose accounts each have troubles of their own: found, explained, left."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.command import Done, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import USER, OwnSshd, keygen, public
from tests.lab import Lab, wait_until
from tests.town import Town

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")
#: What the probe and a login need; a PATH of these has no Python.
TOOLS = (
    "sh",
    "cat",
    "cksum",
    "df",
    "getent",
    "grep",
    "head",
    "id",
    "ls",
    "nproc",
    "sha256sum",
    "tail",
    "timeout",
    "tr",
)
NOISE = b"Welcome to \xff\x1b[2J this host!\n" * 3
SHELLS = {
    "plain": "bash", "chatty": "bash", "greedy": "bash", "bare": "bash", "old": "bash", "late": "bash",
    "watched": "bash", "shared": "bash", "full": "bash", "barred": "bash", "new": "bash",
    "fishy": "fish", "cshy": "csh",
}  # fmt: skip


class Surgery:
    """A town of troubled accounts, looked at once."""

    def __init__(self, town: Town, told: dict[str, Any], done: Done) -> None:
        self.town, self.told, self.done = town, told, done

    def found(self, name: str, check: str) -> dict[str, Any]:
        """The one finding of a check for an account."""
        [found] = [each for each in self.told[name]["findings"] if each["check"] == check]
        return dict(found)

    def checks(self, name: str) -> set[str]:
        """What was found for an account, but how busy this machine is, and what its disk and PATH have."""
        return {each["check"] for each in self.told[name]["findings"]} - {"load", "disk", "tools"}


def prepare(town: Town) -> str:
    """Give each account its trouble; the inventory."""
    folder = town.folder
    programs = folder / "programs"
    for name, more in {"bare": {}, "old": {"python3": "echo 3.5.2 /old/python3"}}.items():
        (programs / name).mkdir(parents=True)
        for tool in (*TOOLS, "date"):
            (programs / name / tool).symlink_to(shutil.which(tool) or "")
        for file, text in more.items():
            (programs / name / file).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name / file).chmod(0o755)
        town.write(name, ".bashrc", f"PATH={programs / name}\n")
    (programs / "late").mkdir()
    (programs / "late" / "date").write_text("#!/bin/sh\nPATH=/usr/bin:/bin\necho $(($(date +%s) - 3600))\n")
    (programs / "late" / "date").chmod(0o755)
    town.write("late", ".bashrc", f"PATH={programs}/late:$PATH\n")
    town.write("chatty", ".bashrc", "cat ~/noise\n")
    town.write("chatty", "noise", NOISE)
    town.write("greedy", ".bashrc", "head -c 100 >/dev/null\n")
    town.write("watched", ".bashrc", "export XDG_SESSION_ID=7\n")
    open_to_all = town.home_of("shared") / "spool" / "hostler"
    town.write("shared", "spool/hostler/kept", "")
    open_to_all.chmod(0o755)
    spools = {"shared": "~/spool", "full": f"{folder}/full", "barred": "/proc"}
    text = ""
    for line in town.inventory(*town.uids).splitlines():
        name = line.strip().split(":")[0]
        if name in spools:
            line = line.replace("}", f", vars: {{spool: '{spools[name]}'}}}}")
        if name == "new":
            line = re.sub(r", host_key: '[^']*'", "", line)
        text += line + "\n"
    return text


def tree(town: Town) -> dict[str, tuple[int, int]]:
    """Everything in the town's homes, and when it was last changed; fish itself writes at its first login."""
    found = {}
    for path in (town.folder / "homes").rglob("*"):
        if path.is_relative_to(town.folder / "homes" / "fishy"):
            continue
        facts = path.lstat()
        found[str(path)] = (facts.st_mtime_ns, facts.st_size)
    return found


@pytest.fixture(scope="module")
def surgery(tmp_path_factory: pytest.TempPathFactory, ground: Lab) -> Iterator[Surgery]:
    """The town, seen by the doctor."""
    if os.getuid() != 0:
        pytest.skip("accounts of one's own can only be made by root")
    shells = {name: path for name, shell in SHELLS.items() if (path := shutil.which(shell))}
    mounts = [
        "mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp",
        "mount -t tmpfs tmpfs /etc/systemd",
        "printf '[Login]\\n#KillUserProcesses=no\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf",
    ]
    with Town({**shells, "nologin": "/usr/sbin/nologin"}, mounts=mounts) as town, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("doctor")
        (town.folder / "full").mkdir()
        # It has room for a few pages, and none is taken by looking.
        town_full = f"mount -t tmpfs -o size=64k,mode=1777 tmpfs {town.folder}/full"
        town.stop()
        town.within = ("unshare", "-m", "sh", "-c", f"{town_full} && {town.within[4]}", "-")
        town.start()
        inventory = folder / "inventory.yaml"
        inventory.write_text(prepare(town))
        command = Hostler(folder, ground)
        stack.callback(command.close)
        before = tree(town)
        done = command("doctor", "all&!@sandbox", "-i", str(inventory), "--json", seconds=100)
        assert done.out, done.err
        assert tree(town) == before, "the doctor changed something"
        wait_until(
            lambda: not town.processes(), seconds=20, what=f"nothing of ours there: {town.processes()}"
        )
        yield Surgery(town, {each["name"]: each for each in json.loads(done.out)}, done)


def test_programs_that_jobs_often_call_are_missed_where_they_are_not(surgery: Surgery) -> None:
    found = surgery.found("bare", "tools")
    assert found["what"] == "it has no rsync and no tmux" and not found["bad"]
    assert "hostler needs neither" in found["why"] and "install rsync tmux" in found["fix"]


def test_a_host_that_is_well_has_no_finding_and_tells_what_it_has(surgery: Surgery) -> None:
    told = surgery.told["plain"]
    assert surgery.checks("plain") == {"tmp"}  # the town's /tmp
    assert told["told"]["shell"].endswith("/bash") and told["told"]["pythons"][0]["whole"]
    assert told["sessions"] == 4 and told["hung_up_on"] == {"lines": 0, "of": 3}
    assert told["told"]["spools"][0]["path"].endswith("homes/plain/.local/state") or told["told"]["spools"]


def test_hosts_that_can_t_be_had_end_the_doctor_with_4(surgery: Surgery) -> None:
    out = {name for name, each in surgery.told.items() if each["state"] == "out"}
    assert surgery.done.code == 4 and out == {"greedy", "shared", "full", "barred", "nologin"}


@pytest.mark.parametrize("name", ["fishy", "cshy"])
def test_a_shell_that_reads_no_sh_is_named(surgery: Surgery, name: str) -> None:
    if name not in surgery.told:
        pytest.skip(f"{SHELLS[name]} is not installed")
    assert f"login shell is {SHELLS[name]}" in surgery.found(name, "shell")["what"]
    assert surgery.told[name]["told"]["pythons"]


def test_what_start_up_files_print_is_shown_harmlessly(surgery: Surgery) -> None:
    found = surgery.found("chatty", "noise")
    assert "Welcome to" in found["what"] and "\x1b" not in found["what"] and "~/.bashrc" in found["fix"]
    assert str(len(NOISE)) in found["what"]


def test_start_up_files_that_read_stdin_are_told_from_a_shell_that_runs_nothing(surgery: Surgery) -> None:
    assert "read what is meant for the command" in surgery.found("greedy", "shell")["what"]
    found = surgery.found("nologin", "shell")
    assert (
        found["bad"] and "did not run the command: 'This account" in found["what"] and "chsh" in found["fix"]
    )


def test_a_host_without_a_python_of_3_6_is_served_through_sh(surgery: Surgery) -> None:
    found = surgery.found("bare", "python")
    assert found["what"] == "it has no Python 3.6 or later" and not found["bad"]
    assert surgery.found("old", "python")["what"] == "its python3 is 3.5.2"


def test_a_clock_that_is_behind_is_told_to_the_second_or_so(surgery: Surgery) -> None:
    found = surgery.found("late", "clock")
    assert re.match(r"its clock is (1h00m|59m5\ds) behind ours", found["what"]) and "set-ntp" in found["fix"]
    assert "clock" not in surgery.checks("plain")


def test_a_logind_that_ends_what_a_session_leaves_is_told_where_there_is_a_session(surgery: Surgery) -> None:
    found = surgery.found("watched", "logind")
    assert "KillExcludeUsers=root watched" in found["fix"] and "killed" in found["why"]
    assert "logind" not in surgery.checks("plain")


def test_a_temporary_folder_where_nothing_can_be_executed_is_a_remark(surgery: Surgery) -> None:
    found = surgery.found("plain", "tmp")
    assert found["what"] == "nothing can be executed in /tmp (noexec)" and not found["bad"]


def test_a_place_for_our_work_that_others_may_enter_or_that_is_full_or_shut_is_bad(surgery: Surgery) -> None:
    shared = surgery.found("shared", "spool")
    assert "chmod 700" in shared["fix"] and shared["bad"] and "/spool/hostler" in shared["what"]
    [full] = [each for each in surgery.told["full"]["findings"] if each["check"] == "disk"]
    assert full["bad"] and full["what"].startswith("0 MiB are free at ")
    assert "/proc can't be written to" in surgery.found("barred", "spool")["what"]


def test_a_key_seen_for_the_first_time_is_told_with_the_file_that_keeps_it(surgery: Surgery) -> None:
    assert "/state/known_hosts now" in surgery.found("new", "key")["what"]
    assert "key" not in surgery.checks("plain")


def words(server: OwnSshd, tmp_path: Path, **fields: Any) -> str:
    """An inventory of one server, `box`, with these fields over its own."""
    host = server.host
    known = {"address": host.address, "port": host.port, "user": host.user, "identity": host.identity}
    said = json.dumps({name: value for name, value in (known | fields).items() if value is not None})
    path = tmp_path / "box.yaml"
    path.write_text(f"hosts:\n  box: {said}\n")
    return str(path)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    """A server that allows one session on a line, and hangs up on the second who is at its door."""
    server = OwnSshd(tmp_path_factory.mktemp("narrow"), lines=["MaxSessions 1", "MaxStartups 1"])
    yield server
    server.stop()


def one(done: Done, check: str) -> dict[str, Any]:
    """The one finding of a check for the one host that was looked at."""
    [host] = json.loads(done.out)
    [found] = [each for each in host["findings"] if each["check"] == check]
    return dict(found)


def doctor(hostler: Hostler, inventory: str, *more: str) -> Done:
    """Look at `box`."""
    return hostler("doctor", "box", "-i", inventory, "--json", *more)


def test_a_host_with_one_session_on_a_line_will_do_by_python_but_not_without(
    hostler: Hostler, narrow: OwnSshd, tmp_path: Path
) -> None:
    key = public(narrow.host_keys[0])
    done = doctor(hostler, words(narrow, tmp_path, host_key=key))
    [host] = json.loads(done.out)
    assert done.code == 0 and host["sessions"] == 1
    crowd = one(done, "lines")
    assert "(MaxStartups)" in crowd["what"] and "--forks" in crowd["fix"] and not crowd["bad"]
    done = doctor(hostler, words(narrow, tmp_path, host_key=key, vars={"python": "none"}))
    assert done.code == 4 and "allows 1 session on a line" in one(done, "sessions")["what"]


@pytest.mark.parametrize("transport", ["asyncssh", "openssh"])
def test_doors_that_stay_shut_are_told_with_what_opens_them(
    hostler: Hostler, narrow: OwnSshd, tmp_path: Path, transport: str
) -> None:
    by = ("--transport", transport, "--connect-timeout", "20s")
    other = keygen(tmp_path / "other")
    done = doctor(hostler, words(narrow, tmp_path, identity=str(other)), *by)
    found = one(done, "login")
    assert (
        done.code == 4
        and "other" in found["what"]
        and f"ssh-copy-id -p {narrow.port} {USER}@" in found["fix"]
    )
    done = doctor(hostler, words(narrow, tmp_path, host_key=None), *by, "--strict-host-keys")
    assert f"ssh-keyscan -p {narrow.port} 127.0.0.1" in one(done, "key")["fix"]
    known = hostler.folder / "state" / "known_hosts"
    known.parent.mkdir(mode=0o700, exist_ok=True)
    known.write_text(f"# mine\n{narrow.place} {public(other)}\n")
    done = doctor(hostler, words(narrow, tmp_path), *by)
    found = one(done, "key")
    assert f"{known}:2" in found["what"] and found["fix"].endswith(
        f"ssh-keygen -R '{narrow.place}' -f {known}"
    )


def test_names_ports_and_silence_are_told_apart_within_the_time_that_was_given(
    hostler: Hostler, narrow: OwnSshd, tmp_path: Path
) -> None:
    with socket.socket() as silent, socket.socket() as nobody:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        nobody.bind(("127.0.0.1", 0))  # and nobody listens
        (_, mute), (_, shut) = silent.getsockname(), nobody.getsockname()
        targets = f"no-such-host.invalid,127.0.0.1:{mute},localhost:{shut}"
        done = hostler("doctor", targets, "--json", "--connect-timeout", "2s", "--transport", "asyncssh")
    assert done.code == 4
    checks = [(each["check"], each["fix"]) for host in json.loads(done.out) for each in host["findings"]]
    assert [check for check, _ in checks] == ["name", "port", "port"]
    assert "systemctl enable --now ssh" in checks[2][1] and f"nc 127.0.0.1 {mute}" in checks[1][1]


def test_the_screen_tells_a_trouble_once_with_all_its_hosts_and_its_mending(hostler: Hostler) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        done = hostler("doctor", f"sandbox1,127.0.0.1:{port},127.0.0.2:{port}")
    lines = done.lines
    assert done.code == 4 and lines[0].split() == ["host", "state", "found", "there"]
    assert sum(line.startswith("out (port): ") for line in lines) == 1
    assert "  what  connection refused by HOST:PORT" in lines
    assert "3 hosts: " in done.err and "2 out" in done.err
    [sandbox] = [line for line in lines if line.startswith("  sandbox1")]
    assert "Python 3." in sandbox and "out" not in sandbox.split()


def test_strikes_of_earlier_runs_are_told_with_the_last_reason(hostler: Hostler) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{nobody.getsockname()[1]}"
        assert hostler("batch", "--hosts", target, "--", "echo", ":::", "a").code == 4
        done = hostler("doctor", target, "--json")
    found = one(done, "ledger")
    assert "1.0 strikes from earlier runs" in found["what"] and "connection refused" in found["what"]


def test_without_hosts_there_is_nothing_to_look_at(hostler: Hostler) -> None:
    hostler("doctor").refused("no hosts", "hostler doctor 'user@host1")
    hostler("doctor", "-e").refused("-e")
    hostler("doctor", "web[1-").refused("web[1-")


async def test_a_login_that_never_comes_to_a_command_is_told_within_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hostler.clock import SystemClock
    from hostler.transports.asyncssh import AsyncsshTransport
    from hostler.work import checkup

    server = OwnSshd(tmp_path / "sshd", lines=["ForceCommand sleep 300"])
    transport = AsyncsshTransport(state=tmp_path, strict=None, ssh_config=(), say=print)
    monkeypatch.setattr(checkup, "TELLING", 1.5)
    try:
        facts = await checkup.checkup(
            server.host, by=transport, at_once=transport, clock=SystemClock(), deadline=30
        )
        assert facts.told is None and facts.mute == "its login did not come to a command within 1.5s"
    finally:
        await transport.close()
        server.stop()
