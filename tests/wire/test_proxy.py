"""PROXY headers: golden bytes of both versions, every split of them, and hostile ones."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.wire.proxy import (
    LIMIT,
    NOBODY,
    SIGNATURE,
    Peer,
    ProxyHeader,
    parse_proxy_header,
    plain_address,
)

INET = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + b"\xc0\x00\x01\xbb"
INET6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + b"\x10\x00\x01\xbb"
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.7") + INET6[16:]
VECTORS = b"\x04\x00\x03abc" + b"\x20\x00\x00"
LARGEST = b"\x04" + (LIMIT - 31).to_bytes(2, "big") + bytes(LIMIT - 31)
BEHIND = b"GET / HTTP/1.1\r\n"


def version_2(command: int, family: int, rest: bytes, size: int | None = None) -> bytes:
    length = len(rest) if size is None else size
    return SIGNATURE + bytes([command, family]) + length.to_bytes(2, "big") + rest


GOLDEN = {
    b"PROXY TCP4 203.0.113.7 192.0.2.1 49152 443\r\n": Peer("203.0.113.7", 49_152),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": Peer("255.255.255.255", 65_535),
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": Peer("0.0.0.0", 0),
    b"PROXY TCP6 2001:DB8::7 2001:db8::1 4096 443\r\n": Peer("2001:db8::7", 4_096),
    b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4096 443\r\n": Peer("203.0.113.7", 4_096),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN whatever it says 1 2 \r\n": None,
    b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n": None,
    version_2(0x21, 0x11, INET): Peer("203.0.113.7", 49_152),
    version_2(0x21, 0x11, INET + VECTORS): Peer("203.0.113.7", 49_152),
    version_2(0x21, 0x21, INET6): Peer("2001:db8::7", 4_096),
    version_2(0x21, 0x21, MAPPED + VECTORS): Peer("203.0.113.7", 4_096),
    version_2(0x21, 0x31, b"/run/a".ljust(108, b"\0") * 2): None,
    version_2(0x20, 0x00, b""): None,
    version_2(0x20, 0x11, INET): None,
    version_2(0x20, 0xFF, b"anything"): None,
    version_2(0x21, 0x00, b""): None,
    version_2(0x21, 0x00, b"no matter what"): None,
    version_2(0x21, 0x11, INET + LARGEST): Peer("203.0.113.7", 49_152),
}  # fmt: skip

HOSTILE = {
    "nothing of it": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "lower case": b"proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
    "another name": b"PROXIES ",
    "version 3": b"\r\n\r\n\0\r\nQUIT\r",
    "bare LF": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n",
    "UNKNOWN and bare LF": b"PROXY UNKNOWN\n",
    "two spaces": b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n",
    "a space at the end": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n",
    "a tab": b"PROXY\tTCP4 203.0.113.7 192.0.2.1 1 2\r\n",
    "CR inside": b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r 2\r\n",
    "NUL": b"PROXY UNKNOWN \0\r\n",
    "UNKNOWN at length": b"PROXY UNKNOWNS\r\n",
    "one byte too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "no end": b"PROXY TCP4 " + b"1" * 96,
    "no addresses": b"PROXY TCP4\r\n",
    "one port": b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
    "three ports": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n",
    "TCP5": b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n",
    "the other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "the other family, 6": b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
    "destination of another": b"PROXY TCP4 203.0.113.7 ::1 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n",
    "leading zero": b"PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n",
    "short form": b"PROXY TCP4 127.1 192.0.2.1 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "a part over 255": b"PROXY TCP4 256.0.113.7 192.0.2.1 1 2\r\n",
    "a port over 65535": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n",
    "the other port over": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n",
    "a port with a zero": b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
    "a port with a sign": b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n",
    "a port with a line": b"PROXY TCP4 203.0.113.7 192.0.2.1 1_0 2\r\n",
    "2: version 1": version_2(0x11, 0x11, INET),
    "2: another command": version_2(0x22, 0x11, INET),
    "2: datagrams": version_2(0x21, 0x12, INET),
    "2: another family": version_2(0x21, 0x41, INET),
    "2: addresses cut": version_2(0x21, 0x11, INET[:-1]),
    "2: addresses cut, 6": version_2(0x21, 0x21, INET6[:-1]),
    "2: unix cut": version_2(0x21, 0x31, bytes(215)),
    "2: too long": version_2(0x21, 0x11, INET, size=LIMIT - 15),
    "2: LOCAL too long": version_2(0x20, 0x00, b"", size=65_535),
    "2: half a vector": version_2(0x21, 0x11, INET + b"\x04\x00"),
    "2: a vector too long": version_2(0x21, 0x11, INET + b"\x04\x00\x04abc"),
}


@pytest.mark.parametrize("header", GOLDEN, ids=lambda header: repr(header[:40]))
def test_golden_headers_at_every_split(header: bytes) -> None:
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None, end
    wanted = ProxyHeader(len(header), GOLDEN[header])
    assert parse_proxy_header(header) == wanted
    assert parse_proxy_header(header + BEHIND) == wanted
    assert parse_proxy_header(header + header) == wanted


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers(case: str) -> None:
    with pytest.raises(ValueError):
        parse_proxy_header(HOSTILE[case])


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_at_every_split(case: str) -> None:
    """No part of one is a header, and what was refused once stays refused with more behind it."""
    data, refused = HOSTILE[case] + BEHIND, False
    for end in range(len(data) + 1):
        try:
            found = parse_proxy_header(data[:end])
        except ValueError:
            refused = True
        else:
            assert found is None, end
            assert not refused, end
    assert refused


def test_no_header_is_waited_for_beyond_its_limit() -> None:
    for start in (b"PROXY ", b"PROXY UNKNOWN ", b"PROXY TCP4 "):
        with pytest.raises(ValueError, match="does not end"):
            parse_proxy_header(start.ljust(107, b"x"))


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"])
)
def test_any_bytes_are_a_header_or_more_is_wanted_or_refused(data: bytes, start: bytes) -> None:
    try:
        found = parse_proxy_header(start + data)
    except ValueError:
        return
    if found is None:
        assert len(start + data) < LIMIT
    else:
        assert 0 < found.size <= len(start + data)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_in_both_versions(address: object, port: int) -> None:
    text, packed = str(address), address.packed  # type: ignore[attr-defined]
    family = 4 if len(packed) == 4 else 6
    line = f"PROXY TCP{family} {text} {text} {port} {port}\r\n".encode()
    block = packed * 2 + port.to_bytes(2, "big") * 2
    header = version_2(0x21, 0x11 if family == 4 else 0x21, block)
    wanted = Peer(plain_address(text), port)
    assert parse_proxy_header(line) == (len(line), wanted)
    assert parse_proxy_header(header) == (len(header), wanted)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("FE80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_one_spelling_of_an_address(text: str, plain: str) -> None:
    assert plain_address(text) == plain


def test_peers_as_people_write_them() -> None:
    assert [str(one) for one in (Peer("10.0.0.1", 1), Peer("::1", 2), Peer("unix", 0))] == [
        "10.0.0.1:1", "[::1]:2", "unix:0",
    ]  # fmt: skip
    assert NOBODY == ("", 0)
