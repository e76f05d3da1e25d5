"""The gateways that a request has come through."""

import pytest

from kproxy.wire.via import MOST_PASSES, passes, via


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        ([], b"1.1 kproxy"),
        ([b""], b"1.1 kproxy"),
        ([b"1.0 fred, 1.1 p.example.net"], b"1.0 gateway, 1.1 gateway, 1.1 kproxy"),
        ([b"HTTP/2 10.0.0.7:8080", b"1.1\tkproxy"], b"HTTP/2 gateway, 1.1 kproxy, 1.1 kproxy"),
        (
            [b"1.1 a (Apache, (of (course)) 1.0), 1.1 [::1]:80"],
            b"1.1 gateway, 1.1 gateway, 1.1 kproxy",
        ),
        ([b", ,1.1 a,"], b"1.1 gateway, 1.1 kproxy"),
        ([b"1.1"], b"1.1 kproxy"),
        ([b"1.1 a b"], b"1.1 kproxy"),
        ([b"1.1 a (b"], b"1.1 kproxy"),
        ([b"1.1 " + b"(" * 500], b"1.1 kproxy"),
        ([b"1.1 " + b"(" * 5 + b")" * 5], b"1.1 kproxy"),
        ([b"1.1 a, 1.1 b c, 1.0 d (e, 1.1 kproxy"], b"1.1 gateway, 1.1 kproxy, 1.1 kproxy"),
        ([b"1.0 a, 1.1 \xff", b"x" * 900, b"1.1 b"], b"1.0 gateway, 1.1 gateway, 1.1 kproxy"),
        ([b"1.0 a", b"x" * 1_100], b"1.1 kproxy"),
        (
            [b"1.0 a", b"x" * 1_000, b"1.1 kproxy", b"1.1 b"],
            b"1.0 gateway, 1.1 kproxy, 1.1 gateway, 1.1 kproxy",
        ),
        (
            [b"1.0 a", b"x" * 1_001, b"1.1 kproxy", b"1.1 b"],
            b"1.0 gateway, 1.1 kproxy, 1.1 gateway, 1.1 kproxy",
        ),
        ([b"1.0 a", b"x" * 1_002, b"1.1 kproxy", b"1.1 b"], b"1.1 kproxy, 1.1 gateway, 1.1 kproxy"),
        ([b"1.1 \xff"], b"1.1 kproxy"),
    ],
)
def test_what_is_sent(received: list[bytes], sent: bytes) -> None:
    assert via(received, b"1.1") == sent


def test_the_protocol_is_the_callers() -> None:
    assert via([b"1.0 a"], b"2") == b"1.0 gateway, 2 kproxy"


def test_every_pass_counts() -> None:
    value = b""
    for number in range(7):
        assert passes([value]) == number
        value = via([value], b"1.1")
    assert passes([b"1.1 a", b"1.1 kproxy (x), 2 kproxy"]) == 2
    assert passes([b"kproxy"]) == 0
    assert passes([b"1.1 kproxy, nonsense", b"1.1 kproxy"]) == 2
    assert passes([b"1.1 kproxy"] * 1_000) > MOST_PASSES, "a loop is found in a long one, too"
