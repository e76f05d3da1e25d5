"""Bytes on a shared board: shown, seen by the others, and left behind by who is killed."""

import os
import signal

import pytest

from kproxy.store.board import SIZES, Board, Place, Shown, Topic


@pytest.fixture
def board() -> Board:
    return Board(3)


def seen(place: Place) -> list[Shown]:
    return place.others(Topic.METRICS)


def test_nothing_is_shown_at_first(board: Board) -> None:
    place = board.place(0)
    assert seen(place) == []
    assert place.left == {Topic.METRICS: None, Topic.ROUTES: None}


def test_the_newest_is_seen_by_the_others_alone(board: Board) -> None:
    first, second = board.place(0), board.place(1)
    board.occupy(0)
    for text in (b"one", b"two", b"three"):
        assert first.show(Topic.METRICS, text)
        assert seen(second) == [Shown(text, alive=True)]
    assert seen(first) == []
    assert second.others(Topic.ROUTES) == []


def test_topics_and_places_do_not_touch(board: Board) -> None:
    for number in range(3):
        for topic in Topic:
            place = board.place(number)
            whole = bytes([number * 2 + topic]) * place.room(topic)
            assert place.show(topic, whole)
            assert place.show(topic, whole)
    for topic in Topic:
        shown = {number: board.read(number, topic) for number in range(3)}
        size = SIZES[topic] - 16
        assert shown == {number: bytes([number * 2 + topic]) * size for number in range(3)}


def test_what_is_too_long_is_refused_and_the_old_stays(board: Board) -> None:
    place = board.place(0)
    place.show(Topic.ROUTES, b"short")
    assert not place.show(Topic.ROUTES, bytes(place.room(Topic.ROUTES) + 1))
    assert board.read(0, Topic.ROUTES) == b"short"


def test_who_comes_after_finds_what_was_left_and_goes_on(board: Board) -> None:
    board.place(0).show(Topic.METRICS, b"old")
    board.occupy(0)
    board.vacate(0)
    assert seen(board.place(1)) == [Shown(b"old", alive=False)]
    heir = board.place(0)
    assert heir.left[Topic.METRICS] == b"old"
    assert heir.show(Topic.METRICS, b"new")
    assert board.read(0, Topic.METRICS) == b"new"
    assert (board.occupied, board.replaced) == (0, 0)
    board.occupy(0)
    assert (board.occupied, board.replaced) == (1, 1)


def test_the_least_busy_of_those_who_are_there(board: Board) -> None:
    places = [board.place(number) for number in range(3)]
    for place, load in zip(places, (5, 3, 4), strict=True):
        place.be_busy(load)
    assert places[0].least_busy() is None
    board.occupy(0)
    board.occupy(2)
    assert [place.least_busy() for place in places] == [4, 4, 5]
    board.vacate(2)
    assert places[0].least_busy() is None


def test_a_half_that_was_not_finished_is_not_seen(board: Board) -> None:
    place = board.place(0)
    for text in (b"one", b"two"):
        place.show(Topic.METRICS, text)
    # The third would go where the first was. The writer is killed before its head is there.
    side = 8192 + SIZES[Topic.METRICS]
    board._map[side + 16 : side + 19] = b"thr"
    assert board.read(0, Topic.METRICS) == b"two"
    heir = board.place(0)
    heir.show(Topic.METRICS, b"four")
    heir.show(Topic.METRICS, b"five")
    assert board.read(0, Topic.METRICS) == b"five"


def test_what_is_spoilt_is_not_seen(board: Board) -> None:
    """As a reader meets it whom the writer overtakes."""
    place = board.place(0)
    for text in (b"one", b"two"):
        place.show(Topic.METRICS, text)
    board._map[8192 + 16] ^= 1
    assert board.read(0, Topic.METRICS) == b"one"
    board._map[8192 + SIZES[Topic.METRICS] + 16] ^= 1
    assert board.read(0, Topic.METRICS) is None


def test_processes_see_each_other(board: Board) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            board.place(1).show(Topic.ROUTES, b"from the child")
            os.write(writer, b".")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(writer)
        assert os.read(reader, 1) == b"."
        assert board.place(0).others(Topic.ROUTES) == [Shown(b"from the child", alive=False)]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
    assert board.read(1, Topic.ROUTES) == b"from the child"


@pytest.mark.parametrize("places", [0, 256])
def test_a_board_has_bounds(places: int) -> None:
    with pytest.raises(ValueError, match="1 to 255 places"):
        Board(places)
