"""Accounts and keys on real files, in one process and in two."""

import re
import sqlite3
import subprocess
import sys
from functools import partial

import pytest

from kproxy.admission.keys import digest
from kproxy.admission.tiers import TIERS
from kproxy.store.database import StoreError
from kproxy.store.keystore import open_keystore

NOW = 1_800_000_000.75


@pytest.fixture
def store(tmp_path):
    found = open_keystore(tmp_path)
    yield found
    found.close()


def found(store, secret):
    return store.lookup(digest(secret.encode()))


def test_a_created_key_is_found_by_its_digest_at_once(store):
    account = store.create_account("acme", "team", NOW)
    assert found(store, "kr-unknown") is None
    record, secret = store.create_key("acme", "production", 60, NOW)
    assert re.fullmatch(r"kr-[A-Za-z0-9_-]{43}", secret)
    assert re.fullmatch(r"key_[0-9a-f]{24}", record.key_id)
    assert (record.created_at, record.expires_at) == (1_800_000_000, 1_800_000_060)
    assert (record.account, record.name, record.revoked) == (account, "production", False)
    assert secret.startswith(record.prefix)
    assert found(store, secret) == record
    assert "1 keys" in repr(store)


def test_a_key_without_expiry_never_expires(store):
    store.create_account("acme", "team", NOW)
    assert store.create_key("acme", "k", None, NOW)[0].expires_at is None


def test_a_revoked_key_is_gone_on_the_next_lookup_and_listed_as_revoked(store):
    store.create_account("acme", "team", NOW)
    record, secret = store.create_key("acme", "one", None, NOW)
    _, other = store.create_key("acme", "two", None, NOW)
    assert found(store, secret) is not None
    assert store.revoke(record.key_id) is True
    assert found(store, secret) is None
    assert found(store, other) is not None
    assert {entry.name: entry.revoked for entry in store.list()} == {"one": True, "two": False}


def test_what_is_not_in_force_cannot_be_revoked(store):
    store.create_account("acme", "team", NOW)
    record, _ = store.create_key("acme", "one", None, NOW)
    assert store.revoke("key_unknown") is False
    assert store.revoke(record.key_id) is True
    assert store.revoke(record.key_id) is False


def test_listings_are_in_order_and_by_account(store):
    for position, name in enumerate(("acme", "beta")):
        store.create_account(name, "free", NOW + position)
        store.create_key(name, f"{name} key", None, NOW + position)
    assert [account.name for account in store.accounts()] == ["acme", "beta"]
    assert [record.name for record in store.list()] == ["acme key", "beta key"]
    assert [record.name for record in store.list("beta")] == ["beta key"]
    assert store.list("nobody") == []
    assert store.account("beta").tier == "free"
    assert store.account("nobody") is None


@pytest.mark.parametrize("tier", list(TIERS))
def test_every_tier_can_be_given(store, tier):
    assert store.create_account("acme", tier, NOW).tier == tier


def test_an_account_is_created_once(store):
    store.create_account("acme", "team", NOW)
    with pytest.raises(StoreError, match="'acme' exists already"):
        store.create_account("acme", "team", NOW)
    assert len(store.accounts()) == 1


def test_what_cannot_be_a_tier_is_refused(store):
    store.create_account("acme", "lab", NOW)
    create, change = partial(store.create_account, "beta"), partial(store.set_tier, "acme")
    for refused in (partial(create, "A b", NOW), partial(change, "")):
        with pytest.raises(StoreError, match="is no tier: a tier's name is"):
            refused()
    assert store.tiers() == {"lab": 1}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2J", "a" * 201, "\ud800"])
def test_a_name_that_is_not_for_people_is_refused(store, name):
    store.create_account("acme", "team", NOW)
    with pytest.raises(StoreError, match="not a name for an account"):
        store.create_account(name, "team", NOW)
    with pytest.raises(StoreError, match="not a name for a key"):
        store.create_key("acme", name, None, NOW)
    assert store.list() == []


def test_a_name_is_data_and_never_sql(store):
    name = "x'); DROP TABLE api_key; --"
    store.create_account(name, "team", NOW)
    store.create_key(name, name, None, NOW)
    assert [record.account.name for record in store.list(name)] == [name]
    assert store.list("' OR ''='") == []
    assert store.revoke("' OR ''='") is False


@pytest.mark.parametrize("seconds", [0, -1, 100 * 366 * 86_400 + 1])
def test_an_expiry_out_of_range_is_refused(store, seconds):
    store.create_account("acme", "team", NOW)
    with pytest.raises(StoreError, match="expires after 1 to"):
        store.create_key("acme", "k", seconds, NOW)


