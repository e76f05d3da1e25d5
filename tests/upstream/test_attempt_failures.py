"""Providers that break off, speak nonsense, refuse, or closed a connection that we kept."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.transport.dial import Origin, dialler
from kproxy.transport.duplex import Broken
from kproxy.transport.pool import Pool, PoolParams
from kproxy.transport.timers import Timers
from kproxy.upstream.attempt import ERROR_BODY, STALE, Attempt, Timing
from kproxy.upstream.endpoint import AnswerLimits
from kproxy.wire.frame import LAST_CHUNK, chunk
from tests.fakes.attempted import AT_REST, CHUNKED, KEPT, failure, keep, opened, whole
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.hubbed import hubbed
from tests.fakes.scripted import ORIGIN, Act, Answer, Reached, endpoint, head, ok

# --- broken


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([(1, Act.CLOSE)], FaultKind.CLOSED_EARLY),
        ([(1, Act.END)], FaultKind.CLOSED_EARLY),
        ([(1, Act.RESET)], FaultKind.RESET),
        ([(0, b"HTTP/1.1 200 OK\r\n"), (1, Act.CLOSE)], FaultKind.CLOSED_EARLY),
        ([(0, head(103)), (1, Act.CLOSE)], FaultKind.CLOSED_EARLY),
        ([(1, b"SSH-2.0-OpenSSH\r\n\r\n")], FaultKind.BAD_FRAMING),
        ([(1, b"\0" * 100)], FaultKind.BAD_FRAMING),
        ([(1, b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 40_000)], FaultKind.BAD_FRAMING),
        ([(1, head(200, *(b"x: %d" % n for n in range(200))))], FaultKind.BAD_FRAMING),
        ([(1, head(101))], FaultKind.BAD_FRAMING),
        ([(1, head(103) * 100)], FaultKind.BAD_FRAMING),
        ([(1, CHUNKED[:-2] + b"content-length: 1\r\n\r\n")], FaultKind.BAD_FRAMING),
        ([(1, head(200, b"content-length: 1", b"content-length: 2"))], FaultKind.BAD_FRAMING),
        ([(1, head(200, b"content-length: -1"))], FaultKind.BAD_FRAMING),
        ([(1, head(200, b"content-length: 9") + b"x"), (1, Act.END)], FaultKind.CLOSED_EARLY),
        ([(1, head(200, b"content-length: 9") + b"x"), (1, Act.RESET)], FaultKind.RESET),
        ([(1, CHUNKED + chunk(b"x")), (1, Act.END)], FaultKind.CLOSED_EARLY),
        ([(1, CHUNKED + chunk(b"x")), (1, b"zz\r\n")], FaultKind.BAD_FRAMING),
        ([(1, CHUNKED + b"5\r\nhellooo")], FaultKind.BAD_FRAMING),
        ([(1, CHUNKED + b"fffffffffffffffff\r\n")], FaultKind.BAD_FRAMING),
        ([(1, CHUNKED[:-2] + b"content-encoding: gzip\r\n\r\n")], FaultKind.BAD_BODY),
    ],
)  # fmt: skip
async def test_a_provider_that_breaks_off_or_speaks_nonsense(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer, kind: FaultKind
) -> None:
    found, _ = await failure(Reached.by(nursery, [answer]))
    assert found is kind


async def test_a_refused_connection_is_a_fault(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    assert await failure(Reached.by(nursery)) == (FaultKind.CONNECT, 0)


async def test_a_reset_before_the_token(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = await opened(Reached.by(nursery, [[(0, CHUNKED), (1, Act.RESET)]]))
    with pytest.raises(Fault) as fault:
        await one.next_piece()
    assert fault.value.kind is FaultKind.RESET
    one.close()


async def test_an_end_before_the_token_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = await opened(Reached.by(nursery, [[(0, CHUNKED), (1, Act.END)]]))
    assert await one.next_piece() == b""
    one.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("over", [0, 1])
async def test_an_answer_at_the_limit_and_one_past_it(
    autojump_clock: MockClock, nursery: trio.Nursery, chunked: bool, over: int
) -> None:
    body = b"x" * (1000 + over)
    answer = CHUNKED + chunk(body) + LAST_CHUNK if chunked else ok(body)
    reached = Reached.by(nursery, [[(0, answer)]])
    reached.endpoint = endpoint(reached.pool, AnswerLimits(body=1000))
    if over:
        assert (await failure(reached))[0] is FaultKind.TOO_LARGE
    else:
        one = await opened(reached)
        assert await one.read_whole() == body
        one.finish()


# --- a kept connection


@pytest.mark.parametrize("act", [Act.CLOSE, Act.END, Act.RESET])
async def test_a_kept_connection_that_turns_out_closed_is_replaced_once(
    autojump_clock: MockClock, nursery: trio.Nursery, act: Act
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b"1"))], [(1, act)]], [[(2, ok(b"2"))]])
    await keep(reached)
    start = trio.current_time()
    one = await opened(reached)
    assert await one.read_whole() == b"2"
    assert trio.current_time() - start == 3
    one.finish()
    assert [len(each.requests) for each in reached.provider.connections] == [2, 1]
    assert reached.pool.statistics() == KEPT


async def test_a_kept_connection_that_closes_late_is_a_fault(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The provider may have worked on the request: it is not sent twice."""
    script: list[list[Answer]] = [[[(0, ok(b"1"))], [(STALE + 0.5, Act.CLOSE)]], [[(0, ok(b"2"))]]]
    reached = Reached.by(nursery, *script)
    await keep(reached)
    assert await failure(reached) == (FaultKind.CLOSED_EARLY, STALE + 0.5)
    assert len(reached.provider.connections) == 1


