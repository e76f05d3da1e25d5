"""Beats leave at their times, together where they are due together; slow and leaving callers."""

import math

import pytest
import trio

from kproxy.sim.player import Player
from kproxy.transport.duplex import Broken
from kproxy.transport.timers import Timers


class Link:
    """What the player uses of a connection; `room` bytes fit in until `drain`."""

    def __init__(self, room=math.inf):
        self.sent = []
        self.room = room
        self.gone = False
        self.broken = False
        self._on_gone = None
        self._drained = trio.Event()

    @property
    def on_gone(self):
        return self._on_gone

    @on_gone.setter
    def on_gone(self, callback):
        self._on_gone = callback
        if callback is not None and self.gone:
            callback()

    def leave(self):
        self.gone = True
        if self._on_gone is not None:
            self._on_gone()

    def send_nowait(self, data):
        if self.broken:
            raise Broken(self, "reset")
        taken = int(min(len(data), self.room))
        self.room -= taken
        if taken:
            self.sent.append((trio.current_time() - self.start, data[:taken]))
        return taken

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise Broken(self, "reset")
        data = data[self.send_nowait(data) :]
        while data:
            await self._drained.wait()
            data = data[self.send_nowait(data) :]

    def drain(self, room=math.inf):
        self.room = room
        self._drained.set()
        self._drained = trio.Event()


@pytest.fixture
async def timers(nursery):
    timers = Timers()
    nursery.start_soon(timers.run)
    return timers


def play(link, timers, beats, left):
    link.start = trio.current_time()
    return Player(link, timers).play(iter(beats), link.start, lambda: left.append(1))


async def test_each_beat_at_its_time(timers, autojump_clock):
    link, left = Link(), []
    beats = [(0.0, b"a"), (0.0, b"b"), (1.5, b"c"), (2.0, b"d"), (2.0, b"e")]
    assert await play(link, timers, beats, left)
    assert link.sent == [(0, b"ab"), (1.5, b"c"), (2.0, b"de")]
    assert left == []
    assert link.on_gone is None


async def test_nothing_at_all(timers, autojump_clock):
    link = Link()
    assert await play(link, timers, [], [])
    assert link.sent == []


async def test_what_is_late_is_sent_together(timers, autojump_clock):
    link = Link(room=1)
    beats = [(0.0, b"ab"), (1.0, b"c"), (2.0, b"d"), (9.0, b"e")]
    async with trio.open_nursery() as inner:
        inner.start_soon(play, link, timers, beats, [])
        await trio.sleep(5)
        link.drain()
    assert link.sent == [(0, b"a"), (5, b"b"), (5, b"cd"), (9, b"e")]


async def test_a_caller_that_takes_a_byte_at_a_time(timers, autojump_clock):
    link = Link(room=0)
    async with trio.open_nursery() as inner:
        inner.start_soon(play, link, timers, [(0.0, b"abc"), (1.0, b"de")], [])
        for _ in range(5):
            await trio.sleep(1)
            link.drain(1)
    assert b"".join(data for _, data in link.sent) == b"abcde"


async def test_large_answers_give_others_their_turn(timers, autojump_clock):
    link = Link()
    beats = [(0.0, b"x" * 40_000)] * 5
    assert await play(link, timers, beats, [])
    assert [len(data) for _, data in link.sent] == [80_000, 80_000, 40_000]
    link = Link()
    beats = [(0.0, b"x" * 70_000)]
    assert await play(link, timers, beats, [])
    assert [len(data) for _, data in link.sent] == [70_000]


async def test_a_caller_that_leaves_between_beats(timers, autojump_clock):
    link, left = Link(), []

    async def leave():
        await trio.sleep(3)
        link.leave()

    async with trio.open_nursery() as inner:
        inner.start_soon(leave)
        assert not await play(link, timers, [(0.0, b"a"), (60.0, b"b")], left)
        assert trio.current_time() - link.start == 3
    assert left == [1]
    assert link.sent == [(0, b"a")]
    await trio.sleep(100)
    assert link.sent == [(0, b"a")]  # the timer is off


async def test_a_caller_that_left_before(timers, autojump_clock):
    link, left = Link(), []
    link.gone = True
    assert not await play(link, timers, [(0.0, b"a")], left)
    assert (link.sent, left) == ([], [1])


async def test_a_caller_that_leaves_while_it_takes_nothing(timers, autojump_clock):
    link, left = Link(room=0), []

    async def leave():
        await trio.sleep(3)
        link.leave()
        link.drain()

    async with trio.open_nursery() as inner:
        inner.start_soon(leave)
        assert not await play(link, timers, [(0.0, b"a"), (1.0, b"b")], left)
    assert left == [1]


async def test_a_connection_that_breaks(timers, autojump_clock):
    link, left = Link(), []

    async def break_off():
        await trio.sleep(3)
        link.broken = True

    async with trio.open_nursery() as inner:
        inner.start_soon(break_off)
        with pytest.raises(Broken):
            await play(link, timers, [(0.0, b"a"), (9.0, b"b")], left)
    assert left == [1]
    assert link.on_gone is None


async def test_silence_lasts_until_the_caller_leaves(timers, autojump_clock):
    link, left = Link(), []

    async def leave():
        await trio.sleep(1000)
        link.leave()

    async with trio.open_nursery() as inner:
        inner.start_soon(leave)
        assert not await play(link, timers, [(0.0, b"a"), (math.inf, b"")], left)
    assert link.sent == [(0, b"a")]


async def test_one_answer_after_the_other(timers, autojump_clock):
    link, left = Link(), []
    link.start = trio.current_time()
    player = Player(link, timers)
    for number in (1, 2):
        now = trio.current_time()
        assert await player.play(iter([(0.0, b"a"), (1.0, b"b")]), now, lambda: left.append(1))
        assert len(link.sent) == 2 * number
    assert [when for when, _ in link.sent] == [0, 1, 1, 2]
    assert repr(player) == "<Player OVER>"


async def test_cancelling_stops_the_timer(timers, autojump_clock):
    link = Link()
    with trio.move_on_after(2):
        await play(link, timers, [(0.0, b"a"), (1.0, b"b"), (5.0, b"c")], [])
    await trio.sleep(100)
    assert [data for _, data in link.sent] == [b"a", b"b"]
    assert link.on_gone is None


async def test_beats_within_a_millisecond_share_a_wake_up(timers, autojump_clock):
    link = Link()
    beats = [(1.0001, b"a"), (1.0002, b"b"), (1.0009, b"c"), (1.0011, b"d")]
    assert await play(link, timers, beats, [])
    assert link.sent == [(1 + 1 / 1024, b"abc"), (1 + 2 / 1024, b"d")]
