"""OpenAI's chat completions API, which most providers speak: our dialect and the common tongue.

1. The caller's fields go upstream as the bytes they came in; `model` becomes the provider's name
   for it, our own fields are left out, and a stream is always asked for its usage.
2. Where a provider is known to differ, its row in `quirks.py` says how; there is no other place.
3. An answer is decoded only to be believed: its bytes are forwarded, not the decoded copy.
"""

from calendar import timegm
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from kproxy.dialect.base import ChunkFacts, Events, ReplyFacts
from kproxy.dialect.quirks import IDLE, NONE, Quirks
from kproxy.errors import Fault, FaultKind, NotCarried, Rejected
from kproxy.schema.reply import decode_chunk, decode_reply, read_usage
from kproxy.wire.events import Headers

__all__ = ["OURS", "OpenAI", "retry_after"]

OURS = frozenset({
    "data_collection", "max_quantization", "min_quantization", "plugins", "preferred_max_latency",
    "preferred_min_throughput", "x_kairosroute", "zdr",
})  # fmt: skip
"""Request members that are kproxy's own and never go upstream (contract section 2)."""

_OF_ALL = OURS | {"model"}
_OF_STREAMS = _OF_ALL | {"stream_options"}
"""Members that are written anew, or left out."""

USAGE_ASKED = b'{"include_usage":true}'

MAX_MESSAGE = 2_000
"""Characters of a provider's error message that are passed on."""

CONTENT_STATUSES = frozenset({400, 413, 422})
"""A provider says with these that it is the caller's content (contract section 4)."""

MOST_RETRY_AFTER = 3_600
"""Seconds of a `Retry-After` that are believed; a longer one is taken for a mistake (R9)."""

_LONGEST_SECONDS, _LONGEST_MS = 4, 7  # digits

STATUS_FAULTS = MappingProxyType({404: FaultKind.NOT_FOUND, 429: FaultKind.RATE_LIMITED})


_encode = msgspec.json.Encoder().encode  # what is raw stays as it is


class OpenAI:
    """See `Dialect`."""

    path = "/chat/completions"

    def __init__(self, quirks: Quirks = NONE) -> None:
        self._quirks = quirks
        self._plain = quirks.is_empty

    def credentials(self, api_key: str) -> Headers:
        """A bearer token, RFC 6750."""
        return [(b"authorization", b"Bearer " + api_key.encode("ascii"))] if api_key else []

    def encode(
        self,
        fields: Mapping[str, msgspec.Raw],
        upstream: str,
        stream: bool,
        limit: int | None = None,
    ) -> bytes:
        """See `Dialect.encode`. A limit that nobody asked for is the provider's own."""
        if not self._plain:
            fields = _fitted(fields, self._quirks)
        taken = _OF_STREAMS if stream else _OF_ALL
        kept = {name: raw for name, raw in fields.items() if name not in taken}
        sent: dict[str, str | msgspec.Raw] = {"model": upstream, **kept}
        if stream and self._quirks.asks_usage:
            sent["stream_options"] = msgspec.Raw(_ask_usage(fields.get("stream_options")))
        return _encode(sent)

    def refuses(self, fields: Mapping[str, msgspec.Raw]) -> NotCarried | None:
        """See `Dialect.refuses`."""
        return None if self._plain else _refused(fields, self._quirks)

    def events(self, reader: Events, created: int) -> Events:
        """See `Dialect.events`."""
        return reader

    def completion(self, body: bytes, created: int) -> bytes:
        """See `Dialect.completion`."""
        return body

    def read_chunk(self, data: bytes) -> ChunkFacts:
        """See `Dialect.read_chunk`."""
        try:
            chunk = decode_chunk(data)
        except msgspec.MsgspecError as error:
            raise Fault(FaultKind.BAD_BODY, "an event that is not a chunk") from error
        if chunk.has_error:
            raise Fault(FaultKind.ERROR_EVENT, "an error inside the stream")
        choices = chunk.choices or ()
        text = 0
        finished: list[int] = []
        reasons: list[str] = []
        for choice in choices:
            if choice.delta is not None:
                text += choice.delta.output_bytes
            if choice.finish_reason is not None:
                finished.append(choice.index or 0)
                reasons.append(choice.finish_reason)
        return ChunkFacts(
            token=text > 0,
            text=text,
            finished=tuple(finished),
            empty=not choices,
            usage=read_usage(chunk.told_usage),
            tagged=len(chunk.x_kairosroute) > 0,
            reasons=tuple(reasons),
            model=chunk.model,
        )

    def read_reply(self, body: bytes) -> ReplyFacts:
        """See `Dialect.read_reply`."""
        try:
            reply = decode_reply(body)
        except msgspec.MsgspecError as error:
            raise Fault(FaultKind.BAD_BODY, "a body that is not a completion") from error
        if reply.has_error:
            raise Fault(FaultKind.ERROR_EVENT, "an error inside a 200")
        if not reply.choices:
            raise Fault(FaultKind.NO_CONTENT, "a completion without choices")
        text = 0
        for choice in reply.choices:
            if choice.finish_reason is None:
                raise Fault(FaultKind.NO_CONTENT, "a completion without a finish reason")
            if choice.message is not None:
                text += choice.message.output_bytes
        return ReplyFacts(
            usage=read_usage(reply.usage),
            text=text,
            tagged=len(reply.x_kairosroute) > 0,
            model=reply.model,
            reasons=tuple([choice.finish_reason or "" for choice in reply.choices]),
        )

    def read_error(
        self, status: int, field: Callable[[bytes], bytes | None], body: bytes
    ) -> Fault | Rejected:
        """See `Dialect.read_error`."""
        rejection = _rejection(status, body) if status in CONTENT_STATUSES else None
        if rejection is not None and rejection.code != "invalid_api_key":
            return rejection
        if status in (401, 403) or rejection is not None:
            return Fault(FaultKind.CREDENTIAL, f"HTTP {status}", status=status)
        wait = retry_after(field)
        kind = STATUS_FAULTS.get(status, FaultKind.UNAVAILABLE)
        return Fault(kind, f"HTTP {status}", status=status, retry_after=wait)