async def test_what_replaces_it_is_no_other_kept_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stale: list[Answer] = [[(0, ok(b"1"))], [(1, Act.CLOSE)]]
    reached = Reached.by(nursery, stale, stale, [[(0, ok(b"2"))]])
    both = [await opened(reached) for _ in range(2)]
    for one in both:
        await one.read_whole()
        one.finish()
    one = await opened(reached)
    assert await one.read_whole() == b"2"
    one.close()
    assert [len(each.requests) for each in reached.provider.connections] == [1, 2, 1]


async def test_a_fresh_connection_that_closes_is_a_fault(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    script: list[list[Answer]] = [[[(0, ok(b"1"))], [(1, Act.CLOSE)]], [[(1, Act.CLOSE)]]]
    reached = Reached.by(nursery, *script, [[(0, ok(b"never"))]])
    await keep(reached)
    assert await failure(reached) == (FaultKind.CLOSED_EARLY, 2)
    assert len(reached.provider.connections) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([(1, b"HTTP"), (1, Act.CLOSE)], FaultKind.CLOSED_EARLY),
        ([(1, head(103)), (1, Act.RESET)], FaultKind.RESET),
        ([(1, b"garbage\r\n\r\n")], FaultKind.BAD_FRAMING),
    ],
)
async def test_once_a_byte_was_heard_nothing_is_sent_again(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer, kind: FaultKind
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b"1"))], answer], [[(0, ok(b"never"))]])
    await keep(reached)
    assert (await failure(reached))[0] is kind
    assert len(reached.provider.connections) == 1


async def test_a_silent_kept_connection_is_not_tried_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b"1"))], []], [[(0, ok(b"never"))]])
    await keep(reached)
    assert await failure(reached) == (FaultKind.FIRST_TOKEN_TIMEOUT, 20)
    assert len(reached.provider.connections) == 1


# --- refusals


async def refusal(reached: Reached, **seconds: float) -> Fault | Rejected:
    """What a status other than 200 becomes; no slot is out then."""
    with pytest.raises((Fault, Rejected)) as raised:
        await opened(reached, **seconds)
    await wait_all_tasks_blocked()
    assert reached.pool.statistics().leased == 0
    return raised.value


