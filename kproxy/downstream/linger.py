"""The last of a connection that we end: our side first, then a bounded wait for the caller's.

Closing at once while bytes of the caller's are unread, or on their way, would let the kernel answer
them with a reset, which can destroy what we said last (RFC 9112 section 9.6).
"""

from dataclasses import dataclass

import trio

from kproxy.transport.duplex import Duplex

__all__ = ["USUAL", "Patience", "linger"]


@dataclass(frozen=True, slots=True)
class Patience:
    """`gap`: seconds of silence after which unread bytes are waited for no more (nginx: 5).
    `total`: seconds for all of them (nginx: 30). `size`: twice the largest body, since who sends
    more is not sending the body that was refused.
    """

    gap: float = 2.0
    total: float = 30.0
    size: int = 67_108_864


USUAL = Patience()


async def linger(link: Duplex, *, cut: bool = False, patience: Patience = USUAL) -> None:
    """End our side, then take what the caller still sends, within bounds. `cut`: see `Duplex.end`.

    Raises Broken and Expired.
    """
    link.end(cut=cut)
    last = trio.current_time() + patience.total
    taken = 0
    while taken < patience.size:
        link.deadline = min(last, trio.current_time() + patience.gap)
        data = await link.receive()
        if not data:
            return
        taken += len(data)
