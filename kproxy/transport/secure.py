"""One TLS connection in the hub: the `Link` whose socket is a non-blocking `ssl.SSLSocket`.

Problem: what a plain socket says by readiness, TLS says only to whoever calls it. Decrypted bytes
lie where no edge tells of them; a read can want to write, and a write to read; the end of the
peer's stream is a record (close_notify) that nobody sees who does not read; and OpenSSL wants a
write that would block to be tried again with the same bytes.

Our way, on top of link.py:

1. *Read until it would block.* A short read means nothing, since records come one by one.
2. *Write a record at a time.* OpenSSL tells nothing of a large write that got half way, so a slow
   reader would look like one who takes nothing. At most one record is then under way; whoever
   tries again has its bytes at the front of what is left, and anything else is refused: OpenSSL
   would send the old bytes and report the new ones.
3. *A crossed wait* (a read that wants to write, or the reverse) takes any edge for both.
4. *While nobody reads* but somebody wants to know when the peer leaves, the bytes that come are
   decrypted and kept, up to `AHEAD`: the end may stand behind them. Some clients send their
   close_notify and then wait for ours before they close, and a model would go on talking to them.
5. *A clean end says so.* `end` sends our close_notify, or leaves it to the next edge where there is
   no room; `end(cut=True)` and `close` say nothing, and the peer sees that it was cut short (RFC
   8446 section 6.1, RFC 9112 section 9.8). The peer's answer to it is not waited for. The peer's
   own end without one is Broken where the socket was wrapped with `suppress_ragged_eofs=False`;
   Python reports a reset in the same way.
"""

import socket
import ssl

from kproxy.transport.duplex import Broken
from kproxy.transport.hub import GONE, READABLE, WRITABLE, Hub
from kproxy.transport.link import Link
from kproxy.transport.pump import RECEIVE_SIZE

__all__ = ["AHEAD", "SecureLink"]

RECORD = 16_384
"""The most that one record carries (RFC 8446 section 5.1)."""

AHEAD = 32_768
"""Bytes kept while nobody reads: one pipelined request. Behind more of them only the end of the
connection itself is seen."""


class SecureLink(Link):
    """A `Link` over TLS. `handshake` comes first; the caller of it closes the link if it fails."""

    _blind = True
    __slots__ = ("_ahead", "_crossed", "_ending", "_owing", "_tls", "_under_way")

    def __init__(self, hub: Hub, sock: ssl.SSLSocket) -> None:
        self._tls = sock
        self._ahead = bytearray()
        self._crossed = False
        self._ending = False
        self._owing = False  # our close_notify waits for room
        self._under_way = b""  # of a record that waits for room
        super().__init__(hub, sock)

    async def handshake(self) -> None:
        """Raises OSError (ssl.SSLError among them), Broken, Expired."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            else:
                self.protocol = self._tls.selected_alpn_protocol() or ""
                return

    def receive_nowait(self) -> bytes | None:
        """See `Link.receive_nowait`."""
        if self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            return data
        return self._receive_raw() if self._ending else self._receive()

    def _receive(self) -> bytes | None:
        try:
            data = self.recv(RECORD)
        except ssl.SSLWantReadError:
            self.readable = False
            return None
        except ssl.SSLWantWriteError:
            self.readable = False
            self._crossed = True
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        except OSError as error:
            raise Broken(self, str(error)) from None
        self.readable = True
        return data

    def _receive_raw(self) -> bytes | None:
        # OpenSSL takes data behind our close_notify for a fault; we only wait for its end.
        try:
            data = socket.socket.recv(self._tls, RECEIVE_SIZE)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            raise Broken(self, str(error)) from None
        self.readable = True
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Link.send_nowait`."""
        waiting = self._under_way
        if self._ending or (waiting and data and data[: len(waiting)] != waiting):
            raise Broken(self, "another record is under way")
        sent, size = 0, len(data)
        whole = data if size <= RECORD else memoryview(data)
        try:
            while sent < size:
                sent += self.send(whole[sent : sent + RECORD])
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            self._crossed = True
        except OSError as error:
            raise Broken(self, str(error)) from None
        if size:
            self._under_way = bytes(whole[sent : sent + RECORD])
        self.sent += sent
        return sent

    def _edge(self, mask: int) -> None:
        if self._crossed:
            self._crossed = False
            mask |= READABLE | WRITABLE
        if self._owing and mask & (WRITABLE | GONE):
            self._notify()
        super()._edge(mask)

    def _look_ahead(self) -> None:
        if self._watcher is not None:
            return
        try:
            while self.readable and len(self._ahead) < AHEAD:
                data = self._receive()
                if data is None:
                    break
                if not data:
                    self._leave()
                    break
                self._ahead += data
        except Broken:
            self._leave()
        if self._ahead:
            self.readable = True

    def _leave(self) -> None:
        self._left = True
        self._tell_gone()

    def end(self, *, cut: bool = False) -> bool:
        """See `Duplex.end`."""
        if not self._ending:
            self._ending = True
            if cut:
                super().end()
            else:
                self._notify()
        return not self._owing

    def _notify(self) -> None:
        self._owing = False
        try:
            self._tls.unwrap()
        except ssl.SSLWantWriteError:
            self._owing = True
            return
        except (OSError, ValueError):
            pass  # sent, or never to be: the connection is broken, or has ended already
        super().end()
