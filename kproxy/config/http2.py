"""`[limits.http2]` in, what one HTTP/2 connection may do out; every default is its room's own.

A kind of frame that costs more than its bytes has an allowance: so many at once, and so many more
in each second (`wire/h2_floods.py`). What goes beyond ends the connection with ENHANCE_YOUR_CALM.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from kproxy.wire.h2_events import H2Limits
from kproxy.wire.h2_floods import Allowance, FloodLimits

__all__ = ["Http2Limits", "h2_limits"]

_OURS, _FLOODS = H2Limits(), FloodLimits()

# RFC 9113 section 6.9.2: a connection begins with 65,535, and no window is over 2^31-1.
Window = Annotated[int, Meta(ge=65_535, le=2**31 - 1)]
Frames = Annotated[int, Meta(ge=1, le=1_000_000)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class Http2Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table. Of a connection where nothing else is said."""

    streams: Frames = _OURS.streams  # open at one time; RFC 9113 advises no fewer than 100
    # Bytes of bodies on their way to us, of one stream and of all: 256 KiB carry 20 Mbit/s over
    # 100 ms, and a connection's megabyte is what a slow reader of ours may have to hold.
    window: Window = _OURS.window
    connection_window: Window = _OURS.connection_window
    # All fields of a request, each with 32 bytes more than it has. None: as `fields`.
    header_list: Annotated[int, Meta(ge=1_024, le=1 << 30)] | None = None
    continuations: Annotated[int, Meta(ge=0, le=10_000)] = _FLOODS.continuations  # of one request
    field_block: Annotated[int, Meta(ge=1_024, le=1 << 30)] = _FLOODS.block  # its bytes, compressed
    resets: Frames = int(_FLOODS.resets.most)  # streams cut short, by whomever, for the peer's sake
    resets_per_second: Rate = _FLOODS.resets.rate
    pings: Frames = int(_FLOODS.pings.most)
    pings_per_second: Rate = _FLOODS.pings.rate
    # Its greeting is one, and its acknowledgement of ours another.
    settings: Annotated[int, Meta(ge=2, le=1_000_000)] = int(_FLOODS.settings.most)
    settings_per_second: Rate = _FLOODS.settings.rate
    empty_data: Frames = int(_FLOODS.empty.most)  # DATA frames without data that end nothing
    empty_data_per_second: Rate = _FLOODS.empty.rate
    # Beyond those that our DATA may be answered with: two for 4 KiB of it, and two for a frame.
    window_updates: Frames = int(_FLOODS.window_updates.most)
    window_updates_per_second: Rate = _FLOODS.window_updates.rate
    # Streams over the limit, of who cannot have heard of it yet; in the whole connection.
    refused_streams: Frames = int(_FLOODS.refused.most)
    other_frames: Frames = int(_FLOODS.others.most)  # PRIORITY, and kinds that nobody knows
    other_frames_per_second: Rate = _FLOODS.others.rate


def h2_limits(given: Http2Limits) -> H2Limits:
    """The same as the connection takes it."""
    return H2Limits(
        streams=given.streams,
        window=given.window,
        connection_window=given.connection_window,
        header_list=given.header_list,
        floods=FloodLimits(
            resets=Allowance(given.resets, given.resets_per_second),
            pings=Allowance(given.pings, given.pings_per_second),
            settings=Allowance(given.settings, given.settings_per_second),
            empty=Allowance(given.empty_data, given.empty_data_per_second),
            window_updates=Allowance(given.window_updates, given.window_updates_per_second),
            refused=Allowance(given.refused_streams, 0),
            others=Allowance(given.other_frames, given.other_frames_per_second),
            continuations=given.continuations,
            block=given.field_block,
        ),
    )
