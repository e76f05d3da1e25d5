"""What is the same for both sides: they understand each other, and end in the same way."""

import pytest

from kproxy.wire.h2 import H2Server
from kproxy.wire.h2_client import H2Client
from kproxy.wire.h2_events import Answered, Body, H2Limits, LeftAt, Opened
from kproxy.wire.h2_frames import H2Error, frame_bytes
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_answers import ASK, BEGUN
from tests.fakes.h2_frames import BEGUN as CLIENT_BEGUN
from tests.fakes.h2_frames import data, headers, settings


def test_the_two_sides_of_one_connection() -> None:
    limits = H2Limits(window=70_000, connection_window=80_000)
    client, server = H2Client(limits, H1Limits(), 0.0), H2Server(limits, H1Limits(), 0.0)

    def carry() -> list[object]:
        found: list[object] = []
        while sent := client.take_output():
            found += server.receive_data(sent, 0.0)
            events, error = client.receive_data(server.take_output(), 0.0)
            assert error is None
            found += events
        return found

    stream = client.open([*ASK, (b"content-length", b"5")], last=False)
    client.send_data(stream, b"hello", last=True)
    opened, body, *_ = (one for one in carry() if isinstance(one, Opened | Body))
    assert isinstance(opened, Opened)
    assert opened.head.get(b"host") == b"there"
    assert body == Body(stream, b"hello", 5, True)
    server.acknowledge(stream, 5)
    assert client.window(stream) == server.window(stream) - 5 == 70_000 - 5
    server.send_head(stream, 200, [(b"content-length", b"2")])
    server.send_data(stream, b"ok")
    server.send_end(stream)
    server.close(stream, 0)
    server.go_away()
    events, _ = client.receive_data(server.take_output(), 0.0)
    shown = [one for one in events if isinstance(one, Answered | Body | LeftAt)]
    assert shown == [
        Answered(stream, 200, [(b"content-length", b"2")], False),
        Body(stream, b"ok", 2, False),
        Body(stream, b"", 0, True),
        LeftAt(stream, 0),
    ]


BAD = [
    pytest.param(frame_bytes(0x1, 0, 1, b"\x88") + settings(), id="a frame inside of a block"),
    pytest.param(frame_bytes(0x4, 1, 0, bytes(6)), id="an acknowledgement with content"),
    pytest.param(frame_bytes(0x7, 0, 1, bytes(8)), id="GOAWAY on a stream"),
    pytest.param(data(0, b"x"), id="DATA on none"),
]


@pytest.mark.parametrize("bad", BAD)
def test_rules_that_are_nobodys_in_particular(bad: bytes) -> None:
    server = H2Server(H2Limits(), H1Limits(), 0.0)
    with pytest.raises(H2Error) as refused:
        server.receive_data(CLIENT_BEGUN + headers(1) + bad.replace(b"\x88", b"\x82"), 0.0)
    client = H2Client(H2Limits(), H1Limits(), 0.0)
    client.open(ASK, last=True)
    _, error = client.receive_data(BEGUN + bad, 0.0)
    assert error is not None
    assert error.code == refused.value.code
