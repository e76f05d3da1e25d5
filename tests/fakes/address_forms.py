"""Spellings of addresses that nobody may be made to fetch, as hosts of a URL.

In: nothing. Out: hosts that lead inside (`INSIDE`), each a spelling that some parser somewhere
takes for an address that is not public; and hosts that are public (`OUTSIDE`), so that a guard
which refuses everything is found out.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

__all__ = ["ADDRESSES_INSIDE", "INSIDE", "OUTSIDE"]

# First, last and some address of each special block.
PRIVATE_4 = (
    "0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.0",
    "100.100.100.200", "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.0.0.53", "127.1.1.1",
    "127.255.255.255", "168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.170.2",
    "169.254.255.255", "172.16.0.0", "172.17.0.1", "172.31.255.255", "192.0.0.0", "192.0.0.170",
    "192.0.0.192", "192.0.0.255", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1",
    "192.168.0.0", "192.168.1.1", "192.168.255.255", "192.175.48.1", "198.18.0.0", "198.19.255.255",
    "198.51.100.1", "203.0.113.255", "224.0.0.0", "224.0.0.251", "239.255.255.255", "240.0.0.0",
    "250.1.2.3", "255.255.255.255",
)  # fmt: skip
SPELLED = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "172.16.0.1", "100.64.0.1")
PUBLIC_4 = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255",
    "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "169.253.255.255",
    "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255",
)  # fmt: skip
PRIVATE_6 = (
    "::", "::1", "::2", "::ffff", "100::1", "100:0:0:1::1", "64:ff9b:1::1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:3::1",
    "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2002::",
    "2002:7f00:1::", "2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:1::1",
    "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "8000::1", "fc00::",
    "fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff::1", "fe00::1", "fe80::", "fe80::1",
    "fe80::a9fe:a9fe", "febf::1", "fec0::1", "feff::1", "ff00::1", "ff01::1", "ff02::1", "ff02::fb",
    "ff05::2", "ff0e::1",
)  # fmt: skip
PUBLIC_6 = (
    "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1", "2003::1",
    "2600::1", "64:ff9b::808:808", "3ffe::1",
)  # fmt: skip
NAMES = (
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain.local",
    "metadata.google.internal", "metadata", "printer.local", "router.lan", "nas.home.arpa",
    "intranet", "db", "kubernetes.default.svc.cluster.local", "hidden.onion", "x.test",
    "1.0.0.127.in-addr.arpa", "-a.example", "a..example", ".", "..", ".example", "example..",
    "exa mple.com", "ex%61mple.com", "127.0.0.1%2f@example.com", "a@b.example", "user:pw@b.example",
    "@127.0.0.1", "8.8.8.8@127.0.0.1", "127.0.0.1\\@example.com", "example.com\\@127.0.0.1",
    "example.com\t", "example.com\r\nhost: x", "exämple.com", "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "127\u30020\u30020\u30021",
    "127\uff0e0\uff0e0\uff0e1", "[::1", "::1]", "::1", "[]", "[::1]x", "[v1.a]", "[::1%25lo]",
    "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::ffff:127.0.0.1%1]", "[127.0.0.1]", "[1::2::3]",
    "[12345::1]", "",
)  # fmt: skip
PORTS = ("example.com:22", "example.com:0", "example.com:65536", "example.com:99999999999",
         "example.com:8080", "example.com:-80", "example.com:+80", "example.com:8_0",
         "example.com:\uff160", "example.com:80:80", "8.8.8.8:25", "[2600::1]:6379",
         "example.com:0x50", "example.com: 80")  # fmt: skip


def spellings(dotted: str) -> Iterator[str]:
    """Other ways in which C libraries, browsers and other parsers let this address be written."""
    a, b, c, d = (int(part) for part in dotted.split("."))
    number = int(IPv4Address(dotted))
    yield str(number)
    yield str(number + (1 << 32))
    yield f"0x{number:x}"
    yield f"0X{number:08X}"
    yield f"0x{number:016x}"
    yield f"0{number:o}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"000{a:o}.{b}.{c}.{d}"
    yield f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"
    yield f"{a}.{b}.{c * 256 + d}"
    yield f"{a}.{b * 65_536 + c * 256 + d}"
    yield f"0x{a:x}.{b}.{c}.{d}"
    yield f"{a}.{b}.{c}.0x{d:x}"
    yield f"{a:03}.{b:03}.{c:03}.{d:03}"
    yield f"{dotted}."
    yield f"{dotted}.."
    yield f"{a + 256}.{b}.{c}.{d}"
    yield f"{a}.{b}.{c}.{d}.0"
    yield f"{a}.{b}.{c}.{d}.0x"
    yield f"x.{number}"
    high, low = divmod(number, 65_536)
    yield f"[::{high:x}:{low:x}]"
    yield f"[::{dotted}]"
    yield f"[::ffff:{dotted}]"
    yield f"[::ffff:{high:x}:{low:x}]"
    yield f"[0:0:0:0:0:ffff:{high:04X}:{low:04X}]"
    yield f"[::ffff:0:{dotted}]"
    yield f"[64:ff9b::{dotted}]"
    yield f"[64:ff9b:1::{dotted}]"
    yield f"[2002:{high:x}:{low:x}::1]"
    yield f"[2001:0:{high:x}:{low:x}::]"
    yield f"[fe80::5efe:{dotted}]"
    yield f"[::{dotted}%25lo]"


ADDRESSES_INSIDE = (*PRIVATE_4, *PRIVATE_6, *(f"::ffff:{dotted}" for dotted in PRIVATE_4))

INSIDE = tuple(
    dict.fromkeys(
        (
            *PRIVATE_4,
            *(f"[{address}]" for address in PRIVATE_6),
            *(f"[::ffff:{dotted}]" for dotted in (*PRIVATE_4, *PUBLIC_4)),
            *(spelling for dotted in SPELLED for spelling in spellings(dotted)),
            *NAMES,
            *PORTS,
        )
    )
)
OUTSIDE = (
    *PUBLIC_4,
    *(f"[{address}]" for address in PUBLIC_6),
    "example.com", "EXAMPLE.com", "example.com.", "xn--exmple-cua.com", "a_b.example.org",
    "1e100.net", "127.0.0.1.example.com", "example.com:443", "localhost.example.com",
)  # fmt: skip
