"""Attempts over HTTP/2: the same answers, deadlines and faults as over HTTP/1.1."""

import contextlib
import math
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.transport.dial import Origin
from kproxy.transport.duplex import Duplex
from kproxy.transport.pool import PoolStatistics
from kproxy.upstream.attempt import Attempt
from kproxy.wire.chunked import ChunkedBody
from kproxy.wire.frame import chunk
from kproxy.wire.h2_frames import Code, frame_bytes
from tests.fakes.attempted import attempt, opened, whole
from tests.fakes.cancel import cancelled_at
from tests.fakes.h2_answers import left
from tests.fakes.h2_provider import SECURE, Site, Turn, answering, site

SHARED = PoolStatistics(leased=0, idle=0, lingering=0, shared=1)

Play = Callable[[Turn], Awaitable[None]]


async def failure(made: Site, **seconds: float) -> tuple[FaultKind, float]:
    """How a whole attempt fails, and after how many seconds."""
    start = trio.current_time()
    with pytest.raises(Fault) as fault:
        await whole(attempt(made, **seconds))  # type: ignore[arg-type]
    return fault.value.kind, trio.current_time() - start


def ask(made: Site, **seconds: float) -> Attempt:
    return attempt(made, **seconds)  # type: ignore[arg-type]


# --- well


async def test_a_whole_answer(autojump_clock: MockClock) -> None:
    async with site(answering(b"hello", wait=2)) as made:
        start = trio.current_time()
        one = ask(made)
        assert await whole(one) == b"hello"
        assert (one.times.head, one.sent, one.accepted) == (start + 2, True, True)
        await wait_all_tasks_blocked()
        assert made.pool.statistics() == SHARED
        (turn,) = made.provider.turns
        assert turn.fields[":authority"] == "provider.test"
        assert turn.fields["content-length"] == "2"
        assert turn.body == b"{}"


async def test_a_stream_whose_end_comes_late(autojump_clock: MockClock) -> None:
    """The answer in it is complete: nobody waits for END_STREAM, and it need not be reset."""

    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(b"token")
        await trio.sleep(0.5)
        await turn.data(b"", end=True)

    async with site(play) as made:
        one = await opened(made)  # type: ignore[arg-type]
        assert isinstance(one.body, ChunkedBody)
        assert await one.next_piece() == chunk(b"token")
        one.body.feed(chunk(b"token"))
        one.finish()
        assert made.pool.statistics() == PoolStatistics(1, 0, 1, 1)
        await trio.sleep(0.75)
        assert made.pool.statistics() == SHARED
        assert made.provider.turns[0].reset is None


