"""Anthropic's Messages API as a dialect: requests, answers, streams and errors in OpenAI's form.

Answers are translated into OpenAI's bytes first and read as those, so that everything behind (the
flow, rescue, usage, receipts) sees one tongue. The translation is in the files beside this one.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from kproxy.dialect.anthropic.reply import completion
from kproxy.dialect.anthropic.request import build, refused
from kproxy.dialect.anthropic.stream import Chunks
from kproxy.dialect.base import ChunkFacts, Events, ReplyFacts
from kproxy.dialect.openai import OpenAI
from kproxy.errors import Fault, FaultKind, NotCarried, Rejected
from kproxy.wire.events import Headers

__all__ = ["VERSION", "Anthropic"]

VERSION = b"2023-06-01"
"""Of the API, for the `anthropic-version` field; there is no later one."""

CODES = (
    (re.compile(r"prompt is too long|exceed context (?:limit|window)"), "context_length_exceeded"),
    (re.compile(r"content filtering policy"), "content_filter"),
)
"""What OpenAI has a code for, Anthropic says in words: "prompt is too long: 210000 tokens > 200000
maximum", "input length and `max_tokens` exceed context limit: ...", "Output blocked by content
filtering policy"."""

TOO_LARGE = 413

_UNPAID = re.compile(r"^Your credit balance is too low")
"""A 400 all the same, and nothing that the caller could mend."""

_FIELD = re.compile(r"^([a-z_]+(?:\.[\w.]+)?): ")


class Anthropic:
    """See `Dialect`."""

    path = "/messages"

    def __init__(self) -> None:
        self._translated = OpenAI()

    def credentials(self, api_key: str) -> Headers:
        """The key in a field of its own, and the API's version."""
        version = (b"anthropic-version", VERSION)
        return [(b"x-api-key", api_key.encode("ascii")), version] if api_key else [version]

    def encode(
        self,
        fields: Mapping[str, msgspec.Raw],
        upstream: str,
        stream: bool,
        limit: int | None = None,
    ) -> bytes:
        """See `Dialect.encode`."""
        return build(fields, upstream, stream, limit)

    def refuses(self, fields: Mapping[str, msgspec.Raw]) -> NotCarried | None:
        """See `Dialect.refuses`."""
        return refused(fields)

    def events(self, reader: Events, created: int) -> Events:
        """See `Dialect.events`."""
        return Chunks(reader, created)

    def completion(self, body: bytes, created: int) -> bytes:
        """See `Dialect.completion`."""
        return completion(body, created)

    def read_chunk(self, data: bytes) -> ChunkFacts:
        """See `Dialect.read_chunk`."""
        return self._translated.read_chunk(data)

    def read_reply(self, body: bytes) -> ReplyFacts:
        """See `Dialect.read_reply`."""
        return self._translated.read_reply(body)

    def read_error(
        self, status: int, field: Callable[[bytes], bytes | None], body: bytes
    ) -> Fault | Rejected:
        """See `Dialect.read_error`. The body's shape is near enough to OpenAI's."""
        error = self._translated.read_error(status, field, body)
        if isinstance(error, Fault):
            return error
        if _UNPAID.search(error.message):
            return Fault(FaultKind.CREDENTIAL, "the account has no credit", status=status)
        error.code = next((code for said, code in CODES if said.search(error.message)), error.code)
        if status == TOO_LARGE:
            error.code = "request_too_large"
        named = _FIELD.match(error.message)
        error.param = error.param or (named[1] if named else None)
        return error
