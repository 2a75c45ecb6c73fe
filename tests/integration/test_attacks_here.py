"""What lies in the folder in which hostler is begun, and is not its business."""

from __future__ import annotations

import pytest

from tests.command import Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

MODULES = ("hostler", "asyncssh", "sitecustomize", "usercustomize", "click", "msgspec", "json", "signal")


@pytest.mark.parametrize("transport", ["asyncssh", "openssh"])
def test_no_module_of_the_working_folder_is_ever_loaded(hostler: Hostler, transport: str) -> None:
    here = hostler.folder
    for name in MODULES:
        (here / f"{name}.py").write_text(f"open({str(here / 'loaded')!r}, 'a').write({name!r})\n")
    (here / ".ssh").mkdir(exist_ok=True)
    (here / ".ssh" / "config").write_text(f"Host *\n  ProxyCommand touch {here}/loaded\n")
    hostler.within = ("env", "-C", str(here))
    done = hostler("batch", "--hosts", "sandbox1", "--transport", transport, "--", "echo", ":::", "a")
    assert done.code == 0 and done.lines == ["a"], done.err
    assert not (here / "loaded").exists()
