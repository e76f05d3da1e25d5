"""What one process tells the others of its routes: as bytes, by whose clock, in how much room."""

import msgspec
import pytest

from kproxy.routing.news import News, Rest, decode_news, encode_news
from kproxy.routing.window import Seen


def seen(number: int) -> Seen:
    return Seen((number, 1), (number, 2, number + 1, 3), (), (), 4, 1)


NEWS = News(
    100.0,
    {f"acme/{number}": seen(number) for number in range(20)},
    {"acme/1": Rest(110.0, 0.0), "acme/2": Rest(0.0, 120.0)},
    {"acme": Rest(105.0, 106.0)},
)


def test_through_bytes_it_is_the_same() -> None:
    assert decode_news(encode_news(NEWS, 10_000)) == NEWS


def test_by_another_clock() -> None:
    moved = NEWS.moved(-90.0)
    assert moved.at == 10.0
    assert moved.routes == {"acme/1": Rest(20.0, 0.0), "acme/2": Rest(0.0, 30.0)}
    assert moved.accounts == {"acme": Rest(15.0, 16.0)}
    assert moved.seen is NEWS.seen
    assert moved.moved(90.0) == NEWS


def test_without_room_the_last_windows_are_left_out_and_no_rest() -> None:
    whole = len(encode_news(NEWS, 10_000))
    for room in range(whole - 1, 150, -25):
        data = encode_news(NEWS, room)
        assert len(data) <= room
        found = decode_news(data)
        assert list(found.seen) == list(NEWS.seen)[: len(found.seen)]
        assert (found.routes, found.accounts) == (NEWS.routes, NEWS.accounts)
    assert decode_news(encode_news(NEWS, 0)).seen == {}


def test_what_is_no_news_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_news(b"\x93abc")
