"""How much memory does a connected host cost the controller?

Goal G6. One batch of sleeping jobs over N hosts, each with its runner: N loopback addresses served by sshds of the
benchmark's own, which can listen on 16 each. The far ends live on this machine too, and cost it far more than the
controller: the steps stop where memory would.

    python benchmarks/memory.py [--quick] [--whole] [--hosts N]
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from _ground import Ground, descendants, ground
from _sheet import Goal, Sheet, arguments, say, wait_for_calm
from _side import Void
from _watched import Watched

FEW = 10
#: sshd's own limit of addresses.
LISTENS = 16
#: What most accounts have, and so what must do.
FILES = 1024
#: Bytes that are left alone.
SPARE = 2 << 30
GOAL_EACH, GOAL_ALL, GOAL_HOSTS = 60, 150e6, 1000
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Go up in steps, write the sheet; 1 when the goal is missed."""
    parser = arguments(__doc__)
    parser.add_argument("--whole", action="store_true", help="go up to 1,000 hosts: about 20 GB at the far ends")
    parser.add_argument("--hosts", type=int, metavar="N", help="go up to N hosts")
    options = parser.parse_args()
    most = options.hosts or (GOAL_HOSTS if options.whole else 40 if options.quick else 300)
    steps = [FEW, *(step for step in (40, 100, 300, 600) if FEW < step < most), most]
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not sshd:
        say("skipped: sshd is not installed (Debian: openssh-server)")
        return 0
    load = wait_for_calm(options.patience)
    sheet = Sheet(
        name="memory",
        title="Memory of the controller with N connected hosts, each with its runner and a sleeping job",
        columns=("hosts", "resident, MB", "peak, MB", "KiB per host beyond the first 10", "all connected after, s",
                 "CPU, ms per host", "far end, MB per host"),
        unit="resident memory of the controller, MB",
        programs=(("sshd", "-V"),),
    )  # fmt: skip
    adopt_orphans()
    with ground(with_host=False) as place, servers(place, sshd, most):
        climb(place, sheet, steps)
    sheet.notes.append(f"Load when it began: {load:.1f}. At most {FILES} open files for the controller.")
    return sheet.finish(into=options.into)


def climb(place: Ground, sheet: Sheet, steps: list[int]) -> None:
    """Measure step by step, as far as there is memory; then say what that means for the goal."""
    base, each, peak, reached = 0.0, 0.0, 0, 0
    far = 0.0
    for step in steps:
        if reached and available() - far * step < SPARE:
            sheet.notes.append(f"{step} hosts were not tried: their far ends would take {far * step / 1e9:.0f} GB.")
            break
        try:
            resident, highest, seconds, cpu, far = connected(place, step)
        except Void as wrong:
            sheet.goals.append(
                Goal(name=f"G6 {step} hosts", wanted="all at work", found=str(wrong), reached=False, fatal=True)
            )
            break
        base = base or float(resident)
        each = (resident - base) / (step - FEW) / 1024 if step > FEW else 0.0
        peak, reached = max(peak, highest), step
        sheet.rows.append(
            (f"{step:,}", f"{resident / 1e6:.1f}", f"{highest / 1e6:.1f}", f"{each:.1f}" if each else "–",
             f"{seconds:.1f}", f"{cpu / step * 1000:.1f}", f"{far / 1e6:.1f}")
        )  # fmt: skip
        sheet.bars.append((f"hostler, {step:,} hosts", resident / 1e6, resident / 1e6, highest / 1e6))
        say(f"{step} hosts: {resident / 1e6:.1f} MB, {each:.1f} KiB each; {far / 1e6:.1f} MB each at the far end")
    sheet.goals += [
        Goal(name="G6 per connected host", wanted=f"≤ {GOAL_EACH} KiB", found=f"{each:.1f} KiB ({reached} hosts)",
             reached=0 < each <= GOAL_EACH),
        Goal(name="G6 the whole at 1,000 hosts", wanted="< 150 MB",
             found=f"{peak / 1e6:.0f} MB at its peak"
             + ("" if reached >= GOAL_HOSTS else f" with {reached} hosts, {(base + each * 1024 * 990) / 1e6:.0f} MB by extrapolation"),
             reached=(peak if reached >= GOAL_HOSTS else base + each * 1024 * 990) < GOAL_ALL),
    ]  # fmt: skip


