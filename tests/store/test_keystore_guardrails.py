"""Guardrails, own provider keys, last use and tiers on real files."""

import base64
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails
from kproxy.admission.keys import KeyRecord, Secret
from kproxy.admission.patch import Change
from kproxy.store.database import StoreError, migrations, open_database
from kproxy.store.keystore import KeyStore, TooManyKeys, open_keystore
from kproxy.store.vault import SealError, Vault

NOW = 1_800_000_000.75
CANARY = "sk-canary-canary-canary"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = open_keystore(tmp_path)
    store.create_account("acme", "team", NOW)
    yield store
    store.close()


@pytest.fixture
def record(store: KeyStore) -> KeyRecord:
    return store.create_key("acme", "first", None, NOW)[0]


def found(store: KeyStore, record: KeyRecord) -> KeyRecord:
    found = store.lookup(record.digest)
    assert found is not None
    return found


def own(**keys: str | None) -> Change:
    return Change(provider_keys={slug: Secret(key) if key else None for slug, key in keys.items()})


def changed(store: KeyStore, record: KeyRecord, change: Change) -> KeyRecord:
    after = store.change(record.key_id, record.account.id, change)
    assert after is not None
    return after


# --- guardrails


def test_a_change_holds_on_the_very_next_lookup(store: KeyStore, record: KeyRecord) -> None:
    assert found(store, record).guardrails == NO_GUARDRAILS
    wanted = Guardrails(5, frozenset({"openai"}), frozenset({"groq"}), 0.5)
    after = changed(store, record, Change(5, wanted.allowed, wanted.excluded, 0.5))
    assert after.guardrails == found(store, record).guardrails == wanted
    assert store.list() == [after]
    assert changed(store, record, Change()).guardrails == wanted
    assert changed(store, record, Change(max_cost=None)).guardrails == msgspec.structs.replace(
        wanted, max_cost=None
    )


def test_a_change_can_be_tried(store: KeyStore, record: KeyRecord) -> None:
    before = found(store, record)
    after = store.change(record.key_id, record.account.id, Change(5), write=False)
    assert after is not None
    assert after.guardrails.max_cost == 5
    assert found(store, record) is before, "nobody reads anew"
    assert store.list() == [record]
    assert store.change("key_x", record.account.id, Change(5), write=False) is None


def test_only_a_key_of_the_account_that_is_in_force_is_changed(
    store: KeyStore, record: KeyRecord
) -> None:
    other = store.create_account("other", "team", NOW)
    change = Change(max_cost=1)
    assert store.change(record.key_id, other.id, change) is None
    assert store.change("key_unknown", record.account.id, change) is None
    assert store.change("' OR ''='", record.account.id, change) is None
    assert store.revoke(record.key_id, other.id) is False
    assert store.revoke(record.key_id, record.account.id) is True
    assert store.change(record.key_id, record.account.id, change) is None
    assert [entry.guardrails for entry in store.list()] == [NO_GUARDRAILS]


def test_guardrails_that_cannot_be_read_let_nobody_in(
    tmp_path: Path, store: KeyStore, record: KeyRecord
) -> None:
    other, _ = store.create_key("acme", "other", None, NOW)
    raw = sqlite3.connect(tmp_path / "kproxy.db")
    raw.execute("UPDATE api_key SET guardrails = '{\"new\": 1}' WHERE id = ?", (record.key_id,))
    raw.commit()
    raw.close()
    with pytest.raises(StoreError, match="guardrails"):
        store.lookup(record.digest)
    assert found(store, other) == other


# --- own provider keys


def test_provider_keys_open_in_memory_and_lie_sealed(
    tmp_path: Path, store: KeyStore, record: KeyRecord, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        after = changed(store, record, own(openai=CANARY, groq=CANARY + "-2"))
        opened = found(store, record)
    assert (after.locked, dict(after.provider_keys)) == ({"openai", "groq"}, {})
    assert opened.provider_keys == {"openai": Secret(CANARY), "groq": Secret(CANARY + "-2")}
    assert (opened.locked, opened.own_providers) == (frozenset(), {"openai", "groq"})
    assert store.seal_problem() is None
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode(), CANARY.encode().hex()):
        assert secret.encode() not in stored
    assert "canary" not in f"{opened!r} {store!r} {store._vault!r} {caplog.text}"


