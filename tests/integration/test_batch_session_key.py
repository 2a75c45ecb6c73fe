"""`hostler batch --session-key`: a run that goes on when the agent that it began by has gone, and cleans up."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import PrivateAgent
from tests.command import ALL, Effects, Hostler, Running
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import USER, OwnSshd
from tests.lab import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnSshd]:
    """A host that reads its home's authorized_keys."""
    folder = tmp_path / "sshd"
    lines = [f"AuthorizedKeysFile {folder}/authorized {folder}/home/.ssh/authorized_keys"]
    server = OwnSshd(folder, lines=lines)
    yield server
    server.stop()


@pytest.fixture
def agent(tmp_path: Path, server: OwnSshd) -> Iterator[PrivateAgent]:
    """An agent that holds the host's key, until it is gone."""
    agent = PrivateAgent(tmp_path / "agent")
    agent.add(server.identity)
    yield agent
    agent.leave()


class Scene:
    """A batch of jobs that wait, begun by an agent's key, with a session key on its host."""

    def __init__(self, hostler: Hostler, server: OwnSshd, agent: PrivateAgent, effects: Effects) -> None:
        self.hostler, self.server, self.agent, self.effects = hostler, server, agent, effects
        self.keys = hostler.folder / "state/session-keys"
        self.file = server.home / ".ssh/authorized_keys"

    def begin(self, *words: str) -> Running:
        """Begin it, and wait until its key is good."""
        where = f"{USER}@{self.server.address}:{self.server.port}"
        running = self.hostler.start(
            *("batch", "--hosts", where, "-j", "1", "--session-key", "1h", *words),
            *self.effects.waiting(*"ab"),
            env=self.agent.env,
        )
        self.effects.wait(1, "begun")
        wait_until(self.good, what=f"a session key on the host; {running.err}")
        return running

    def good(self) -> bool:
        lines = [line for path in self.keys.glob("*/hosts") for line in path.read_bytes().splitlines(True)]
        return bool(lines) and lines[-1].endswith(b"\n") and json.loads(lines[-1])[-1] is True

    def nothing_is_left(self) -> None:
        assert not self.file.exists() and list(self.keys.iterdir()) == []
        counts = self.effects.counts
        assert max(counts.values()) == 1, counts


@pytest.fixture
def scene(hostler: Hostler, server: OwnSshd, agent: PrivateAgent, effects: Effects) -> Scene:
    return Scene(hostler, server, agent, effects)


@pytest.mark.parametrize("transport", ["asyncssh", "openssh"])
def test_a_run_goes_on_when_its_agent_has_gone_and_its_line_is_cut(scene: Scene, transport: str) -> None:
    running = scene.begin("--transport", transport)
    assert b"hostler-session-" in scene.file.read_bytes()
    scene.agent.leave()
    scene.server.cut()
    wait_until(lambda: "box" in running.err or "127.0.0.1" in running.err, what="the cut to be noticed")
    scene.effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    assert "no key accepted" not in done.err and "session key" not in done.err
    assert scene.effects.counts == {"begun a": 1, "done a": 1, "begun b": 1, "done b": 1}
    scene.nothing_is_left()


def test_a_run_that_is_interrupted_takes_its_key_away(scene: Scene) -> None:
    running = scene.begin()
    scene.agent.leave()
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    scene.nothing_is_left()
    assert "session_key" in scene.hostler.spec("1")


def test_a_run_whose_controller_was_killed_is_gone_on_with_by_its_key(scene: Scene) -> None:
    scene.begin().kill()
    assert scene.file.exists() and scene.good()
    scene.agent.leave()
    scene.effects.go()
    done = scene.hostler("batch", "--resume", "last")
    assert done.code == 0, done.err
    assert scene.effects.counts == {"begun a": 1, "done a": 1, "begun b": 1, "done b": 1}
    scene.nothing_is_left()


def test_who_stops_a_run_that_nobody_works_on_comes_by_its_key_and_takes_it_away(scene: Scene) -> None:
    scene.begin().kill()
    scene.agent.leave()
    done = scene.hostler("stop", "last")
    assert done.code == 0, done.err
    scene.nothing_is_left()
    assert "done a" not in scene.effects.counts


def test_a_run_that_is_over_at_once_leaves_nothing_either(scene: Scene) -> None:
    where = f"{USER}@{scene.server.address}:{scene.server.port}"
    words = ("batch", "--hosts", where, "--session-key", "1h", "--", "echo", ":::", "a")
    done = scene.hostler.start(*words, env=scene.agent.env).wait()
    assert done.code == 0 and "session key" not in done.err, done.err
    assert not scene.file.exists() and list(scene.keys.iterdir()) == []


def test_without_being_asked_no_key_is_put_anywhere(scene: Scene) -> None:
    words = (
        "batch",
        "--hosts",
        f"{USER}@{scene.server.address}:{scene.server.port}",
        "--",
        "echo",
        ":::",
        "a",
    )
    done = scene.hostler.start(*words, env=scene.agent.env).wait()
    assert done.code == 0, done.err
    assert not scene.file.parent.exists() and not scene.keys.exists()


def test_machines_with_a_key_of_their_own_get_none(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--session-key", "1h", "--", "echo", ":::", "a", "b")
    assert done.code == 0 and "session key" not in done.err, done.err
    assert not (hostler.lab.home / ".ssh").exists()


def test_a_length_that_makes_no_sense_is_refused(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--session-key", "5m", "--", "echo", ":::", "a")
    done.refused("--session-key 5m: must be 10m to 7d, or 0 for none")


def test_a_projects_settings_may_not_ask_for_one(hostler: Hostler) -> None:
    project = hostler.folder / "project"
    project.mkdir(mode=0o700)
    (project / "hostler.toml").write_text('[batch]\nsession-key = "1h"\n')
    (project / "hostler.toml").chmod(0o600)
    running = hostler.start("batch", *ALL, "--", "echo", ":::", "a", cwd=project)
    running.wait().refused("session-key names a key that hosts let in")