def test_a_key_needs_its_account(store):
    with pytest.raises(StoreError, match="no account 'acme'"):
        store.create_key("acme", "k", None, NOW)


def test_the_first_key_is_made_once_and_has_no_limits(store):
    record, secret = store.first_key(NOW)
    assert (record.account.name, record.account.tier) == ("default", "unlimited")
    assert record.name == "first key"
    assert found(store, secret) == record
    assert store.first_key(NOW) is None


def test_there_is_no_first_key_where_an_account_is(store):
    store.create_account("acme", "free", NOW)
    assert store.first_key(NOW) is None
    assert store.list() == []


def test_no_secret_is_in_any_file_of_the_data_directory(tmp_path, store):
    _, secret = store.first_key(NOW)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert digest(secret.encode()) in stored
    assert secret.encode() not in stored
    assert secret[3:].encode() not in stored
    assert secret not in repr(store.list())


def test_lookups_read_memory_until_something_changes(store):
    store.create_account("acme", "team", NOW)
    _, secret = store.create_key("acme", "k", None, NOW)
    found(store, secret)
    queries = []
    store._database._connection.set_trace_callback(queries.append)
    for _ in range(10):
        assert found(store, secret) is not None
    assert queries == []
    assert found(store, "kr-unknown") is None
    assert len(queries) == 1, "a key that nobody has is looked for by its digest alone"
    store.create_key("acme", "other", None, NOW)
    queries.clear()
    found(store, secret)
    found(store, secret)
    assert len(queries) == 1


def test_keys_have_the_tier_that_is_stored_whoever_has_stored_it(tmp_path, store):
    for name in ("acme", "beta", "gamma"):
        store.create_account(name, "team", NOW)
    _, secret = store.create_key("acme", "k", None, NOW)
    raw = sqlite3.connect(tmp_path / "kproxy.db")
    raw.execute("UPDATE account SET tier = 'Of a newer kproxy' WHERE name = 'acme'")
    raw.commit()
    raw.close()
    assert found(store, secret).account.tier == "Of a newer kproxy"
    assert [record.account.tier for record in store.list("acme")] == ["Of a newer kproxy"]
    assert store.tiers() == {"Of a newer kproxy": 1, "team": 2}


def test_a_store_that_cannot_be_read_lets_nobody_in_on_an_old_copy(store):
    _, secret = store.first_key(NOW)
    assert found(store, secret) is not None
    store._generation.bump()
    store._database.close()
    for _ in range(2):
        with pytest.raises(StoreError):
            found(store, secret)


def test_a_directory_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "kproxy.generation").mkdir()
    with pytest.raises(StoreError, match=r"kproxy\.generation: Is a directory"):
        open_keystore(tmp_path)


_FIRST = """
import sys
from pathlib import Path
from kproxy.store.keystore import open_keystore
sys.stdout.write("r"); sys.stdout.flush()
sys.stdin.read(1)
created = open_keystore(Path(sys.argv[1])).first_key(1.0)
print("" if created is None else created[1])
"""

_CHANGE = """
import sys
from pathlib import Path
from kproxy.store.keystore import open_keystore
store = open_keystore(Path(sys.argv[1]))
for line in sys.stdin:
    if line.strip() == "create":
        print(store.create_key("default", "other", None, 1.0)[1], flush=True)
    else:
        print(store.revoke(line.strip()), flush=True)
"""


def test_of_processes_that_start_together_one_prints_the_first_key(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _FIRST, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout.read(1) == "r"
    printed = []
    for process in started:
        process.stdin.write("g")
        process.stdin.flush()
    for process in started:
        printed.append(process.communicate()[0].strip())
        assert process.returncode == 0
    assert len(list(filter(None, printed))) == 1
    store = open_keystore(tmp_path / "data")
    assert found(store, max(printed)) is not None
    assert len(store.accounts()) == 1
    store.close()


def test_what_another_process_changes_holds_on_the_very_next_lookup(tmp_path, store):
    record, secret = store.first_key(NOW)
    with subprocess.Popen(
        [sys.executable, "-c", _CHANGE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:

        def ask(line):
            other.stdin.write(f"{line}\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        assert found(store, secret) is not None
        created = ask("create")
        assert found(store, created).name == "other"
        assert ask(record.key_id) == "True"
        assert found(store, secret) is None
        assert found(store, created) is not None
        other.stdin.close()
    assert other.returncode == 0
