"""Connections that were ended for what they are in, lines of the log out, as long as they are few.

A flood that ends its connection is worth a line, with the address that an operator may want to
shut out. But who floods can connect again, and a line for each would let strangers fill a disk. So
there are `MOST` lines at once and one more every `EVERY` seconds; the next line says how many had
none. What else is wrong with a connection is anybody's bad client, and told at level INFO alone.
"""

import logging

from kproxy.wire.h2_frames import Code, H2Error

__all__ = ["EVERY", "MOST", "FloodLog"]

MOST = 20
EVERY = 10.0
"""Seconds: one megabyte a day, at the most."""

log = logging.getLogger("kproxy.connection")


class FloodLog:
    """What has been told, of all connections of one listener."""

    def __init__(self) -> None:
        self._left = float(MOST)
        self._at = 0.0
        self._untold = 0

    def note(self, peer: str, error: H2Error, now: float) -> None:
        """A connection has ended at `now` (any steady clock, seconds) for what its peer did."""
        if error.code != Code.ENHANCE_YOUR_CALM:
            log.info("ended an HTTP/2 connection of %s: %s", peer, error)
            return
        self._left = min(MOST, self._left + (now - self._at) / EVERY)
        self._at = now
        if self._left < 1:
            self._untold += 1
            return
        self._left -= 1
        more, self._untold = self._untold, 0
        others = f" ({more} more such connections since the last line)" if more else ""
        log.warning("ended an HTTP/2 connection of %s: %s%s", peer, error, others)