async def test_one_that_never_comes(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(b"token")

    async with site(play) as made:
        one = await opened(made)  # type: ignore[arg-type]
        one.body.feed(await one.next_piece())
        one.finish()
        start = trio.current_time()
        await trio.sleep(5)
        (turn,) = made.provider.turns
        assert (turn.reset, turn.at) == (Code.CANCEL, start + 1)
        assert made.pool.statistics() == SHARED


async def test_a_refusal(autojump_clock: MockClock) -> None:
    body = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
    async with site(answering(body, 400)) as made:
        with pytest.raises(Rejected):
            await ask(made).open(made.endpoint.request(b"{}", []))
        await wait_all_tasks_blocked()
        assert made.pool.statistics() == SHARED


@pytest.mark.parametrize("status", [204, 304])
async def test_a_head_that_is_its_own_end(autojump_clock: MockClock, status: int) -> None:
    """END_STREAM never comes, and nobody waits for it."""

    async def play(turn: Turn) -> None:
        await turn.asked()
        await turn.head(status)

    async with site(play) as made:
        start = trio.current_time()
        with pytest.raises(Fault):
            await ask(made).open(made.endpoint.request(b"{}", []))
        assert trio.current_time() == start
        await wait_all_tasks_blocked()
        assert made.pool.statistics() == SHARED
        assert made.provider.turns[0].reset == Code.CANCEL


# --- faults


def cutting(code: int, *, head: bool = False) -> Play:
    async def play(turn: Turn) -> None:
        await turn.asked()
        if head:
            await turn.head()
            await turn.data(b"some")
        await turn.cut(code)

    return play


async def malformed(turn: Turn) -> None:
    await turn.asked()
    await turn.head(200, ("Upper", "x"))


async def short(turn: Turn) -> None:
    await turn.head(200, ("content-length", "9"))
    await turn.data(b"some", end=True)


async def lost(turn: Turn) -> None:
    await turn.head()
    await turn.data(b"some")
    turn.server.link.reset()


async def ended(turn: Turn) -> None:
    await turn.head()
    await turn.data(b"some")
    await wait_all_tasks_blocked()
    turn.server.link.close()


async def unready(turn: Turn) -> None:
    await turn.asked()


async def slow(turn: Turn) -> None:
    await trio.sleep(6)
    await turn.head()


@pytest.mark.parametrize(
    ("play", "failed"),
    [
        pytest.param(cutting(Code.INTERNAL_ERROR), (FaultKind.RESET, 0), id="reset"),
        pytest.param(
            cutting(Code.INTERNAL_ERROR, head=True), (FaultKind.RESET, 0), id="reset inside"
        ),
        pytest.param(
            cutting(Code.NO_ERROR, head=True), (FaultKind.CLOSED_EARLY, 0), id="no error inside"
        ),
        pytest.param(cutting(Code.ENHANCE_YOUR_CALM), (FaultKind.UNAVAILABLE, 0), id="calm"),
        pytest.param(cutting(Code.REFUSED_STREAM), (FaultKind.CONNECT, 0), id="refused twice"),
        pytest.param(malformed, (FaultKind.BAD_FRAMING, 0), id="a malformed head"),
        pytest.param(short, (FaultKind.BAD_FRAMING, 0), id="a body shorter than its length"),
        pytest.param(lost, (FaultKind.RESET, 0), id="the connection breaks inside"),
        pytest.param(ended, (FaultKind.CLOSED_EARLY, 0), id="it ends inside"),
        pytest.param(unready, (FaultKind.FIRST_TOKEN_TIMEOUT, 20), id="silence"),
        pytest.param(slow, (FaultKind.GAP_TIMEOUT, 11), id="a gap"),
    ],
)
async def test_faults(
    autojump_clock: MockClock, play: Play, failed: tuple[FaultKind, float]
) -> None:
    async with site(play) as made:
        assert await failure(made) == failed


async def test_a_fault_before_a_token(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await trio.sleep(1)
        await turn.cut(Code.PROTOCOL_ERROR)

    async with site(play) as made:
        one = await opened(made)  # type: ignore[arg-type]
        with pytest.raises(Fault) as fault:
            await one.next_piece()
        assert fault.value.kind is FaultKind.BAD_FRAMING
        one.close()


# --- once more


@pytest.mark.parametrize("how", ["refused", "leaving"])
async def test_what_was_not_looked_at_goes_once_more(autojump_clock: MockClock, how: str) -> None:
    """Late as it may be, and on a connection that is in use."""
    turns = count(1)

    async def play(turn: Turn) -> None:
        number = next(turns)
        await turn.asked()
        await trio.sleep(5)
        if number == 2 and how == "refused":
            await turn.cut(Code.REFUSED_STREAM)
        elif number == 2:
            turn.server.engine.reset_stream(turn.stream)
            turn.server.engine.data_to_send()
            await turn.server.send(left(1))
        else:
            await answering(b"hello")(turn)

    async with site(play) as made, trio.open_nursery() as both:
        other = ask(made)
        both.start_soon(whole, other)
        await wait_all_tasks_blocked()
        assert await whole(ask(made)) == b"hello"
        assert made.provider.dialled == (1 if how == "refused" else 2)


async def test_what_was_not_looked_at_is_not_charged(autojump_clock: MockClock) -> None:
    async with site(cutting(Code.REFUSED_STREAM)) as made:
        one = ask(made)
        with pytest.raises(Fault):
            await whole(one)
        assert not one.sent
        assert len(made.provider.turns) == 2, "once more, and no more"


async def test_a_stale_connection(autojump_clock: MockClock) -> None:
    """Idle it was closed, in the instant in which we write to it."""

    async def play(turn: Turn) -> None:
        if turn.stream == 3 and len(made.provider.servers) == 1:
            turn.server.link.close()
        else:
            await answering(b"hello")(turn)

    async with site(play) as made:
        assert await whole(ask(made)) == b"hello"
        await trio.sleep(9)
        assert await whole(ask(made)) == b"hello"
        assert made.provider.dialled == 2


async def test_a_connection_that_breaks_in_use_is_no_stale_one(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()
        if turn.stream == 3:
            turn.server.link.reset()

    async with site(play) as made, trio.open_nursery() as both:

        async def fail() -> None:
            assert (await failure(made))[0] is FaultKind.RESET

        both.start_soon(fail)
        await wait_all_tasks_blocked()
        await fail()
        assert made.provider.dialled == 1


async def test_a_provider_that_wants_http_1(autojump_clock: MockClock) -> None:
    """The request goes once more, on a connection that offers nothing else."""
    dialled = []

    async def dial(origin: Origin, deadline: float) -> Duplex:
        dialled.append(origin)
        await trio.lowlevel.checkpoint()
        raise Fault(FaultKind.CONNECT, "refused")

    async with site(cutting(Code.HTTP_1_1_REQUIRED)) as made:
        made.pool._dial = dial
        assert await failure(made) == (FaultKind.CONNECT, 0)
        assert dialled == [SECURE]


# --- cut and cancelled anywhere


async def test_an_answer_that_is_cut_at_any_byte_is_a_fault(autojump_clock: MockClock) -> None:
    """The bytes of a whole answer, and the connection ends behind any of them."""
    whole_ones, faults = 0, set()
    for place in count(0):
        size = math.inf

        async def play(turn: Turn, place: int = place) -> None:
            nonlocal size
            await turn.asked()
            await turn.server.send()
            engine = turn.server.engine
            engine.send_headers(1, [(":status", "200"), ("content-length", "10")])
            engine.send_data(1, b"01234")
            engine.send_data(1, b"56789", end_stream=True)
            said = engine.data_to_send() + frame_bytes(0x6, 0, 0, bytes(8))
            size = len(said)
            await turn.server.send(said[:place])
            turn.server.link.close()

        async with site(play) as made:
            try:
                assert await whole(ask(made)) == b"0123456789"
                whole_ones += 1
            except Fault as fault:
                faults.add(fault.kind)
                assert not whole_ones
        if place >= size:
            break
    assert faults == {FaultKind.CLOSED_EARLY}
    assert whole_ones == 18, "the PING behind it may be cut"


PLAYS: dict[str, Play] = {
    "whole": answering(b"hello", wait=1),
    "refused": cutting(Code.REFUSED_STREAM),
    "reset": cutting(Code.CANCEL, head=True),
    "an error": answering(b"no", 500, wait=1),
}


@pytest.mark.parametrize("name", PLAYS)
async def test_cancelled_anywhere_nothing_is_left(autojump_clock: MockClock, name: str) -> None:
    for step in count(1):
        async with site(PLAYS[name], connect=1, limit=1) as made:
            one = ask(made)

            async def story(one: Attempt = one) -> None:
                with contextlib.suppress(Fault):
                    await whole(one)

            cancelled = await cancelled_at(step, story)
        if not cancelled:
            break
    assert step > 4
