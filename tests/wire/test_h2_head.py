"""A request's fields, decoded, and what they become; refusals are in the conformance tests."""

import pytest

from kproxy.wire.events import Headers, ProtocolError, RequestHead
from kproxy.wire.h2_head import Malformed, check_trailers, read_head
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_frames import GET, POST, Fields

LIMITS = H1Limits()


def encoded(fields: Fields) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def read(fields: Fields, *, ended: bool = True, limits: H1Limits = LIMITS) -> RequestHead:
    return read_head(encoded(fields), limits, ended=ended)


def test_a_request_without_a_body() -> None:
    head = read([*GET, ("x-a", "b"), ("x-a", "c")])
    assert (head.method, head.target, head.content_length) == (b"GET", b"/get", 0)
    assert head.headers == [(b"host", b"here"), (b"x-a", b"b"), (b"x-a", b"c")]
    assert head.get(b"host") == b"here"
    assert head.keep_alive
    assert not head.http_10


def test_a_body_of_unknown_length() -> None:
    assert read(POST, ended=False).content_length is None


def test_a_body_of_known_length() -> None:
    assert read([*POST, ("content-length", "12")], ended=False).content_length == 12


def test_the_authority_stands_for_the_host_once() -> None:
    head = read([*GET, ("host", "here")])
    assert head.headers == [(b"host", b"here")]


def test_crumbs_of_a_cookie_stay_in_order() -> None:
    head = read([*GET, ("cookie", "a=1"), ("cookie", "b=2")])
    assert head.headers[1:] == [(b"cookie", b"a=1"), (b"cookie", b"b=2")]


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a#", "/{", "/[]", "/%", "/%4g", "/\x7f", "*"])
def test_a_path_is_read_to_the_letter(path: str) -> None:
    """As over HTTP/1.1 (RFC 3986 section 3.3, RFC 9113 section 8.3.1)."""
    with pytest.raises(Malformed):
        read([*GET[:3], (":path", path)])
    assert read([*GET[:3], (":path", "/a;b/%41?c=d/?")]).target == b"/a;b/%41?c=d/?"


def test_options_may_be_about_the_server_in_general() -> None:
    """RFC 9113 section 8.3.1: `*` stands for no path."""
    head = read([(":method", "OPTIONS"), (":path", "*"), *GET[1:3]])
    assert (head.method, head.target) == (b"OPTIONS", b"*")


@pytest.mark.parametrize(
    ("expect", "waits"),
    [("", False), (",100-CONTINUE,", True), ("100-continue, 100-continue", True)],
)
def test_an_expectation_is_a_list(expect: str, waits: bool) -> None:
    assert read([*POST, ("expect", expect)], ended=False).expect_continue is waits


@pytest.mark.parametrize("ended", [False, True])
def test_an_expectation_is_of_a_body(ended: bool) -> None:
    head = read([*POST, ("expect", "100-Continue")], ended=ended)
    assert head.expect_continue is not ended


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*POST, ("expect", "tea")], 417),
        ([(":method", "CONNECT"), (":authority", "a:1")], 501),
        ([*GET[:3], (":path", "/" + "p" * 8192)], 414),
        ([*GET, ("x", "v" * 16_384)], 431),
        ([*GET, *[(f"x{number}", "v" * 16_000) for number in range(3)]], 431),
        ([*GET, *[("x", "")] * 101], 431),
    ],
)
def test_what_is_told_with_a_status(fields: Fields, status: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        read(fields)
    assert refused.value.status == status
    assert not isinstance(refused.value, Malformed)


@pytest.mark.parametrize(
    "fields",
    [
        [*GET[:3], (":path", "/" + "p" * 8191)],
        [*GET, ("x", "v" * 16_383)],
        [*GET, *[("x", "")] * 100],
    ],
)
def test_at_the_limit(fields: Fields) -> None:
    assert read(fields).method == b"GET"


@pytest.mark.parametrize(
    "trailers",
    [
        [(":path", "/")], [("Upper", "a")], [("connection", "close")], [("a", "b\n")],
        [("a", "b")] * 101, [("a", "b" * 8192)],
    ],
)  # fmt: skip
def test_trailers_that_are_none(trailers: Fields) -> None:
    with pytest.raises(Malformed):
        check_trailers(encoded(trailers), LIMITS)


def test_trailers() -> None:
    check_trailers(encoded([("x-checksum", "1"), ("a", "")]), LIMITS)
