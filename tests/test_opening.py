"""Every configured listener opened, or the one named that cannot be."""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from kproxy.config import Config, Overrides, load
from kproxy.opening import CannotStart, Opened, open_all
from kproxy.transport.entry import Proxies
from tests.fakes.tls import write_files

DOOR = '[[listeners]]\naddress = "127.0.0.1:0"\n'


class Nobodys:
    """Turns that are never taken."""

    def mine(self, total: int) -> bool:
        return False

    def have(self, total: int) -> None:
        pass


def configured(folder: Path, text: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file, data_dir=folder / "data"), {"HOME": str(folder)})


def opened(stack: ExitStack, folder: Path, text: str) -> Opened:
    return open_all(stack, configured(folder, text))


@pytest.mark.loopback
def test_every_kind_with_what_it_asks_for(tmp_path: Path) -> None:
    write_files(tmp_path, trustme.CA())
    text = (
        'listen = ["127.0.0.1:0", "unix:a.sock"]\n'
        + DOOR
        + 'tls = { certificate = "cert.pem", key = "key.pem" }\nproxy_from = ["unix"]\n'
        + DOOR
        + "admin = true\n"
    )
    with ExitStack() as stack:
        found = opened(stack, tmp_path, text)
        ports = [sock.socket.getsockname()[1] for sock in (found.public[0], found.public[2])]
        assert found.urls == (
            f"http://127.0.0.1:{ports[0]}",
            f"unix:{tmp_path}/a.sock",
            f"https://127.0.0.1:{ports[1]}",
        )
        assert [address.port for address in found.addresses] == ports
        assert found.public[2].proxies == Proxies(unix=True)
        assert found.public[0].proxies == Proxies()
        assert found.credentials == (found.public[2].credentials,)
        assert len(found.admin_urls) == 1
        assert (tmp_path / "a.sock").is_socket()
        turns = Nobodys()
        shared = found.shared(turns)
        assert {one.turns for one in shared.public} == {turns}
        assert shared.admin == found.admin, "whoever is quickest answers operators"
        assert shared.urls == found.urls
    assert not (tmp_path / "a.sock").exists()
    assert all(one.socket.fileno() == -1 for one in (*found.public, *found.admin))


@pytest.mark.loopback
def test_what_cannot_be_had_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f'listen = ["unix:a.sock", "127.0.0.1:{port}"]\n'
        with ExitStack() as stack:
            with pytest.raises(CannotStart, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Addr"):
                opened(stack, tmp_path, text)
            assert (tmp_path / "a.sock").exists()
        assert not (tmp_path / "a.sock").exists()
    (tmp_path / "b.sock").write_text("precious")
    with ExitStack() as stack, pytest.raises(CannotStart, match=r"b\.sock: there is a file there"):
        opened(stack, tmp_path, 'listen = ["unix:b.sock"]\n')
    with ExitStack() as stack, pytest.raises(CannotStart, match="on systemd:web: systemd has pas"):
        opened(stack, tmp_path, 'listen = ["systemd:web"]\n')


def test_a_certificate_that_has_gone_bad_since_the_check(tmp_path: Path) -> None:
    files = write_files(tmp_path, trustme.CA())
    config = configured(tmp_path, DOOR + 'tls = { certificate = "cert.pem", key = "key.pem" }\n')
    files.certificate.unlink()
    with ExitStack() as stack, pytest.raises(CannotStart, match=r"cert\.pem cannot be read"):
        open_all(stack, config)


@pytest.mark.loopback
class TestSystemd:
    @pytest.fixture(autouse=True)
    def _pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("kproxy.transport.sockets.FIRST", 920)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))

    def give(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[int]:
        """Pass a listening TCP socket for each name; their ports."""
        ports = []
        for at, _ in enumerate(names):
            with socket.create_server(("127.0.0.1", 0)) as sock:
                os.dup2(sock.fileno(), 920 + at)
                ports.append(sock.getsockname()[1])
        monkeypatch.setenv("LISTEN_FDS", str(len(names)))
        monkeypatch.setenv("LISTEN_FDNAMES", ":".join(names))
        return ports

    def test_names_come_before_what_they_leave(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ports = self.give(monkeypatch, "web", "ops")
        text = 'listen = ["systemd"]\n[[listeners]]\naddress = "systemd:ops"\nadmin = true\n'
        with ExitStack() as stack:
            found = opened(stack, tmp_path, text)
            assert found.urls == (f"http://127.0.0.1:{ports[0]}",)
            assert found.admin_urls == (f"http://127.0.0.1:{ports[1]}",)

    def test_one_that_nobody_takes_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.give(monkeypatch, "web")
        with ExitStack() as stack:
            opened(stack, tmp_path, 'listen = ["127.0.0.1:0"]\n')
        assert "systemd passed sockets that no listener takes" in caplog.text
        os.close(920)

    def test_without_keys_it_must_be_local(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.give(monkeypatch, "web")
        text = 'auth = "none"\nlisten = ["systemd"]\n'
        with ExitStack() as stack:
            assert opened(stack, tmp_path, text).urls
        self.give(monkeypatch, "web")
        monkeypatch.setattr("kproxy.opening.is_loopback", lambda _: False)
        with ExitStack() as stack, pytest.raises(CannotStart, match="a socket of systemd is not"):
            opened(stack, tmp_path, text)
