"""`/api/auth`: an account's own API keys (contract section 11).

Every handler knows its caller first and sees only that account: another account's key is answered
like one that does not exist. What is asked of the store is asked at its desk, off the loop; what
is changed holds from the next request on, in every process. A precondition counts only where the
answer would be good without it (RFC 9110 section 13.2.1).
"""

import logging
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from kproxy.admission.guardrails import shown
from kproxy.admission.keys import Account, KeyRecord, check_expiry, check_name
from kproxy.admission.patch import provider_names, to_change
from kproxy.api.admit import take_turn
from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.errors import Rejected, rejected_field
from kproxy.schema.keys import (
    CreatedKey,
    DeletedKey,
    KeyList,
    KeyObject,
    NewKey,
    decode_new_key,
    decode_patch,
    encode,
)
from kproxy.store.desk import KeyDesk, StoreBusy
from kproxy.store.keystore import KeyStore, TooManyKeys
from kproxy.store.vault import SealError, VaultMissing

__all__ = ["change_key", "create_key", "delete_key", "list_keys"]

MOST_KEYS = 1_000
"""Of one account, over this API: so a listing stays one answer, and the store does not fill up."""

NOT_STORED = (b"cache-control", b"no-store")  # RFC 9111 section 5.2.2.5: it holds a secret

log = logging.getLogger("kproxy.keys")

Found = TypeVar("Found")


def _changer(service: Service, exchange: Exchange) -> Account:
    """Who makes or changes a key. Raises Rejected 401, and 429 over the account's rate, which
    listing and revoking do not count against: whoever uses it up may be the thief of a key."""
    caller = service.identify(exchange)
    take_turn(service, caller)
    return caller.account


async def create_key(service: Service, exchange: Exchange) -> None:
    """POST /api/auth: a new key of the caller's account, shown this once."""
    account = _changer(service, exchange)
    desk = _desk(service)
    asked = decode_new_key(await exchange.read_body(), service.json_limits)
    _check(asked)
    now = service.unix_now()
    try:
        record, secret = await _ask(
            desk,
            lambda store: store.create_key(
                account.name, asked.name, asked.expires_in, now, most=MOST_KEYS
            ),
        )
    except TooManyKeys as error:
        raise Rejected(400, "too_many_keys", f"Delete a key first: {error}.") from None
    made = CreatedKey(record.key_id, secret, record.name, record.created_at, record.expires_at)
    await exchange.respond(Answer(201, [JSON_TYPE, NOT_STORED], encode(made)))


async def list_keys(service: Service, exchange: Exchange) -> None:
    """GET /api/auth: the account's keys that are not revoked, without their secrets."""
    account = service.identify(exchange).account
    desk = _desk(service)
    records = await _ask(desk, lambda store: store.in_force(account.id))
    body = encode(KeyList(tuple(_object(desk, record) for record in records)))
    await exchange.respond(Answer(200, [JSON_TYPE], body))


async def delete_key(service: Service, exchange: Exchange) -> None:
    """DELETE /api/auth/{key_id}: revoke a key, the caller's own one too if it is named."""
    account = service.identify(exchange).account
    desk = _desk(service)
    key_id = _key_id(exchange)
    if exchange.is_unmet:
        records = await _ask(desk, lambda store: store.in_force(account.id))
        if any(record.key_id == key_id for record in records):
            exchange.check_preconditions()
        raise _unknown()
    if not await _ask(desk, lambda store: store.revoke(key_id, account.id)):
        raise _unknown()
    await exchange.respond(Answer(200, [JSON_TYPE], encode(DeletedKey(key_id))))


async def change_key(service: Service, exchange: Exchange) -> None:
    """PATCH /api/auth/{key_id}: set or clear guardrails and own provider keys."""
    account = _changer(service, exchange)
    desk = _desk(service)
    key_id = _key_id(exchange)
    patch = decode_patch(await exchange.read_body(), service.json_limits)
    change = to_change(patch, provider_names(service.catalog.providers.values()))
    write = not exchange.is_unmet  # else it is tried, for a refusal comes before the condition
    try:
        record = await _ask(
            desk, lambda store: store.change(key_id, account.id, change, write=write)
        )
    except SealError as error:
        raise _unsealed(error) from error
    if record is None:
        raise _unknown()
    exchange.check_preconditions()
    await exchange.respond(Answer(200, [JSON_TYPE], encode(_object(desk, record))))


async def _ask(desk: KeyDesk, question: Callable[[KeyStore], Found]) -> Found:
    try:
        return await desk.ask(question)
    except StoreBusy:
        busy = Rejected(503, "store_busy", "The key store is busy. Nothing was changed.")
        busy.headers = ((b"retry-after", b"1"),)
        raise busy from None


def _desk(service: Service) -> KeyDesk:
    if service.desk is None:
        raise Rejected(404, "keys_disabled", 'This server has no keys: it runs with auth = "none".')
    return service.desk


def _check(asked: NewKey) -> None:
    try:
        check_name(asked.name)
    except ValueError as error:
        raise rejected_field("name", f"Invalid 'name': expected {error}.") from None
    try:
        if asked.expires_in is not None:
            check_expiry(asked.expires_in)
    except ValueError as error:
        raise rejected_field("expires_in", f"Invalid 'expires_in': expected {error}.") from None


def _key_id(exchange: Exchange) -> str:
    path = exchange.head.target.partition(b"?")[0]
    return unquote_to_bytes(path.removeprefix(b"/api/auth/")).decode("utf-8", "replace")


def _object(desk: KeyDesk, record: KeyRecord) -> KeyObject:
    return KeyObject(
        id=record.key_id,
        name=record.name,
        prefix=record.prefix,
        created_at=record.created_at,
        expires_at=record.expires_at,
        last_used_at=desk.last_used(record),
        guardrails=shown(record.guardrails, record.own_providers),
    )


def _unknown() -> Rejected:
    return Rejected(404, "key_not_found", "There is no such key in this account.")


def _unsealed(error: SealError) -> Rejected:
    """501 where the server cannot do it at all, 503 where its operator has to mend something."""
    if isinstance(error, VaultMissing):
        message = f"This server cannot keep provider keys: {error}."
        return Rejected(501, "provider_keys_unavailable", message, param="providerKeys")
    log.error("a provider key cannot be sealed: %s", error)
    message = "This server cannot keep provider keys now; its operator finds the reason in the log."
    return Rejected(503, "provider_keys_unavailable", message, param="providerKeys")
