"""The command line of bubblewrap."""

from pathlib import Path

import pytest

from kproxy.plugins import wrapper

COMMAND = ["python", "inmate.py"]


def test_folders_are_read_only_and_named_once() -> None:
    line = wrapper.wrap("bwrap", ["/a", "/b", "/a"], COMMAND, root=False)
    bound = [line[at + 1 : at + 3] for at, word in enumerate(line) if word.endswith("bind-try")]
    assert bound[-2:] == [["/a", "/a"], ["/b", "/b"]]
    assert not any(word in line for word in ("--bind", "--dev-bind", "--share-net"))


def test_the_command_comes_last() -> None:
    line = wrapper.wrap("bwrap", [], COMMAND, root=False)
    assert line[line.index("--") + 1 :] == COMMAND


@pytest.mark.parametrize("root", [True, False])
def test_network_and_processes_are_its_own(*, root: bool) -> None:
    line = wrapper.wrap("bwrap", [], COMMAND, root=root)
    assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--clearenv"} <= set(line)


def test_root_may_only_become_somebody_else() -> None:
    line = wrapper.wrap("bwrap", [], COMMAND, root=True)
    kept = [line[at + 1] for at, word in enumerate(line) if word == "--cap-add"]
    assert kept == ["CAP_SETUID", "CAP_SETGID"]
    assert "--unshare-user" not in line
    assert "--unshare-user" in wrapper.wrap("bwrap", [], COMMAND, root=False)


def test_it_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wrapper.program() is None
    (tmp_path / "bwrap").write_text("")
    (tmp_path / "bwrap").chmod(0o755)
    assert wrapper.program() == str(tmp_path / "bwrap")
