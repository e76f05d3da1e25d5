"""Floods of legal frames: each ends the connection within a counted number of them."""

import pytest

from kproxy.wire.h2_events import H2Limits, Opened, Refused, Reset
from kproxy.wire.h2_floods import Allowance, FloodLimits
from kproxy.wire.h2_frames import HEADERS, PING, frame_bytes
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_frames import (
    GET,
    PADDED,
    POST,
    Spoken,
    block,
    continuation,
    data,
    headers,
    ping,
    priority,
    reset,
    settings,
    update,
)

CALM = 0xB
LIMITS = FloodLimits()
OPEN = headers(1, POST, end=False)


def rapid_reset(number: int) -> bytes:
    stream = 2 * number + 3
    return headers(stream) + reset(stream)


def made_you_reset(number: int) -> bytes:
    """The peer resets nothing: it makes us do it (CVE-2025-8671)."""
    stream = 2 * number + 3
    return headers(stream, POST, end=False) + update(stream, 2**31 - 1)


def malformed(number: int) -> bytes:
    return headers(2 * number + 3, [*GET, ("Upper", "case")])


FLOODS = {
    "rapid reset": (rapid_reset, int(LIMITS.resets.most)),
    "made you reset": (made_you_reset, int(LIMITS.resets.most)),
    "malformed requests": (malformed, int(LIMITS.resets.most)),
    "PING": (lambda _: ping(), int(LIMITS.pings.most)),
    "PING answers": (lambda _: ping(ack=True), int(LIMITS.pings.most)),
    "SETTINGS": (lambda _: settings((3, 100)), int(LIMITS.settings.most) - 2),  # two at the start
    "empty DATA": (lambda _: data(1), int(LIMITS.empty.most)),
    "DATA of padding": (
        lambda _: frame_bytes(0, PADDED, 1, b"\x04" + bytes(4)), int(LIMITS.empty.most)
    ),
    "WINDOW_UPDATE": (lambda _: update(0, 1), int(LIMITS.window_updates.most)),
    "WINDOW_UPDATE of a stream": (lambda _: update(1, 1), int(LIMITS.window_updates.most)),
    "PRIORITY": (lambda _: priority(1), int(LIMITS.others.most)),
    "unknown frames": (lambda _: frame_bytes(0xEE, 0, 0, b""), int(LIMITS.others.most)),
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
def test_so_many_and_no_more(flood: str) -> None:
    frame, most = FLOODS[flood]
    told = Spoken(OPEN, *(frame(number) for number in range(most)))
    assert told.ended is None, "as many as are allowed"
    told.say(frame(most))
    assert told.ended == CALM


@pytest.mark.parametrize("flood", FLOODS)
def test_in_one_piece(flood: str) -> None:
    frame, most = FLOODS[flood]
    told = Spoken(OPEN, b"".join(frame(number) for number in range(20 * most)))
    assert told.ended == CALM
    assert len(told.of(PING)) <= LIMITS.pings.most
    opened = [event for event in told.events if isinstance(event, Opened)]
    assert len(opened) <= 1, "what came with the flood is not served"


@pytest.mark.parametrize("flood", FLOODS)
def test_slowly_it_is_none(flood: str) -> None:
    frame, most = FLOODS[flood]
    told = Spoken(OPEN)
    for number in range(2 * most):
        told.now += 0.1
        told.say(frame(number))
        for event in told.events:  # as their owner would
            if isinstance(event, Reset):
                told.codec.close(event.stream, 8)
        told.events.clear()
    assert told.ended is None


class TestContinuation:
    def begun(self, size: int = 10) -> bytes:
        return frame_bytes(HEADERS, 1, 1, block(GET)[:size])

    def test_as_many_as_are_allowed(self) -> None:
        rest = block(GET)[10:]
        told = Spoken(self.begun(), *[continuation(1)] * 7, continuation(1, rest, end=True))
        assert isinstance(told.events[-1], Opened)

    def test_one_more(self) -> None:
        told = Spoken(self.begun(), *[continuation(1)] * 9)
        assert told.ended == CALM

    def test_too_large_before_it_is_whole(self) -> None:
        piece = continuation(1, bytes(16_384))
        told = Spoken(self.begun(), *[piece] * 3)
        assert told.ended is None
        told.say(piece)
        assert told.ended == CALM

    def test_the_next_block_begins_anew(self) -> None:
        told = Spoken()
        for stream in (1, 3, 5):
            told.say(
                frame_bytes(HEADERS, 1, stream, block(GET)),
                *[continuation(stream)] * 7,
                continuation(stream, end=True),
            )
        assert len([event for event in told.events if isinstance(event, Opened)]) == 3


class TestHeaderList:
    """What a block becomes: it costs more than its bytes (CVE-2016-6581)."""

    BOMB = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000  # into the table: 4,000 bytes behind one

    def test_a_bomb_ends_the_connection(self) -> None:
        assert len(self.BOMB) < 4096
        told = Spoken(frame_bytes(HEADERS, 5, 1, block(GET) + self.BOMB + b"\xbe" * 10_000))
        assert told.ended == CALM

    def test_a_little_too_large_is_told(self) -> None:
        fields = [(f"x-{number}", "v" * 1000) for number in range(33)]
        told = Spoken(
            frame_bytes(HEADERS, 1, 1, block(GET)),
            continuation(1, block(fields[:16])),
            continuation(1, block(fields[16:32])),
            continuation(1, block(fields[32:]), end=True),
        )
        refused = told.events[-1]
        assert isinstance(refused, Refused)
        assert refused.error.status == 431

    def test_too_many_are_told(self) -> None:
        fields = [("a", "b")] * 101
        refused = Spoken(headers(1, [*GET, *fields])).events[-1]
        assert isinstance(refused, Refused)
        assert refused.error.status == 431
        assert isinstance(Spoken(headers(1, [*GET, *fields[1:]])).events[-1], Opened)

    def test_a_path_too_long_is_told(self) -> None:
        limits = H1Limits(request_line=100)
        told = Spoken(headers(1, [*GET[:3], (":path", "/" + "p" * 100)]), h1=limits)
        refused = told.events[-1]
        assert isinstance(refused, Refused)
        assert refused.error.status == 414


class TestStreams:
    def test_before_the_peer_knows_the_limit_it_may_try(self) -> None:
        limits = H2Limits(streams=1)
        told = Spoken(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings(),
            *(headers(2 * number + 1) for number in range(1001)),
            limits=limits,
            begun=False,
        )
        assert (told.ended, len(told.resets)) == (None, 1000)
        told.say(headers(2003))
        assert told.ended == CALM

    def test_afterwards_it_may_not(self) -> None:
        told = Spoken(
            *(headers(2 * number + 1) for number in range(101)), limits=H2Limits(streams=1)
        )
        assert (told.ended, len(told.resets)) == (None, 100)
        told.say(headers(203))
        assert told.ended == CALM

    def test_most_of_many_reset(self) -> None:
        """Slow enough for the rate, but nobody works like that."""
        told = Spoken()
        for number in range(500):
            told.now += 1
            told.say(rapid_reset(number))
            if told.ended is None:
                told.codec.close(2 * number + 3, 8)
        assert told.ended == CALM
        assert told.events[-1] == Reset(2 * 498 + 3), "at the 500th"

    def test_half_of_many_reset(self) -> None:
        told = Spoken()
        for number in range(1500):
            stream = 2 * number + 1
            told.now += 1
            told.say(headers(stream), *([reset(stream)] if number % 2 else []))
            told.codec.close(stream, 0)
        assert told.ended is None


def test_a_peer_may_tell_of_room_for_all_that_we_send() -> None:
    told = Spoken(headers(1), update(0, 2**24), update(1, 2**24))
    told.codec.send_head(1, 200, [])
    for _ in range(2000):
        told.codec.send_data(1, b"piece")
        told.say(update(0, 5), update(1, 5))
    assert told.ended is None


@pytest.mark.parametrize("read", [4096, 5000, 16_384])
def test_a_peer_may_tell_of_each_few_bytes_that_it_has_read(read: int) -> None:
    """Late as well: behind all that its window took."""
    told = Spoken(headers(1), update(0, 2**24), update(1, 2**24))
    told.codec.send_head(1, 200, [])
    for _ in range(3):
        told.codec.send_data(1, bytes(4_000_000))
        for _ in range(4_000_000 // read):
            told.say(update(0, read), update(1, read))
    assert told.ended is None


def test_what_was_sent_allows_no_more_than_that() -> None:
    told = Spoken(headers(1), update(0, 2**24), update(1, 2**24))
    told.codec.send_head(1, 200, [])
    told.codec.send_data(1, bytes(16_384))
    told.say(*[update(0, 1)] * (int(LIMITS.window_updates.most) + 10 - 2))  # two at the start
    assert told.ended is None
    told.say(update(0, 1))
    assert told.ended == CALM


def test_nor_does_any_amount() -> None:
    """What lies in no window is no reason: 16 MiB, and no more, are remembered."""
    told = Spoken(headers(1), update(0, 2**30), update(1, 2**30))
    told.codec.send_head(1, 200, [])
    for _ in range(40):
        told.codec.send_data(1, bytes(2**20))
    told.say(*[update(0, 1)] * 9_000)
    assert told.ended == CALM


SET = FloodLimits(
    resets=Allowance(3, 0), pings=Allowance(4, 0), settings=Allowance(5, 0), empty=Allowance(6, 0),
    window_updates=Allowance(7, 0), others=Allowance(8, 0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("rapid reset", 3), ("PING", 4), ("SETTINGS", 3), ("empty DATA", 6), ("WINDOW_UPDATE", 7),
        ("unknown frames", 8),
    ],
)  # fmt: skip
def test_the_numbers_are_the_operators(name: str, most: int) -> None:
    flood, _ = FLOODS[name]
    told = Spoken(OPEN, limits=H2Limits(floods=SET))
    told.say(*(flood(number) for number in range(most)))
    assert told.ended is None
    told.say(flood(most))
    assert told.ended == CALM


def test_continuations_and_field_blocks_that_the_operator_allows() -> None:
    fields = [*GET, *((f"x-{n}", "a" * 50) for n in range(20))]
    pieces = block(fields)
    cut = [pieces[at : at + 400] for at in range(0, len(pieces), 400)]
    frames = [
        frame_bytes(HEADERS, 1, 1, cut[0]),
        *(continuation(1, piece, end=piece is cut[-1]) for piece in cut[1:]),
    ]
    few = FloodLimits(continuations=len(cut) - 2)
    assert Spoken(*frames, limits=H2Limits(floods=few)).ended == CALM
    small = FloodLimits(block=len(pieces) - 1)
    assert Spoken(*frames, limits=H2Limits(floods=small)).ended == CALM
    enough = FloodLimits(continuations=len(cut) - 1, block=len(pieces))
    assert isinstance(Spoken(*frames, limits=H2Limits(floods=enough)).events[-1], Opened)


def test_a_header_list_of_its_own() -> None:
    limits = H2Limits(header_list=1_000)
    told = Spoken(headers(1, [*GET, ("x", "a" * 900)]), limits=limits)
    assert isinstance(told.events[-1], Refused)
    assert told.events[-1].error.status == 431
    assert isinstance(
        Spoken(headers(1, [*GET, ("x", "a" * 700)]), limits=limits).events[-1], Opened
    )
