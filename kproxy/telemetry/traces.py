"""Requests that are over in, their spans at a collector out, off the path of any request.

Problem: a collector may be slow, or gone, and nobody who calls may notice; nor may what waits grow
without end. The usual way, spans that are opened and closed around the code, costs each request
several of them in the event loop, and a thread that nobody owns.

Our way: a request carries its ids along and nothing else (`ledger/trace.py`). When it is over, what
it came to is put into a queue as it stands. One task takes batches out of it; a thread makes spans
of them, and of these the body. What comes while `QUEUE` requests wait already is dropped and
counted, and so is what a collector has not taken in time. At the end of the process what waits is
sent, within `FLUSH` seconds, and dropped otherwise, or where somebody is in a hurry.
"""

import logging
import secrets
from collections import deque
from typing import NamedTuple, NoReturn, Protocol

import trio

from kproxy.errors import KproxyError
from kproxy.ledger.spans import Served, spans_of
from kproxy.ledger.trace import Trace, begin_trace
from kproxy.telemetry.otlp import Encoder, OtlpParams
from kproxy.transport.hub import Hub
from kproxy.wire.events import Headers
from kproxy.wire.names import forwardable
from kproxy.wire.tracecontext import read_trace

__all__ = ["BATCH", "FLUSH", "INTERVAL", "QUEUE", "Finished", "Traces", "open_traces"]

QUEUE = 4_096
"""Requests that may wait, some 8 MB: two seconds of two thousand recorded requests."""

BATCH = 512
"""Spans of one body, as OpenTelemetry's SDKs send them; one request's stay together."""

INTERVAL = 1.0
"""Seconds for which requests gather; the SDKs' five would make the queue as much longer."""

FLUSH = 2.0
"""Seconds that the end of the process waits for a collector. A worker that is cut has five."""

log = logging.getLogger("kproxy.traces")


class Finished(NamedTuple):
    """A recorded request that is over."""

    trace: Trace
    served: Served

    @property
    def spans(self) -> int:
        """How many it makes."""
        return 1 + len(self.trace.attempts)


class Sends(Protocol):
    """Where bodies go: a `Collector`."""

    async def send(self, body: bytes) -> bytes:
        """What it answers. Raises NotTaken."""
        ...


class Traces:
    """See the module. `run` sends; `flush` comes while it still runs."""

    def __init__(self, params: OtlpParams, collector: Sends) -> None:
        self._params = params
        self._collector = collector
        self._encoder = Encoder(params.resource)
        self._queue: deque[Finished] = deque()
        self._news = trio.Event()
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(1)
        self._under_way = 0  # spans
        self._troubled = False
        self.exported = 0  # spans
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<Traces {len(self._queue)} wait, {self.exported} sent, {self.dropped} lost>"

    def begin(self, headers: Headers) -> Trace:
        """The place of a request with these fields in its trace."""
        given = read_trace(forwardable(headers))
        return begin_trace(given, self._params.sampler, secrets.token_hex)

    def note(self, finished: Finished) -> None:
        """Have it sent soon. Never waits, and raises nothing."""
        if len(self._queue) >= QUEUE:
            self.dropped += finished.spans
            return
        self._queue.append(finished)
        self._news.set()

    async def run(self) -> NoReturn:
        """Send what is noted; ends by cancellation."""
        while True:
            await self._news.wait()
            await trio.sleep(INTERVAL)
            self._news = trio.Event()
            await self._send_all()

    async def flush(self, hurried: trio.Event) -> None:
        """Send what waits and what is on its way, or give it up after `FLUSH` seconds or when
        `hurried` is set, whichever is first."""
        if not hurried.is_set():
            await self._send_until(hurried)
        lost = self._under_way + sum(one.spans for one in self._queue)
        self._queue.clear()
        self._under_way = 0
        if lost:
            self.dropped += lost
            log.error("%s: %d spans were not sent in time", self._params.endpoint, lost)

    async def _send_until(self, hurried: trio.Event) -> None:
        with trio.move_on_after(FLUSH):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at, hurried, nursery.cancel_scope)
                await self._send_all()
                nursery.cancel_scope.cancel()

    async def _send_all(self) -> None:
        async with self._turn:
            while self._queue:
                await self._send(self._taken())

    def _taken(self) -> list[Finished]:
        batch: list[Finished] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].spans <= BATCH):
            batch.append(self._queue.popleft())
            size += batch[-1].spans
        self._under_way = size
        return batch

    async def _send(self, batch: list[Finished]) -> None:
        """A mistake of ours in it costs the batch, and no request."""
        size = self._under_way
        try:
            body = await trio.to_thread.run_sync(self._body, batch, limiter=self._threads)
            rejected = self._encoder.rejected(await self._collector.send(body))
        except Exception as error:
            rejected = size
            self._trouble(error)
        else:
            self._troubled = False
        rejected = min(rejected, size)
        self.exported += size - rejected
        self.dropped += rejected
        self._under_way = 0

    def _body(self, batch: list[Finished]) -> bytes:
        older = self._params.older
        made = (spans_of(one.trace, one.served, older=older) for one in batch)
        return self._encoder.encode([span for spans in made for span in spans])

    def _trouble(self, error: Exception) -> None:
        """Say it once, until spans are taken again; where it is a mistake of ours, where it is."""
        if not self._troubled:
            self._troubled = True
            ours = None if isinstance(error, KproxyError) else error
            log.error("%s: spans are dropped: %s", self._params.endpoint, error, exc_info=ours)


async def _cancel_at(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def open_traces(params: OtlpParams, hub: Hub) -> Traces:
    """What sends to the configured collector. Raises KproxyError; nothing is sent yet."""
    # Here and not above: only who traces needs them.
    from kproxy.telemetry.collector import Collector, collector_dial

    return Traces(params, Collector(collector_dial(hub, params.certificate), params))
