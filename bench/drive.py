"""Drives a server from the caller's side: requests and their times in, `Reply` values out.

Each request has a connection of its own, which the server is asked to close, so an answer ends
where its bytes end. Times are absolute, on trio's clock, and count from when a request was due: a
stall is not hidden by the requests that it kept from being sent.
"""

import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import trio

from tests.fakes.caller import chat, request

__all__ = ["Leave", "Reply", "Target", "ask", "at_rate", "percentile"]

FIRST = re.compile(rb'"content":"[^"]')
"""The first text of an answer; the role comes before it with an empty one."""

EXTENSION = re.compile(rb'"x_kairosroute":(?=\{)')
PIECE = 65_536
LINGER_0 = struct.pack("ii", 1, 0)  # a close is a reset

Leave = Literal["sent", "token"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and with which key."""

    address: tuple[str, int]
    key: str = ""
    path: str = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as far as it came. `first` is None where no text came."""

    due: float
    first: float | None
    end: float
    data: bytes

    @property
    def status(self) -> int:
        """0 where there was no answer."""
        return int(self.data[9:12]) if self.data.startswith(b"HTTP/1.1 ") else 0

    @property
    def whole(self) -> bool:
        """It says itself that it is complete: a stream by `[DONE]`, JSON by its length."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"(?mi)^content-length: (\d+)\r?$", head)
        if length is not None:
            return len(body) == int(length[1])
        return b"data: [DONE]\n\n" in body and body.endswith(b"0\r\n\r\n")

    @property
    def extension(self) -> dict[str, Any]:
        """The `x_kairosroute` of the answer, which kproxy sends in one piece; {} for none."""
        found = EXTENSION.search(self.data)
        if found is None:
            return {}
        text = self.data[found.end() :].decode("utf-8", "replace")
        value: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        return value


async def ask(
    target: Target,
    fields: dict[str, Any] | bytes,
    due: float | None = None,
    leave: Leave | None = None,
) -> Reply:
    """One chat request at its time, now if None; bytes are a body as it is.

    leave: hang up when it has been sent, or at the first text. A reset, the server's or by leaving,
    is an end like any other.
    """
    if due is None:
        due = trio.current_time()
    await trio.sleep_until(due)
    body = fields if isinstance(fields, bytes) else chat(**fields)
    said = (f"authorization: Bearer {target.key}", "connection: close")
    data, first = bytearray(), None
    with trio.socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sock.connect(target.address)
        await trio.SocketStream(sock).send_all(request("POST", target.path, *said, body=body))
        while leave != "sent":
            try:
                piece = await sock.recv(PIECE)
            except ConnectionResetError:
                break
            data += piece
            if first is None and FIRST.search(data):
                first = trio.current_time()
            if not piece or (leave == "token" and first is not None):
                break
        if leave is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    return Reply(due, first, trio.current_time(), bytes(data))


async def at_rate(rate: float, count: int, one: Callable[[int, float], Awaitable[object]]) -> None:
    """Call `one(number, due)` for each request, `rate` of them a second; return when all ended."""
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(count):
            due = begun + number / rate
            await trio.sleep_until(due)
            nursery.start_soon(one, number, due)


def percentile(values: list[float], percent: int) -> float:
    """The value at that rank of those that occurred."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
