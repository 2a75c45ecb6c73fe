"""AsyncSSH, imported without starting a compiler, and without X.509.

While it is imported it looks for two optional libraries with `ctypes.util.find_library`, which on Linux runs ldconfig,
gcc and ld, each for each name: a tenth of a second in front of every batch, and programs by PATH that nobody asked for.
What could be loaded in the end stands in the loader's own cache or in LD_LIBRARY_PATH; so that is looked at instead.
X.509 certificates, which OpenSSH doesn't know and we never allow, are an optional part of it and take a fifth of its
import; it is told that they aren't there. It must never hide a library that could be loaded, nor name one that can't.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import sys
from pathlib import Path

#: The loader's list of libraries: a header, then paths that end with NUL.
CACHE = Path("/etc/ld.so.cache")
#: What AsyncSSH does without where it can't be imported.
X509 = "asyncssh.crypto.x509"


def load() -> None:
    """Import AsyncSSH, the first time; from then on its `import` costs nothing."""
    if "asyncssh" in sys.modules:
        return
    usual = ctypes.util.find_library
    if sys.platform.startswith("linux") and CACHE.is_file():
        ctypes.util.find_library = find
    sys.modules[X509] = None  # type: ignore[assignment]  # how Python is told that a module isn't there
    try:
        import asyncssh  # noqa: F401
    finally:
        ctypes.util.find_library = usual
        del sys.modules[X509]


def find(name: str) -> str | None:
    """The file name of a library that can be loaded, None when there is none.

    >>> find("c"), find("no-such-library")
    ('libc.so.6', None)
    """
    known = re.compile(rb"(?<=[\0/])lib%b\.so[^\0/]*(?=\0)" % re.escape(os.fsencode(name)))
    found = dict.fromkeys(map(os.fsdecode, known.findall(CACHE.read_bytes())))
    for folder in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        found |= dict.fromkeys(path.name for path in sorted(Path(folder).glob(f"lib{name}.so*")))
    for file in found:
        try:
            ctypes.CDLL(file)
        except OSError:
            continue
        return file
    return None
