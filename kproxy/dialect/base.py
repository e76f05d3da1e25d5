"""What kproxy needs to know of a provider's API, whatever that API looks like.

A dialect turns our request into the provider's, and the provider's bytes into facts: what a chunk
carries, how an answer ended, whose fault an error is. It is pure; one instance serves all.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from kproxy.errors import Fault, NotCarried, Rejected
from kproxy.schema.reply import ReplyUsage
from kproxy.wire.events import Headers
from kproxy.wire.sse import Event

__all__ = ["ChunkFacts", "Dialect", "Events", "ReplyFacts"]


class ChunkFacts(msgspec.Struct, frozen=True):
    """What one chunk of a streamed answer says."""

    token: bool  # content, reasoning, refusal or tool-call text for the caller: the commit point
    text: int  # bytes of that text, for an estimate where the provider never tells
    finished: tuple[int, ...]  # choices that ended in this chunk, by index
    empty: bool  # no choices at all: a usage chunk, or a preamble
    usage: ReplyUsage | None
    tagged: bool  # carries an x_kairosroute already: the provider is a kproxy
    reasons: tuple[str, ...] = ()  # why those have ended
    model: str | None = None  # as the provider spells it; None: it did not say

    @property
    def plain(self) -> bool:
        """A piece of the answer like most: nothing ends here, and nothing need change."""
        return not (self.finished or self.empty or self.tagged)


class ReplyFacts(msgspec.Struct, frozen=True):
    """What a whole answer says."""

    usage: ReplyUsage | None
    text: int
    tagged: bool
    model: str | None  # as the provider spells it; None: it did not say
    reasons: tuple[str, ...] = ()  # why its choices have ended


class Events(Protocol):
    """The events of one stream: what `wire/sse.py` reads, or what a dialect makes of that."""

    def feed(self, payload: bytes) -> list[Event]:
        """The events that end in `payload`. Raises ProtocolError past a limit."""
        ...

    def eof(self) -> list[Event]:
        """The events that the end of the body ended."""
        ...


class Dialect(Protocol):
    """One provider API."""

    path: str
    """Appended to the provider's base URL."""

    def credentials(self, api_key: str) -> Headers:
        """The header fields that present `api_key`."""
        ...

    def encode(
        self,
        fields: Mapping[str, msgspec.Raw],
        upstream: str,
        stream: bool,
        limit: int | None = None,
    ) -> bytes:
        """The body for the provider: what the caller's fields say, ours gone, usage asked for.

        `limit` is how many tokens the answer may have where the caller does not say, None: not
        known. Raises NotCarried for what this API has no words for.
        """
        ...

    def refuses(self, fields: Mapping[str, msgspec.Raw]) -> NotCarried | None:
        """What `encode` would raise for these members, whichever the model; None: it has words for
        all of them. Asked before anything is planned."""
        ...

    def events(self, reader: Events, created: int) -> Events:
        """The events of a stream in OpenAI's form: `reader` itself where they are in it already.

        `created` is the Unix time for answers that have none.
        """
        ...

    def completion(self, body: bytes, created: int) -> bytes:
        """A whole answer in OpenAI's form: `body` itself where it is in it. Raises Fault."""
        ...

    def read_chunk(self, data: bytes) -> ChunkFacts:
        """Facts of the data of one of `events`. Raises Fault (bad body, error event)."""
        ...

    def read_reply(self, body: bytes) -> ReplyFacts:
        """Facts of a `completion`. Raises Fault (bad body, error inside a 200, no content)."""
        ...

    def read_error(
        self, status: int, field: Callable[[bytes], bytes | None], body: bytes
    ) -> Fault | Rejected:
        """A status other than 200 as whose fault it is (contract section 4 and 6)."""
        ...
