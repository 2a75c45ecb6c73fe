"""Whether the spool's disk has room for the output of jobs.

A full one is a reason to refuse what is to start. What we hold ourselves goes by and by: starts wait for that.
"""

import os

from hostler.remote.runner.files import Files

#: Bytes that must be free on the spool's disk for a job to start; on a small disk, a fiftieth of it.
ROOM = 16 << 20
#: Seconds between looks.
AGAIN_AFTER = 0.5


class Room:
    """`full` says why nothing can start here; `crowded` is whether our own output fills our share of the disk."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.full = ""
        self.crowded = False
        self.asked = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time for another look."""
        return now - self.asked > AGAIN_AFTER

    def look(self, now: float, ours: int, share: float) -> bool:
        """See what is free while `ours` bytes of output are held; whether it has just become crowded."""
        self.asked, facts = now, os.fstatvfs(self.files.folder)
        free, least = facts.f_bavail * facts.f_frsize, min(ROOM, facts.f_blocks * facts.f_frsize // 50)
        self.full = "its disk has %d KiB free" % (free >> 10) if free < least else ""
        if facts.f_files and not facts.f_favail:
            self.full = "its disk has no room for more files"
        before = self.crowded
        self.crowded = not self.full and ours > (share if share > 1 else share * (free + ours))
        return self.crowded and not before
