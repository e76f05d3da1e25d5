"""What a provider may not do without end, though each frame of it is legal."""

import pytest

from kproxy.wire.h2_events import H2Limits
from kproxy.wire.h2_floods import Allowance, FloodLimits
from kproxy.wire.h2_frames import DATA, END_HEADERS, HEADERS, frame_bytes
from tests.fakes.h2_answers import OK, Asking
from tests.fakes.h2_frames import PADDED, continuation, data, headers, ping, reset, settings, update

CALM = 0xB
HEAD = headers(1, OK, end=False)
NOW = Allowance(9, 0)
TIGHT = H2Limits(
    floods=FloodLimits(
        resets=NOW, pings=NOW, settings=NOW, empty=NOW, window_updates=NOW, others=NOW,
        continuations=4, block=9_999,
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "before"),
    [
        (ping(), b""),
        (settings(), b""),
        (data(1), HEAD),
        (frame_bytes(DATA, PADDED, 1, b"\x01\x00"), HEAD),
        (update(0, 1), b""),
        (reset(1), reset(1)),
        (frame_bytes(0x77, 0, 0, b""), b""),
        (continuation(1), frame_bytes(HEADERS, 0, 1, b"")),
    ],
    ids=[
        "PING",
        "SETTINGS",
        "empty DATA",
        "padding",
        "WINDOW_UPDATE",
        "resets",
        "unknown",
        "block",
    ],
)
def test_floods(said: bytes, before: bytes) -> None:
    asking = Asking(before, limits=TIGHT)
    if before == reset(1):
        asking.codec.close(1)
    asking.say(*[said] * 12)
    assert asking.ended == CALM


def test_a_field_list_without_end() -> None:
    """Compressed it is small: one field, again and again from the table."""
    large = b"\x40\x01x\x7f" + b"\xe1\x1e" + b"y" * 4_000
    asking = Asking(frame_bytes(HEADERS, END_HEADERS, 1, b"\x88" + large + b"\xbe" * 9_000))
    assert asking.ended is not None


def test_a_provider_that_tells_of_each_4_kib_of_an_upload_is_none() -> None:
    asking = Asking(update(0, 2**24), begun=settings((4, 2**24)), streams=[False])
    asking.codec.send_data(1, bytes(4 * 2**20), last=False)
    for _ in range(1024):
        asking.say(update(0, 4096), update(1, 4096))
    assert asking.ended is None
