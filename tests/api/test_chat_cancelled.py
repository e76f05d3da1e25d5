"""Cancel anywhere (habits, test 19): a story is stopped at its k-th step, for every k.

Wherever it stops, no socket is open, no permit is out, no route waits for a verdict, and the
request has left one receipt if it was admitted, and none if it was not.
"""

import contextlib
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.downstream.exchange import BodyLimits, Exchange
from kproxy.errors import Exhausted, Fault, FaultKind
from kproxy.outcome import Ending
from kproxy.transport.duplex import Broken
from kproxy.wire.events import RequestHead
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits
from tests.api.test_stream_rescue import CUT, MODELS, REST
from tests.fakes.caller import chat, request
from tests.fakes.cancel import cancelled_at
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.house import KEY, House
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import END, HEAD, ONE, ROLE, TWO, event

STREAM = [(0.5, HEAD + event(ROLE)), (0.5, event(ONE)), (0.5, event(TWO)), (0.5, END)]
SLOW = [(30.0, HEAD + event(ONE)), (1.0, END)]
DOWN = [(0.5, ok(b"", 503)), (0.0, Act.CLOSE)]
REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}'
)

# name: scripts of the two providers, and what the request adds
STORIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "whole": ({"cheap": [[[(1.0, REPLY)]]]}, {}),
    "stream": ({"cheap": [[STREAM]]}, {"stream": True}),
    "fallback": ({"cheap": [[DOWN]], "dear": [[STREAM]]}, {"stream": True}),
    "again": ({"cheap": [[DOWN], [STREAM]]}, {"stream": True, "model": "cheap/m"}),
    "hedge": (
        {"cheap": [[SLOW]], "dear": [[STREAM]]},
        {"stream": True, "x_kairosroute": {"strategy": "hedge", "first_token_ms": 5_000}},
    ),
    "race": (
        {"cheap": [[STREAM]], "dear": [[STREAM]]},
        {"stream": True, "x_kairosroute": {"strategy": "race"}},
    ),
    "race of whole answers": (
        {"cheap": [[[(1.0, REPLY)]]], "dear": [[[(1.0, REPLY)]]]},
        {"x_kairosroute": {"strategy": "race"}},
    ),
    "rescue": (
        {"cheap": [[CUT]], "dear": [[REST]]},
        {"stream": True, "x_kairosroute": {"rescue": True}},
    ),
    "compare": (
        {"cheap": [[[(1.0, REPLY)]]], "dear": [[DOWN], [[(1.0, REPLY)]]]},
        {"model": "kr-compare", "models": ["cheap/m", "dear/m"]},
    ),
    "probe": ({"cheap": [[STREAM]]}, {"stream": True}),
    "all down": ({"cheap": [[DOWN]], "dear": [[DOWN]]}, {"stream": True}),
}


async def serve_one(house: House, body: bytes) -> None:
    """A connection's handler for one request, in this very task, so that each step is the story's.

    The caller reads everything.
    """
    ours, theirs = duplex_pair()
    house.nursery.start_soon(read_on, theirs)
    reader = RequestReader(H1Limits())
    reader.receive_data(request("POST", "/v1/chat/completions", f"x-api-key: {KEY}", body=body))
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    try:
        await house.router.answer(Exchange(ours, reader, head, BodyLimits()))
    except Exhausted:
        pass
    finally:
        ours.close()


async def read_on(link: MemoryDuplex) -> None:
    with contextlib.suppress(Broken):
        while await link.receive():
            pass


@pytest.mark.parametrize("name", STORIES)
async def test_nothing_is_lost_wherever_a_story_stops(autojump_clock: MockClock, name: str) -> None:
    scripts, members = STORIES[name]
    body, step, goes_on = chat(**members), 0, True
    while goes_on:
        step += 1
        async with trio.open_nursery() as nursery:
            house = House(nursery, models=MODELS, scripts=scripts)
            if name == "probe":
                await close_route(house, "cheap/m")
            goes_on = await cancelled_at(step, partial(serve_one, house, body), every_task=True)
            await wait_all_tasks_blocked()
            assert house.at_rest()
            assert sum(one.open for one in house.providers.values()) == idle(house)
            check_receipts(house, cancelled=goes_on)
            known = house.service.routes.snapshot(trio.current_time())
            assert {known[key].breaker for key in known} <= {"closed", "open"}, "no probe is out"
            nursery.cancel_scope.cancel()
    assert step > 3


async def close_route(house: House, key: str) -> None:
    """Let a route's breaker open, and its rest pass: the next attempt is its probe."""
    down = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
    for _ in range(3):
        house.service.routes.admit(key, trio.current_time()).failed(
            trio.current_time(), down, accrued=True
        )
    await trio.sleep(6)


def idle(house: House) -> int:
    """Connections that were kept, which are nobody's."""
    return sum(
        pool.statistics().idle + pool.statistics().lingering for pool in house.pools.values()
    )


def check_receipts(house: House, *, cancelled: bool) -> None:
    if not cancelled:
        (receipt,) = house.receipts
        assert receipt.execution.status in (Ending.COMPLETE, Ending.FAULT)
        return
    asked = any(provider.dialled for provider in house.providers.values())
    assert len(house.receipts) == 1 if asked else len(house.receipts) <= 1
    for receipt in house.receipts:
        known = {Ending.CANCELLED, Ending.FAULT, Ending.SUPERSEDED, Ending.COMPLETE}
        assert {one.ending for one in receipt.attempts} <= known
        assert receipt.execution.cost is not None
