"""What `tests/conftest.py` promises to every test, seen from inside of one."""

import socket
import sys
from collections.abc import Callable
from subprocess import run

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import missing

ELSEWHERE = ("192.0.2.1", 80)  # RFC 5737: belongs to no machine
failed = pytest.raises(pytest.fail.Exception, match="reaches no network")


@pytest.mark.parametrize("call", ["bind", "connect", "connect_ex"])
def test_an_unmarked_test_reaches_no_socket(call: str) -> None:
    with socket.socket() as sock, failed:
        getattr(sock, call)(("127.0.0.1", 0))


def test_an_unmarked_test_sends_no_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, failed:
        sock.sendto(b"x", ELSEWHERE)


async def test_an_unmarked_test_opens_no_stream() -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(pytest.fail.Exception), flatten_subgroups=True, allow_unwrapped=True
    ):
        await trio.open_tcp_stream("127.0.0.1", 1)


def test_no_test_looks_up_a_name() -> None:
    with failed:
        socket.getaddrinfo("example.org", 80)


@given(st.integers())
def test_properties_are_guarded_without_a_fixture(number: int) -> None:
    with socket.socket() as sock, failed:
        sock.connect(("127.0.0.1", number % 65_536))


async def test_socket_pairs_stay_open() -> None:
    one, other = trio.socket.socketpair()
    with one, other:
        await one.send(b"x")
        assert await other.recv(1) == b"x"


@pytest.mark.loopback
async def test_a_marked_test_reaches_the_loopback_interface() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener:
        port = listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("localhost", port):
            pass


@pytest.mark.loopback
@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0"])
def test_a_marked_test_reaches_nothing_else(host: str) -> None:
    with socket.socket() as sock, failed:
        sock.connect((host, 80))


@pytest.mark.loopback
def test_a_name_that_cannot_exist_does_not() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("provider.invalid", 80)


def test_a_program_is_found(require: Callable[[str], str]) -> None:
    done = run([require("pytest"), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, sys.executable


def test_a_missing_program_fails_under_ci_and_skips_elsewhere() -> None:
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        missing("no-such-program", ci=True)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        missing("no-such-program", ci=False)
