"""Requests without a key: the one caller that `auth = "none"` knows, and who may be it.

Whoever reaches a loopback address is a program on this machine, with one exception: a browser also
runs what any web page sends it, and a page may POST to a loopback address without asking first (a
"simple" request of the Fetch standard). It could not read the answer, but the operator would pay
for it. A browser names the page's origin on every such request, so a foreign one is refused. And a
name of somebody else's may be made to point at this machine; then the page is of the same origin,
but the Host field says that name, so it must be a loopback's.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from kproxy.admission.identity import Caller
from kproxy.admission.keys import Account
from kproxy.admission.tiers import TIERS
from kproxy.errors import Rejected
from kproxy.wire.events import Headers

__all__ = ["SIDECAR", "is_loopback", "local_caller"]

_TIER = TIERS["unlimited"]
SIDECAR = Caller(Account("acct_sidecar", "sidecar", _TIER.name, 0), "key_none", _TIER, _TIER.paid)
"""Everybody. Neither its account nor its key is in a store."""


def local_caller(headers: Headers) -> Caller:
    """The implicit caller, whatever key was sent. Raises Rejected 403 for a foreign web page."""
    for name, value in headers:
        if name == b"origin" and not _is_local(value):
            raise Rejected(
                403, "origin_not_allowed", "Web pages of other hosts may not call this server."
            )
        if name == b"host" and not _is_local(b"http://" + value):
            raise Rejected(
                403, "host_not_allowed", "Without keys this server answers to loopback hosts only."
            )
    return SIDECAR


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host: 127.0.0.0/8, ::1 or `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(origin: bytes) -> bool:
    try:
        host = urlsplit(origin.decode("ascii")).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
