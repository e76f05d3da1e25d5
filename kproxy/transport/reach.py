"""What may be fetched for a caller: a URL in, a `Target` out; an address in, whether it is public.

Problem: a caller names a URL, and kproxy stands where the caller does not: beside a database, in a
cloud whose metadata service gives away credentials to whoever can ask. The obvious way is a list of
forbidden prefixes held against the URL's text. It fails because there are many spellings of one
address (`0x7f.1`, `2130706433`, `::ffff:7f00:1`, a name with an A record of 10.0.0.1), because two
parsers read one URL differently, and because a name that was harmless when it was checked is
something else when it is connected to. Our way:

1. *One strict reading.* What does not fit the grammar below is refused, not repaired. A host that
   ends in a number is a plain dotted address or nothing. User information, backslashes and zones
   have no place in it.
2. *Names are judged by their addresses.* Every address that a name has must be public: a name with
   one public and one private address is an attack or a mistake.
3. *Public means listed.* IPv4 is judged by the registry of special-purpose addresses, IPv6 by the
   one block that is handed out (2000::/3) without the special ones in it. Python's own `is_global`
   says something else in each release. Ways to write an IPv4 address in IPv6 (mapped, 6to4, Teredo)
   are refused, but for NAT64's, which is how a network without IPv4 reaches it: there the address
   inside is judged.
4. *What was judged is what is dialled*: `transport/fetch.py` connects to the address, not the name.

All of this is pure. It does not know what the operator configured: that goes through
`read_configured`, and the origin written down there is allowed as it is.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

__all__ = [
    "PORTS",
    "Refused",
    "Target",
    "check_addresses",
    "is_public",
    "read_configured",
    "read_url",
]

PORTS = frozenset((80, 443))
"""Where the web is. Other ports are other protocols, or something somebody wanted to hide."""

URL_LIMIT = 2_048  # characters; what browsers and sitemaps agree on

# RFC 3986 as far as a web address needs it. Control characters are refused before this is tried.
_URL = re.compile(r"(?i:(https?))://([^/?#\\]*)(/[^?#\\]*)?(\?[^#\\]*)?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")  # what inet_aton takes for one
_DOTTED = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_SAFE = "/?&=:@!$'()*+,;~%-._[]|"  # stays as it is in a path or a query

# RFC 6761, 6762, 7686, 8375 and ICANN's .internal: names that mean something local, or nothing.
_LOCAL = (
    "localhost", "local", "internal", "intranet", "lan", "home.arpa", "onion", "alt", "invalid",
    "test", "in-addr.arpa", "ip6.arpa",
)  # fmt: skip

# The registry of RFC 6890, with what is no single host besides: multicast and class E.
_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches loopback on Linux
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' NAT; Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "168.63.129.16/32",  # Azure's host, a public address in name only
        ),
    )
)
_UNICAST_6 = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; the local-use one of RFC 8215 is not public


class Refused(ValueError):
    """The URL or address is not one to fetch for a caller. The message says why, and no more."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as it was read. `host` is a lower-case name or a bare address; `path` has the query."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two URLs of one origin share (RFC 6454)."""
        return self.tls, self.host, self.port

    @property
    def url(self) -> str:
        """The URL in one spelling."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.tls else 80) else f":{self.port}"
        return f"http{'s' if self.tls else ''}://{host}{port}{self.path}"


def read_url(text: str, ports: frozenset[int] = PORTS) -> Target:
    """A caller's URL. Raises Refused; what is returned still needs `check_addresses`."""
    target = _read(text)
    if target.port not in ports:
        raise Refused("the port is not one of the web")
    address = _address(target.host)
    if address is not None:
        check_addresses([target.host])
        return target
    labels = target.host.split(".")
    if len(labels) < 2 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise Refused("the host is not a public name")
    if any(target.host == name or target.host.endswith(f".{name}") for name in _LOCAL):
        raise Refused("the host is a local name")
    return target


def read_configured(text: str) -> Target:
    """The operator's URL: any host and port, the same strict reading. Raises Refused."""
    return _read(text)


def check_addresses(addresses: Iterable[str]) -> None:
    """Every address of a host must be public. Raises Refused, for none at all too."""
    known = list(addresses)
    if not known:
        raise Refused("the host has no address")
    if not all(map(is_public, known)):
        raise Refused("the host is not on the public internet")


def is_public(address: str) -> bool:
    """Whether that is an address, spelled as addresses are, of a host on the public internet."""
    if "%" in address:  # a zone: link-local, or somebody's attempt at something
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_4(parsed)
    if parsed in _NAT64:
        return _is_public_4(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return parsed in _UNICAST_6 and not any(parsed in network for network in _SPECIAL_6)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _SPECIAL_4)


def _read(text: str) -> Target:
    if len(text) > URL_LIMIT:
        raise Refused("the URL is too long")
    if not text.isprintable() or "\\" in text:
        raise Refused("the URL holds characters that no URL has")
    match = _URL.fullmatch(text)
    if match is None:
        raise Refused("not an http or https URL")
    scheme, authority, path, query = match.groups()
    tls = scheme.lower() == "https"
    host, port = _read_authority(authority, 443 if tls else 80)
    return Target(tls, host, port, quote(f"{path or '/'}{query or ''}", safe=_SAFE))


def _read_authority(text: str, usual: int) -> tuple[str, int]:
    if "@" in text:
        raise Refused("the URL holds credentials")
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise Refused("the host or the port is malformed")
    bracketed, name, digits = match.groups()
    port = int(digits) if digits else usual
    if not 0 < port <= 65_535:
        raise Refused("the host or the port is malformed")
    if bracketed is not None:
        return _canonical_6(bracketed), port
    name = name.lower().removesuffix(".")
    last = name.rpartition(".")[2]
    if _NUMBER.fullmatch(last) and (_DOTTED.fullmatch(name) is None or _address(name) is None):
        raise Refused("the host is an address in a spelling that hides it")
    if not name:
        raise Refused("the host or the port is malformed")
    return name, port


def _canonical_6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise Refused("the host or the port is malformed") from None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