def test_provider_keys_are_merged_and_cleared(store: KeyStore, record: KeyRecord) -> None:
    changed(store, record, own(openai="k1", groq="k2"))
    assert changed(store, record, own(openai=None, xai="k3")).locked == {"groq", "xai"}
    assert found(store, record).provider_keys == {"groq": Secret("k2"), "xai": Secret("k3")}
    assert changed(store, record, Change(max_cost=1)).locked == {"groq", "xai"}
    assert changed(store, record, own(openai=None)).locked == {"groq", "xai"}
    assert changed(store, record, Change(clear_keys=True)).locked == frozenset()
    assert found(store, record).guardrails.max_cost == 1


def test_a_revoked_key_forgets_its_provider_keys(
    tmp_path: Path, store: KeyStore, record: KeyRecord
) -> None:
    changed(store, record, own(openai=CANARY))
    assert store.revoke(record.key_id)
    assert store.list()[0].own_providers == frozenset()


def test_a_wrong_seal_key_locks_provider_keys_and_nothing_else(
    tmp_path: Path, store: KeyStore, record: KeyRecord, caplog: pytest.LogCaptureFixture
) -> None:
    changed(store, record, own(openai=CANARY))
    other = open_keystore(tmp_path, vault=Vault(tmp_path, Secret("A" * 43 + "=")))
    (tmp_path / "kproxy.seal").unlink()
    seen = [found(other, record) for _ in range(3)]
    assert {entry.locked for entry in seen} == {frozenset({"openai"})}
    assert [dict(entry.provider_keys) for entry in seen] == [{}, {}, {}]
    assert caplog.text.count("cannot use its own key for openai") == 1, "once, not per request"
    assert "KPROXY_SEAL_KEY" in caplog.text
    assert other.seal_problem() == (
        "own provider keys cannot be opened (1): "
        "it was sealed with another key than that of KPROXY_SEAL_KEY"
    )
    # The caller's way out: name it anew, under the key that is there now.
    changed(other, record, own(openai=CANARY))
    assert found(other, record).provider_keys == {"openai": Secret(CANARY)}
    assert other.seal_problem() is None
    other.close()


def test_a_provider_key_that_cannot_be_sealed_changes_nothing(
    tmp_path: Path, store: KeyStore, record: KeyRecord
) -> None:
    changed(store, record, own(openai=CANARY))
    (tmp_path / "kproxy.seal").unlink()
    fresh = open_keystore(tmp_path)
    with pytest.raises(SealError, match="there is no seal key"):
        fresh.change(
            record.key_id,
            record.account.id,
            Change(max_cost=1, provider_keys={"groq": Secret(CANARY)}),
        )
    assert fresh.list()[0].guardrails == NO_GUARDRAILS
    assert fresh.list()[0].locked == {"openai"}
    fresh.close()


def test_a_provider_key_in_another_row_does_not_open(
    tmp_path: Path, store: KeyStore, record: KeyRecord
) -> None:
    """Whoever can write the database cannot give one caller another's provider key."""
    thief, _ = store.create_key("acme", "thief", None, NOW)
    changed(store, record, own(openai=CANARY))
    raw = sqlite3.connect(tmp_path / "kproxy.db")
    raw.execute("UPDATE api_key SET provider_keys = (SELECT max(provider_keys) FROM api_key)")
    raw.commit()
    raw.close()
    assert found(store, thief).locked == {"openai"}
    assert found(store, record).provider_keys == {"openai": Secret(CANARY)}


def test_opened_keys_come_from_memory(store: KeyStore, record: KeyRecord) -> None:
    changed(store, record, own(openai=CANARY))
    first = found(store, record)
    assert found(store, record) is first
    store.create_key("acme", "other", None, NOW)
    assert found(store, record) is not first


