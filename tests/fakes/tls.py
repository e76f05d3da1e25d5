"""Certificates for tests, and TLS connections between a `SecureLink` and Python's own TLS.

The peer of the link is an `ssl.SSLObject` over memory, carried over a raw socket by hand: so a test
decides which record goes out when, and sees every alert and every end that comes in.
"""

import socket
import ssl
from pathlib import Path

import trio
import trustme

from kproxy.transport.certificates import TlsFiles
from kproxy.transport.hub import Hub
from kproxy.transport.secure import SecureLink

__all__ = ["Ended", "Peer", "client_context", "connected", "server_context", "write_files"]

AUTHORITY_NAMES = ("localhost", "127.0.0.1")


def write_files(folder: Path, ca: trustme.CA, client_ca: trustme.CA | None = None) -> TlsFiles:
    """A fresh certificate by `ca` in `folder`, over whatever was there."""
    leaf = ca.issue_cert(*AUTHORITY_NAMES)
    files = TlsFiles(
        folder / "cert.pem", folder / "key.pem", folder / "clients.pem" if client_ca else None
    )
    leaf.cert_chain_pems[0].write_to_path(files.certificate)
    assert files.key is not None
    leaf.private_key_pem.write_to_path(files.key)
    if client_ca is not None:
        assert files.client_ca is not None
        client_ca.cert_pem.write_to_path(files.client_ca)
    return files


def server_context(ca: trustme.CA) -> ssl.SSLContext:
    """A plain server context with a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*AUTHORITY_NAMES).configure_cert(context)
    return context


def client_context(ca: trustme.CA, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Trusts this authority alone; shows `own` where it is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    if own is not None:
        own.configure_cert(context)
    return context


class Ended(Exception):
    """The connection ended without close_notify: what was said may not be whole."""


class Peer:
    """The client's end. Everything waits on trio's own socket, so on the real clock."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = trio.socket.from_stdlib_socket(sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def flush(self) -> None:
        """Put on the wire what TLS has to say."""
        data = self.outgoing.read()
        while data:
            data = data[await self.socket.send(data) :]

    async def _more(self) -> None:
        data = await self.socket.recv(65_536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self._more()
            else:
                await self.flush()
                return

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def receive(self) -> bytes:
        """Some bytes; b"" behind a close_notify. Raises Ended where there was none."""
        while True:
            try:
                return self.tls.read(65_536)
            except ssl.SSLWantReadError:
                await self._more()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                raise Ended from None

    async def receive_exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            data = await self.receive()
            assert data, f"ended after {len(got)} of {size} bytes"
            got += data
        return bytes(got)

    async def everything(self) -> bytes:
        """All that comes before the close_notify."""
        got = bytearray()
        while data := await self.receive():
            got += data
        return bytes(got)

    async def until_cut(self) -> bytes:
        """All that comes before an end without close_notify, which must be how it ends."""
        got = bytearray()
        try:
            while data := await self.receive():
                got += data
        except Ended:
            return bytes(got)
        raise AssertionError(f"a clean end after {bytes(got)!r}")

    async def say_end(self) -> None:
        """Our close_notify, and no end of the connection."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            await self.flush()

    def close(self) -> None:
        self.socket.close()


async def connected(
    hub: Hub, ca: trustme.CA, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[SecureLink, Peer]:
    """A link of the server's side and its peer, both through their handshake."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    wrapped = server_context(ca).wrap_socket(
        ours, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    context = client_context(ca)
    context.maximum_version = version
    link, peer = SecureLink(hub, wrapped), Peer(theirs, context)
    async with trio.open_nursery() as both:
        both.start_soon(link.handshake)
        both.start_soon(peer.handshake)
    return link, peer
