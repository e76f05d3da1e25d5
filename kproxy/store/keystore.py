"""Accounts and keys: rows in the database in, values of `admission.keys` out.

Reads on the request path come from memory (`lookup`); the rest is for start, commands and the key
endpoints, and blocks for as long as SQLite does. Keys themselves pass through here once, on
creation, and are kept as digests only. Every value reaches SQL as a parameter.
"""

import dataclasses
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from kproxy.admission.keys import (
    Account,
    KeyRecord,
    check_expiry,
    check_name,
    digest,
    format_key,
    key_id,
    prefix,
)
from kproxy.admission.patch import Change
from kproxy.admission.tiers import check_tier_name
from kproxy.store.database import FILE_NAME, Database, StoreError, open_database
from kproxy.store.generation import Generation
from kproxy.store.records import (
    ACCOUNT,
    RECORD,
    Stored,
    encode_guardrails,
    encode_sealed,
    sealed_keys,
    to_account,
    to_record,
    to_stored,
)
from kproxy.store.vault import SealError, Vault

__all__ = ["FIRST_ACCOUNT", "KeyStore", "TooManyKeys", "open_keystore"]

FIRST_ACCOUNT = "default"
_FIRST_KEY = "first key"
# Whoever starts kproxy on their own machine is its operator: a limit of ours would only be in the
# way of their trial, and the listener is on loopback until they say otherwise.
_FIRST_TIER = "unlimited"

_KEY_ENTROPY = 32  # bytes: 256 bits, 43 characters
_ID_ENTROPY = 12  # bytes: 96 bits, no two alike by chance

log = logging.getLogger("kproxy.keystore")


class TooManyKeys(StoreError):
    """The account has as many keys as it may."""


