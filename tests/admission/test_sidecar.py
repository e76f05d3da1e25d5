"""Without keys everybody on this machine is one caller, and other hosts' web pages are nobody."""

import pytest

from kproxy.admission.sidecar import SIDECAR, is_loopback, local_caller
from kproxy.errors import Rejected


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer whatever"), (b"x-api-key", b"kr-1")],
        [(b"origin", b"http://localhost:3000")],
        [(b"origin", b"http://127.0.0.1")],
        [(b"origin", b"https://[::1]:8443")],
    ],
)
def test_one_caller_without_limits(headers: list[tuple[bytes, bytes]]) -> None:
    caller = local_caller(headers)
    assert caller is SIDECAR
    assert (caller.tier.name, caller.account.tier, caller.paid) == ("unlimited", "unlimited", True)
    assert caller.tier.requests_per_minute is None


@pytest.mark.parametrize(
    "origin",
    [
        b"https://example.org",
        b"http://localhost.example.org",
        b"http://127.0.0.1.example.org:4000",
        b"http://evil@example.org",
        b"http://192.168.0.1",
        b"http://0.0.0.0",
        b"null",
        b"",
        b"localhost",
        b"\xff",
        b"http://[::1",
    ],
)
def test_a_foreign_page_is_refused(origin: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        local_caller([(b"host", b"127.0.0.1:4000"), (b"origin", origin)])
    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (b"localhost:4000", True),
        (b"127.0.0.1", True),
        (b"[::1]:4000", True),
        (b"evil.example", False),
        (b"evil.example:4000", False),
        (b"127.0.0.1.evil.example", False),
        (b"", False),
    ],
)
def test_a_name_made_to_point_here_is_refused(host: bytes, allowed: bool) -> None:
    if allowed:
        assert local_caller([(b"host", host)]) is SIDECAR
        return
    with pytest.raises(Rejected) as caught:
        local_caller([(b"host", host)])
    assert (caught.value.status, caught.value.code) == (403, "host_not_allowed")


def test_a_second_origin_does_not_hide_behind_the_first() -> None:
    with pytest.raises(Rejected):
        local_caller([(b"origin", b"http://localhost"), (b"origin", b"http://example.org")])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "localhost", "LocalHost"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0", "::", "128.0.0.1", "10.0.0.1", "::2", "fe80::1", "127.1", "0x7f.0.0.1", "",
        "localhost.example.org", "myhost", "localhost.", "::ffff:10.0.0.1",
    ],
)  # fmt: skip
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
