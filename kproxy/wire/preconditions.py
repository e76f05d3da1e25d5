"""A request's preconditions, where nothing has a validator: the head in, met or not out.

Answers of ours have neither an ETag nor a Last-Modified. So by RFC 9110 section 13.1 no entity tag
matches, `*` matches whatever is there, and the conditions on dates are to be ignored. A server must
still look at them (section 13.2.1): who asks for a key to be deleted if it is as it was expects not
to have it deleted otherwise.

They are about methods that read or change what the target names. A POST of ours processes something
else, and has none.
"""

from kproxy.wire.events import RequestHead

__all__ = ["unmet"]

_READING = (b"GET", b"HEAD")

_CHANGING = (b"DELETE", b"PATCH", b"PUT")


def unmet(head: RequestHead) -> int:
    """The status of the answer where the request may not be carried out on a target that exists;
    else 0 (RFC 9110 section 13.2.2)."""
    reads = head.method in _READING
    if not reads and head.method not in _CHANGING:
        return 0
    match = head.get(b"if-match")
    if match is not None and match != b"*":
        return 412
    if head.get(b"if-none-match") != b"*":
        return 0
    return 304 if reads else 412
