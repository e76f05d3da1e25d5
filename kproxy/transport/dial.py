"""Open a connection to a provider: origin in, `Link` out, every failure a named fault.

httpcore's network backend does what is hard with names (resolve, happy eyeballs) and is known here
alone. Its stream is not kept: the connected socket is taken out of it and given to the hub, where
TLS is spoken on the non-blocking socket itself (house plan 4.2b: 1.4 times nginx against 2.4 for a
stream on top of a stream).

An address needs none of that, so httpcore is imported for the first name: 2.4 MB and 15 ms, as it
brings h11 and h2 along. Whoever knows beforehand that there will be one calls `prepare`.
"""

import errno
import functools
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import trio

from kproxy.errors import Fault, FaultKind
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink

if TYPE_CHECKING:
    import httpcore

__all__ = ["Dial", "Origin", "dialler", "faults", "prepare", "tls_context"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider listens. `host` is a name or a bare address.

    `known_as` is the name in its certificate, where `host` is an address that was found for it.
    """

    host: str
    port: int
    tls: bool
    known_as: str | None = None

    def authority(self) -> str:
        """The Host field for this origin (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


Dial = Callable[[Origin, float], Awaitable[Duplex]]
"""(origin, absolute deadline) -> an open connection that the caller closes. Raises Fault."""

FaultTable = tuple[tuple[type[Exception], FaultKind], ...]


class _Names(NamedTuple):
    """What connects to names, and what it raises; see `faults`."""

    backend: "httpcore.AsyncNetworkBackend"
    faults: FaultTable


@functools.cache
def _names() -> _Names:
    import httpcore

    table = (
        (httpcore.ConnectTimeout, FaultKind.CONNECT_TIMEOUT),
        (httpcore.TimeoutException, FaultKind.CONNECT_TIMEOUT),
        (httpcore.NetworkError, FaultKind.CONNECT),
        *REFUSALS,
    )
    return _Names(httpcore.TrioBackend(), table)


REFUSALS: FaultTable = (
    (OSError, FaultKind.CONNECT),
    (ValueError, FaultKind.CONNECT),  # a name that cannot be one: a label over 63 bytes
)


def faults() -> FaultTable:
    """What httpcore's backend raises while connecting; the first row that fits decides."""
    return _names().faults


def prepare(origin: Origin) -> None:
    """Have what dialling this origin wants. Fit for a thread."""
    if _family_of(origin.host) is None:
        _names()


def tls_context(*, http2: bool = False) -> ssl.SSLContext:
    """Verified TLS to providers. Making one reads the trust store (50 ms): make it once.

    `http2`: it is offered first, and the link's `protocol` says what was chosen.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def dialler(hub: Hub, context: ssl.SSLContext | None) -> Dial:
    """The real `Dial`: sockets live in `hub`, TLS is verified by `context` (None: no TLS)."""

    async def dial(origin: Origin, deadline: float) -> Duplex:
        with trio.move_on_at(deadline):
            sock = await _connect(origin)
            if not origin.tls:
                return Link(hub, sock)
            assert context is not None
            return await _secure(hub, sock, context, origin)
        raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")

    return dial


async def _connect(origin: Origin) -> socket.socket:
    family = _family_of(origin.host)
    table = REFUSALS if family is not None else faults()
    try:
        if family is not None:
            sock = await _connect_to(family, origin)
        else:
            stream = await _names().backend.connect_tcp(origin.host, origin.port)
            sock = socket.socket(fileno=stream.get_extra_info("socket").detach())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except tuple(kind for kind, _ in table) as error:
        kind = next(kind for cls, kind in table if isinstance(error, cls))
        raise Fault(kind, "connection refused or unreachable") from error
    return sock


@functools.lru_cache(1_024)
def _family_of(host: str) -> socket.AddressFamily | None:
    """What kind of address a host is; None: a name, or an address with a zone."""
    try:
        return socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        return None


async def _connect_to(family: socket.AddressFamily, origin: Origin) -> socket.socket:
    """An address needs no look-up and has no other to race with: 50 us of CPU instead of 155, and a
    race closes a connection each time. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        failed = sock.connect_ex((origin.host, origin.port))
        if failed == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        sock.close()
        raise
    return sock


async def _secure(hub: Hub, sock: socket.socket, context: ssl.SSLContext, origin: Origin) -> Duplex:
    sock.setblocking(False)
    try:
        wrapped = context.wrap_socket(
            sock, server_hostname=origin.known_as or origin.host, do_handshake_on_connect=False
        )
    except (OSError, ValueError) as error:  # the peer has left already, or a name TLS cannot ask
        sock.close()
        raise Fault(FaultKind.TLS, "handshake failed") from error
    link = SecureLink(hub, wrapped)
    try:
        await link.handshake()  # the caller's scope bounds it
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise Fault(FaultKind.TLS, f"certificate refused: {error.verify_message}") from error
    except (OSError, Broken, Expired) as error:
        link.close()
        raise Fault(FaultKind.TLS, "handshake failed") from error
    except BaseException:
        link.close()
        raise
    return link
