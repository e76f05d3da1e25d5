"""What stands between an accepted socket and its first request: PROXY header, TLS handshake.

A plain `Link` in, the `Link` to be served out, with its `peer` and `protocol`; or TurnedAway. Who
says nothing costs a socket and no more: a handshake begins with the caller's first bytes, so those
who wait count neither as handshakes under way nor for the memory of one. It begins once the first
record is whole, and one address has a quarter of those that may be under way: a stranger who begins
and never goes on holds up nobody but itself.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

import trio

from kproxy.transport.certificates import Credentials
from kproxy.transport.duplex import Broken
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink
from kproxy.wire.proxy import LIMIT, Peer, parse_proxy_header, plain_address

__all__ = ["UNIX", "Bound", "Entry", "Proxies", "TurnedAway", "Turns", "peer_of"]

UNIX = "unix"
"""The host of every peer on a unix socket."""

FAREWELL = 1.0
"""Seconds that a refused caller has to take the reason before a reset could destroy it."""

FAREWELL_BYTES = 65_536

SHARES = 4
"""One address may have one in so many of the handshakes that are under way."""

HANDSHAKE = 22  # the type of a client's first record
RECORD_HEAD = 5  # bytes
MOST_RECORD = RECORD_HEAD + 16_384


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


class Turns(Protocol):
    """Of several processes that accept from one socket: whose turn it is."""

    def mine(self, total: int) -> bool:
        """Whether a process with so many connections should take one more."""
        ...

    def have(self, total: int) -> None:
        """So many connections are open here now."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and what its connections have to pass. `name`: as the operator wrote it.

    A value: it may be made before a process forks, and used after. `turns`: where several processes
    accept from it.
    """

    socket: socket.socket
    name: str = ""
    credentials: Credentials | None = None
    proxies: Proxies = Proxies()
    turns: Turns | None = None


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
        self._share = max(1, handshakes // SHARES)
        self._hosts: dict[str, _Host] = {}  # with a handshake under way, or waiting for its turn

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
                await _first_record(link, sock)
                async with self._turn(link.peer.host):
                    secure, reason = await _secure(link, bound.credentials.context)
                if reason is None:
                    return secure
                await _say_farewell(secure)
                raise TurnedAway(reason)
            except (OSError, Broken) as error:
                raise TurnedAway("left") from error
        raise TurnedAway("took too long")

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """One of the handshakes that may be under way, within the address's own share."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(trio.Semaphore(self._share))
        host.users += 1
        try:
            async with host.turns, self._turns:
                yield
        finally:
            host.users -= 1
            if not host.users:
                del self._hosts[name]


@dataclass(slots=True)
class _Host:
    """The turns of one address."""

    turns: trio.Semaphore
    users: int = 0


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


async def _first_record(link: Link, sock: socket.socket) -> None:
    """Wait until the first record is there as a whole (RFC 8446 section 5.1), or it is none."""
    wanted = RECORD_HEAD
    while True:
        data = _peek(sock, wanted)
        if data and data[0] != HANDSHAKE:
            return  # OpenSSL says what it is
        if data and len(data) == wanted:
            size = RECORD_HEAD + int.from_bytes(data[3:5], "big")
            if wanted in (size, MOST_RECORD):
                return
            wanted = min(MOST_RECORD, size)
            continue
        if data == b"" or link.peer_ended:
            raise TurnedAway("left")
        await link.wait_readable()


def _peek(sock: socket.socket, size: int) -> bytes | None:
    """Bytes that stay where they are; b"" at the end, None where there is nothing yet."""
    try:
        return sock.recv(size, socket.MSG_PEEK)
    except BlockingIOError:
        return None


async def _secure(link: Link, context: ssl.SSLContext) -> tuple[SecureLink, str | None]:
    """The link over TLS; or why it is not, and then it is still to be closed.

    Raises TurnedAway where there is nobody to be told.
    """
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
    except ssl.SSLError as error:
        return secure, f"no TLS: {error.reason or 'cut short'}"
    except BaseException:
        secure.close()
        raise
    return secure, None


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
