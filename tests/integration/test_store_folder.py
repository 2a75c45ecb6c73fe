"""Where the state folder is, and which folders are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostler.errors import StoreError, UsageError
from hostler.stores.folder import file_system, state_dir

LOCAL = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


def table(tmp_path: Path, *lines: str) -> Path:
    """A table of mounts."""
    path = tmp_path / "mountinfo"
    path.write_text(LOCAL + "".join(lines))
    return path


def mode(path: Path) -> int:
    """The permission bits."""
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"HOSTLER_STATE_DIR": "{}/own", "XDG_STATE_HOME": "{}/xdg", "HOME": "{}/home"}, "own"),
        ({"HOSTLER_STATE_DIR": "", "XDG_STATE_HOME": "{}/xdg", "HOME": "{}/home"}, "xdg/hostler"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{}/home"}, "home/.local/state/hostler"),
        ({"HOME": "{}/home"}, "home/.local/state/hostler"),
    ],
)
def test_the_state_folder_is_where_the_environment_says(
    tmp_path: Path, environ: dict[str, str], where: str
) -> None:
    found = state_dir(environ={name: value.format(tmp_path) for name, value in environ.items()})
    assert found == tmp_path / where and found.is_dir()


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_the_state_folder_is_made_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        found = state_dir(environ={"HOSTLER_STATE_DIR": str(tmp_path / "a" / "b")})
    finally:
        os.umask(before)
    assert (mode(found), mode(found.parent)) == (0o700, 0o700)


def test_a_relative_folder_is_refused_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"full path, {tmp_path}/here"):
        state_dir(environ={"HOSTLER_STATE_DIR": "here"})
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(StoreError, match="chmod go-w"):
        state_dir(environ={"HOSTLER_STATE_DIR": str(folder)})


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(StoreError, match="HOSTLER_STATE_DIR"):
            state_dir(environ={"HOSTLER_STATE_DIR": str(tmp_path / path)})


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """As a plain user that is root's, as root it is a plain user's."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        folder = Path("/usr")
    with pytest.raises(StoreError, match="belongs to user"):
        state_dir(environ={"HOSTLER_STATE_DIR": str(folder)})


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; from hostler.stores.folder import state_dir\n"
        "from hostler.errors import StoreError\n"
        "try: state_dir(environ={'HOSTLER_STATE_DIR': '/proc/hostler'})\n"
        "except StoreError as error: print(error)"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert "state folder /proc/hostler" in answer.stdout and "HOSTLER_STATE_DIR" in answer.stdout


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "fuse.glusterfs", "lustre", "afs"],
)
def test_a_network_file_system_is_refused_before_anything_is_made(tmp_path: Path, kind: str) -> None:
    mounts = table(tmp_path, f"40 21 0:35 / {tmp_path}/net rw shared:2 master:1 - {kind} server:/home rw\n")
    folder = tmp_path / "net" / "state"
    with pytest.raises(StoreError, match="network file system") as caught:
        state_dir(environ={"HOSTLER_STATE_DIR": str(folder)}, mounts=mounts)
    assert kind in str(caught.value) and "HOSTLER_STATE_DIR" in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.fuse-overlayfs", "fuseblk"]
)
def test_a_local_file_system_is_used(tmp_path: Path, kind: str) -> None:
    mounts = table(tmp_path, f"40 21 0:35 / {tmp_path} rw - {kind} x rw\n")
    assert state_dir(environ={"HOSTLER_STATE_DIR": str(tmp_path / "s")}, mounts=mounts).is_dir()


def test_the_nearest_and_last_mount_is_the_one_that_counts(tmp_path: Path) -> None:
    mounts = table(
        tmp_path,
        "40 21 0:35 / /home rw - nfs4 server:/home rw\n",
        "41 40 0:36 / /home/me/with\\040blank rw - ext4 /dev/vdb rw\n",
        "42 21 0:37 / /mnt rw - ext4 /dev/vdc rw\n",
        "43 42 0:38 / /mnt rw - cifs //server/share rw\n",
        "not a line of mountinfo\n",
    )
    found = {
        path: file_system(Path(path), mounts=mounts)
        for path in ("/home/me", "/home/me/with blank/x", "/homes", "/mnt/x", "/")
    }
    assert found == {
        "/home/me": "nfs4",
        "/home/me/with blank/x": "ext4",
        "/homes": "ext4",
        "/mnt/x": "cifs",
        "/": "ext4",
    }


def test_a_link_to_a_network_file_system_is_seen_through(tmp_path: Path) -> None:
    mounts = table(tmp_path, f"40 21 0:35 / {tmp_path}/net rw - nfs server:/x rw\n")
    (tmp_path / "link").symlink_to(tmp_path / "net")
    with pytest.raises(StoreError, match="nfs"):
        state_dir(environ={"HOSTLER_STATE_DIR": str(tmp_path / "link" / "s")}, mounts=mounts)


def test_without_a_table_of_mounts_the_folder_is_used(tmp_path: Path) -> None:
    assert file_system(tmp_path, mounts=tmp_path / "none") is None
    assert state_dir(environ={"HOSTLER_STATE_DIR": str(tmp_path / "s")}, mounts=tmp_path / "none").is_dir()