def _fitted(fields: Mapping[str, msgspec.Raw], quirks: Quirks) -> dict[str, msgspec.Raw]:
    """The members as this provider takes them. Raises NotCarried."""
    refused = _refused(fields, quirks)
    if refused is not None:
        raise refused
    fitted: dict[str, msgspec.Raw] = {}
    for name, raw in fields.items():
        if name in quirks.dropped or name in quirks.refused:
            continue
        renamed = quirks.renamed.get(name, name)
        if renamed == name or renamed not in fields:
            fitted[renamed] = raw
    if quirks.prefix and "messages" in fitted:
        fitted["messages"] = _marked(fitted["messages"])
    return fitted


def _refused(fields: Mapping[str, msgspec.Raw], quirks: Quirks) -> NotCarried | None:
    """A member that asks for something this provider does not take."""
    for name, value in fields.items():
        raw = bytes(value) if name in quirks.refused else b"null"
        if raw != b"null" and raw not in IDLE.get(name, ()):
            return NotCarried(name, f"This provider does not take '{name}'.")
    return None


def _marked(messages: msgspec.Raw) -> msgspec.Raw:
    """The messages, with `prefix` in the last one where it is a text of the assistant's."""
    given = msgspec.json.decode(messages, type=list[msgspec.Raw])
    last = msgspec.json.decode(given[-1], type=dict[str, msgspec.Raw])
    if bytes(last.get("role", b"")) != b'"assistant"' or "tool_calls" in last or "prefix" in last:
        return messages
    last["prefix"] = msgspec.Raw(b"true")
    given[-1] = msgspec.Raw(msgspec.json.encode(last))
    return msgspec.Raw(msgspec.json.encode(given))


def _ask_usage(given: msgspec.Raw | None) -> bytes:
    """The caller's stream options with usage asked for."""
    if given is None:
        return USAGE_ASKED
    try:
        options = msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return USAGE_ASKED  # null: the schema has refused everything else
    options["include_usage"] = msgspec.Raw(b"true")
    return msgspec.json.encode(options)


def _rejection(status: int, body: bytes) -> Rejected:
    """The provider's word on the caller's content, in OpenAI's shape."""
    error = _error_object(body)
    message, code, param = (_text(error.get(name)) for name in ("message", "code", "param"))
    message = message or f"The provider refused the request (HTTP {status})."
    return Rejected(status, code or "invalid_request_error", message, param=param)


def _error_object(body: bytes) -> dict[str, Any]:
    """The error in a body, in the shapes that are met: OpenAI's, Google's list of one, vLLM's bare
    object, and a bare text. Empty for anything else, since the status says enough."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, str):
        return {"message": found}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value[:MAX_MESSAGE] if isinstance(value, str) and value else None


def retry_after(field: Callable[[bytes], bytes | None]) -> float | None:
    """Seconds that the provider asks us to stay away, 0 to 3,600 (R9); else None.

    `Retry-After` is an integer or a date (RFC 9110 section 10.2.3). A date is taken relative to
    the answer's own `Date`, so that a clock that is wrong, ours or theirs, does not matter.
    `retry-after-ms` is OpenAI's finer spelling of the same.
    """
    fine = field(b"retry-after-ms")
    if fine is not None and fine.isdigit() and len(fine) <= _LONGEST_MS:
        return _bounded(int(fine) / 1000)
    value = field(b"retry-after")
    if value is None:
        return None
    if value.isdigit():
        return _bounded(float(value)) if len(value) <= _LONGEST_SECONDS else None
    until, now = _http_date(value), _http_date(field(b"date") or b"")
    return None if until is None or now is None else _bounded(until - now)


def _bounded(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= MOST_RETRY_AFTER else None


def _http_date(value: bytes) -> float | None:
    """Seconds since 1970 of an HTTP date; None for anything else.

    All three forms are read (RFC 9110 section 5.6.7). That of asctime names no zone and means UTC.
    """
    from email.utils import parsedate_tz  # few providers give one

    try:
        parts = parsedate_tz(value.decode("ascii"))
        return None if parts is None else timegm(parts[:9]) - (parts[9] or 0)
    except (ValueError, OverflowError):
        return None
