"""Accounts and keys: rows in the database in, values of `admission.keys` out.

Reads on the request path come from memory (`lookup`); the rest is for start, commands and the key
endpoints, and blocks for as long as SQLite does. Keys themselves pass through here once, on
creation, and are kept as digests only. Every value reaches SQL as a parameter.
"""

import secrets
from pathlib import Path

from kproxy.admission.keys import Account, KeyRecord, digest, format_key, key_id, prefix
from kproxy.admission.tiers import TIERS
from kproxy.store.database import FILE_NAME, Database, Row, StoreError, open_database
from kproxy.store.generation import Generation

__all__ = ["FIRST_ACCOUNT", "KeyStore", "open_keystore"]

FIRST_ACCOUNT = "default"
_FIRST_KEY = "first key"
# Whoever starts kproxy on their own machine is its operator: a limit of ours would only be in the
# way of their trial, and the listener is on loopback until they say otherwise.
_FIRST_TIER = "unlimited"

_KEY_ENTROPY = 32  # bytes: 256 bits, 43 characters
_ID_ENTROPY = 12  # bytes: 96 bits, no two alike by chance
_NAME_LIMIT = 200  # characters: a name is for people
_EXPIRY_LIMIT = 100 * 366 * 86_400  # seconds: a century; more is a mistake of unit

_ACCOUNT = "SELECT id, name, tier, created_at FROM account"
_RECORD = (
    "SELECT a.id, a.name, a.tier, a.created_at,"
    " k.id, k.digest, k.name, k.prefix, k.created_at, k.expires_at, k.revoked"
    " FROM api_key AS k JOIN account AS a ON a.id = k.account_id"
)


class KeyStore:
    """Accounts and keys of one data directory. Raises StoreError for everything it refuses.

    Owns neither argument: whoever opened them closes them, or `close()` does both at once.
    """

    def __init__(self, database: Database, generation: Generation) -> None:
        self._database = database
        self._generation = generation
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
        """A new account. `now` is Unix seconds. Refuses a name that exists and an unknown tier."""
        with self._database.transaction():
            account = self._insert_account(name, tier, now)
        self._generation.bump()
        return account

    def accounts(self) -> list[Account]:
        """Every account, oldest first."""
        rows = self._database.query(f"{_ACCOUNT} ORDER BY created_at, name")
        return [_account(row) for row in rows]

    def account(self, name: str) -> Account | None:
        """The account of that name, or None."""
        rows = self._database.query(f"{_ACCOUNT} WHERE name = ?", (name,))
        return _account(rows[0]) if rows else None

    def create_key(
        self, account_name: str, key_name: str, expires_in: int | None, now: float
    ) -> tuple[KeyRecord, str]:
        """A new key and its secret, which is nowhere else from then on.

        `expires_in` is whole seconds from `now` (Unix seconds), None for never.
        """
        with self._database.transaction():
            account = self.account(account_name)
            if account is None:
                raise StoreError(f"there is no account {account_name!r}")
            created = self._insert_key(account, key_name, expires_in, now)
        self._generation.bump()
        return created

    def revoke(self, key_id: str) -> bool:
        """Revoke a key for every process's next request. False: no such key in force."""
        changed = self._database.execute(
            "UPDATE api_key SET revoked = 1 WHERE id = ? AND revoked = 0", (key_id,)
        )
        if changed:
            self._generation.bump()
        return bool(changed)

    def list(self, account_name: str | None = None) -> list[KeyRecord]:
        """Every key, the revoked ones too, oldest first; of one account if it is named."""
        order = "ORDER BY k.created_at, k.id"
        if account_name is None:
            rows = self._database.query(f"{_RECORD} {order}")
        else:
            rows = self._database.query(f"{_RECORD} WHERE a.name = ? {order}", (account_name,))
        return [_record(row) for row in rows]

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
        sql = f"{_RECORD} WHERE k.digest = ? AND k.revoked = 0"
        for record in map(_record, self._database.query(sql, (digest,))):
            # A tier that a newer kproxy has written is unknown here: a 401, not a guess.
            if record.account.tier in TIERS:
                return record
        return None

    def _insert_account(self, name: str, tier: str, now: float) -> Account:
        _check_name("an account", name)
        if tier not in TIERS:
            raise StoreError(f"unknown tier {tier!r}: there are {', '.join(TIERS)}")
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
        if expires_in is not None and not 0 < expires_in <= _EXPIRY_LIMIT:
            raise StoreError(f"a key expires after 1 to {_EXPIRY_LIMIT} seconds, not {expires_in}")
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


def open_keystore(directory: Path, *, make: bool = True) -> KeyStore:
    """The keys of a data directory; the caller closes it. Raises StoreError.

    It is made as needed, or refused where `make` is False: a mistyped path is no empty store.
    """
    if not make and not (directory / FILE_NAME).exists():
        raise StoreError(f"there is no key store in {directory}")
    database = open_database(directory)
    try:
        generation = Generation(directory)
    except StoreError:
        database.close()
        raise
    return KeyStore(database, generation)


def _check_name(what: str, name: str) -> None:
    # Names stand in listings and logs: no line breaks, no terminal sequences (reliability.md R10),
    # and no lone surrogates, which SQLite cannot store.
    if not name.strip() or len(name) > _NAME_LIMIT or not name.isprintable():
        raise StoreError(f"not a name for {what}: 1 to {_NAME_LIMIT} printable characters")


def _account(row: Row) -> Account:
    identifier, name, tier, created_at = row
    return Account(str(identifier), str(name), str(tier), _whole(created_at))


def _record(row: Row) -> KeyRecord:
    identifier, found, name, shown, created_at, expires_at, revoked = row[4:]
    if not isinstance(found, bytes):
        raise StoreError(f"the key {identifier!r} has no digest")
    return KeyRecord(
        account=_account(row[:4]),
        key_id=str(identifier),
        digest=found,
        name=str(name),
        prefix=str(shown),
        created_at=_whole(created_at),
        expires_at=None if expires_at is None else _whole(expires_at),
        revoked=bool(revoked),
    )


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise StoreError(f"the store holds {value!r} where a time belongs")
    return value