async def test_a_refusal_is_read_and_keeps_its_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    error = b'{"error":{"message":"No.","code":"bad","param":"messages"}}'
    reached = Reached.by(
        nursery,
        [[(0, ok(error, 400))], [(0, ok(b"", 429, b"retry-after: 7"))], [(0, ok(b"", 500))]],
    )
    rejected = await refusal(reached)
    assert isinstance(rejected, Rejected)
    assert (rejected.status, rejected.code, rejected.message) == (400, "bad", "No.")
    limited = await refusal(reached)
    assert isinstance(limited, Fault)
    assert (limited.kind, limited.retry_after) == (FaultKind.RATE_LIMITED, 7.0)
    assert isinstance(await refusal(reached), Fault)
    assert len(reached.provider.connections) == 1
    assert reached.pool.statistics() == KEPT


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        pytest.param([(0, ok(b"x" * (ERROR_BODY + 1), 400))], 0, id="too long, by its length"),
        pytest.param([(0, head(400)), *((0, b"x" * 9999),) * 9], 0, id="too long, without one"),
        pytest.param([(0, head(400, b"content-length: 9"))], 5, id="never comes"),
        pytest.param([(0, head(400)), *((4, b"x"),) * 99], 20, id="drips"),
        pytest.param([(0, head(400, b"content-length: 9")), (1, Act.RESET)], 1, id="breaks"),
        pytest.param([(0, head(400, b"content-length: 9")), (1, Act.END)], 1, id="ends early"),
    ],
)
async def test_a_refusal_that_cannot_be_read_costs_its_connection_and_keeps_its_status(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer, seconds: float
) -> None:
    start = trio.current_time()
    reached = Reached.by(nursery, [answer])
    rejected = await refusal(reached)
    assert isinstance(rejected, Rejected)
    assert rejected.message == "The provider refused the request (HTTP 400)."
    assert trio.current_time() - start == seconds
    assert reached.pool.statistics() == AT_REST


async def test_a_redirect_is_followed_nowhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reached = Reached.by(nursery, [[(0, ok(b"", 307, b"location: http://elsewhere.test/"))]])
    fault = await refusal(reached)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.status) == (FaultKind.UNAVAILABLE, 307)
    assert len(reached.provider.dialled) == 1


class Unsendable(MemoryDuplex):
    """A connection that takes no byte and yet brings some."""

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise Broken(self, "reset by the peer")


async def test_a_connection_that_did_not_take_the_request_is_not_kept(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = Unsendable(), MemoryDuplex()
    ours.other, theirs.other = theirs, ours
    theirs.send_nowait(ok(b"early"))

    async def dial(_: Origin, __: float) -> MemoryDuplex:
        await trio.lowlevel.checkpoint()
        return ours

    pool = Pool(ORIGIN, dial, Timers(), PoolParams())
    now = trio.current_time()
    one = Attempt(endpoint(pool), "m", Timing(now, now + 9, now + 9, 9))
    assert await whole(one) == b"early"
    assert pool.statistics() == AT_REST
    assert ours.closed


@pytest.mark.loopback
async def test_an_answer_before_the_request_was_read_is_heard() -> None:
    """The provider closes with most of the request unread, so that sending it fails."""

    def refuse() -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1024)
            accepted.sendall(ok(b'{"error":"Too large."}', 413))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = Origin("127.0.0.1", listener.getsockname()[1], tls=False)
        async with hubbed() as (hub, nursery):
            pool = Pool(origin, dialler(hub, None), hub.timers, PoolParams())
            now = trio.current_time()
            one = Attempt(endpoint(pool), "m", Timing(now, now + 30, now + 30, 30))
            nursery.start_soon(trio.to_thread.run_sync, refuse)
            with pytest.raises(Rejected) as rejected:
                await one.open(one.endpoint.request(b"x" * 30_000_000, []))
            assert (rejected.value.status, rejected.value.message) == (413, "Too large.")
            assert pool.statistics() == AT_REST
