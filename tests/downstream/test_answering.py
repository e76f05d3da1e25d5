"""What a handler raises becomes the response; of which side a broken connection was decides."""

import trio
from trio.testing import MockClock

from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.transport.duplex import Broken, Expired
from tests.fakes.duplex import duplex_pair
from tests.fakes.h2_caller import calling
from tests.fakes.talk import Scripted, get, talk


async def elsewhere(exchange: Exchange) -> None:
    """Somebody else's connection broke: that is an error of ours, and no caller that left."""
    await trio.lowlevel.checkpoint()
    raise Broken(duplex_pair()[0], "not the caller's")


async def here(exchange: Exchange) -> None:
    await trio.lowlevel.checkpoint()
    raise Expired(exchange.link)


class TestOverHttp1:
    def test_a_connection_elsewhere(self) -> None:
        handler = Scripted(it=elsewhere)
        talk(handler, get("/it"), 1, lambda told: told.caller.end())
        assert handler.seen == [("/it", ExchangeState.DONE, 500)]

    def test_the_callers(self) -> None:
        handler = Scripted(it=here)
        assert talk(handler, get("/it")).raw == b""
        assert handler.seen == [("/it", ExchangeState.WAITING, 0)]


class TestOverHttp2:
    async def test_a_connection_elsewhere(self, autojump_clock: MockClock) -> None:
        handler = Scripted(it=elsewhere)
        async with calling(handler) as caller:
            assert (await caller.whole(await caller.ask("/it"))).status == 500

    async def test_the_callers(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted(it=here)) as caller:
            got = await caller.whole(await caller.ask("/it"))
            assert (got.status, got.reset) == (0, 8)

    async def test_nothing_at_all(self, autojump_clock: MockClock) -> None:
        async def leaves(exchange: Exchange) -> None:
            await trio.lowlevel.checkpoint()

        async with calling(Scripted(it=leaves)) as caller:
            assert (await caller.whole(await caller.ask("/it"))).status == 500
