"""Callers who give up at any moment, thousands of them: no slot is lost."""

import random  # noqa: TID251 - the storm is seeded, each test has its own

import pytest
import trio
from trio.testing import MockClock

from kproxy.errors import Fault
from kproxy.transport.pool import LINGER, PoolParams
from kproxy.wire.chunked import LengthBody
from tests.fakes.pooled import AT_REST, LAST, Room, open_body


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hold", [0.0, 0.5], ids=["cancelled anywhere", "cancelled at the gate"])
async def test_a_storm_of_cancellations_loses_no_slot(
    autojump_clock: MockClock, nursery: trio.Nursery, seed: int, hold: float
) -> None:
    """What leaves httpcore's pool of 10 with no slot at all (house plan, section 7)."""
    room = Room(nursery, PoolParams(limit=10, connect=0.02, idle=0.2), connect=0.01)
    chance = random.Random(seed)
    ends = {"faults": 0, "cancelled": 0, "done": 0}

    async def call() -> None:
        with trio.move_on_after(chance.uniform(0, 0.06)) as scope:
            try:
                lease = await room.lease(trio.current_time() + chance.uniform(0, 0.06))
            except Fault:
                ends["faults"] += 1
                return
            try:
                await trio.sleep(chance.choice((0, 0.01, 0.02, hold)))
                body = chance.choice((LengthBody(0), open_body(), open_body(LAST + b"x")))
                lease.finish(body, keep_alive=chance.random() < 0.8)
            finally:
                lease.close()
            ends["done"] += 1
        ends["cancelled"] += scope.cancelled_caught

    for _ in range(60):
        async with trio.open_nursery() as callers:
            for _ in range(40):
                callers.start_soon(call)
    assert min(ends.values()) > 50, ends
    await trio.sleep(LINGER + 0.2)
    assert room.pool.statistics() == AT_REST
    assert room.provider.open == 0
    leases = [await room.lease(trio.current_time() + 1) for _ in range(10)]
    assert room.pool.statistics().leased == len(leases)
