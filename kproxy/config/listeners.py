"""`listen` and the `[[listeners]]` tables in, every listener in its final form out.

`listen` is the short form: addresses alone, which a flag or a variable can replace. A table says
more of one address: TLS, the mode of a unix socket, whose PROXY header is believed, or that it is
the operators' own. Tables are opened whatever the flags say; the default of `listen` counts only
where no table is there for callers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from kproxy.admission.sidecar import is_loopback
from kproxy.config.checks import check_address, check_port
from kproxy.config.document import PlacedError, Steps
from kproxy.config.model import Address, ListenerConfig, SystemdAddress, TlsConfig, UnixAddress

if TYPE_CHECKING:
    from kproxy.transport.certificates import Credentials

__all__ = [
    "Listening",
    "Place",
    "TlsPaths",
    "build_listeners",
    "check_auth",
    "listen_texts",
    "make_credentials",
]

Place = Address | UnixAddress | SystemdAddress

Beside = Callable[[str], Path]
"""A path of the file, made absolute."""

_MODE = re.compile(r"0?[0-7]{3}")
_NAME = re.compile(r"[!-9;-~]{1,255}")  # sd_listen_fds_with_names(3): no colon
_PATH_LIMIT = 107  # bytes, unix(7)


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """The `tls` table with absolute paths."""

    certificate: Path
    key: Path | None
    client_ca: Path | None
    client_required: bool


@dataclass(frozen=True, slots=True)
class Listening:
    """One listener. `admin`: for operators, and callers find nothing there. `steps`: its place."""

    place: Place
    steps: Steps
    tls: TlsPaths | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    unix_proxy: bool = False  # whoever is on this unix socket is a proxy
    admin: bool = False


def listen_texts(
    flags: tuple[str, ...], environ: Mapping[str, str], given: Sequence[str]
) -> list[tuple[str, Steps]]:
    """The addresses of flags, else of KPROXY_LISTEN, else of the file; each with its place."""
    if flags:
        return [(text, ("--listen",)) for text in flags]
    named = environ.get("KPROXY_LISTEN", "").strip()
    if named:
        return [(text.strip(), ("KPROXY_LISTEN",)) for text in named.split(",")]
    return [(text, ("listen", at)) for at, text in enumerate(given)]


def build_listeners(
    texts: Sequence[tuple[str, Steps]],
    rows: Sequence[ListenerConfig],
    port: str,
    beside: Beside,
) -> tuple[Listening, ...]:
    """Everything to listen on. `port`: the variable PORT, which counts for addresses of the file.

    Raises PlacedError.
    """
    found: list[Listening] = []
    for text, steps in texts:
        place = _place(text, steps, beside if steps[0] == "listen" else Path)
        if port and steps[0] == "listen" and isinstance(place, Address):
            place = Address(place.host, _port(port))
            if any(one.place == place for one in found):
                continue  # they differed by what PORT has replaced
        found.append(Listening(place, steps))
    for at, row in enumerate(rows):
        found.append(_listening(row, ("listeners", at), beside))
    if not any(not one.admin for one in found):
        raise PlacedError(("listen",), "needs at least one address")
    _check_twice(found)
    for one in found:
        make_credentials(one)
    return tuple(found)


def _check_twice(found: Sequence[Listening]) -> None:
    seen = set()
    for one in found:
        name = str(one.place)
        if name in seen and not (isinstance(one.place, Address) and not one.place.port):
            steps = one.steps if one.steps[0] != "listeners" else (*one.steps, "address")
            raise PlacedError(steps, f"{name} is listed twice")
        seen.add(name)


def make_credentials(one: Listening) -> "Credentials | None":
    """The TLS of a listener, from its files as they are now. Raises PlacedError."""
    if one.tls is None:
        return None
    # Here and not above: only who listens with TLS needs OpenSSL.
    from kproxy.transport.certificates import Credentials, CredentialsError, TlsFiles

    tls = one.tls
    files = TlsFiles(tls.certificate, tls.key, tls.client_ca, tls.client_required)
    try:
        return Credentials(files)
    except CredentialsError as error:
        raise PlacedError((*one.steps, "tls", error.field), error.reason) from error


def check_auth(auth: str, listeners: Sequence[Listening]) -> str:
    """`auth`, once only this machine's programs reach a server without keys.

    A socket of systemd's is looked at when it has been taken. Raises PlacedError.
    """
    if auth not in ("keys", "none"):
        raise PlacedError(("auth",), 'must be "keys" or "none"')
    for one in listeners:
        place = one.place
        if auth == "keys" or one.admin or not isinstance(place, Address):
            continue
        if not is_loopback(place.host):
            reason = '"none" needs every address on loopback (127.0.0.0/8, [::1] or localhost)'
            raise PlacedError(("auth",), f"{reason}, and {place}{_source(one)} is not")
    return auth


def _source(one: Listening) -> str:
    """Where an address came from that is not in the file, as a clause."""
    named = one.steps[0]
    return f" (from {named})" if named in ("--listen", "KPROXY_LISTEN") else ""


def _port(text: str) -> int:
    # What platforms set: the port alone. Which addresses stays the operator's decision.
    try:
        return check_port(text)
    except ValueError as error:
        raise PlacedError(("PORT",), str(error)) from error


def _place(text: str, steps: Steps, beside: Beside) -> Place:
    try:
        if text.startswith("unix:"):
            return _unix(text.removeprefix("unix:"), beside)
        kind, _, name = text.partition(":")
        if kind == "systemd":
            if name and not _NAME.fullmatch(name):
                raise ValueError("not the name of a socket: write systemd, or systemd:NAME")
            return SystemdAddress(name)
        return check_address(text)
    except ValueError as error:
        raise PlacedError(steps, str(error)) from error


def _unix(text: str, beside: Beside) -> UnixAddress:
    if not text.isprintable() or not text.strip():
        raise ValueError("not a path: write unix:/run/kproxy/kproxy.sock")
    path = str(beside(text).absolute())
    if len(path.encode()) > _PATH_LIMIT:
        raise ValueError(f"a unix socket's path has at most {_PATH_LIMIT} bytes")
    return UnixAddress(path)


def _listening(row: ListenerConfig, steps: Steps, beside: Beside) -> Listening:
    place = _place(row.address, (*steps, "address"), beside)
    if row.mode is not None:
        if not isinstance(place, UnixAddress):
            raise PlacedError((*steps, "mode"), "is for unix sockets")
        if not _MODE.fullmatch(row.mode):
            reason = 'not a mode: three octal digits, each 0 to 7, as in "0660"'
            raise PlacedError((*steps, "mode"), reason)
        place = UnixAddress(place.path, int(row.mode, 8))
    networks = [
        _network(text, (*steps, "proxy_from", at)) for at, text in enumerate(row.proxy_from)
    ]
    return Listening(
        place=place,
        steps=steps,
        tls=None if row.tls is None else _tls(row.tls, (*steps, "tls"), beside),
        proxies=tuple(network for network in networks if network is not None),
        unix_proxy=None in networks,
        admin=row.admin,
    )


def _network(text: str, steps: Steps) -> IPv4Network | IPv6Network | None:
    if text == "unix":
        return None
    try:
        return ip_network(text)
    except ValueError as error:
        reason = 'not a network: write 10.0.0.0/8, an address, or "unix"'
        raise PlacedError(steps, reason) from error


def _tls(given: TlsConfig, steps: Steps, beside: Beside) -> TlsPaths:
    if given.client is not None and given.client_ca is None:
        raise PlacedError((*steps, "client"), "needs client_ca: whose certificates are accepted")
    return TlsPaths(
        certificate=beside(given.certificate),
        key=None if given.key is None else beside(given.key),
        client_ca=None if given.client_ca is None else beside(given.client_ca),
        client_required=given.client != "optional",
    )
