"""Tasks that outlive who began them, and end with their owner."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.keeper import Keeper


class Sleeper:
    def __init__(self) -> None:
        self.began = False
        self.ended = False

    async def run(self) -> None:
        self.began = True
        try:
            await trio.sleep_forever()
        finally:
            self.ended = True


async def test_what_is_kept_outlives_who_began_it(autojump_clock: MockClock) -> None:
    keeper, one = Keeper(), Sleeper()
    async with trio.open_nursery() as owner:
        owner.start_soon(keeper.run)
        await keeper.keep(one)
        await wait_all_tasks_blocked()
        assert (one.began, one.ended) == (True, False)
        owner.cancel_scope.cancel()
    assert one.ended


@pytest.mark.parametrize("owned", [False, True])
async def test_what_nobody_takes_is_not_run(autojump_clock: MockClock, owned: bool) -> None:
    keeper, one = Keeper(), Sleeper()
    with trio.move_on_after(0) as ended:
        if owned:
            await keeper.run()
    assert ended.cancelled_caught is owned
    with trio.move_on_after(5) as scope:
        await keeper.keep(one)
    assert scope.cancelled_caught
    assert not one.began
