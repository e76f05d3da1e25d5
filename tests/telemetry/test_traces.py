"""What waits, what is sent, what is dropped and counted; and that no failure leaves the room."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.ledger.spans import Served
from kproxy.ledger.trace import Asked, Sampler
from kproxy.outcome import AttemptOutcome, Ending
from kproxy.telemetry import traces as module
from kproxy.telemetry.collector import NotTaken
from kproxy.telemetry.otlp import OtlpParams
from kproxy.telemetry.traces import BATCH, FLUSH, INTERVAL, QUEUE, Finished, Traces
from tests.fakes.collector import decoded, spans_in

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SERVED = Served(1_000.0, 1.0, "POST", "/v1/chat/completions", "", 200, "req_1", Ending.COMPLETE)
OUTCOME = AttemptOutcome("m", "acme", 0.0, None, 1.0, Ending.COMPLETE)
REJECTED_7 = b"\x0a\x02\x08\x07"


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The virtual clock would jump while a thread works."""

    async def run_sync(work: Callable[..., Any], *given: Any, **ignored: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*given)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


class Fake:
    """Takes bodies; `answers` are bytes to answer, errors to raise, or seconds to be silent."""

    def __init__(self, *answers: bytes | Exception | float) -> None:
        self._answers = list(answers)
        self.sizes: list[int] = []
        self.times: list[float] = []

    async def send(self, body: bytes) -> bytes:
        self.sizes.append(len(spans_in(decoded(body))))
        self.times.append(trio.current_time())
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await trio.sleep(answer)
            return b""
        return answer


def traces(fake: Fake, **changes: Any) -> Traces:
    told: dict[str, Any] = {
        "endpoint": "http://c.test/v1/traces", "headers": (), "resource": {}, "sampler": Sampler(),
        "older": False, "timeout": 10.0, "compressed": False,
    }  # fmt: skip
    return Traces(OtlpParams(**(told | changes)), fake)


def finished(one: Traces, attempts: int = 1) -> Finished:
    trace = one.begin([(b"traceparent", PARENT)])
    for _ in range(attempts):
        span_id, _ = trace.ask([])
        trace = trace.after(Asked(span_id, OUTCOME, "m", "h", 80))
    return Finished(trace, SERVED)


def test_a_request_begins_with_what_its_caller_says() -> None:
    one = traces(Fake())
    told = one.begin([(b"traceparent", PARENT)])
    assert told.trace_id == PARENT[3:35].decode()
    own = [one.begin([]), one.begin([(b"traceparent", b"nonsense")])]
    named = one.begin([(b"traceparent", PARENT), (b"connection", b"traceparent")])
    ids = {one.trace_id for one in (told, *own, named)}
    assert len(ids) == 4, "what belongs to the caller's connection alone is not read"


async def test_requests_gather_and_go_in_batches(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    fake = Fake()
    one = traces(fake)
    nursery.start_soon(one.run)
    await trio.sleep(5)
    for _ in range(300):
        one.note(finished(one))
    await trio.sleep(INTERVAL + 1)
    assert fake.sizes == [BATCH, 600 - BATCH]
    assert fake.times == [5 + INTERVAL] * 2
    assert (one.exported, one.dropped) == (600, 0)
    one.note(finished(one, attempts=2_000))
    await trio.sleep(INTERVAL + 1)
    assert fake.sizes[2:] == [2_001], "one request's spans stay together"


def test_what_finds_no_room_is_counted() -> None:
    one = traces(Fake())
    for _ in range(QUEUE + 3):
        one.note(finished(one))
    assert one.dropped == 6
    assert repr(one) == f"<Traces {QUEUE} wait, 0 sent, 6 lost>"


async def test_a_collector_that_fails_costs_spans_and_is_named_once(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake = Fake(NotTaken("HTTP 401"), NotTaken("HTTP 401"), b"", NotTaken("HTTP 500"))
    one = traces(fake)
    nursery.start_soon(one.run)
    for _ in range(4):
        one.note(finished(one))
        await trio.sleep(INTERVAL + 1)
    assert (one.exported, one.dropped) == (2, 6)
    assert caplog.messages == [
        "http://c.test/v1/traces: spans are dropped: HTTP 401",
        "http://c.test/v1/traces: spans are dropped: HTTP 500",
    ]
    assert "Traceback" not in caplog.text


async def test_what_a_collector_rejects_is_dropped(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = traces(Fake(REJECTED_7, REJECTED_7))
    for _ in range(5):
        one.note(finished(one))
    await one.flush(trio.Event())
    assert (one.exported, one.dropped) == (3, 7)
    one.note(finished(one))
    await one.flush(trio.Event())
    assert (one.exported, one.dropped) == (3, 9), "no more than were sent"


async def test_a_mistake_of_ours_costs_the_batch_alone(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = Fake()
    one = traces(fake)
    nursery.start_soon(one.run)

    def spoiled(*given: Any, **more: Any) -> Any:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(module, "spans_of", spoiled)
        one.note(finished(one))
        await trio.sleep(INTERVAL + 1)
    assert (one.exported, one.dropped) == (0, 2)
    assert "in spoiled" in caplog.text, "it says where"
    one.note(finished(one))
    await trio.sleep(INTERVAL + 1)
    assert (one.exported, one.dropped) == (2, 2)


async def test_the_end_waits_for_what_waits(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = traces(Fake(1.0))
    nursery.start_soon(one.run)
    one.note(finished(one))
    await one.flush(trio.Event())
    assert trio.current_time() == 1
    assert (one.exported, one.dropped) == (2, 0)


async def test_the_end_waits_for_what_is_on_its_way(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = traces(Fake(1.5, 0.25))
    nursery.start_soon(one.run)
    one.note(finished(one))
    await trio.sleep(INTERVAL + 0.5)
    one.note(finished(one))
    await one.flush(trio.Event())
    assert trio.current_time() == INTERVAL + 1.75
    assert (one.exported, one.dropped) == (4, 0)


@pytest.mark.parametrize("on_its_way", [True, False])
async def test_the_end_does_not_wait_long(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    on_its_way: bool,
) -> None:
    one = traces(Fake(60.0))
    nursery.start_soon(one.run)
    await wait_all_tasks_blocked()
    one.note(finished(one))
    await trio.sleep(INTERVAL + 0.5 if on_its_way else 0)
    one.note(finished(one))
    begun = trio.current_time()
    await one.flush(trio.Event())
    assert trio.current_time() == begun + FLUSH
    assert (one.exported, one.dropped) == (0, 4)
    assert caplog.messages == ["http://c.test/v1/traces: 4 spans were not sent in time"]


@pytest.mark.parametrize("before", [0.0, 0.5])
async def test_the_end_waits_for_nothing_where_somebody_is_in_a_hurry(
    autojump_clock: MockClock, nursery: trio.Nursery, before: float
) -> None:
    fake = Fake(60.0, 60.0)
    one = traces(fake)
    nursery.start_soon(one.run)
    await wait_all_tasks_blocked()
    one.note(finished(one))
    await trio.sleep(INTERVAL + 0.5)
    one.note(finished(one))
    begun, hurried = trio.current_time(), trio.Event()
    if not before:
        hurried.set()
    async with trio.open_nursery() as ending:
        ending.start_soon(one.flush, hurried)
        await trio.sleep(before)
        hurried.set()
    assert trio.current_time() == begun + before
    assert (one.exported, one.dropped) == (0, 4)
    assert fake.sizes == [2], "nothing more was begun"
