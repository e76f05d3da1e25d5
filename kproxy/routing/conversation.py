"""A conversation's messages go in; the route that answered its last turn comes out.

A provider keeps the prefix of a conversation warm and asks a tenth of the price for it, and a model
that changes between two turns contradicts itself. So the next turn goes to who answered the one
before, unless it must change (`planner.py`).

A turn is known by the digest of its exact messages. The next turn of the same conversation holds
these as its prefix, up to the last message of the assistant; so one digest is looked up, and no
identifier is asked of the caller. Memory is bounded, oldest first, and nothing of the text is kept.
"""

import hashlib
from collections import OrderedDict

import msgspec
from msgspec import Raw

from kproxy.schema.chat import ChatCall

__all__ = ["KEPT", "MOST", "Conversations", "Turn", "turn_of"]

MOST = 20_000
"""Conversations remembered; about 200 bytes each."""

KEPT = 3_600.0
"""Seconds: the longest that a provider keeps a prefix warm for."""


class Turn(msgspec.Struct, frozen=True):
    """`before` names the turn that this one continues, None: it begins; `now` names this one."""

    before: bytes | None
    now: bytes


_decode = msgspec.json.Decoder(list[Raw]).decode
_BETWEEN = b"\0"  # stands in no JSON

_ENDS = 32_768
"""Bytes of either end that a long message is known by, with its length: an image of 30 MB would
take 30 ms of the event loop, and two that differ in the middle alone are no danger here."""


def turn_of(call: ChatCall, account_id: str) -> Turn:
    """The turn that a request is, for this account."""
    messages = _decode(call.fields["messages"])
    roles = [message.role for message in call.request.messages]
    begun = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else None
    digest = hashlib.blake2b(account_id.encode(), digest_size=16)
    before: bytes | None = None
    for place, message in enumerate(messages):
        if place == begun:
            before = digest.digest()
        _add(digest, memoryview(message))
    return Turn(before, digest.digest())


def _add(digest: "hashlib.blake2b", message: memoryview) -> None:
    digest.update(_BETWEEN)
    if len(message) <= 2 * _ENDS:
        digest.update(message)
    else:
        digest.update(b"%d" % len(message))
        digest.update(message[:_ENDS])
        digest.update(message[-_ENDS:])


class Conversations:
    """Who answered which turn. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._answered: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Conversations {len(self._answered)}>"

    def route(self, turn: Turn, now: float) -> str | None:
        """The `provider/id` that answered the turn before; None: nobody, or too long ago."""
        if turn.before is None:
            return None
        found = self._answered.get(turn.before)
        return None if found is None or now - found[1] > KEPT else found[0]

    def answered(self, turn: Turn, key: str, now: float) -> None:
        """Remember who answered."""
        self._answered[turn.now] = key, now
        self._answered.move_to_end(turn.now)
        if len(self._answered) > MOST:
            self._answered.popitem(last=False)
