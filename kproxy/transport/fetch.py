"""A URL and a budget in, the answer's status and body out: the one way to fetch for a caller.

Two entries, and no third. `fetch` takes a URL that a caller, a model or a web page has named: each
step, redirects included, is read, resolved and judged by `transport/reach.py`, and the connection
goes to exactly the address that was judged, so that a name cannot turn into another one in between.
`call` takes what the operator configured beside it: that one origin is allowed as it is written,
on a private address too, and is the only one that ever sees the headers and the body of the call.
Where it redirects to another origin the request goes on without them, and guarded, from there on
also back to the configured one: a stranger would choose what is asked of it.

Everything is bounded: the whole time, the bytes of the body as they come and as they are after
decompression, the head, the redirects, the addresses that are tried. A connection serves one
request and is closed. Nothing is kept, no cookie, no credential of one origin for another.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from urllib.parse import urljoin

import trio

from kproxy.errors import Fault, KproxyError
from kproxy.transport.dial import Dial, Origin, dialler, tls_context
from kproxy.transport.duplex import Broken, Duplex
from kproxy.transport.hub import Hub
from kproxy.transport.reach import (
    PORTS,
    Refused,
    Target,
    check_addresses,
    read_configured,
    read_url,
)
from kproxy.wire.coding import CodingError, Inflater
from kproxy.wire.events import ProtocolError, ResponseHead
from kproxy.wire.frame import request_head
from kproxy.wire.limits import H1Limits
from kproxy.wire.response import ResponseReader

__all__ = [
    "Ask",
    "Budget",
    "Fetched",
    "Fetcher",
    "Resolve",
    "SystemResolver",
    "Unfetched",
    "dialler_on_demand",
]

MOST_ADDRESSES = 4  # of a host that are tried, one after the other
CONNECT = 5.0  # seconds for one of them, while there are others
REDIRECTS = (301, 302, 303, 307, 308)

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(name, port) -> its addresses, best first. Raises OSError."""


