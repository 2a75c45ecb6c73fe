"""What a sandbox host's SSH server is made of: which program, its settings, its keys.

The server is Debian's sshd where it is installed and the account can log in, else an AsyncSSH server. It must never
read or write /etc/ssh, and never accept a password or any key but the sandbox's own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from hostler.errors import ProviderError, UsageError
from hostler.providers.sandbox_files import private

VARIABLE = "HOSTLER_SANDBOX_SERVER"
HOME = "HOSTLER_SANDBOX_HOME"
NO_SHELL = frozenset({"nologin", "false", "true", "sync"})
_PLACES = "/usr/sbin:/usr/local/sbin:/sbin:/usr/lib/ssh"


class Server(Struct, frozen=True, kw_only=True):
    """Which program answers. `sshd` is its path, None for AsyncSSH; `why` says why it is not the usual one."""

    sshd: str | None
    why: str = ""


def choose(environ: Mapping[str, str] = os.environ) -> Server:
    """The server for this machine and account. Raises UsageError where HOSTLER_SANDBOX_SERVER can't be obeyed."""
    wanted = environ.get(VARIABLE, "")
    if wanted not in ("", "sshd", "asyncssh"):
        raise UsageError(f"{VARIABLE}={wanted!r}: must be sshd or asyncssh")
    if wanted == "asyncssh":
        return Server(sshd=None, why=f"{VARIABLE}=asyncssh")
    sshd = shutil.which("sshd", path=f"{environ.get('PATH', os.defpath)}:{_PLACES}")
    why = "" if sshd else "no sshd is installed (Debian: apt install openssh-server)"
    try:
        account = pwd.getpwuid(os.geteuid())
        if os.path.basename(account.pw_shell) in NO_SHELL:
            why = f"the account {account.pw_name} has no login shell ({account.pw_shell})"
    except KeyError:
        why = f"user id {os.geteuid()} has no account"
    if why and wanted == "sshd":
        raise UsageError(f"{VARIABLE}=sshd: {why}")
    return Server(sshd=None, why=why) if why else Server(sshd=os.path.abspath(sshd or ""))


def home(environ: Mapping[str, str] = os.environ) -> tuple[tuple[str, str], ...]:
    """What HOSTLER_SANDBOX_HOME sets on the hosts: another HOME, for trying things without one's own dot files.

    Raises UsageError when it isn't a folder's absolute path.
    """
    given = environ.get(HOME, "")
    if not given:
        return ()
    if not os.path.isabs(given) or not os.path.isdir(given) or any(c in given for c in '"\\\n'):
        raise UsageError(f"{HOME}={given!r}: must be a folder's absolute path, without quotes or backslashes")
    return (("HOME", given),)


def login() -> str:
    """The name to log in with: the account's, or one made of its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user{os.geteuid()}"


def make_key(path: Path) -> str:
    """Make an ed25519 key pair, 0600 and without a passphrase; the public half as "ssh-ed25519 AAAA…"."""
    if shutil.which("ssh-keygen"):
        done = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hostler-sandbox", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            umask=0o077,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise ProviderError(f"sandbox: ssh-keygen: {done.stderr.decode(errors='replace').strip()}")
        public = path.with_suffix(".pub").read_text()
    else:
        import asyncssh  # heavy, and only needed where OpenSSH is not installed

        key = asyncssh.generate_private_key("ssh-ed25519")
        private(path, key.export_private_key().decode())
        public = key.export_public_key().decode()
        private(path.with_suffix(".pub"), public)
    return " ".join(public.split()[:2])


def client_key(path: Path) -> str:
    """The public half of the sandbox's client key, which is made when there is none."""
    public = path.with_suffix(".pub")
    if not (path.exists() and public.exists()):
        for half in (path, public):
            half.unlink(missing_ok=True)
        return make_key(path)
    return " ".join(public.read_text().split()[:2])


def command(server: Server, folder: Path) -> tuple[str, ...]:
    """The argv that runs the server of the host in `folder`."""
    if server.sshd:
        return (server.sshd, "-D", "-e", "-f", str(folder / "sshd_config"))
    return (sys.executable, "-P", "-m", "hostler.providers.sandbox_server", str(folder))


def settings(
    folder: Path,
    *,
    address: str,
    port: int,
    user: str,
    environment: tuple[tuple[str, str], ...],
    extra: tuple[str, ...],
    sshd: str,
) -> str:
    """The text of sshd_config for one host; lines in `extra` come first and so win.

    StrictModes is off because the sandbox may lie below a world-writable folder such as /var/tmp, which the
    server would refuse; we check our own folder instead.
    """
    quoted = '"{}/{}"'.format
    variables = " ".join(f'"{name}={value}"' for name, value in environment)
    plain = str(folder).replace("%", "%%")
    lines = [
        *extra,
        f"ListenAddress {address}:{port}",
        f"HostKey {quoted(folder, 'host_key')}",
        f"AuthorizedKeysFile {quoted(plain, 'authorized_keys')}",
        f"PidFile {quoted(folder, 'server.pid')}",
        f"SetEnv {variables}",
        "Subsystem sftp internal-sftp",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitUserRC no",
        "PrintMotd no",
        "PrintLastLog no",
        "UseDNS no",
        f"UsePAM {'yes' if locked(user) else 'no'}",
    ]
    if "@" not in user:  # else it would be read as USER@HOST; and only root's sshd could let others in
        lines.append(f"AllowUsers {user}")
    if _version(sshd) >= (9, 8):
        # All clients share one address here: one bad key must not shut the others out.
        lines.append("PerSourcePenalties no")
    return "\n".join(lines) + "\n"


def ready_for_root() -> None:
    """Make the folder that sshd as root wants for its unprivileged half."""
    if os.geteuid() == 0:
        try:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        except OSError as error:
            raise ProviderError(f"sandbox: /run/sshd, which sshd needs: {error.strerror}") from None


def python() -> tuple[tuple[str, str], ...]:
    """The host variable that names our own Python, where a login on this machine would find none."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    return () if found else (("python", sys.executable),)


def locked(user: str, shadow: Path = Path("/etc/shadow")) -> bool:
    """Whether sshd would refuse the account as locked (Debian's root often is) unless PAM is asked."""
    with contextlib.suppress(OSError), open(shadow, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name == user:
                return rest.startswith("!")
    return False


@functools.cache
def _version(sshd: str) -> tuple[int, ...]:
    # Older ones don't know -V, say so with their version, and exit 1; both are an answer.
    done = subprocess.run(
        [sshd, "-V"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    found = re.search(rb"OpenSSH_(\d+)\.(\d+)", done.stderr + done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
