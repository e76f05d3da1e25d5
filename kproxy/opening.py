"""The configured listeners in, bound sockets out: before anything runs, and before any fork.

What is opened is a value that serving takes over. Who opens also takes the files of unix sockets
away again: the processes that serve may come and go meanwhile.
"""

import logging
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from kproxy.admission.sidecar import is_loopback
from kproxy.config import Address, Config, Listening, SystemdAddress, UnixAddress
from kproxy.config.document import PlacedError
from kproxy.config.listeners import make_credentials
from kproxy.errors import KproxyError
from kproxy.transport.accept import open_listeners
from kproxy.transport.certificates import Credentials
from kproxy.transport.entry import Bound, Proxies, Turns
from kproxy.transport.sockets import Inherited, open_unix

__all__ = ["CannotStart", "Opened", "open_all"]

log = logging.getLogger("kproxy")


class CannotStart(KproxyError):
    """Something of the machine is not to be had: an address in use, a name that is none."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Sockets for callers, and those for operators alone (none: operators ask at the others)."""

    public: tuple[Bound, ...]
    admin: tuple[Bound, ...]

    def shared(self, turns: Turns) -> "Opened":
        """The same for one of several processes that take turns at accepting callers."""
        return Opened(tuple(replace(one, turns=turns) for one in self.public), self.admin)

    @property
    def credentials(self) -> tuple[Credentials, ...]:
        """Every certificate that there is to renew, once."""
        found = (one.credentials for one in (*self.public, *self.admin))
        return tuple(dict.fromkeys(one for one in found if one is not None))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where callers come in by TCP."""
        inet = (one.socket for one in self.public if one.socket.family != socket.AF_UNIX)
        return tuple(Address(*sock.getsockname()[:2]) for sock in inet)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where callers come in, as people write it."""
        return tuple(map(_url, self.public))

    @property
    def admin_urls(self) -> tuple[str, ...]:
        """Likewise for operators."""
        return tuple(map(_url, self.admin))


def _url(one: Bound) -> str:
    name = one.socket.getsockname()
    if one.socket.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"{'http' if one.credentials is None else 'https'}://{Address(*name[:2])}"


def open_all(stack: ExitStack, config: Config) -> Opened:
    """Every listener, open; closed with `stack`. Raises CannotStart that names the address."""
    inherited = Inherited(os.environ, os.getpid())
    public: list[Bound] = []
    admin: list[Bound] = []
    # A `systemd` without a name takes what the names have left.
    for one in sorted(config.listeners, key=lambda one: one.place == SystemdAddress()):
        try:
            credentials = make_credentials(one)
            sockets = _open(stack, one, inherited)
        except PlacedError as error:
            raise CannotStart(f"cannot listen on {one.place}: {error.reason}") from error
        except OSError as error:
            raise CannotStart(f"cannot listen on {one.place}: {error.strerror or error}") from error
        if config.auth == "none" and not one.admin:
            _check_local(one, sockets)
        proxies = Proxies(one.proxies, one.unix_proxy)
        bound = [Bound(sock, str(one.place), credentials, proxies) for sock in sockets]
        (admin if one.admin else public).extend(bound)
    if inherited.left:
        log.warning("systemd passed sockets that no listener takes: write listen = ['systemd']")
    return Opened(tuple(public), tuple(admin))


def _open(stack: ExitStack, one: Listening, inherited: Inherited) -> list[socket.socket]:
    match one.place:
        case Address(host, port):
            opened = open_listeners(host, port)
        case UnixAddress(path, mode):
            unix = open_unix(Path(path), mode)
            stack.callback(unix.remove)
            return [unix.socket]
        case SystemdAddress(name):
            opened = inherited.take(name)
    for sock in opened:
        stack.callback(sock.close)
    return opened


def _check_local(one: Listening, sockets: list[socket.socket]) -> None:
    for sock in sockets:
        if sock.family != socket.AF_UNIX and not is_loopback(sock.getsockname()[0]):
            raise CannotStart(f'auth = "none" needs loopback, and a socket of {one.place} is not')
