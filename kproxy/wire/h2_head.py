"""One HTTP/2 request's fields, decoded: name and value pairs in, `RequestHead` out.

The same strictness as wire/scan.py, in front of the same handlers, for what RFC 9113 asks of a
request (section 8.2 and 8.3): four pseudo-header fields, once each and first; names in lower case;
nothing that is about an HTTP/1.1 connection; one authority.

Two ways to fail. What RFC 9113 calls malformed is `Malformed`, a stream error. What is well formed
and unwelcome (too large, CONNECT, an unknown expectation) is a plain ProtocolError with a status
that the caller can be told.
"""

import re

from kproxy.wire.events import Headers, ProtocolError, RequestHead
from kproxy.wire.fields import combine
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import expects_continue, is_host, is_path, read_length

__all__ = ["ENTRY", "Malformed", "check_names", "check_trailers", "read_head"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# field-vchar, space and tab, as in fields.py; white space may not stand at either end.
_IN_VALUE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_BLANK = (b" ", b"\t")

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_A_CONNECTION = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
"""RFC 9113 section 8.2.2."""

ENTRY = 32
"""What a field counts beyond its bytes (RFC 9113 section 10.5.1, RFC 7541 section 4.1)."""


class Malformed(ProtocolError):
    """A stream error of type PROTOCOL_ERROR (RFC 9113 section 8.1.1)."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


def read_head(fields: Headers, limits: H1Limits, *, ended: bool) -> RequestHead:
    """The head of a request; `ended`: it has no body. Raises Malformed, and ProtocolError 414, 417,
    431 and 501."""
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    for name, value in fields:
        if name[:1] != b":":
            headers.append((name, value))
        elif headers or name in pseudo or name not in _PSEUDO:
            raise Malformed("The pseudo-header fields are not those of a request.")
        else:
            pseudo[name] = value
    check_names(headers)
    if pseudo.get(b":method") == b"CONNECT":
        raise ProtocolError(501, "CONNECT is not offered.")
    method, path = _request_line(pseudo)
    facts = combine(headers)
    host = _authority(pseudo.get(b":authority"), facts.get(b"host"))
    _check_sizes(path, [*pseudo.items(), *headers], limits)
    length = _body_length(facts.get(b"content-length"), ended=ended)
    expects = b"expect" in facts and expects_continue(facts[b"expect"])
    rest = [field for field in headers if field[0] != b"host"]
    return RequestHead(
        method, path, [(b"host", host), *rest], length, True, expects and length != 0
    )


def check_trailers(fields: Headers, limits: H1Limits) -> None:
    """Trailers are dropped, but must be some. Raises Malformed."""
    check_names(fields)
    if len(fields) > limits.count:
        raise Malformed(f"There are more than {limits.count} trailer fields.")
    if sum(len(name) + len(value) + ENTRY for name, value in fields) > limits.trailers:
        raise Malformed(f"The trailers are over {limits.trailers} bytes.")


def check_names(headers: Headers) -> None:
    """Fields of any message, without pseudo-header fields. Raises Malformed."""
    for name, value in headers:
        if _NAME.fullmatch(name) is None:
            raise Malformed("A field's name is not a token in lower case.")
        if value.translate(None, _IN_VALUE) or value.startswith(_BLANK) or value.endswith(_BLANK):
            raise Malformed("A field's value holds a control byte, or white space at its ends.")
        if name in _OF_A_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise Malformed("A field is about a connection of HTTP/1.1.")


def _request_line(pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Method and path."""
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if pseudo.get(b":scheme") not in (b"http", b"https"):
        raise Malformed("The scheme is neither http nor https.")
    if _METHOD.fullmatch(method) is None:
        raise Malformed("The method is not a token.")
    if not is_path(path) and (path, method) != (b"*", b"OPTIONS"):
        raise Malformed("The path is malformed.")
    return method, path


def _authority(authority: bytes | None, host: bytes | None) -> bytes:
    """What stands for Host. RFC 9113 section 8.3.1: the two must not differ."""
    if authority is not None and host is not None and authority.lower() != host.lower():
        raise Malformed("The authority and the Host field differ.")
    found = host if authority is None else authority
    if found is None or not is_host(found):
        raise Malformed("The authority is not one valid host.")
    return found


def _check_sizes(path: bytes, fields: Headers, limits: H1Limits) -> None:
    if len(path) > limits.request_line:
        raise ProtocolError(414, f"The path is over {limits.request_line} bytes.")
    if len(fields) - len(_PSEUDO) > limits.count:
        raise ProtocolError(431, f"There are more than {limits.count} header fields.")
    total = 0
    for name, value in fields:
        size = len(name) + len(value)
        if size > limits.field and name != b":path":
            raise ProtocolError(431, f"A header field is over {limits.field} bytes.")
        total += size + ENTRY
    if total > limits.fields + len(path):
        raise ProtocolError(431, f"The header fields are over {limits.fields} bytes.")


def _body_length(value: bytes | None, *, ended: bool) -> int | None:
    """The length of the body; None where only its end will tell."""
    if value is None:
        return 0 if ended else None
    try:
        length = read_length(value)
    except ProtocolError as error:
        raise Malformed(error.message) from None
    if ended and length:
        raise Malformed("There is no body, but a Content-Length.")
    return length
