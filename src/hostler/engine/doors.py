"""Why a door stayed shut, in a person's terms: what it means, and the exact words that mend it.

Pure: it judges what the transports say, each in its own words, and knows no host. It must never send anybody to switch
host-key checking off.
"""

from __future__ import annotations

import re

from hostler.model.checkups import CROWDED, STRANGER, Finding, Shut
from hostler.model.hosts import Host

#: What a transport's line holds: the check that failed, what that means, what to do. The first that fits holds.
REASONS = (
    ("name not known", "name", "nobody whom this machine asks for names knows it",
     "correct the name, or say its address: HostName in ~/.ssh/config, `address` in the inventory"),
    ("could not be looked up", "name", "the name server of this machine gave no answer",
     "look with: getent hosts {address}; mend /etc/resolv.conf, or say the host's address"),
    ("the jump host could not reach", "jump", "the jump host is well, and the way from there on is not",
     "log in to the jump host and try from there: nc -vz {address} {port}"),
    ("its jump host", "jump", "the way to this host leads through another one, and that one failed",
     "look at that one first: hostler doctor {jump}"),
    ("connection refused by", "port", "the machine is there, and nothing listens at that port",
     "on the host: systemctl enable --now ssh (or sshd); if it listens elsewhere, say so: {address}:PORT"),
    ("no route to", "port", "the network knows no way to that address",
     "check the address, and that the network or VPN it is in is up: ip route get {address}"),
    ("took the call but did not finish", "port",
     "something took the call and never spoke SSH: an sshd that hangs or is overloaded, or another service",
     "look what it says: nc {address} {port}; on the host: systemctl restart ssh"),
    ("did not end within", "login", "sshd answers, and what it asks at the login (PAM, a directory, DNS) hangs",
     "watch where it stops: ssh -vv {ssh}; on the host: journalctl -u ssh"),
    ("no answer from", "port", "packets are dropped on the way: a firewall, a wrong address, a machine that is off",
     "try: nc -vz {address} {port}; open the port in the firewalls; for a slow one: --connect-timeout 2m"),
    ("speaks no SSH", "port", "another service listens at that port", "say the port of its sshd: {address}:PORT"),
    ("no algorithm in common", "login", "its sshd is much older or stricter than what we offer",
     "name what it knows for this host in ~/.ssh/config (KexAlgorithms, Ciphers, HostKeyAlgorithms), or update it"),
    ("too many open files here", "port", "this machine lets us open no more files", "ulimit -n 8192, then again"),
    ("no free local port", "port", "this machine has no port left to call from", "use fewer at once: --forks 16"),
    ("can't be put on record", "key", "a key that can't be kept can't be compared the next time",
     "make that file writable by you, or set HOSTLER_STATE_DIR to a folder of yours"),
    ("are refused: it shows", "key", "nobody here has seen its key, and unknown keys are to be refused",
     "compare it with the host's own (ssh-keygen -lf), then: ssh-keyscan -p {port} {address} >> ~/.ssh/known_hosts"),
    ("can't be used: ", "config", "your SSH configuration has a line that ssh refuses", "mend that line"),
    ("stops listening after so many keys", "login", "it looks at a few keys only (MaxAuthTries), and yours are more",
     "name the right one in ~/.ssh/config: Host {address}, IdentityFile ~/.ssh/KEY, IdentitiesOnly yes"),
    ("password was not accepted", "login", "the account has another password, or none",
     "try it by hand: ssh {ssh}; then say it by --ssh-password ask"),
    ("certificate has expired", "login", "the host goes by certificates, and yours is over", "get a new one signed"),
    ("does not fit", "login", "the key can't be opened", "say its passphrase: --key-passphrase ask, or ssh-add it"),
    ("is encrypted", "login", "the key is locked, and hostler asks nobody of itself",
     "ssh-add it before, or say --key-passphrase ask"),
    ("which hostler can't answer", "login", "the host asks what no key and no password answers (a second factor)",
     "let keys suffice for this account: AuthenticationMethods publickey in its sshd_config"),
    ("it would take a password", "login", "the host knows none of the keys that were shown, and takes a password",
     "put a key there: ssh-copy-id {ssh}; or give the password: --ssh-password ask"),
    ("no key accepted", "login", "the host knows none of the keys that were shown for this account",
     "put one there: ssh-copy-id {ssh}; or name the right account (USER@{address}, --user)"),
    ("agent at", "login", "the ssh-agent that would hold the keys is gone", "start one: eval $(ssh-agent); ssh-add"),
    ("transport '", "config", "the host is to be reached in a way that there isn't", "mend its variable transport"),
)  # fmt: skip
#: The command that a conflict of keys names itself.
REMOVES = re.compile(r"ssh-keygen -R '[^']+' -f .+\Z")


def shut_finding(shut: Shut, host: Host) -> Finding:
    """What a door that stayed shut means.

    >>> shut_finding(Shut(how="unreached", why="connection refused by 10.0.0.5:22"), Host(name="w", address="w")).check
    'port'
    """
    words = {
        "address": host.address,
        "port": str(host.port or 22),
        "jump": host.jump or "THE-JUMP-HOST",
        "ssh": _ssh_words(host),
    }
    what = shut.why.removeprefix(f"{host.name}: ")
    if shut.how == STRANGER:
        return _stranger(what)
    if shut.how == CROWDED:
        return Finding(check="lines", bad=True, what=what, why=CROWD_WHY, fix=CROWD_FIX)
    for mark, check, why, fix in REASONS:
        if mark in what:
            return Finding(check=check, bad=True, what=what, why=why, fix=fix.format(**words))
    fix = "see what ssh itself says: ssh -v {ssh}".format(**words)
    return Finding(check="port", bad=True, what=what, why="no line can be opened to it", fix=fix)


CROWD_WHY = "its sshd hangs up on callers while many are at its door; a batch comes again with fewer, and begins later"
CROWD_FIX = (
    "on the host, in /etc/ssh/sshd_config: MaxStartups 100:30:200, then systemctl reload ssh; or --forks 8"
)


def _stranger(what: str) -> Finding:
    """Another key than the one on record: never a thing to be waved through."""
    why = "the host was installed anew, or somebody stands in between: nothing is sent until that is clear"
    found = REMOVES.search(what)
    if found:
        what = what[: found.start()].rstrip().removesuffix("if the host was reinstalled:").rstrip(" ;")
        fix = f"if you know that it was installed anew: {found[0]}"
    elif "is pinned" in what:
        fix = "if you know that it was installed anew: put its new key in the inventory (host_key)"
    elif "revoked" in what:
        fix = "give the host another key (ssh-keygen -A after removing the old one); a revoked one never counts again"
    else:
        fix = "ask who runs the host for its key's fingerprint, and compare"
    return Finding(check="key", bad=True, what=what, why=why, fix=fix)


def _ssh_words(host: Host) -> str:
    port = f"-p {host.port} " if host.port and host.port != 22 else ""
    return port + (f"{host.user}@" if host.user else "") + host.address
