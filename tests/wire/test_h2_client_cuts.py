"""Answers of h2's own server, however they are cut: each is whole, or it is no answer.

In: bodies, the order and the size of their frames, and where the bytes are cut and end.
"""

import itertools
from typing import NamedTuple

import h2.config
import h2.connection
import h2.settings
from hypothesis import given
from hypothesis import strategies as st

from kproxy.wire.h2_client import H2Client
from kproxy.wire.h2_events import Answered, Body, ClientEvent, H2Limits
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_answers import ASK


class Talk(NamedTuple):
    """A client whose requests are sent, what the server answered, and the bodies by stream."""

    client: H2Client
    said: bytes
    bodies: dict[int, bytes]


def talk(bodies: list[bytes], order: list[int], size: int, *, lengths: bool) -> Talk:
    """The frames of several answers, each `size` bytes at most, in the order of `order`."""
    client = H2Client(H2Limits(), H1Limits(), 0.0)
    streams = [client.open(ASK, last=True) for _ in bodies]
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(client.take_output())
    rests = dict(zip(streams, bodies, strict=True))
    for stream in streams:
        length = [("content-length", str(len(rests[stream])))] if lengths else []
        server.send_headers(stream, [(":status", "200"), *length])
    turns = [streams[number % len(streams)] for number in order]
    while rests:
        stream = turns.pop(0) if turns else next(iter(rests))
        if stream in rests:
            piece, rests[stream] = rests[stream][:size], rests[stream][size:]
            server.send_data(stream, piece, end_stream=not rests[stream])
            if not rests[stream]:
                del rests[stream]
    return Talk(client, server.data_to_send(), dict(zip(streams, bodies, strict=True)))


def heard(events: list[ClientEvent], stream: int) -> tuple[bytes, bool]:
    """A stream's body so far, and whether it is whole."""
    mine = [one for one in events if isinstance(one, Body) and one.stream == stream]
    assert all(not one.ended for one in mine[:-1])
    return b"".join(one.data for one in mine), bool(mine) and mine[-1].ended


BODIES = st.lists(st.binary(max_size=60), min_size=1, max_size=3)
ORDER = st.lists(st.integers(0, 2), max_size=20)


@given(
    bodies=BODIES, order=ORDER, size=st.integers(1, 30), lengths=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=8), end=st.integers(0, 400),
)  # fmt: skip
def test_a_cut_answer_is_never_whole(
    bodies: list[bytes], order: list[int], size: int, lengths: bool, cuts: list[int], end: int
) -> None:
    client, said, wanted = talk(bodies, order, size, lengths=lengths)
    end = min(end, len(said))
    places = sorted({0, end, *(cut for cut in cuts if cut < end)})
    events: list[ClientEvent] = []
    for start, stop in itertools.pairwise(places):
        found, error = client.receive_data(said[start:stop], 0.0)
        assert error is None
        events += found
        client.take_output()
    answered = {one.stream for one in events if isinstance(one, Answered)}
    for stream, body in wanted.items():
        got, whole = heard(events, stream)
        assert body.startswith(got)
        assert not whole or got == body
        assert stream in answered or not (got or whole)
        if end == len(said):
            assert whole


@given(
    bodies=BODIES, order=ORDER, size=st.integers(1, 30), place=st.integers(0, 400),
    bit=st.integers(0, 7),
)  # fmt: skip
def test_a_wrong_bit_is_a_fault_or_told_apart(
    bodies: list[bytes], order: list[int], size: int, place: int, bit: int
) -> None:
    """Where lengths are told, no body is whole and too long or too short; nothing else is raised
    than what ends the connection."""
    client, said, _ = talk(bodies, order, size, lengths=True)
    place %= len(said)
    broken = said[:place] + bytes((said[place] ^ 1 << bit,)) + said[place + 1 :]
    events, _ = client.receive_data(broken, 0.0)
    for answer in (one for one in events if isinstance(one, Answered)):
        told = dict(answer.headers).get(b"content-length")
        got, whole = heard(events, answer.stream)
        assert not (whole and told) or len(got) == int(told)
    client.take_output()
