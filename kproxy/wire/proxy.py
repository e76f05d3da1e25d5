"""The PROXY protocol's header, versions 1 and 2: the first bytes of a connection in, its peer out.

A load balancer in front puts this header before the caller's own bytes to say whose connection it
is. It is believed only from configured peers (`transport/entry.py`), so it is read strictly: what
breaks the grammar is refused, and not repaired.
(https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, sections 2.1 and 2.2)
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

__all__ = ["LIMIT", "NOBODY", "Peer", "ProxyHeader", "parse_proxy_header", "plain_address"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins: a request line and a blank one, to whoever does not speak it."""

FIXED = 16
"""Bytes of version 2 before its addresses: signature, version and command, family, length."""

LINE = 107
"""The longest line of version 1, its end included."""

LIMIT = 4_096
"""Bytes of a whole header. The addresses take 232; the rest is for what a TLS terminator adds."""

LOCAL, PROXY = 0x20, 0x21
"""Version 2 and command: the proxy's own connection (a health check), or a caller's."""

SIZES = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""Bytes of the addresses by family and transport: unspecified, IPv4, IPv6 and unix streams."""

_PORT = rb"(0|[1-9][0-9]{0,4})"
_ADDRESSES = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) %b %b" % (_PORT, _PORT)
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")
_LAST_PORT = 65_535


class Peer(NamedTuple):
    """Whose connection it is: an address in its usual spelling, or `unix` with port 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


NOBODY = Peer("", 0)
"""The peer of a connection that nobody has asked about."""


class ProxyHeader(NamedTuple):
    """How many bytes it has, and the caller; None: the caller is the peer of the connection."""

    size: int
    peer: Peer | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None while it may still become one.

    Raises ValueError for what cannot become one, or is longer than `LIMIT`.
    """
    if data[:1] == b"\r":
        return _version_2(data)
    return _version_1(data)


def plain_address(text: str) -> str:
    """The usual spelling of an IP address, an IPv4 address in IPv6 as itself. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _version_1(data: bytes) -> ProxyHeader | None:
    if not data.startswith(b"PROXY "[: len(data)]):
        raise ValueError("no PROXY header")
    end = data.find(b"\n", 0, LINE)
    if end < 0:
        if len(data) >= LINE:
            raise ValueError("the line does not end")
        return None
    if data[end - 1 : end] != b"\r":
        raise ValueError("the line ends without CR")
    line = data[: end - 1]
    match = _ADDRESSES.fullmatch(line)
    if match is None:
        if _UNKNOWN.fullmatch(line):
            return ProxyHeader(end + 1, None)
        raise ValueError("not the line of a PROXY header")
    version, source, destination, source_port, destination_port = match.groups()
    kind = IPv4Address if version == b"4" else IPv6Address
    kind(destination.decode("ascii"))
    host = str(kind(source.decode("ascii")))
    ports = int(source_port), int(destination_port)
    if max(ports) > _LAST_PORT:
        raise ValueError("a port is over 65535")
    return ProxyHeader(end + 1, Peer(plain_address(host), ports[0]))


def _version_2(data: bytes) -> ProxyHeader | None:
    if not data.startswith(SIGNATURE[: len(data)]):
        raise ValueError("no PROXY header")
    if len(data) < FIXED:
        return None
    command, family = data[12], data[13]
    size = FIXED + int.from_bytes(data[14:16], "big")
    if command not in (LOCAL, PROXY):
        raise ValueError("another version or command")
    if size > LIMIT:
        raise ValueError(f"longer than {LIMIT} bytes")
    if command == PROXY and (family not in SIZES or size - FIXED < SIZES[family]):
        raise ValueError("another family, or too short for its addresses")
    if len(data) < size:
        return None
    if command == LOCAL or not SIZES[family]:
        return ProxyHeader(size, None)
    _check_vectors(data[FIXED + SIZES[family] : size])
    return ProxyHeader(size, _peer(family, data[FIXED:]))


def _check_vectors(rest: bytes) -> None:
    """Behind the addresses: a type, a length of two bytes, a value, and so on to the end."""
    while rest:
        end = 3 + int.from_bytes(rest[1:3], "big")
        if len(rest) < end:
            raise ValueError("a value is longer than the header")
        rest = rest[end:]


def _peer(family: int, addresses: bytes) -> Peer | None:
    if family == 0x11:
        return Peer(str(IPv4Address(addresses[:4])), int.from_bytes(addresses[8:10], "big"))
    if family == 0x21:
        host = plain_address(str(IPv6Address(addresses[:16])))
        return Peer(host, int.from_bytes(addresses[32:34], "big"))
    return None
