"""A provider that says any bytes at all, on a real socket.

In: a script for the next request, of bytes and of events to wait for. Out: what it was asked. One
request a connection; what happens at the end of a script is its last word. The server runs in
threads of the test's process, so a test can hold the provider until its caller has seen something.
"""

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.fakes.caller import PATIENCE

__all__ = [
    "LAST_CHUNK", "RESET", "Provider", "chunked", "framed", "providing", "sse", "with_length",
]  # fmt: skip

RESET = object()
"""The last word of a script: break the connection instead of ending it."""

Word = bytes | threading.Event | object

LAST_CHUNK = b"0\r\n\r\n"


class Provider:
    """See `providing`."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._scripts: queue.SimpleQueue[tuple[Word, ...]] = queue.SimpleQueue()
        self.asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        host, port = listener.getsockname()
        self.base_url = f"http://{host}:{port}/v1"

    def will_say(self, *script: Word) -> None:
        """The answer to one more request."""
        self._scripts.put(script)

    def forget(self) -> None:
        """Drop the answers that nobody has asked for, and what was asked."""
        for left in (self._scripts, self.asked):
            with contextlib.suppress(queue.Empty):
                while True:
                    left.get_nowait()

    def serve(self) -> None:
        """Answer until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        with sock, contextlib.suppress(OSError):
            request = _request(sock)
            if not request:
                return
            self.asked.put(request)
            for word in self._scripts.get(timeout=PATIENCE):
                if isinstance(word, bytes):
                    sock.sendall(word)
                elif isinstance(word, threading.Event):
                    word.wait(PATIENCE)
                else:
                    linger = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _request(sock: socket.socket) -> bytes:
    """One request with a length, whole; b"" when the caller has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < length:
        body += sock.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider on a free port of the loopback interface."""
    listener = socket.create_server(("127.0.0.1", 0))
    provider = Provider(listener)
    thread = threading.Thread(target=provider.serve, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def sse(*data: str) -> list[bytes]:
    """Events as a provider writes them."""
    return [f"data: {one}\n\n".encode() for one in data]


def framed(piece: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def chunked(pieces: Iterable[bytes], *, status: str = "200 OK") -> bytes:
    """A whole event stream with each piece in a chunk of its own."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\n"
    body = b"".join(framed(piece) for piece in pieces)
    return head.encode() + b"transfer-encoding: chunked\r\n\r\n" + body + LAST_CHUNK


def with_length(body: bytes, *, status: str = "200 OK", fields: str = "") -> bytes:
    """A whole JSON answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{fields}"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
