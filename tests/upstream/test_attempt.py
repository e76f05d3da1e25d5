"""One attempt: what it reads, its deadlines to the second, and nothing left open at any end."""

import contextlib
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.pool import PoolStatistics
from kproxy.upstream.attempt import Attempt
from kproxy.wire.frame import LAST_CHUNK, chunk
from tests.fakes.attempted import AT_REST, CHUNKED, KEPT, attempt, failure, keep, opened, whole
from tests.fakes.cancel import cancelled_at
from tests.fakes.scripted import Act, Answer, Reached, head, ok

# --- well


async def test_a_whole_answer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    start = trio.current_time()
    reached = Reached.by(nursery, [[(2, head(200, b"content-length: 5")), (3, b"he"), (4, b"llo")]])
    one = await opened(reached)
    assert (one.times.started, one.times.head) == (start, start + 2)
    assert await one.read_whole() == b"hello"
    assert trio.current_time() == start + 9
    one.finish()
    one.close()
    assert reached.pool.statistics() == KEPT
    (connection,) = reached.provider.connections
    assert connection.requests == [reached.endpoint.request(b"{}", [])]


async def test_connecting_is_noted(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    reached = Reached.by(nursery, [[(1, ok(b""))]], connect=2)
    one = await opened(reached)
    spent = one.times.connected - one.times.started, one.times.head - one.times.connected
    assert spent == (2, 1)
    one.close()


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        ([(0, ok(b""))], b"", True),
        ([(0, ok(b"hello"))], b"hello", True),
        ([(0, ok(b"hello", 200, b"connection: close"))], b"hello", False),
        ([(0, ok(b"hello") + b"HTTP/1.1 200")], b"hello", False),
        ([(0, ok(b"hel")[:-1]), (1, b"lo")], b"hel", False),
        ([(0, CHUNKED + chunk(b"hel")), (1, chunk(b"lo")), (1, LAST_CHUNK)], b"hello", True),
        ([(0, CHUNKED + chunk(b"hello") + LAST_CHUNK + b"x")], b"hello", False),
        ([(0, head(200)), (1, b"hel"), (1, b"lo"), (1, Act.END)], b"hello", False),
        ([(0, head(200)), (0, Act.END)], b"", False),
        ([(0, head(103, b"link: x")), (1, ok(b"hello"))], b"hello", True),
        ([(0, head(100) + head(102) + ok(b"hello"))], b"hello", True),
        (
            [(0, one) for one in (b"H", b"TTP/1.1 200 OK\r\nconten", b"t-length: 0\r\n\r\n")],
            b"",
            True,
        ),
    ],
)
async def test_bodies_and_whether_their_connection_is_kept(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer, body: bytes, kept: bool
) -> None:
    reached = Reached.by(nursery, [answer])
    one = await opened(reached)
    assert await one.read_whole() == body
    one.finish()
    await wait_all_tasks_blocked()
    assert reached.pool.statistics() == (KEPT if kept else AT_REST)