def connected(place: Ground, count: int) -> tuple[int, int, float, float, float]:
    """One batch over `count` hosts, all at work: resident and peak bytes, seconds until then, CPU seconds, bytes of
    the far end per host. Raises Void.
    """
    jobs = place.path / f"jobs.{count}"
    jobs.write_text("3600\n" * count)
    free = available()
    words = ("batch", "-i", str(place.path / "many.yaml"), "--hosts", f"h[1-{count}]", "-j", "1", "--", "sleep")
    with Watched(place, *words, stdin=jobs, files=FILES) as watched:
        watched.accepted(seconds=60)
        seconds = watched.until(
            lambda: at_work(place, watched.run) >= count, seconds=120 + count, what=f"{count} jobs at work", every=0.5
        )
        time.sleep(2.0)
        watched.sample()
        far = max(0.0, (free - available() - watched.resident) / count)
        resident, peak, cpu = watched.resident, watched.peak, watched.cpu()
        code = watched.stop(seconds=60 + count / 2)
    left_alone()
    if code != 130:
        raise Void(f"exit code {code} after INT: {watched.last()}")
    return resident, peak, seconds, cpu, far


def at_work(place: Ground, run: int) -> int:
    """Attempts that were reported as running."""
    with place.store() as db:
        found = db.execute(
            "SELECT count(*) FROM attempt WHERE run = ? AND state = 0 AND started_at IS NOT NULL", (run,)
        )
        return int(found.fetchone()[0])


def available() -> int:
    """Bytes that this machine could still give."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def servers(place: Ground, sshd: str, count: int) -> Iterator[None]:
    """Servers on `count` loopback addresses, and an inventory of them as h1, h2 …, for as long as the block lasts."""
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place.path / name)],
            check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    net, port = f"127.{random.randint(64, 250)}", free_port()
    addresses = [f"{net}.{n // 250}.{n % 250 + 1}" for n in range(count)]
    started = []
    try:
        for first in range(0, count, LISTENS):
            started.append(server(place, sshd, addresses[first : first + LISTENS], port))
        key = " ".join((place.path / "host.pub").read_text().split()[:2])
        shared = f"defaults: {{port: {port}, identity: {place.path}/client}}\nhosts:\n"
        lines = [
            f"  h{n}: {{address: {address}, host_key: {key}}}\n" for n, address in enumerate(addresses, 1)
        ]
        (place.path / "many.yaml").write_text(shared + "".join(lines))
        for address in addresses[::LISTENS]:
            answers(address, port)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=20)
        left_alone()


def server(place: Ground, sshd: str, addresses: list[str], port: int) -> subprocess.Popen[bytes]:
    """One sshd."""
    lines = [
        f"Port {port}",
        *(f"ListenAddress {address}" for address in addresses),
        f"HostKey {place.path}/host",
        f"AuthorizedKeysFile {place.path}/client.pub",
        "PidFile none",
        "UsePAM no",
        "UseDNS no",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 1000",
        "MaxSessions 100",
        "PrintMotd no",
        "PrintLastLog no",
        f'SetEnv "HOME={place.home}"',
    ]
    config = place.path / f"sshd.{addresses[0]}"
    config.write_text("\n".join(lines) + "\n")
    with open(place.path / "sshd.log", "ab") as log:
        return subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": place.env["PATH"]}, start_new_session=True,
        )  # fmt: skip


def answers(address: str, port: int) -> None:
    """Wait until a server is there. Ends the benchmark when it doesn't come."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection((address, port), timeout=5) as line:
            if line.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise SystemExit(f"no sshd answers on {address} port {port}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def adopt_orphans() -> None:
    """Runners leave their sessions; as their reaper we can find and end what a failed step would leave."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def left_alone() -> None:
    """Wait for orphans of ours to end, then end those that don't; servers are no orphans."""
    until = time.monotonic() + 15
    while True:
        with suppress(ChildProcessError):
            while _reaped():
                pass
        orphans = [pid for pid, name in descendants(os.getpid()).items() if name not in ("sshd", "stat")]
        if not orphans:
            return
        if time.monotonic() > until:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        if time.monotonic() > until + 15:
            say(f"these can't be ended: {orphans}")
            return


def _reaped() -> bool:
    """Collect one orphan that has ended; our own children are left to who waits for them."""
    info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None or Path(f"/proc/{info.si_pid}/comm").read_text().strip() == "sshd":
        return False
    os.waitpid(info.si_pid, 0)
    return True


if __name__ == "__main__":
    sys.exit(main())
