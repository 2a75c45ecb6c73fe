"""AsyncSSH is imported without running programs, and has what it would have had."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostler.transports import sshlib

PROGRAMS = """
import sys
ran = []
sys.addaudithook(lambda event, args: ran.append(args[0]) if event == "subprocess.Popen" else None)
from hostler.transports.sshlib import load
load()
import asyncssh, ctypes.util
assert ctypes.util.find_library.__module__ == "ctypes.util"
print(ran)
"""


def test_no_program_is_run_while_asyncssh_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_library_is_found_that_the_loader_knows_and_one_that_it_doesnt_is_not() -> None:
    found = sshlib.find("c")
    assert found is not None
    ctypes.CDLL(found)  # or OSError
    assert sshlib.find("no-such-library") is None


def test_a_file_that_cant_be_loaded_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libbroken-of-ours.so.1").write_bytes(b"no library")
    monkeypatch.setitem(os.environ, "LD_LIBRARY_PATH", str(tmp_path))
    assert sshlib.find("broken-of-ours") is None


def test_certificates_of_the_kind_that_openssh_doesnt_know_are_left_out() -> None:
    text = (
        "import sys; from hostler.transports.sshlib import load; load(); import asyncssh.crypto\n"
        "assert not hasattr(asyncssh.crypto, 'X509Certificate')\n"
        "assert 'cryptography.x509' not in sys.modules and asyncssh.SSHCertificate\n"
    )
    subprocess.run([sys.executable, "-c", text], timeout=60, check=True)
