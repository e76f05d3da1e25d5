"""Field names: which there are, and which of them travel.

Nothing passes by accident: what goes to a provider is chosen from a list of what may.
"""

from kproxy.wire.events import Headers
from kproxy.wire.tracecontext import TRACEPARENT, TRACESTATE, read_trace
from kproxy.wire.via import VIA, via

__all__ = [
    "ALLOW_UPSTREAM",
    "COST",
    "PROVIDER",
    "RECEIPT",
    "REQUEST_ID",
    "SAVINGS",
    "SPELLINGS",
    "forwardable",
]

PROVIDER = b"x-kairosroute-provider"
COST = b"x-kairosroute-cost"
SAVINGS = b"x-kairosroute-savings"
RECEIPT = b"x-kairosroute-receipt"
REQUEST_ID = b"x-request-id"

ALLOW_UPSTREAM = frozenset(b"traceparent tracestate openai-beta".split())
"""The caller's fields that may reach a provider.

Trace context joins the caller's traces with the provider's, and W3C asks middle boxes to pass it
on. `openai-beta` chooses the behaviour that the caller's code is written for. Nothing else:
credentials, organisation and project name accounts, and at the provider the account is ours;
cookies and addresses are the caller's own; the user agent and x-stainless fields describe a client
that is not the one connected; accept-encoding and content-type say what *we* send and read. An
idempotency key stays here, since one request may become attempts at several providers.
"""

_READ = ALLOW_UPSTREAM | {VIA}

_USUAL = (
    b"Accept Accept-Encoding Accept-Language Age Allow Alt-Svc Authorization Cache-Control "
    b"CF-Cache-Status CF-Ray Connection Content-Encoding Content-Length Content-Type Cookie Date "
    b"ETag Expect Host Idempotency-Key Keep-Alive OpenAI-Beta OpenAI-Organization "
    b"OpenAI-Processing-Ms OpenAI-Project OpenAI-Version Origin Referer Retry-After Server "
    b"Set-Cookie Strict-Transport-Security Traceparent Tracestate Transfer-Encoding User-Agent "
    b"Vary Via X-API-Key X-Content-Type-Options X-Forwarded-For X-Forwarded-Host "
    b"X-Forwarded-Proto X-RateLimit-Limit-Requests X-RateLimit-Limit-Tokens "
    b"X-RateLimit-Remaining-Requests X-RateLimit-Remaining-Tokens X-RateLimit-Reset-Requests "
    b"X-RateLimit-Reset-Tokens X-Real-IP X-Request-ID Server-Timing X-KairosRoute-Cost "
    b"X-KairosRoute-Provider X-KairosRoute-Receipt X-KairosRoute-Savings "
    b"X-Stainless-Arch X-Stainless-Async X-Stainless-Lang X-Stainless-OS "
    b"X-Stainless-Package-Version X-Stainless-Raw-Response X-Stainless-Read-Timeout "
    b"X-Stainless-Retry-Count X-Stainless-Runtime X-Stainless-Runtime-Version"
).split()

SPELLINGS = {
    spelling: name.lower() for name in _USUAL for spelling in (name, name.title(), name.lower())
}
"""Spellings of usual names, to lower case: found here, a name needs no further check."""


_ONLY_US = {version: (VIA, via((), version)) for version in (b"1.0", b"1.1", b"2")}
"""Our Via behind nobody's, by the version of HTTP that a request came by."""


def forwardable(headers: Headers, protocol: bytes = b"1.1") -> Headers:
    """The fields of a caller that go to a provider, and our Via; `protocol` as in `via`.

    A field named in Connection belongs to the caller's connection and stays (RFC 9110 section
    7.6.1), whatever its name. A trace context travels where it is valid (`tracecontext.py`).
    """
    kept = [header for header in headers if header[0] in _READ]
    if not kept:
        return [_ONLY_US[protocol]]
    named = {
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    }
    kept = [header for header in kept if header[0] not in named]
    trace = read_trace(kept)
    return [
        *(header for header in kept if header[0] not in (TRACEPARENT, TRACESTATE, VIA)),
        *(() if trace is None else trace.fields()),
        (VIA, via([value for name, value in kept if name == VIA], protocol)),
    ]
