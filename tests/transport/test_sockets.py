"""Unix sockets and their files, and sockets that a service manager passes on."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.transport.sockets import FIRST, Inherited, open_unix


def reaches(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(path)) == 0


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_with_its_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    before = os.umask(0o027)
    try:
        opened = open_unix(path, mode)
        assert os.umask(0o027) == 0o027, "the umask is as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert reaches(path)
    opened.remove()
    assert not path.exists()
    opened.remove()


def test_a_file_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    assert not reaches(path)
    opened = open_unix(path, 0o600)
    assert reaches(path)
    opened.remove()


def test_one_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_unix(path, 0o600)
    with pytest.raises(OSError, match="in use"):
        open_unix(path, 0o600)
    assert reaches(path)
    first.remove()


def test_one_in_use_whose_queue_is_full_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    callers = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        while True:
            callers.append(caller := socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            if caller.connect_ex(str(path)):
                break
        with pytest.raises(OSError, match="in use"):
            open_unix(path, 0o600)
    for caller in callers:
        caller.close()
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="no socket"):
        open_unix(path, 0o600)
    assert path.lstat()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_unix(tmp_path / "none" / "s", 0o600)


def test_a_successors_file_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_unix(path, 0o600)
    first.socket.close()
    second = open_unix(path, 0o600)
    first.remove()
    assert reaches(path)
    second.remove()


# --- systemd


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Listening sockets on three descriptors in a row, as if from 3 on."""
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for sock in sockets:
        sock.bind("")  # an abstract name of its own
        sock.listen()
    first = 900
    for at, sock in enumerate(sockets):
        os.dup2(sock.fileno(), first + at)
    monkeypatch.setattr("kproxy.transport.sockets.FIRST", first)
    yield sockets
    for at, sock in enumerate(sockets):
        sock.close()
        try:
            os.close(first + at)
        except OSError:
            continue  # whoever took it has closed it


ENVIRON = {"LISTEN_PID": "42", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "web:admin:web"}


def test_they_begin_where_the_manual_says() -> None:
    assert FIRST == 3


def test_taken_by_name_and_once(passed: list[socket.socket]) -> None:
    inherited = Inherited(ENVIRON, 42)
    assert inherited.left == ("web", "admin", "web")
    (admin,) = inherited.take("admin")
    assert admin.getsockname() == passed[1].getsockname()
    assert not admin.get_inheritable()
    assert not admin.getblocking()
    with pytest.raises(OSError, match="no socket named admin"):
        inherited.take("admin")
    rest = inherited.take()
    assert [one.getsockname() for one in rest] == [passed[at].getsockname() for at in (0, 2)]
    assert inherited.left == ()
    with pytest.raises(OSError, match="passed no socket to this process"):
        inherited.take()
    for one in (admin, *rest):
        one.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "3"},
        {"LISTEN_FDS": "3", "LISTEN_PID": "43"},
        {"LISTEN_FDS": "", "LISTEN_PID": "42"},
        {"LISTEN_FDS": "-1", "LISTEN_PID": "42"},
        {"LISTEN_FDS": "9" * 30, "LISTEN_PID": "42"},
    ],
)
def test_what_was_meant_for_nobody_or_another_is_not_taken(environ: dict[str, str]) -> None:
    inherited = Inherited(environ, 42)
    assert inherited.left == ()
    with pytest.raises(OSError, match="systemd has passed no socket"):
        inherited.take()


def test_without_names_they_are_all_there_is(passed: list[socket.socket]) -> None:
    taken = Inherited({"LISTEN_PID": "42", "LISTEN_FDS": "3"}, 42).take()
    assert len(taken) == len(passed)
    for one in taken:
        one.close()


def test_what_is_no_listening_stream_is_refused_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kproxy.transport.sockets.FIRST", 910)
    with (
        socket.socket(socket.AF_UNIX) as idle,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as d,
    ):
        for sock in (idle, d):
            os.dup2(sock.fileno(), 910)
            with pytest.raises(OSError, match="descriptor 910 is no listening stream socket"):
                Inherited({"LISTEN_PID": "42", "LISTEN_FDS": "1"}, 42).take()
    with pytest.raises(OSError, match="descriptor 910: Bad file"):
        Inherited({"LISTEN_PID": "42", "LISTEN_FDS": "1"}, 42).take()