# --- last use, tiers, bounds


def test_last_use_only_gets_later_and_reloads_nobody(store: KeyStore, record: KeyRecord) -> None:
    first = found(store, record)
    for seconds, wanted in ((50, 50), (40, 50), (60, 60)):
        store.write_last_use({record.key_id: seconds, "key_unknown": 1})
        assert store.list()[0].last_used_at == wanted
    assert found(store, record) is first


def test_a_tier_holds_on_the_very_next_lookup(store: KeyStore, record: KeyRecord) -> None:
    assert found(store, record).account.tier == "team"
    account = store.set_tier("acme", "free")
    assert account == store.account("acme")
    assert found(store, record).account.tier == "free"
    assert store.set_tier("nobody", "free") is None
    with pytest.raises(StoreError, match="'Gold' is no tier: a tier's name is"):
        store.set_tier("acme", "Gold")
    assert found(store, record).account.tier == "free"


def test_an_account_has_no_more_keys_than_it_may(store: KeyStore, record: KeyRecord) -> None:
    store.create_account("other", "team", NOW)
    second, _ = store.create_key("acme", "second", None, NOW, most=2)
    with pytest.raises(TooManyKeys, match="at most 2 keys"):
        store.create_key("acme", "third", None, NOW, most=2)
    store.create_key("other", "its own", None, NOW, most=1)
    store.revoke(second.key_id)
    store.create_key("acme", "third", None, NOW, most=2)
    store.create_key("acme", "fourth", None, NOW)


def test_keys_in_force_are_the_accounts_own(store: KeyStore, record: KeyRecord) -> None:
    other = store.create_account("other", "team", NOW)
    store.create_key("other", "its own", None, NOW)
    gone, _ = store.create_key("acme", "gone", None, NOW)
    store.revoke(gone.key_id)
    later, _ = store.create_key("acme", "later", 1, NOW + 5)
    assert store.in_force(record.account.id) == (record, later)
    assert [entry.name for entry in store.in_force(other.id)] == ["its own"]
    assert store.in_force("acct_unknown") == ()


def test_a_store_from_before_guardrails_keeps_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kproxy.store import database

    known = migrations()
    monkeypatch.setattr(database, "migrations", lambda: known[:1])
    old = open_database(tmp_path / "old")
    old.execute("INSERT INTO account VALUES ('acct_1', 'acme', 'team', 5)")
    old.execute(
        "INSERT INTO api_key VALUES ('key_1', 'acct_1', ?, 'n', 'kr-abcde', 6, NULL, 0)",
        (bytes(32),),
    )
    old.close()
    monkeypatch.undo()
    store = open_keystore(tmp_path / "old")
    record = store.lookup(bytes(32))
    assert record is not None
    assert (record.key_id, record.guardrails, record.last_used_at) == ("key_1", NO_GUARDRAILS, None)
    store.close()


_CHANGE = """
import sys
from pathlib import Path
from kproxy.admission.keys import Secret
from kproxy.admission.patch import Change
from kproxy.store.keystore import open_keystore
store = open_keystore(Path(sys.argv[1]))
for line in sys.stdin:
    key_id, account_id, cost = line.split()
    change = Change(max_cost=int(cost), provider_keys={"openai": Secret("sk-" + cost)})
    print(store.change(key_id, account_id, change) is not None, flush=True)
"""


def test_another_processs_change_holds_on_the_very_next_lookup(
    tmp_path: Path, store: KeyStore, record: KeyRecord
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CHANGE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for cost in (1, 2):
            other.stdin.write(f"{record.key_id} {record.account.id} {cost}\n")
            other.stdin.flush()
            assert other.stdout.readline() == "True\n"
            now = found(store, record)
            assert now.guardrails.max_cost == cost
            assert now.provider_keys == {"openai": Secret(f"sk-{cost}")}
        other.stdin.close()
    assert other.returncode == 0