class KeyStore:
    """Accounts and keys of one data directory. Raises StoreError for everything it refuses.

    Owns no argument: whoever opened them closes them, or `close()` does both at once. `vault`
    opens and seals the callers' own provider keys; without it that is the data directory's own.
    """

    def __init__(
        self, database: Database, generation: Generation, vault: Vault | None = None
    ) -> None:
        self._database = database
        self._generation = generation
        self._vault = vault or Vault(database.path.parent)
        self._keys: dict[bytes, KeyRecord] = {}
        self._seen: int | None = None  # the generation that `_keys` belongs to

    def __repr__(self) -> str:
        return f"<KeyStore {self._database.path} {len(self._keys)} keys>"

    def lookup(self, digest: bytes) -> KeyRecord | None:
        """The key of this digest that is not revoked, or None. It may have expired.

        From memory, unless some process has changed the keys since the last call. A store that
        cannot be read then raises StoreError: an old copy might let a revoked key in.
        """
        generation = self._generation.current()
        if generation != self._seen:
            # The number is read before any row: what changes meanwhile is read next time. Keys come
            # back one by one as they are used, since reading them all would hold every stream.
            self._keys.clear()
            self._seen = generation
        record = self._keys.get(digest)
        if record is None and (record := self._live(digest)) is not None:
            self._keys[digest] = record
        return record

    def create_account(self, name: str, tier: str, now: float) -> Account:
        """A new account. `now` is Unix seconds. Refuses a name that exists.

        Which tiers there are is the configuration's to say: whoever asks has looked.
        """
        with self._database.transaction():
            account = self._insert_account(name, tier, now)
        self._generation.bump()
        return account

    def accounts(self) -> list[Account]:
        """Every account, oldest first."""
        rows = self._database.query(f"{ACCOUNT} ORDER BY created_at, name")
        return [to_account(row) for row in rows]

    def account(self, name: str) -> Account | None:
        """The account of that name, or None."""
        rows = self._database.query(f"{ACCOUNT} WHERE name = ?", (name,))
        return to_account(rows[0]) if rows else None

    def tiers(self) -> dict[str, int]:
        """How many accounts have each tier, those without any key too."""
        sql = "SELECT tier, count(*) FROM account GROUP BY tier ORDER BY tier"
        return {str(tier): int(str(count)) for tier, count in self._database.query(sql)}

    def set_tier(self, name: str, tier: str) -> Account | None:
        """Give an account another tier, for every process's next request. None: no such account."""
        _check_tier(tier)
        changed = self._database.execute("UPDATE account SET tier = ? WHERE name = ?", (tier, name))
        if not changed:
            return None
        self._generation.bump()
        return self.account(name)

    def create_key(
        self,
        account_name: str,
        key_name: str,
        expires_in: int | None,
        now: float,
        *,
        most: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key and its secret, which is nowhere else from then on.

        `expires_in` is whole seconds from `now` (Unix seconds), None for never. Raises TooManyKeys
        where the account has `most` keys that are not revoked.
        """
        with self._database.transaction():
            account = self.account(account_name)
            if account is None:
                raise StoreError(f"there is no account {account_name!r}")
            if most is not None and self._count(account) >= most:
                raise TooManyKeys(f"an account has at most {most} keys")
            created = self._insert_key(account, key_name, expires_in, now)
        self._generation.bump()
        return created

    def revoke(self, key_id: str, account_id: str | None = None) -> bool:
        """Revoke a key for every process's next request, and forget its provider keys.

        False: no such key in force, or it is not of this account where one is named.
        """
        sql = "UPDATE api_key SET revoked = 1, provider_keys = NULL WHERE id = ? AND revoked = 0"
        if account_id is None:
            changed = self._database.execute(sql, (key_id,))
        else:
            changed = self._database.execute(f"{sql} AND account_id = ?", (key_id, account_id))
        # Also where nothing changed: an earlier try may have failed between the two.
        self._generation.bump()
        return bool(changed)

    def change(
        self, key_id: str, account_id: str, change: Change, *, write: bool = True
    ) -> KeyRecord | None:
        """Change a key's guardrails and provider keys for every process's next request.

        The key afterwards, its provider keys locked; None: no such key of this account in force.
        Raises SealError, and has changed nothing then, where a provider key cannot be sealed.
        Without `write` all is as with it, and nothing is changed.
        """
        where = "WHERE k.id = ? AND k.account_id = ? AND k.revoked = 0"
        with self._database.transaction():
            rows = self._database.query(f"{RECORD} {where}", (key_id, account_id))
            if not rows:
                return None
            stored = to_stored(rows[0])
            guardrails = change.applied(stored.record.guardrails)
            sealed = self._resealed(stored, change)
            if write:
                self._database.execute(
                    "UPDATE api_key SET guardrails = ?, provider_keys = ? WHERE id = ?",
                    (encode_guardrails(guardrails), encode_sealed(sealed), key_id),
                )
        if write:
            self._generation.bump()
        return dataclasses.replace(stored.record, guardrails=guardrails, locked=frozenset(sealed))

    def write_last_use(self, used: Mapping[str, int]) -> None:
        """Note when keys were used: id to Unix seconds. What is stored only ever gets later.

        Nothing on the request path depends on it, so no process reads its keys again.
        """
        sql = (
            "UPDATE api_key SET last_used_at = ?1 WHERE id = ?2 AND coalesce(last_used_at, 0) < ?1"
        )
        with self._database.transaction():
            for key_id, seconds in used.items():
                self._database.execute(sql, (seconds, key_id))

    def seal_problem(self) -> str | None:
        """Why provider keys that are stored cannot be opened, in one line; None: all can."""
        problem, locked = "", 0
        sql = "SELECT id, provider_keys FROM api_key WHERE provider_keys NOT NULL AND revoked = 0"
        for identifier, column in self._database.query(sql):
            for provider, sealed in sealed_keys(identifier, column).items():
                try:
                    self._vault.open(str(identifier), provider, sealed)
                except SealError as error:
                    problem, locked = str(error), locked + 1
        return f"own provider keys cannot be opened ({locked}): {problem}" if locked else None

    def list(self, account_name: str | None = None) -> list[KeyRecord]:
        """Every key, the revoked ones too, oldest first; of one account if it is named."""
        order = "ORDER BY k.created_at, k.id"
        if account_name is None:
            rows = self._database.query(f"{RECORD} {order}")
        else:
            rows = self._database.query(f"{RECORD} WHERE a.name = ? {order}", (account_name,))
        return [to_record(row) for row in rows]

    def in_force(self, account_id: str) -> tuple[KeyRecord, ...]:
        """The keys of an account that are not revoked, oldest first; some may have expired."""
        where = "WHERE k.account_id = ? AND k.revoked = 0 ORDER BY k.created_at, k.id"
        rows = self._database.query(f"{RECORD} {where}", (account_id,))
        return tuple(to_record(row) for row in rows)

    def first_key(self, now: float) -> tuple[KeyRecord, str] | None:
        """On a store without any account: the first account and its key. Otherwise None.

        Of several processes that start together exactly one gets the key to print.
        """
        with self._database.transaction():
            if self._database.query("SELECT 1 FROM account LIMIT 1"):
                return None
            account = self._insert_account(FIRST_ACCOUNT, _FIRST_TIER, now)
            created = self._insert_key(account, _FIRST_KEY, None, now)
        self._generation.bump()
        return created

    def close(self) -> None:
        """Close the database and the counter."""
        self._generation.close()
        self._database.close()

    def _live(self, digest: bytes) -> KeyRecord | None:
        sql = f"{RECORD} WHERE k.digest = ? AND k.revoked = 0"
        for stored in map(to_stored, self._database.query(sql, (digest,))):
            return self._unlocked(stored) if stored.sealed else stored.record
        return None

    def _unlocked(self, stored: Stored) -> KeyRecord:
        """The record with those provider keys that can be opened; the others are told of."""
        record, opened = stored.record, {}
        for provider, sealed in stored.sealed.items():
            try:
                opened[provider] = self._vault.open(record.key_id, provider, sealed)
            except SealError as error:
                log.warning("%s cannot use its own key for %s: %s", record.key_id, provider, error)
        locked = record.locked.difference(opened)
        return dataclasses.replace(record, provider_keys=MappingProxyType(opened), locked=locked)

    def _resealed(self, stored: Stored, change: Change) -> Mapping[str, bytes]:
        """The provider keys of a key after a change, inside its transaction."""
        if not change.touches_keys:
            return stored.sealed
        first = not self._database.query(
            "SELECT 1 FROM api_key WHERE provider_keys NOT NULL LIMIT 1"
        )
        sealed = {} if change.clear_keys else dict(stored.sealed)
        key_id = stored.record.key_id
        for provider, value in change.provider_keys.items():
            sealed.pop(provider, None)
            if value is not None:
                sealed[provider] = self._vault.seal(key_id, provider, value, first=first)
        return sealed

    def _count(self, account: Account) -> int:
        sql = "SELECT 1 FROM api_key WHERE account_id = ? AND revoked = 0"
        return len(self._database.query(sql, (account.id,)))

    def _insert_account(self, name: str, tier: str, now: float) -> Account:
        _check_name("an account", name)
        _check_tier(tier)
        if self.account(name) is not None:
            raise StoreError(f"the account {name!r} exists already")
        account = Account(f"acct_{secrets.token_hex(_ID_ENTROPY)}", name, tier, int(now))
        self._database.execute(
            "INSERT INTO account (id, name, tier, created_at) VALUES (?, ?, ?, ?)",
            (account.id, account.name, account.tier, account.created_at),
        )
        return account

    def _insert_key(
        self, account: Account, name: str, expires_in: int | None, now: float
    ) -> tuple[KeyRecord, str]:
        _check_name("a key", name)
        if expires_in is not None:
            _check_expiry(expires_in)
        secret = format_key(secrets.token_bytes(_KEY_ENTROPY))
        record = KeyRecord(
            account=account,
            key_id=key_id(secrets.token_bytes(_ID_ENTROPY)),
            digest=digest(secret.encode("ascii")),
            name=name,
            prefix=prefix(secret),
            created_at=int(now),
            expires_at=None if expires_in is None else int(now) + expires_in,
        )
        self._database.execute(
            "INSERT INTO api_key (id, account_id, digest, name, prefix, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                record.key_id,
                account.id,
                record.digest,
                record.name,
                record.prefix,
                record.created_at,
                record.expires_at,
            ),
        )
        return record, secret


def open_keystore(directory: Path, *, make: bool = True, vault: Vault | None = None) -> KeyStore:
    """The keys of a data directory; the caller closes it. Raises StoreError.

    It is made as needed, or refused where `make` is False: a mistyped path is no empty store.
    `vault` as in KeyStore.
    """
    if not make and not (directory / FILE_NAME).exists():
        raise StoreError(f"there is no key store in {directory}")
    database = open_database(directory)
    try:
        generation = Generation(directory)
    except StoreError:
        database.close()
        raise
    return KeyStore(database, generation, vault)


def _check_name(what: str, name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise StoreError(f"not a name for {what}: {error}") from error


def _check_expiry(seconds: int) -> None:
    try:
        check_expiry(seconds)
    except ValueError as error:
        raise StoreError(f"a key expires after {error}, not {seconds}") from error


def _check_tier(tier: str) -> None:
    try:
        check_tier_name(tier)
    except ValueError as error:
        raise StoreError(f"{tier!r} is no tier: {error}") from error
