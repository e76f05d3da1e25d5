"""What one process has learned of the routes in, bytes for the others out; and back again.

Each worker shows, about once a second, the sums of its windows and until when it leaves whom alone.
Who reads adds the sums to its own and rests as long. The times are of a clock that all of them
share; who shows and who reads say how far their own is from it.

There is no agreement: each worker decides by itself, on what it has seen and was shown. What it was
shown is a second old, so while a route fails each may ask it until its own breaker opens, and after
a rest each sends a probe of its own.
"""

from collections.abc import Mapping

import msgspec

from kproxy.routing.window import Seen

__all__ = ["News", "Rest", "decode_news", "encode_news"]


class Rest(msgspec.Struct, frozen=True, array_like=True):
    """Until when who is left alone: for failures, and because it asked for time. 0: it is not."""

    until: float
    penalty: float


class News(msgspec.Struct, frozen=True, array_like=True):
    """Of one process, at one moment. `routes` are by `provider/id`, `accounts` by provider."""

    at: float
    seen: Mapping[str, Seen]
    routes: Mapping[str, Rest]
    accounts: Mapping[str, Rest]

    def moved(self, by: float) -> "News":
        """The same by a clock that shows so many seconds more."""
        return News(self.at + by, self.seen, _moved(self.routes, by), _moved(self.accounts, by))


def encode_news(news: News, room: int) -> bytes:
    """In `room` bytes, for which windows are left out where they must be, the last in `seen` first.

    Longer where the rests alone are: one takes some 50 bytes.
    """
    encoded = _encode(news)
    seen = dict(news.seen)
    while len(encoded) > room and seen:
        for key in list(seen)[-(len(seen) // 2 or 1) :]:
            del seen[key]
        encoded = _encode(msgspec.structs.replace(news, seen=seen))
    return encoded


def decode_news(data: bytes) -> News:
    """The news that these bytes are. Raises msgspec.DecodeError where they are none."""
    return _decode(data)


def _moved(rests: Mapping[str, Rest], by: float) -> dict[str, Rest]:
    return {
        key: Rest(rest.until and rest.until + by, rest.penalty and rest.penalty + by)
        for key, rest in rests.items()
    }


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(News).decode
