"""A worker's line: orders come down, and its end is one; what signals do to a worker."""

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.orders import Order
from kproxy.workers.child import by_line, code


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


async def test_orders_arrive_one_by_one(line: tuple[socket.socket, socket.socket]) -> None:
    parents, own = line
    with by_line(own) as told:
        parents.send(code(Order.RENEW) + code(Order.DRAIN))
        parents.send(code(Order.CUT))
        assert [await anext(told) for _ in range(3)] == [Order.RENEW, Order.DRAIN, Order.CUT]
    assert own.fileno() >= 0, "there may be more to say"


async def test_the_parents_end_is_a_drain_and_the_last_order(
    line: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    parents, own = line
    heard, news = [], trio.Event()

    async def listen() -> None:
        with by_line(own) as told:
            while True:
                heard.append(await anext(told))
                news.set()

    nursery.start_soon(listen)
    await wait_all_tasks_blocked()
    assert heard == []
    parents.close()
    await news.wait()
    await wait_all_tasks_blocked()
    assert heard == [Order.DRAIN]
    nursery.cancel_scope.cancel()


def test_every_order_has_a_byte_of_its_own() -> None:
    codes = {code(order) for order in Order}
    assert len(codes) == len(Order)
    assert all(len(one) == 1 for one in codes)
