"""How what SSH has started becomes the runner, or the relay to the one that lives.

Whoever holds the spool's lock is the runner. It must leave everything of the session that began it but the channel.
"""

import fcntl
import json
import os
import select
import socket
import sys
import time

from hostler.remote.runner.channel import Channel, listen, relay, stay
from hostler.remote.runner.jobs import Table
from hostler.remote.runner.log import Log
from hostler.remote.runner.processes import Spawner, account_shell, deafen, surroundings
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.serve import NONSENSE, Runner, note
from hostler.remote.runner.spool import folder, lock, remove, sweep
from hostler.remote.runner.vitals import cores
from hostler.remote.runner.wire import HEAD, HELLO, MAX_FRAME


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end."""
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def serve(path: str, held: int, hello: "dict[str, object]", leash: socket.socket, umask: int) -> None:
    """Be the runner: everything of the SSH session but the channel is left behind. Raises OSError, NONSENSE."""
    os.setsid()
    if os.fork():
        os._exit(0)
    deafen()
    listener = listen(path)
    log = Log(path)
    spawner = Spawner(surroundings(), account_shell(str(hello.get("shell") or "")), umask)
    if hello.get("as"):
        spawner.env.pop(b"SUDO_COMMAND", None)
    spawner.env[b"HOSTLER_RUN"] = str(hello["run"]).encode()
    spawner.env[b"HOSTLER_HOST"] = str(hello["host"]).encode()
    given = hello.get("env")
    if isinstance(given, dict):
        spawner.env.update((os.fsencode(name), os.fsencode(value)) for name, value in given.items())
    spawner.folder = os.fsencode(str(hello.get("workdir") or ""))
    rules = Rules(hello)
    if rules.pty:
        spawner.env.setdefault(b"TERM", b"dumb")
    table = Table(path, str(hello["uid"]), log, spawner, cores(), rules)
    runner = Runner(path, table, listener)
    fd_in, fd_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    trace = os.open(
        os.path.join(path, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    leash.send(b"+")
    attached = runner.attach(Channel(fd_in, fd_out, leash), hello)
    for fd, source in ((0, null), (1, trace), (2, trace)):
        os.dup2(source, fd)
    os.close(null)
    os.close(trace)
    if attached:
        sweep(path, str(hello.get("spool") or ""), rules.keep)
        runner.live()
    runner.part()
    os.close(held)


def become(path: str, held: int, hello: "dict[str, object]", umask: int) -> None:
    """Start the runner and stay as its relay."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        try:
            serve(path, held, hello, theirs, umask)
        except (OSError, MemoryError, *NONSENSE) as trouble:
            if not isinstance(trouble, OSError):
                sys.excepthook(*sys.exc_info())
            note("%s: %s" % (type(trouble).__name__, trouble))
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(held)
    theirs.close()
    stay(ours)


def hung_up() -> bool:
    """Whether the session that began us has ended, so that nobody knows of the runner that we would become."""
    poll = select.poll()
    for fd in (0, 1):
        poll.register(fd, 0)  # only that it hangs up
    return bool(poll.poll(0))


def go_home() -> None:
    """Begin where a login of this account would: sudo leaves us in another's folder."""
    for place in (os.path.expanduser("~"), "/"):
        try:
            os.chdir(place)
            break
        except OSError:
            continue


def main() -> None:
    """Read the controller's hello and become the runner, or the relay to the one that lives. Raises OSError."""
    umask = os.umask(0o077)
    os.closerange(3, 256)
    head = read_exactly(0, HEAD.size)
    size, kind = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
    body = read_exactly(0, size) if kind == HELLO and size <= MAX_FRAME else b""
    if not body or len(body) != size:
        sys.exit("hostler runner: no whole hello came")
    try:
        hello = json.loads(body.decode())
        names = (str(hello.get("spool") or ""), str(hello["uid"]), str(hello["token"]))
    except NONSENSE as error:
        sys.exit("hostler runner: a hello that made no sense: %s" % error)
    if hello.get("as"):
        go_home()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        path = folder(*names)
        try:
            held = lock(path)
        except FileNotFoundError:
            continue  # the last runner has just removed its spool
        if held is not None and hung_up():
            if not os.path.exists(os.path.join(path, "log")):
                remove(path)  # we have made it
            return
        if held is not None:
            become(path, held, hello, umask)
            return
        if relay(path, body):
            return
        time.sleep(0.05)
    sys.exit("hostler: not now: the runner here does not answer")


if __name__ == "__hostler__":
    try:
        main()
    except OSError as trouble:
        sys.exit("hostler runner: %s" % trouble)
