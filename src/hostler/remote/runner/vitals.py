"""What this host tells of itself when it says hello: no other program is asked, and nothing is waited for."""

import os
import time


def cores() -> int:
    """How many jobs to run at once when nobody says."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def boot() -> str:
    """A name that changes with every boot of the host, where the kernel tells one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def vitals(folder: int) -> "dict[str, object]":
    """The host's clock, the free bytes on the disk of an open folder, its load over a minute, its cores."""
    said = {"now": time.time(), "cpus": cores()}  # type: dict[str, object]
    try:
        facts = os.fstatvfs(folder)
        said["free"] = facts.f_bavail * facts.f_frsize
        said["load"] = os.getloadavg()[0]
    except (OSError, AttributeError):
        pass  # it says what it knows
    return said