class Unfetched(KproxyError):
    """Nothing was fetched. `reason` is short, ours, and holds neither URL nor secret. `sent`: the
    request may have reached somebody."""

    def __init__(self, reason: str, *, sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Budget:
    """What one fetch may take: bytes of the body (decompressed too), seconds in all, redirects."""

    size: int
    seconds: float
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked besides the URL. `headers` are for the configured origin alone."""

    method: bytes = b"GET"
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whatever its status. `content_type` is lower case and without parameters."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    head: ResponseHead = field(repr=False)


GET = Ask()


class SystemResolver:
    """Asks the system's resolver, in a few threads of its own: a name whose servers are silent
    holds one for half a minute, and must not take the threads of others. Its asker may leave."""

    def __init__(self, threads: int = 8) -> None:
        self._threads = trio.CapacityLimiter(threads)

    async def __call__(self, name: str, port: int) -> list[str]:
        look_up = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
        found = await trio.to_thread.run_sync(
            look_up, abandon_on_cancel=True, limiter=self._threads
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def dialler_on_demand(hub: Hub) -> Dial:
    """A `Dial` that reads the trust store (50 ms) when it first meets TLS, and in a thread."""
    context: ssl.SSLContext | None = None

    async def dial(origin: Origin, deadline: float) -> Duplex:
        nonlocal context
        if origin.tls and context is None:
            context = await trio.to_thread.run_sync(tls_context)
        return await dialler(hub, context)(origin, deadline)

    return dial


class Fetcher:
    """Fetches through `dial`, which decides nothing. Any number of tasks may use one at a time.

    `resolve` is the system's resolver where nothing else is given.
    """

    def __init__(
        self, dial: Dial, resolve: Resolve | None = None, ports: frozenset[int] = PORTS
    ) -> None:
        self._dial = dial
        self._resolve = resolve or SystemResolver()
        self._ports = ports
        self._limits = H1Limits()

    async def fetch(self, url: str, budget: Budget) -> Fetched:
        """What a caller's URL has, guarded. Raises Unfetched."""
        return await self._within(budget, url, GET, None)

    async def call(self, url: str, budget: Budget, ask: Ask = GET, *, configured: str) -> Fetched:
        """The answer to `ask`, where `url` may be of the operator's `configured` origin.

        A URL of another origin is guarded and gets a plain GET. Raises Unfetched, also where a
        request other than GET is redirected, or would leave the configured origin.
        """
        try:
            trusted = read_configured(configured)
        except Refused as error:
            raise Unfetched(f"the configured address is not one: {error}") from error
        return await self._within(budget, url, ask, trusted)

    async def _within(self, budget: Budget, url: str, ask: Ask, trusted: Target | None) -> Fetched:
        deadline = trio.current_time() + budget.seconds
        with trio.move_on_at(deadline):
            try:
                return await self._follow(url, ask, trusted, budget, deadline)
            except Fault as fault:
                raise Unfetched(fault.detail) from fault
            except Refused as error:
                raise Unfetched(str(error)) from error
            except (CodingError, ProtocolError) as error:
                raise Unfetched(str(error), sent=True) from error
            except Broken as error:
                raise Unfetched("the connection broke", sent=True) from error
        raise Unfetched("took too long", sent=True)

    async def _follow(
        self, url: str, ask: Ask, trusted: Target | None, budget: Budget, deadline: float
    ) -> Fetched:
        for _ in range(budget.redirects + 1):
            target, link = await self._connect(url, ask, trusted, deadline)
            try:
                own = trusted is not None and target.origin == trusted.origin
                exchange = Exchange(link, target, ask if own else GET, budget.size)
                head = await exchange.open(self._limits)
                location = head.get(b"location")
                if head.status not in REDIRECTS or location is None:
                    body = await exchange.read()
                    return Fetched(head.status, _media_type(head), body, head)
            finally:
                link.close()
            if ask.method != b"GET":
                raise Unfetched("redirected")  # whoever redirects has done nothing
            if not own:
                trusted = None
            url = urljoin(target.url, _text(location))
        raise Unfetched("redirected too often")

    async def _connect(
        self, url: str, ask: Ask, trusted: Target | None, deadline: float
    ) -> tuple[Target, Duplex]:
        target = read_configured(url)
        if trusted is not None and target.origin == trusted.origin:
            origin = Origin(target.host, target.port, target.tls)
            return target, await self._dial(origin, deadline)
        if ask.method != b"GET":
            raise Unfetched("leaves the configured origin")
        target = read_url(url, self._ports)
        return target, await self._dial_any(target, await self._addresses(target), deadline)

    async def _addresses(self, target: Target) -> list[str]:
        """The addresses of a host, each of them judged."""
        try:
            return [str(ip_address(target.host))]  # `read_url` has judged it
        except ValueError:
            pass
        try:
            addresses = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise Unfetched("the host's name is not known") from error
        check_addresses(addresses)
        return addresses[:MOST_ADDRESSES]

    async def _dial_any(self, target: Target, addresses: list[str], deadline: float) -> Duplex:
        """The first that answers. The address is dialled, the name is what TLS must prove."""
        for address in addresses[:-1]:
            origin = Origin(address, target.port, target.tls, target.host)
            try:
                return await self._dial(origin, min(deadline, trio.current_time() + CONNECT))
            except Fault:
                continue
        last = Origin(addresses[-1], target.port, target.tls, target.host)
        return await self._dial(last, deadline)


class Exchange:
    """One request and its answer on a connection that its opener closes."""

    __slots__ = ("_ask", "_coding", "_link", "_reader", "_size", "_target")

    def __init__(self, link: Duplex, target: Target, ask: Ask, size: int) -> None:
        self._link = link
        self._target = target
        self._ask = ask
        self._size = size
        self._reader: ResponseReader
        self._coding: bytes | None

    async def open(self, limits: H1Limits) -> ResponseHead:
        """Send the request, read the final head. Raises Broken and ProtocolError."""
        self._reader = reader = ResponseReader(limits)
        await self._link.send_all(self._request())
        while (head := reader.next_head(self._ask.method)) is None:
            data = await self._link.receive()
            if not data:
                reader.eof()
            reader.receive_data(data)
        coding = head.get(b"content-encoding")
        self._coding = None if coding in (None, b"identity") else coding
        if self._coding is None and (head.content_length or 0) > self._size:
            raise Unfetched("over the limit", sent=True)
        return head

    def _request(self) -> bytes:
        target, ask = self._target, self._ask
        origin = Origin(target.host, target.port, target.tls)
        headers = [
            (b"host", origin.authority().encode("ascii")),
            (b"user-agent", b"kproxy"),
            (b"accept-encoding", b"gzip"),
            (b"connection", b"close"),
            *ask.headers,
        ]
        if ask.method != b"GET":
            headers.append((b"content-length", b"%d" % len(ask.body)))
        return request_head(ask.method, target.path.encode("ascii"), headers) + ask.body

    async def read(self) -> bytes:
        """The body, decoded. Raises Unfetched over the limit, ProtocolError and CodingError."""
        body = self._reader.body
        assert body is not None
        inflater = None if self._coding is None else Inflater(self._coding, self._size)
        whole = bytearray()
        data = self._reader.rest
        while True:
            plain = body.feed(data) if data else b""
            if inflater is None:
                whole += plain
            else:
                for piece in inflater.feed(plain):
                    whole += piece
                    await trio.lowlevel.checkpoint()  # much can come out of one read
            if len(whole) > self._size:
                raise Unfetched("over the limit", sent=True)
            if body.complete:
                break
            data = await self._link.receive()
            if not data:
                body.eof()
        if inflater is not None:
            inflater.end()
        return bytes(whole)


def _media_type(head: ResponseHead) -> str:
    return _text(head.get(b"content-type") or b"").partition(";")[0].strip().lower()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
