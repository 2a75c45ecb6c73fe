"""What a host's facts mean for jobs: findings, each with why it matters and what mends it. Pure judgement.

It must never find anything that a person could not see for himself with what stands in the finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostler.engine.becoming import sudo_finding
from hostler.engine.doors import CROWD_FIX, CROWD_WHY, shut_finding
from hostler.model.checkups import Facts, Finding, Place, Told
from hostler.model.durations import format_duration
from hostler.model.health import Health

#: The oldest Python that the runner works with, and how to say so.
OLDEST, PYTHON = (3, 6), "Python 3.6 or later"
#: Login shells that read no sh.
OTHER_SHELLS = ("csh", "tcsh", "fish", "nu", "xonsh", "elvish", "rc", "pwsh")
#: Bytes and files free below which nothing can be begun, and below which it is worth a word.
FULL, SCARCE, FEW_FILES = 8 << 20, 1 << 30, 2_000
#: Seconds that a clock may be wrong beyond what asking took.
SKEW = 2.0
#: Sessions that a line needs without Python, and those that are of use.
NEEDED, OF_USE = 2, 4
#: Programs that jobs often call.
TOOLS = ("rsync", "tmux")
#: Strikes that are worth a word.
STRUCK = 0.5


def findings(facts: Facts, *, now: float) -> list[Finding]:
    """All that is to say of a host at `now`, seconds since the epoch; nothing when all is well. Bad ones first.

    >>> from hostler.model.hosts import Host
    >>> findings(Facts(host=Host(name="a", address="a"), mute="it said nothing"), now=0.0)[0].check
    'shell'
    """
    found = [*_found(facts), *_ledger(facts.health, now)]
    return sorted(found, key=lambda each: not each.bad)


def _found(facts: Facts) -> Iterator[Finding]:
    if facts.shut is not None:
        yield shut_finding(facts.shut, facts.host)
        return
    if facts.recorded:
        yield _remark(
            "key", f"its key was not known, and stands in {facts.recorded} now",
            "whoever answered this first time is taken for the host from now on",
            "compare: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the host, ssh-keygen -lf of that file here",
        )  # fmt: skip
    yield from _lines(facts)
    told = facts.told
    if told is None:
        yield _bad(
            "shell", facts.mute, "jobs are begun by the account's login shell, and this one begins none",
            "on the host: chsh -s /bin/sh ACCOUNT; take ForceCommand and command=\"…\" away; mend its start-up files",
        )  # fmt: skip
        return
    yield from _shell(told)
    if facts.barred:
        yield sudo_finding(facts.barred, facts.as_user, told)
        return
    jobs = facts.other or told  # to whom the place, the interpreter and the session belong that jobs have
    yield from _home(jobs)
    yield from _python(facts, jobs)
    yield from _places(jobs)
    yield from _clock(told)
    yield from _logind(jobs)
    if told.load is not None and told.cpus and told.load > 1.5 * told.cpus:
        yield _remark(
            "load", f"it is busy already: its load is far above its {told.cpus} cores",
            "jobs there take longer than elsewhere", "give it fewer at once: `slots` in the inventory, or --slots",
        )  # fmt: skip
    lacking = [tool for tool in TOOLS if tool not in jobs.tools]
    if lacking and not jobs.stuck:
        yield _remark(
            "tools", f"it has no {' and no '.join(lacking)}", "hostler needs neither; jobs that call them fail there",
            f"nothing, if none does; else: apt-get install {' '.join(lacking)} (or dnf, apk)",
        )  # fmt: skip
    if told.stuck:
        yield _remark(
            "answer", f"it did not come back from looking at: {told.stuck}",
            "jobs that touch the same will hang, too (a dead network mount, a name service)",
            "log in and look by hand; what comes after that look was not checked",
        )  # fmt: skip


def _lines(facts: Facts) -> Iterator[Finding]:
    if facts.crowd:
        yield _remark(
            "lines", f"it hung up on {facts.crowd} of {facts.lines} lines that were opened at once (MaxStartups)",
            CROWD_WHY, CROWD_FIX,
        )  # fmt: skip
    if facts.sessions == 0:
        yield _bad(
            "sessions", "it allows no session on a line (MaxSessions 0, or the account may run no commands)",
            "every command is a session", "on the host, in /etc/ssh/sshd_config: MaxSessions 10, then reload sshd",
        )  # fmt: skip


def _shell(told: Told) -> Iterator[Finding]:
    name = told.shell.rpartition("/")[2]
    if name in OTHER_SHELLS:
        yield _remark(
            "shell", f"the login shell is {name}", f"jobs that are shell text are read by /bin/sh there, not by {name}",
            f"nothing, if they are written for sh; else name it: {name} -c '…' as the job's words",
        )  # fmt: skip
    if told.noise_size:
        yield _remark(
            "noise", f"its start-up files print {told.noise_size} bytes to stdout at every login: {told.noise!r}",
            "hostler reads past it; scp, rsync and sftp don't",
            "let them print only to people: case $- in *i*) … ;; esac in ~/.bashrc, `if ($?prompt)` in ~/.cshrc, "
            "`status is-interactive` in fish",
        )  # fmt: skip


def _home(told: Told) -> Iterator[Finding]:
    if not told.home_there:
        yield _remark(
            "home", f"the account's home {told.home or '(none)'} isn't there", "jobs begin in / instead",
            "make it, or begin jobs elsewhere: --workdir",
        )  # fmt: skip


def _python(facts: Facts, told: Told) -> Iterator[Finding]:
    found = None if facts.host.var("python") == "none" else next(iter(told.pythons), None)
    if found is not None and found.version is not None and found.version >= (*OLDEST, 0) and found.whole:
        return
    if facts.as_user:
        yield _bad(
            "python", f"{facts.as_user} finds no {PYTHON} there" + (", and it is told to use none" if facts.host.var(
                "python") == "none" else ""), "jobs as another account need it (--as)",
            f"install {PYTHON}, or name one that sudo's PATH leads to: `vars: {{python: /path/to/python3}}`",
        )  # fmt: skip
        return
    sessions = facts.sessions
    if sessions is not None and 0 < sessions < NEEDED:
        yield _bad(
            "sessions", f"it allows {sessions} session on a line, and has no {PYTHON}",
            "without Python a line needs two sessions",
            "on the host, in /etc/ssh/sshd_config: MaxSessions 10, then systemctl reload ssh; or install Python there",
        )  # fmt: skip
    elif sessions is not None and sessions < OF_USE and facts.asked >= OF_USE:
        yield _remark(
            "sessions", f"it allows {sessions} sessions on a line, and has no {PYTHON}",
            "without Python up to four are of use: beginnings, ends and output wait for each other",
            "on the host, in /etc/ssh/sshd_config: MaxSessions 10, then systemctl reload ssh",
        )  # fmt: skip
    if facts.host.var("python") == "none":
        return  # somebody wants it so
    if found is None:
        what = f"it has no {PYTHON}"
    elif found.version is None:
        what = f"its {found.word} does not run"
    elif found.version < (*OLDEST, 0):
        what = f"its {found.word} is {'.'.join(map(str, found.version))}"
    else:
        what = f"its {found.word} lacks parts of the standard library (zlib, hashlib, fcntl)"
    yield _remark(
        "python", what, "jobs run through sh: output comes in pieces, tens of jobs a second, no --as and no --pty",
        f"install {PYTHON}, or name one that is there: `vars: {{python: /path/to/python3}}` in the inventory",
    )  # fmt: skip


def _places(told: Told) -> Iterator[Finding]:
    if told.temporary is not None and "noexec" in told.temporary.options:
        yield _remark(
            "tmp", f"nothing can be executed in {told.temporary.path} (noexec)",
            "hostler needs nothing of that; jobs that unpack programs there fail with 'Permission denied'",
            "let such jobs work elsewhere: --env TMPDIR=/a/folder, --workdir",
        )  # fmt: skip
    # Where what we keep is put: the first place that is local and can be written to, as the runner has it.
    asked = len(told.spools) == 1
    for place in told.spools[:-1]:
        if place.writable and not place.network:
            yield from _spool(place, told, asked=asked)
            return
    if told.spools:
        yield from _spool(told.spools[-1], told, asked=asked)


def _spool(place: Place, told: Told, *, asked: bool) -> Iterator[Finding]:
    elsewhere = "name another folder: `vars: {spool: /a/folder}` in the inventory"
    if place.mode is not None and (
        not place.mode.startswith("d") or place.owner != told.uid or place.mode[4:10] != "------"
    ):
        yield _bad(
            "spool", f"{place.ours} is not a folder of this account alone ({place.mode}, uid {place.owner})",
            "hostler keeps jobs and results there, and trusts no folder that others may enter",
            f"on the host: chmod 700 {place.ours}, if it is yours; else {elsewhere}",
        )  # fmt: skip
        return
    if not place.writable:
        yield _bad(
            "spool", f"{place.at} can't be written to (for {place.path})", "no job begins without a place for results",
            f"make it writable for {told.user or 'the account'}, or {elsewhere}",
        )  # fmt: skip
        return
    if asked and place.network:
        yield _remark(
            "spool", f"{place.path} lies on a network file system ({place.kind})",
            "locks and the order of writes can't be trusted there", elsewhere.replace("folder:", "local folder:"),
        )  # fmt: skip
    if place.free is not None and place.free < SCARCE:
        full = place.free < FULL
        yield (_bad if full else _remark)(
            "disk", f"{place.free >> 20} MiB are free at {place.at}",
            "no job begins there" if full else "jobs wait once their output has taken a tenth of it (--spool-max)",
            f"make room (du -xh {place.at} | sort -h | tail), or {elsewhere}",
        )  # fmt: skip
    elif place.files is not None and place.files < FEW_FILES:
        yield _remark(
            "disk", f"{place.files} more files find room at {place.at}", "each job needs some of them",
            f"remove small files, or {elsewhere}",
        )  # fmt: skip


def _clock(told: Told) -> Iterator[Finding]:
    if told.skew is None or abs(told.skew) < SKEW + told.slack:
        return
    how = "ahead of" if told.skew > 0 else "behind"
    yield _remark(
        "clock", f"its clock is {format_duration(abs(round(told.skew)))} {how} ours",
        "hostler goes by its own clock; files, certificates and logs that jobs make carry the wrong time",
        "on the host: timedatectl set-ntp true",
    )  # fmt: skip


def _logind(told: Told) -> Iterator[Finding]:
    if not told.session or not kills_user(told.logind, told.user):
        return
    yield _remark(
        "logind", "logind ends all that a session leaves behind (KillUserProcesses=yes)"
        + (", although the account lingers" if told.linger else ""),
        "when the line is cut, jobs there are killed, and end as lost or interrupted, whatever --on-disconnect says",
        f"on the host, in /etc/systemd/logind.conf: KillExcludeUsers=root {told.user} (or KillUserProcesses=no), then "
        "systemctl restart systemd-logind; lingering alone does not help",
    )  # fmt: skip


def kills_user(lines: tuple[str, ...], user: str) -> bool:
    """Whether logind, configured by `lines` (FILE:KEY=VALUE), ends this account's processes with their session.

    >>> kills_user(("/etc/systemd/logind.conf:KillUserProcesses=yes",), "ann")
    True
    """
    said = {"KillUserProcesses": "no", "KillOnlyUsers": "", "KillExcludeUsers": "root"}
    for line in sorted(lines, key=_rank):
        key, _, value = line.partition(":")[2].partition("=")
        if key.strip() in said:
            said[key.strip()] = value.strip()
    if said["KillUserProcesses"].lower() not in ("yes", "true", "on", "1", "y", "t"):
        return False
    only = said["KillOnlyUsers"].split()
    return user not in said["KillExcludeUsers"].split() and (not only or user in only)


def _rank(line: str) -> tuple[bool, str, int]:
    """The order in which systemd reads: the main file, then drop-ins by name, those of /etc last."""
    path = line.partition(":")[0]
    folder, _, name = path.rpartition("/")
    folders = ("/usr/lib", "/lib", "/run", "/etc")
    place = next((at for at, top in enumerate(folders) if path.startswith(top + "/")), 0)
    dropped = folder.endswith("/logind.conf.d")
    return dropped, name if dropped else "", place


def _ledger(health: Health | None, now: float) -> Iterator[Finding]:
    if health is not None and health.strikes_at(now) >= STRUCK:
        yield _remark(
            "ledger", f"it has {health.strikes_at(now):.1f} strikes from earlier runs, the last one {health.why}",
            "it rests after each, and until a job has shown it to be well it gets one at a time",
            "nothing, if that is mended: strikes fade, half of them in half an hour (hostler hosts)",
        )  # fmt: skip


def _bad(check: str, what: str, why: str, fix: str) -> Finding:
    return Finding(check=check, bad=True, what=what, why=why, fix=fix)


def _remark(check: str, what: str, why: str, fix: str) -> Finding:
    return Finding(check=check, bad=False, what=what, why=why, fix=fix)
