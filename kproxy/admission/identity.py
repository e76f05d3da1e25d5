"""A request's fields in, a `Caller` out, or a 401 (contract sections 1, 4 and 11).

Knows no store, no tiers and no clock: they are arguments. Runs on every request before anything
else is looked at, so it is one pass over the fields, one SHA-256 and one look-up.
"""

import hmac
from collections.abc import Callable, Mapping

import msgspec

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails
from kproxy.admission.keys import NO_PROVIDER_KEYS, Account, KeyRecord, Secret, digest
from kproxy.admission.tiers import Tier
from kproxy.errors import Rejected
from kproxy.wire.events import Headers

__all__ = ["Caller", "bearer", "identify"]

_SCHEME = b"bearer "
_KEY_PREFIX = b"kr-"
_LONGEST = 512  # bytes; ours are 46, and what is longer is not worth hashing
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="kproxy"'),)  # RFC 9110 section 11.6.1: a MUST


class Caller(msgspec.Struct, frozen=True):
    """Who is calling, for as long as the request lasts.

    `provider_keys` are the caller's own, by slug; a provider that is `locked` has one that cannot
    be opened, and is closed to this caller. A msgspec struct, because a frozen dataclass of four
    fields costs five times as much to make and this one is made on every request.
    """

    account: Account
    key_id: str
    tier: Tier
    paid: bool
    guardrails: Guardrails = NO_GUARDRAILS
    provider_keys: Mapping[str, Secret] = NO_PROVIDER_KEYS
    locked: frozenset[str] = frozenset()


def bearer(headers: Headers) -> bytes | None:
    """The key a request presents, or None. Field names are lower-case already.

    `Authorization: Bearer` (the scheme in any case, RFC 9110 section 11.1) wins over `x-api-key`
    and that over `api-key`, so that a client library's leftover field cannot shadow what the
    caller wrote. A field with another scheme, or without a value, counts as absent.
    """
    authorization = x_api_key = api_key = None
    for name, value in headers:
        if name == b"authorization":
            if authorization is None and value[:7].lower() == _SCHEME:
                authorization = value[7:].strip(b" \t")
        elif name == b"x-api-key":
            x_api_key = x_api_key or value
        elif name == b"api-key":
            api_key = api_key or value
    return authorization or x_api_key or api_key or None


def identify(
    presented: bytes | None,
    lookup: Callable[[bytes], KeyRecord | None],
    tiers: Mapping[str, Tier],
    now: float,
) -> Caller:
    """Who holds the presented key. `now` is Unix seconds; `lookup` maps a digest to a record.

    Raises Rejected 401 `invalid_api_key` for a key that is missing, malformed, unknown, expired or
    revoked, and 403 `tier_not_configured` where the account's tier is not in `tiers`. The message
    says which only to somebody who holds the real key.
    """
    if presented is None:
        raise _rejected(
            "No API key provided. Send your key in the header 'Authorization: Bearer kr-...'."
        )
    if not presented.startswith(_KEY_PREFIX):
        raise _rejected("Incorrect API key provided: keys start with 'kr-'.")
    if len(presented) > _LONGEST:
        raise _rejected("Incorrect API key provided: it is too long to be a key.")
    found = digest(presented)
    record = lookup(found)
    # The look-up compares digests, about which timing tells nothing useful: whoever could steer a
    # SHA-256 would not need to. The second comparison holds even for a lookup that matches loosely.
    if record is None or not hmac.compare_digest(record.digest, found):
        raise _rejected("Incorrect API key provided.")
    if record.revoked:
        raise _rejected("Incorrect API key provided: this key has been revoked.")
    if record.expires_at is not None and now >= record.expires_at:
        raise _rejected("Incorrect API key provided: this key has expired.")
    tier = tiers.get(record.account.tier)
    if tier is None:
        # Not 401: the key is good, and a client that asks for another one would be misled.
        raise Rejected(
            403,
            "tier_not_configured",
            f"The tier of your account, '{record.account.tier}', is not configured on this server: "
            "its operator can define it or give the account another one.",
        )
    return Caller(
        record.account,
        record.key_id,
        tier,
        tier.paid,
        record.guardrails,
        record.provider_keys,
        record.locked,
    )


def _rejected(message: str) -> Rejected:
    rejected = Rejected(401, "invalid_api_key", message)
    rejected.headers = _CHALLENGE
    return rejected
