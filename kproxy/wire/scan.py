"""One request head, whole: bytes in, `RequestHead` and whether it is plain out.

Problem: the proxy reads a head per request, and whoever reads it differently from the next server
on the way can be used to smuggle a request past it. h11 is a sound parser with a lenient edge: it
keeps a connection after Content-Length with Transfer-Encoding, takes bare LF, control bytes and
any Host, and needs 90 us.

Our way: one strict pass in front of everything. It refuses whatever RFC 9112 calls an error, and
whatever it lets a server repair. Rules of this file:

1. The bytes are proven clean before anything is cut out of them (`fields.split_lines`).
2. A number is its digits, checked; `int()` never sees a byte that was not.
3. Framing has one answer. Two Content-Length, or one beside Transfer-Encoding, is an error even
   where the RFC would let one of them win.
4. Names that repeat are joined as lists, so a rule about a single value fails by itself.

A head is *plain* if it needs nothing but this: HTTP/1.1, origin form, a length or no body, no
expectation, no upgrade. What is legal but not plain is also read by h11, which must agree.
This file knows neither where the bytes come from nor what a target means.
"""

import re
from ipaddress import IPv6Address

from kproxy.wire.events import Headers, ProtocolError, RequestHead
from kproxy.wire.fields import check_sizes, combine, keeps_alive, read_fields, split_lines
from kproxy.wire.limits import H1Limits

__all__ = ["expects_continue", "is_host", "is_path", "read_length", "scan_head"]

_METHOD = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
# What a path and a query consist of (RFC 3986 section 3.3 and 3.4): no fragment, no brackets, and
# a percent sign must begin an escape. Each byte matches in one way only.
_PLAIN = rb"[!$&-;=?-Z_a-z~]*"
_PATH = _PLAIN + rb"(?:%[0-9A-Fa-f]{2}" + _PLAIN + rb")*"
_ORIGIN = re.compile(rb"/" + _PATH)
_PLAIN_LINE = re.compile(_METHOD + rb" (/" + _PLAIN + rb") HTTP/1\.1")  # the usual one, quicker
_ESCAPED_LINE = re.compile(_METHOD + rb" (/" + _PATH + rb") HTTP/1\.1")
_LINE = re.compile(_METHOD + rb" ([!-~]+) HTTP/([0-9]\.[0-9])")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([/?]" + _PATH + rb")?")

# RFC 3986 section 3.2.2, and ports that there are.
_NAME = rb"[0-9A-Za-z\-._~!$&'()*+,;=]*"
_HIGH = rb"6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))"  # 60000 to 65535
_PORT = rb"(?::(?:[0-9]{0,4}|[0-5][0-9]{4}|" + _HIGH + rb"))?"
_HOST = re.compile(_NAME + rb"(?:%[0-9A-Fa-f]{2}" + _NAME + rb")*" + _PORT)
_IPV6_HOST = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\]" + _PORT)

# More digits than any body has, and far fewer than a machine word overflows at.
_LENGTH_DIGITS = 18


def scan_head(head: bytes, limits: H1Limits) -> tuple[RequestHead, bool]:
    """Read a request head, from its first byte to the CRLF CRLF that ends it.

    Returns the head and whether it is plain. Raises ProtocolError: 400 for what is malformed or
    contradicts itself, 414 and 431 for sizes, 417, 501 and 505 for what we do not do.
    """
    assert head.endswith(b"\r\n\r\n")
    if len(head) > limits.easy:
        lines = head.split(b"\r\n")
        if len(lines[0]) > limits.request_line:
            raise ProtocolError(414, f"The request line is over {limits.request_line} bytes.")
        check_sizes(lines[1:-2], limits)
    lines = split_lines(head)
    line = _PLAIN_LINE.fullmatch(lines[0]) or _ESCAPED_LINE.fullmatch(lines[0])
    if line is not None:
        method, target = line.groups()
        plain, http_10 = True, False
    else:
        method, target, http_10 = _request_line(lines[0])
        plain = False
    if method == b"CONNECT":
        raise ProtocolError(501, "CONNECT is not offered.")
    headers, index = read_fields(lines[1:-1], limits)
    facts = combine(headers) if index is None else index
    host = facts.get(b"host")
    if host is None:
        if not http_10:
            raise ProtocolError(400, "The Host field is missing.")
    elif not is_host(host):
        raise ProtocolError(400, "The Host field is not one valid host.")
    length = _body_length(facts, http_10=http_10)
    expects = b"expect" in facts and _expects(facts[b"expect"], http_10=http_10)
    if plain:
        plain = length is not None and not expects and b"upgrade" not in facts
    elif target[:1] != b"/":
        target, headers = _normalise(method, target, headers)
        index = None
    keep_alive = keeps_alive(facts.get(b"connection"), http_10=http_10)
    expects = expects and length != 0
    return RequestHead(method, target, headers, length, keep_alive, expects, http_10, index), plain


