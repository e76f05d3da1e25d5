"""What stands between an accepted socket and its first request: PROXY header, TLS handshake.

A plain `Link` in, the `Link` to be served out, with its `peer` and `protocol`; or TurnedAway. Who
says nothing costs a socket and no more: a handshake begins with the caller's first bytes, so those
who wait count neither as handshakes under way nor for the memory of one.
"""

import socket
import ssl
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

import trio

from kproxy.transport.certificates import Credentials
from kproxy.transport.duplex import Broken
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink
from kproxy.wire.proxy import LIMIT, Peer, parse_proxy_header, plain_address

__all__ = ["UNIX", "Bound", "Entry", "Proxies", "TurnedAway", "peer_of"]

UNIX = "unix"
"""The host of every peer on a unix socket."""

FAREWELL = 1.0
"""Seconds that a refused caller has to take the reason before a reset could destroy it."""

FAREWELL_BYTES = 65_536


class TurnedAway(Exception):
    """No request will come of this connection. The message is ours, but for OpenSSL's reason.

    `fault`: of whoever set up the proxy, and not of a caller; nothing that strangers can cause.
    """

    def __init__(self, reason: str, *, fault: bool = False) -> None:
        super().__init__(reason)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Proxies:
    """Whose PROXY header is believed, and then required; `unix`: of whoever is on a unix socket."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def include(self, host: str) -> bool:
        """Whether `Peer.host` is one of them."""
        if host == UNIX:
            return self.unix
        if not self.networks:
            return False
        address = ip_address(host)
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and what its connections have to pass. `name`: as the operator wrote it.

    A value: it may be made before a process forks, and used after.
    """

    socket: socket.socket
    name: str = ""
    credentials: Credentials | None = None
    proxies: Proxies = Proxies()


def peer_of(sock: socket.socket) -> Peer:
    """Who is at the other end of a connected socket. Raises OSError where nobody is any more."""
    address = sock.getpeername()
    if sock.family == socket.AF_UNIX:
        return Peer(UNIX, 0)
    return Peer(plain_address(address[0]), address[1])


class Entry:
    """The way in of one acceptor. At most `handshakes` of TLS are under way at one time."""

    def __init__(self, seconds: float, handshakes: int) -> None:
        self._seconds = seconds
        self._turns = trio.Semaphore(handshakes)

    async def enter(self, link: Link, sock: socket.socket, bound: Bound) -> Link:
        """Take `link`, which is that of `sock`, through what `bound` asks for.

        Raises TurnedAway. The caller of this closes `link`; one that takes its place is closed
        here where it fails.
        """
        with trio.move_on_after(self._seconds):
            try:
                if bound.proxies.include(link.peer.host):
                    link.peer = await _read_proxy_header(link, sock)
                if bound.credentials is None:
                    return link
                await _first_bytes(link, sock)
                async with self._turns:
                    return await _secure(link, bound.credentials.context)
            except (OSError, Broken) as error:
                raise TurnedAway("left") from error
        raise TurnedAway("took too long")


async def _read_proxy_header(link: Link, sock: socket.socket) -> Peer:
    """The caller that the header names. It is taken off the connection, and no byte behind it."""
    while True:
        data = _peek(sock, LIMIT)
        if data:
            try:
                header = parse_proxy_header(data)
            except ValueError as error:
                raise TurnedAway("malformed PROXY header", fault=True) from error
            if header is not None:
                sock.recv(header.size)
                return header.peer or link.peer
        if data == b"" or link.peer_ended:
            raise TurnedAway("left")
        await link.wait_readable()


async def _first_bytes(link: Link, sock: socket.socket) -> None:
    while (data := _peek(sock, 1)) is None:
        await link.wait_readable()
    if not data:
        raise TurnedAway("left")


def _peek(sock: socket.socket, size: int) -> bytes | None:
    """Bytes that stay where they are; b"" at the end, None where there is nothing yet."""
    try:
        return sock.recv(size, socket.MSG_PEEK)
    except BlockingIOError:
        return None


async def _secure(link: Link, context: ssl.SSLContext) -> Link:
    sock = link.release()
    try:
        wrapped = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except (OSError, ValueError):
        sock.close()
        raise TurnedAway("left") from None
    secure = SecureLink(link.hub, wrapped)
    secure.peer = link.peer
    try:
        await secure.handshake()
        return secure
    except ssl.SSLError as error:
        reason = f"no TLS: {error.reason or 'cut short'}"
    except BaseException:
        secure.close()
        raise
    await _say_farewell(secure)
    raise TurnedAway(reason)


async def _say_farewell(link: SecureLink) -> None:
    """Close, once the caller has had the time to read why: the alert is on its way to it."""
    try:
        link.end(cut=True)
        taken = 0
        with trio.move_on_after(FAREWELL):
            while taken < FAREWELL_BYTES and (data := await link.receive()):
                taken += len(data)
    finally:
        link.close()
