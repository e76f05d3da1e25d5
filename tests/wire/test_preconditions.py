"""Preconditions where nothing has a validator."""

import pytest

from kproxy.wire.events import RequestHead
from kproxy.wire.preconditions import unmet


def head(method: bytes, *fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(method, b"/", list(fields), 0, True, False)


MATCH, ANY = (b"if-match", b'"x"'), (b"if-match", b"*")
NONE, NONE_ANY = (b"if-none-match", b'"x"'), (b"if-none-match", b"*")
SINCE = (b"if-modified-since", b"Sun, 06 Nov 2094 08:49:37 GMT")


@pytest.mark.parametrize(
    ("fields", "reading", "changing"),
    [
        ((), 0, 0),
        ((MATCH,), 412, 412),
        ((ANY,), 0, 0),
        ((NONE,), 0, 0),
        ((NONE_ANY,), 304, 412),
        ((ANY, NONE_ANY), 304, 412),
        ((NONE_ANY, MATCH), 412, 412),
        ((SINCE,), 0, 0),
    ],
)
def test_what_is_unmet(
    fields: tuple[tuple[bytes, bytes], ...], reading: int, changing: int
) -> None:
    for method in (b"GET", b"HEAD"):
        assert unmet(head(method, *fields)) == reading
    for method in (b"DELETE", b"PATCH", b"PUT"):
        assert unmet(head(method, *fields)) == changing
    for method in (b"POST", b"OPTIONS", b"get"):
        assert unmet(head(method, *fields)) == 0