async def test_a_stream_up_to_its_first_token(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pieces = [chunk(b"role"), chunk(b"token"), LAST_CHUNK]
    reached = Reached.by(nursery, [[(0, CHUNKED + pieces[0]), (19, pieces[1]), (0.5, pieces[2])]])
    one = await opened(reached)
    got = [await one.next_piece() for _ in range(2)]
    assert got == pieces[:2]
    for piece in got:
        one.body.feed(piece)
    one.finish()  # [DONE] has come, the last chunk has not
    assert reached.pool.statistics() == PoolStatistics(leased=1, idle=0, lingering=1)
    await trio.sleep(0.75)
    assert reached.pool.statistics() == KEPT


# --- deadlines, to the second


@pytest.mark.parametrize(
    ("seconds", "connect", "answer", "failed"),
    [
        pytest.param({}, 9, [], (FaultKind.CONNECT_TIMEOUT, 5), id="connect"),
        pytest.param({"first": 3}, 9, [], (FaultKind.CONNECT_TIMEOUT, 3), id="connect, first"),
        pytest.param({}, 0, [], (FaultKind.FIRST_TOKEN_TIMEOUT, 20), id="no head"),
        pytest.param({}, 4, [], (FaultKind.FIRST_TOKEN_TIMEOUT, 20), id="connecting is part of it"),
        pytest.param({"total": 20}, 0, [], (FaultKind.TOTAL_TIMEOUT, 20), id="both at once"),
        pytest.param({"total": 7}, 0, [], (FaultKind.TOTAL_TIMEOUT, 7), id="total first"),
        pytest.param(
            {}, 0, [(9, b"HTTP/1.1 2"), (9, b"00 "), (9, b"OK")],
            (FaultKind.FIRST_TOKEN_TIMEOUT, 20), id="a head that drips",
        ),
        pytest.param(
            {}, 0, [(6, head(200, b"content-length: 9"))], (FaultKind.GAP_TIMEOUT, 11), id="gap"
        ),
        pytest.param(
            {}, 0, [(6, head(200, b"content-length: 9")), (4, b"x"), (4, b"y")],
            (FaultKind.GAP_TIMEOUT, 19), id="gap after bytes",
        ),
        pytest.param(
            {"total": 20}, 0, [(0, head(200)), *((4, b"x") for _ in range(9))],
            (FaultKind.TOTAL_TIMEOUT, 20), id="total inside",
        ),
    ],
)  # fmt: skip
async def test_deadlines(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    seconds: dict[str, float],
    connect: float,
    answer: Answer,
    failed: tuple[FaultKind, float],
) -> None:
    assert await failure(Reached.by(nursery, [answer], connect=connect), **seconds) == failed


async def test_silence_between_head_and_token_is_the_first_tokens(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    start = trio.current_time()
    reached = Reached.by(nursery, [[(1, CHUNKED), (10, chunk(b"role"))]])
    one = await opened(reached)
    await one.next_piece()
    with pytest.raises(Fault) as fault:
        await one.next_piece()
    assert (fault.value.kind, trio.current_time() - start) == (FaultKind.FIRST_TOKEN_TIMEOUT, 20)
    one.close()
    assert reached.provider.connections[0].closed == start + 20


async def test_what_silence_means_depends_on_the_whole(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = attempt(Reached.by(nursery), total=10)
    assert one.silence().kind is FaultKind.GAP_TIMEOUT
    await trio.sleep(10)
    assert one.silence().kind is FaultKind.TOTAL_TIMEOUT


async def test_waiting_at_the_gate_is_bounded(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b""))]], limit=1)
    one = await opened(reached)
    start = trio.current_time()
    with pytest.raises(Fault) as fault:
        await opened(reached, first=3)
    assert (fault.value.kind, trio.current_time() - start) == (FaultKind.POOL_TIMEOUT, 3)
    one.close()
    assert reached.pool.statistics() == AT_REST


# --- ends


async def test_closing_is_idempotent_and_immediate(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reached = Reached.by(nursery, [[(0, CHUNKED)]])
    one = await opened(reached)
    one.close()
    one.close()
    one.finish()
    assert reached.pool.statistics() == AT_REST
    assert reached.provider.connections[0].closed == trio.current_time()


async def test_an_attempt_says_where_it_stands(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b""))]])
    one = attempt(reached)
    assert repr(one) == "<Attempt acme/m idle>"
    await one.open(reached.endpoint.request(b"{}", []))
    assert repr(one) == "<Attempt acme/m answered>"
    one.close()


STORIES: dict[str, list[list[Answer]]] = {
    "whole": [[[(1, ok(b"hello"))]]],
    "chunked": [[[(1, CHUNKED), (1, chunk(b"x")), (1, LAST_CHUNK)]]],
    "stale": [[[(0, ok(b"1"))], [(1, Act.CLOSE)]], [[(1, ok(b"2"))]]],
    "refused": [[[(1, head(500, b"content-length: 2")), (1, b"no")]]],
}


@pytest.mark.parametrize("name", STORIES)
async def test_cancelled_anywhere_the_slot_is_back_and_the_connection_closed(
    autojump_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    for step in count(1):
        reached = Reached.by(nursery, *STORIES[name], connect=1, limit=1)
        if name == "stale":
            await keep(reached)
        one = attempt(reached)

        async def story(one: Attempt = one) -> None:
            with contextlib.suppress(Fault):
                await whole(one)

        cancelled = await cancelled_at(step, story)
        await wait_all_tasks_blocked()
        statistics = reached.pool.statistics()
        assert (statistics.leased, statistics.lingering) == (0, 0)
        assert reached.provider.open == statistics.idle
        if not cancelled:
            break
    assert statistics.idle == 1
    assert step > 4
