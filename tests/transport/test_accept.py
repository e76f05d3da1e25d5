"""Listening sockets: everyone who may come in, nobody more, whatever the machine says."""

import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.accept import PAUSE, AcceptLimits, Acceptor, open_listeners
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from tests.fakes.hubbed import until

pytestmark = pytest.mark.loopback


class Served:
    """An acceptor whose connections greet, and then echo until their caller ends."""

    def __init__(self, hub: Hub, listeners: Sequence[socket.socket], limits: AcceptLimits) -> None:
        self.hub = hub
        self.acceptor = Acceptor(hub, [Bound(one) for one in listeners], limits)
        self.port = listeners[0].getsockname()[1]
        self.ended = trio.Event()

    async def echo(self, link: Link) -> None:
        await link.send_all(b"hello")
        while data := await link.receive():
            if data == b"fail":
                raise ValueError("ours")
            await link.send_all(data)

    async def caller(self, address: str = "127.0.0.1") -> trio.SocketStream:
        """A connection from `address`, accepted or not."""
        return await trio.open_tcp_stream("127.0.0.1", self.port, local_address=address)

    async def gone(self, count: int) -> None:
        """Wait until no more than `count` connections are open."""
        await until(lambda: self.acceptor.statistics()[0] <= count)


@asynccontextmanager
async def serving(
    limits: AcceptLimits | None = None, listeners: Sequence[socket.socket] | None = None
) -> AsyncIterator[Served]:
    """An acceptor at work; at the end no socket is left."""
    hub = Hub()
    opened = open_listeners("127.0.0.1", 0) if listeners is None else listeners
    served = Served(hub, opened, limits or AcceptLimits())
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(served.acceptor.serve, served.echo)
        yield served
        nursery.cancel_scope.cancel()
    assert all(listener.fileno() == -1 for listener in opened)
    assert hub.statistics().sockets == 0
    assert served.acceptor.statistics()[0] == 0
    assert not served.acceptor._open  # an address is forgotten with its last connection
    hub.close()


async def test_a_burst_is_accepted_by_one_wake_up() -> None:
    async with serving() as served:
        callers = [await served.caller() for _ in range(50)]
        for caller in callers:
            assert await caller.receive_some() == b"hello"
        assert served.acceptor.statistics() == (50, 0)
        for caller in callers:
            await caller.aclose()
        await served.gone(0)


async def test_at_the_limit_and_one_past_it() -> None:
    async with serving(AcceptLimits(connections=3)) as served:
        callers = [await served.caller() for _ in range(3)]
        for caller in callers:
            assert await caller.receive_some() == b"hello"
        async with await served.caller() as fourth:
            assert await fourth.receive_some() == b""
        assert served.acceptor.statistics() == (3, 1)
        await callers.pop().aclose()
        await served.gone(2)
        callers.append(await served.caller())
        assert await callers[-1].receive_some() == b"hello"
        for caller in callers:
            await caller.aclose()


async def test_other_limits_under_way() -> None:
    async with serving(AcceptLimits(connections=1)) as served, await served.caller() as first:
        assert await first.receive_some() == b"hello"
        served.acceptor.change(AcceptLimits(connections=2))
        async with await served.caller() as second, await served.caller() as third:
            assert await second.receive_some() == b"hello"
            assert await third.receive_some() == b""


async def test_the_limit_of_one_address_is_not_anothers() -> None:
    async with serving(AcceptLimits(per_address=2)) as served:
        callers = [await served.caller() for _ in range(2)]
        for caller in callers:
            assert await caller.receive_some() == b"hello"
        async with await served.caller() as third, await served.caller("127.0.0.2") as other:
            assert await third.receive_some() == b""
            assert await other.receive_some() == b"hello"
            assert served.acceptor.statistics() == (3, 1)
        await callers.pop().aclose()
        await served.gone(1)
        async with await served.caller() as next_one:
            assert await next_one.receive_some() == b"hello"
        await callers.pop().aclose()


class Scarce(socket.socket):
    """A listener whose next calls of accept fail with these errors."""

    errors: list[int]
    calls: int

    @classmethod
    def of(cls, listener: socket.socket, *errors: int) -> "Scarce":
        scarce = cls(fileno=listener.detach())
        scarce.setblocking(False)
        scarce.errors = list(errors)
        scarce.calls = 0
        return scarce

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "scripted")
        return super().accept()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EINVAL])
async def test_without_descriptors_it_waits_a_moment_and_goes_on(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    listener = Scarce.of(open_listeners("127.0.0.1", 0)[0], code, code)
    async with serving(listeners=[listener]) as served:
        async with await served.caller() as caller:
            for tries in (1, 2):
                await until(lambda tries=tries: listener.calls >= tries)
                mock_clock.jump(PAUSE * 0.75)
                await wait_all_tasks_blocked()
                assert listener.calls == tries
                mock_clock.jump(PAUSE * 0.25)
            assert await caller.receive_some() == b"hello"
        assert len(caplog.records) == 2
        await served.gone(0)


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH])
async def test_a_caller_who_left_before_we_came_costs_nothing(code: int) -> None:
    listener = Scarce.of(open_listeners("127.0.0.1", 0)[0], code, code)
    async with serving(listeners=[listener]) as served, await served.caller() as caller:
        assert await caller.receive_some() == b"hello"


async def test_stopping_accepts_nobody_more_and_leaves_who_is_there() -> None:
    async with serving() as served:
        async with await served.caller() as caller:
            assert await caller.receive_some() == b"hello"
            served.acceptor.stop()
            served.acceptor.stop()
            with pytest.raises(OSError, match="failed"):
                await served.caller()
            await caller.send_all(b"still here")
            assert await caller.receive_some() == b"still here"
        await served.gone(0)


async def test_stopping_while_it_waits_for_descriptors(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Scarce.of(open_listeners("127.0.0.1", 0)[0], errno.EMFILE)
    async with serving(listeners=[listener]) as served, await served.caller():
        await until(lambda: listener.calls)
        served.acceptor.stop()
        mock_clock.jump(PAUSE)
        await wait_all_tasks_blocked()
        assert listener.calls == 1
    assert len(caplog.records) == 1


async def test_one_connections_failure_is_logged_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served, await served.caller() as good, await served.caller() as bad:
        for caller in (good, bad):
            assert await caller.receive_some() == b"hello"
        await bad.send_all(b"fail")
        assert await bad.receive_some() == b""
        assert [record.name for record in caplog.records] == ["kproxy.accept"]
        await good.send_all(b"fine")
        assert await good.receive_some() == b"fine"


async def test_cancelling_closes_every_connection() -> None:
    async with serving() as served:
        caller = await served.caller()
        assert await caller.receive_some() == b"hello"
    assert await caller.receive_some() == b""
    await caller.aclose()


def test_a_free_port_is_one_port_on_every_address() -> None:
    listeners = open_listeners("localhost", 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    assert len({listener.getsockname()[0] for listener in listeners}) == len(listeners)
    for listener in listeners:
        listener.close()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    (taken,) = open_listeners("127.0.0.1", 0)
    with taken, pytest.raises(OSError, match="in use"):
        open_listeners("127.0.0.1", taken.getsockname()[1])


async def test_what_is_accepted_has_the_listeners_send_buffer() -> None:
    listeners = open_listeners("127.0.0.1", 0)
    async with serving(AcceptLimits(send_buffer=65_536), listeners):
        size = listeners[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert 65_536 <= size <= 131_072  # Linux doubles it for its own books
