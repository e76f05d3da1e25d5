"""Opening connections without TLS: refused, silent, unnamed, and well; and every fault's row."""

import inspect
import math
import re
import socket
import ssl
from collections.abc import Iterator

import httpcore
import pytest
import trio

from kproxy.errors import FaultKind
from kproxy.transport.dial import Origin, dialler, faults, tls_context
from tests.fakes.hubbed import fault_of, hubbed


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is bound and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.loopback
async def test_a_plain_connection_carries_bytes_both_ways() -> None:
    async with hubbed() as (hub, nursery):

        async def echo(stream: trio.SocketStream) -> None:
            await stream.send_all(await stream.receive_some())

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        port = listener.socket.getsockname()[1]
        link = await dialler(hub, None)(Origin("localhost", port, tls=False), math.inf)
        await link.send_all(b"ping")
        assert await link.receive() == b"ping"
        link.close()


@pytest.mark.loopback
async def test_a_port_where_nobody_listens(port: int) -> None:
    async with hubbed() as (hub, _):
        assert (await fault_of(hub, Origin("127.0.0.1", port, False))).kind is FaultKind.CONNECT


@pytest.mark.loopback
async def test_a_name_that_does_not_exist() -> None:
    async with hubbed() as (hub, _):
        fault = await fault_of(hub, Origin("provider.invalid", 443, tls=False))
        assert fault.kind is FaultKind.CONNECT
        assert "invalid" not in fault.detail


@pytest.mark.loopback
async def test_a_black_hole_ends_at_the_deadline() -> None:
    async with hubbed() as (hub, _):
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(8)]  # more than the backlog takes
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            deadline = trio.current_time() + 0.1
            fault = await fault_of(
                hub, Origin("127.0.0.1", full.getsockname()[1], False), None, 0.1
            )
            assert fault.kind is FaultKind.CONNECT_TIMEOUT
            assert trio.current_time() >= deadline
            for one in waiting:
                one.close()


@pytest.mark.loopback
async def test_a_deadline_that_has_passed_opens_nothing(port: int) -> None:
    async with hubbed() as (hub, _):
        fault = await fault_of(hub, Origin("127.0.0.1", port, False), None, -1)
        assert fault.kind is FaultKind.CONNECT_TIMEOUT


@pytest.mark.parametrize(
    ("origin", "field"),
    [
        (Origin("api.test", 443, tls=True), "api.test"),
        (Origin("api.test", 80, tls=False), "api.test"),
        (Origin("api.test", 443, tls=False), "api.test:443"),
        (Origin("api.test", 8443, tls=True), "api.test:8443"),
        (Origin("::1", 443, tls=True), "[::1]"),
        (Origin("::1", 9, tls=True), "[::1]:9"),
    ],
)
def test_the_host_field_of_an_origin(origin: Origin, field: str) -> None:
    assert origin.authority() == field


def test_the_context_verifies() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


# --- faults


EXPORTED = {
    name: getattr(httpcore, name)
    for name in httpcore.__all__
    if isinstance(getattr(httpcore, name), type) and issubclass(getattr(httpcore, name), Exception)
}
NOT_THE_BACKENDS = {
    "ConnectionNotAvailable", "LocalProtocolError", "ProtocolError", "ProxyError",
    "RemoteProtocolError", "UnsupportedProtocol",
}  # fmt: skip
"""What its pool, its proxies and its HTTP connections raise; nothing that connects does."""


def mapped(kind: type[Exception]) -> bool:
    return any(issubclass(kind, row) for row, _ in faults())


def test_every_exception_of_httpcore_has_a_row_or_a_reason() -> None:
    assert {name for name, kind in EXPORTED.items() if not mapped(kind)} == NOT_THE_BACKENDS


def test_everything_that_the_backend_names_while_connecting_has_a_row() -> None:
    source = inspect.getsource(httpcore.TrioBackend.connect_tcp)
    named = {name for name in EXPORTED if re.search(rf"\b{name}\b", source)}
    assert named == {"ConnectTimeout", "ConnectError"}
    assert all(mapped(EXPORTED[name]) for name in named)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *(
            (kind("x"), FaultKind.CONNECT_TIMEOUT)
            for kind in EXPORTED.values()
            if issubclass(kind, httpcore.TimeoutException)
        ),
        *(
            (kind("x"), FaultKind.CONNECT)
            for kind in EXPORTED.values()
            if issubclass(kind, httpcore.NetworkError)
        ),
        (OSError("x"), FaultKind.CONNECT),
        (socket.gaierror("x"), FaultKind.CONNECT),
        (UnicodeError("label too long"), FaultKind.CONNECT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.value,
)
async def test_what_the_backend_raises_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: FaultKind
) -> None:
    async def fail(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(httpcore.TrioBackend, "connect_tcp", fail)
    async with hubbed() as (hub, _):
        fault = await fault_of(hub, Origin("h", 1, tls=False))
        assert fault.kind is kind
        assert fault.__cause__ is error