def _request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(400, "The request line is malformed.")
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise ProtocolError(505, "The HTTP version is neither 1.0 nor 1.1.")
    if target[:1] == b"/" and not is_path(target):
        raise ProtocolError(400, "The request target is malformed.")
    return method, target, version == b"1.0"


def _normalise(method: bytes, target: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """The origin form of an absolute target, and the fields with its authority as Host.

    A server takes the authority of the target and ignores Host (RFC 9112 section 3.2.2).
    """
    if target == b"*" and method == b"OPTIONS":
        return target, headers
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not is_host(match[1]):
        raise ProtocolError(400, "The request target is malformed.")
    host, path = match.groups(b"")
    rest = [header for header in headers if header[0] != b"host"]
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path[:1] == b"?":
        path = b"/" + path
    return path, [(b"host", host), *rest]


def is_path(target: bytes) -> bool:
    """Is this the origin form of a target, `absolute-path [ "?" query ]`?"""
    return _ORIGIN.fullmatch(target) is not None


def is_host(host: bytes) -> bool:
    """Is this `uri-host [":" port]`? An empty host is none (RFC 9110 section 4.2.1)."""
    if host[:1] != b"[":
        return _HOST.fullmatch(host) is not None and host[:1] not in (b"", b":")
    match = _IPV6_HOST.fullmatch(host)
    if match is None:
        return False
    try:
        IPv6Address(match[1].decode("ascii"))
    except ValueError:
        return False
    return True


def read_length(value: bytes) -> int:
    """A Content-Length. Raises ProtocolError(400) for anything but 1 to 18 digits."""
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:  # on bytes, isdigit knows 0-9 only
        raise ProtocolError(400, "The Content-Length is not one number.")
    return int(value)


def _body_length(facts: dict[bytes, bytes], *, http_10: bool) -> int | None:
    """The length of the body; None if it is chunked (RFC 9112 section 6.3)."""
    coding = facts.get(b"transfer-encoding")
    length = facts.get(b"content-length")
    if coding is None:
        return 0 if length is None else read_length(length)
    if length is not None:
        raise ProtocolError(400, "Content-Length and Transfer-Encoding contradict each other.")
    if http_10:
        raise ProtocolError(400, "HTTP/1.0 has no Transfer-Encoding.")
    codings = [name.strip() for name in coding.lower().split(b",")]
    if codings[-1] != b"chunked" or codings.count(b"chunked") != 1:
        raise ProtocolError(400, "The body's end is not told: chunked is not its last coding.")
    if len(codings) > 1:
        raise ProtocolError(501, "Only the chunked transfer coding is offered.")
    return None


def _expects(expect: bytes, *, http_10: bool) -> bool:
    if http_10:  # RFC 9110 section 10.1.1: to be ignored
        return False
    return expects_continue(expect)


def expects_continue(expect: bytes) -> bool:
    """Whether a 100 is waited for. `expect` is a list, whose empty members count for nothing (RFC
    9110 section 5.6.1.2). Raises ProtocolError(417) for anything else that is expected."""
    members = {member.strip().lower() for member in expect.split(b",")} - {b""}
    if members - {b"100-continue"}:
        raise ProtocolError(417, "Only 100-continue can be expected.")
    return bool(members)
