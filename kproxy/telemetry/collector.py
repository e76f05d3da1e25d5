"""Bodies in, at an OpenTelemetry collector they are out, within a deadline and with a few retries.

The address is the operator's own, so a private one is as good as any; it is the only one that is
ever talked to, and no redirect is followed. What may pass is tried again, after 1, 2, 4 seconds, as
long as there is time: a connection that cannot be made, and what the protocol says of statuses
(https://opentelemetry.io/docs/specs/otlp/#otlphttp-response). Where the collector then says when to
come back, nothing is sent before, this body or a later one, for up to `PATIENCE` seconds; meanwhile
others wait in front of here, as far as there is room. Why something was not taken is said in words
of ours: what a collector answers is not logged.
"""

import gzip
import math
import ssl

import trio

from kproxy.dialect.openai import retry_after
from kproxy.errors import KproxyError
from kproxy.telemetry.otlp import OtlpParams
from kproxy.transport.dial import Dial, dialler, tls_context
from kproxy.transport.fetch import Ask, Budget, Fetcher, Unfetched, dialler_on_demand
from kproxy.transport.hub import Hub

__all__ = ["Collector", "NotTaken", "collector_dial"]

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same may go well."""

PAUSE = 1.0
"""Seconds before the first retry; doubled for each that follows."""

PATIENCE = 60.0
"""Seconds of `Retry-After` for one body in all; it says of an overload that it will pass."""

ANSWER = 65_536
"""Bytes of an answer; it holds a number and a sentence."""

OK = range(200, 300)


class NotTaken(KproxyError):
    """The collector does not have it. The message is short, and ours."""


def collector_dial(hub: Hub, certificate: str | None) -> Dial:
    """How a collector is reached. Raises NotTaken for a `certificate` that is none."""
    if certificate is None:
        return dialler_on_demand(hub)
    context = tls_context()
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or error
        raise NotTaken(f"{certificate}: no authorities to trust: {why}") from error
    return dialler(hub, context)


class Collector:
    """See the module. One task uses it at a time."""

    def __init__(self, dial: Dial, params: OtlpParams) -> None:
        self._fetcher = Fetcher(dial)
        self._params = params
        coding = [(b"content-encoding", b"gzip")] if params.compressed else []
        own = [(name.encode(), value.reveal().encode()) for name, value in params.headers]
        self._rest = -math.inf  # until when nothing is sent
        self._headers = ((b"content-type", b"application/x-protobuf"), *coding, *own)

    def __repr__(self) -> str:
        return f"<Collector {self._params.endpoint}>"

    async def send(self, body: bytes) -> bytes:
        """What the collector answers to one body that it takes. Raises NotTaken.

        `timeout` seconds are for all of it, but what the collector has asked us to wait.
        """
        params = self._params
        if params.compressed:
            body = await trio.to_thread.run_sync(gzip.compress, body)
        ask = Ask(b"POST", self._headers, body)
        await trio.sleep_until(self._rest)
        deadline, pause, patience = trio.current_time() + params.timeout, PAUSE, PATIENCE
        while True:
            asked = 0.0
            budget = Budget(ANSWER, deadline - trio.current_time(), redirects=0)
            try:
                url = params.endpoint
                answer = await self._fetcher.call(url, budget, ask, configured=url)
            except Unfetched as error:
                why, passes = error.reason, True
            else:
                if answer.status in OK:
                    return answer.body
                why, passes = f"HTTP {answer.status}", answer.status in PASSING
                if passes:
                    asked = min(retry_after(answer.head.get) or 0.0, PATIENCE)
            now = trio.current_time()
            self._rest = max(self._rest, now + asked)
            patience -= asked
            deadline += asked
            wait = max(pause, asked)
            if not passes or patience < 0 or now + wait >= deadline:
                raise NotTaken(why)
            await trio.sleep(wait)
            pause *= 2
