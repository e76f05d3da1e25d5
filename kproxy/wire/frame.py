"""How we write HTTP/1.1: values in, bytes out.

Whatever is written here is what the peer's parser will see, so a name or value that could end its
line early is refused, whoever it came from. A refusal is our own fault: ValueError.
"""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from kproxy.wire.names import SPELLINGS

__all__ = ["CONTINUE", "LAST_CHUNK", "check_fields", "chunk", "request_head", "response_head"]

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_IN_LINE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


def response_head(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Status line, fields and the empty line. `status` is 200 to 599: 1xx heads are written whole.

    Raises ValueError for a control byte in a name or value, or a name that is no token.
    """
    line = _STATUS_LINES.get(status)
    if line is None or status < 200:
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no final status")
        line = b"HTTP/1.1 %d \r\n" % status
    return _head(line, headers)


def request_head(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Request line, fields and the empty line. `target` is what comes after the authority.

    Raises ValueError for a control byte anywhere, a space in the request line, or a name that is
    no token.
    """
    if b" " in method or b" " in target or not method or not target:
        raise ValueError("a request line has a method and a target, without spaces")
    return _head(b"%b %b HTTP/1.1\r\n" % (method, target), headers)


def _head(line: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    for name in [name for name, _ in headers if name not in SPELLINGS]:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError("a header field's name is not a token")
    lines = [b"%b: %b\r\n" % field for field in headers]
    head = b"%b%b\r\n" % (line, b"".join(lines))
    # One pass over the whole proves that there are no line ends but the ones put in here.
    if len(head.translate(None, _IN_LINE)) != 2 * (len(lines) + 2):
        raise ValueError("a header field holds a control byte")
    return head


def check_fields(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """For a wire that writes fields by itself: the same refusals, and names must be lower-case.

    Raises ValueError.
    """
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None or name != name.lower():
            raise ValueError("a header field's name is not a token in lower case")
        if value.translate(None, _IN_LINE):
            raise ValueError("a header field holds a control byte")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk. Nothing stays nothing: an empty chunk would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
