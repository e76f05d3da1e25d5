"""The head of a request to a provider: constant fields once, the rest for each request."""

import dataclasses
import math

import pytest
import trio

from kproxy.admission.keys import Secret
from kproxy.transport.pool import Pool, PoolParams
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import AnswerLimits, Endpoint, request_prefix
from kproxy.wire.events import Data, RequestHead
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.scripted import ORIGIN, endpoint


async def nowhere(_: object, __: float) -> MemoryDuplex:
    """A dial that is never called."""
    await trio.lowlevel.checkpoint()
    raise AssertionError


@pytest.fixture
def acme() -> Endpoint:
    return endpoint(Pool(ORIGIN, nowhere, Timers(), PoolParams()))


@pytest.mark.parametrize("engine", ["scan", "h11"])
def test_a_request_as_a_server_reads_it(acme: Endpoint, engine: str) -> None:
    reader = RequestReader(H1Limits(), engine=engine)
    reader.receive_data(acme.request(b'{"model":"m"}', [(b"traceparent", b"00-1")]))
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    assert (head.method, head.target) == (b"POST", b"/v1/chat/completions")
    assert head.headers == [
        (b"host", b"provider.test"),
        (b"user-agent", b"kproxy"),
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        (b"accept-encoding", b"identity"),
        (b"traceparent", b"00-1"),
        (b"content-length", b"13"),
    ]
    assert head.keep_alive
    assert reader.next_event() == Data(b'{"model":"m"}')


def test_a_provider_that_quotes_our_key_is_not_quoted(acme: Endpoint) -> None:
    said = b'{"error":{"message":"bad key sk-ours"}}'
    assert acme.without_key(said) == said, "there is no key to hide"
    keyed = dataclasses.replace(acme, api_key=Secret("sk-ours"))
    assert keyed.without_key(said) == b'{"error":{"message":"bad key ***"}}'


def test_the_prefix_is_whole_lines() -> None:
    prefix = request_prefix("/v1/x", "h:8", [(b"authorization", b"Bearer k")])
    assert prefix.startswith(b"POST /v1/x HTTP/1.1\r\nhost: h:8\r\n")
    assert prefix.endswith(b"\r\nauthorization: Bearer k\r\n")


@pytest.mark.parametrize(
    ("target", "authority", "value"),
    [
        ("/v1/x", "h", b"Bearer k\r\nx: y"),
        ("/v1/x", "h", b"Bearer k\n"),
        ("/v1/x", "h\r\nx: y", b""),
        ("/v1 /x", "h", b""),
        ("/v1\r\n/x", "h", b""),
        ("/v1/ü", "h", b""),
        ("", "h", b""),
    ],
)
def test_nothing_can_end_its_line_early(target: str, authority: str, value: bytes) -> None:
    with pytest.raises(ValueError):
        request_prefix(target, authority, [(b"authorization", value)])


def test_default_limits_hold_an_event_within_an_answer() -> None:
    limits = AnswerLimits()
    assert 0 < limits.sse_line <= limits.sse_event <= limits.body < math.inf
