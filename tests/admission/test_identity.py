"""Every way of presenting a key, and every way of being refused."""

import dataclasses
import hmac

import pytest

from kproxy.admission import identity
from kproxy.admission.guardrails import Guardrails
from kproxy.admission.identity import bearer, identify
from kproxy.admission.keys import Account, KeyRecord, Secret, digest
from kproxy.admission.tiers import TIERS, own_tier
from kproxy.errors import Rejected

KEY = b"kr-" + b"a" * 43
NOW = 1_800_000_000.0


def record(*, tier="team", expires_at=None, revoked=False, key=KEY):
    account = Account("acct_1", "acme", tier, 1)
    return KeyRecord(account, "key_1", digest(key), "first", "kr-aaaaa", 1, expires_at, revoked)


def refused(presented, *records):
    with pytest.raises(Rejected) as caught:
        identify(presented, {entry.digest: entry for entry in records}.get, TIERS, NOW)
    return caught.value


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"authorization", b"Bearer kr-1")], b"kr-1"),
        ([(b"authorization", b"bearer kr-1")], b"kr-1"),
        ([(b"authorization", b"BEARER   kr-1")], b"kr-1"),
        ([(b"x-api-key", b"kr-1")], b"kr-1"),
        ([(b"api-key", b"kr-1")], b"kr-1"),
        ([(b"host", b"h"), (b"x-api-key", b"kr-2"), (b"authorization", b"Bearer kr-1")], b"kr-1"),
        ([(b"api-key", b"kr-2"), (b"x-api-key", b"kr-1")], b"kr-1"),
        ([(b"authorization", b"Basic abc"), (b"api-key", b"kr-1")], b"kr-1"),
        ([(b"authorization", b"Bearer "), (b"api-key", b"kr-1")], b"kr-1"),
        ([(b"authorization", b"Bearer kr-1"), (b"authorization", b"Bearer kr-2")], b"kr-1"),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearerkr-1")], None),
        ([(b"authorization", b"")], None),
        ([(b"x-api-key", b"")], None),
        ([(b"cookie", b"kr-1")], None),
        ([], None),
    ],
)
def test_where_a_key_is_read_from(headers, expected):
    assert bearer(headers) == expected


@pytest.mark.parametrize("tier", list(TIERS))
def test_a_good_key_names_its_caller(tier):
    entry = record(tier=tier, expires_at=int(NOW) + 1)
    caller = identify(KEY, {entry.digest: entry}.get, TIERS, NOW)
    assert caller.account is entry.account
    assert caller.key_id == "key_1"
    assert caller.tier is TIERS[tier]
    assert caller.paid is (tier != "free")


def test_what_limits_a_key_comes_with_its_caller():
    guardrails = Guardrails(max_cost=5)
    entry = dataclasses.replace(
        record(),
        guardrails=guardrails,
        provider_keys={"openai": Secret("sk-canary")},
        locked=frozenset({"groq"}),
    )
    caller = identify(KEY, {entry.digest: entry}.get, TIERS, NOW)
    assert caller.guardrails is guardrails
    assert caller.provider_keys["openai"].reveal() == "sk-canary"
    assert caller.locked == {"groq"}
    assert "canary" not in repr(caller)
    plain = record()
    caller = identify(KEY, {plain.digest: plain}.get, TIERS, NOW)
    assert (caller.guardrails, dict(caller.provider_keys)) == (Guardrails(), {})


def test_the_tiers_are_those_it_is_given():
    entry = record(tier="enterprise")
    ours = {"enterprise": dataclasses.replace(TIERS["enterprise"], paid=False)}
    caller = identify(KEY, {entry.digest: entry}.get, ours, NOW)
    assert caller.tier is ours["enterprise"]
    assert caller.paid is False


def test_a_tier_that_is_not_configured_is_told_to_who_holds_the_key():
    entry = record(tier="lab")
    with pytest.raises(Rejected) as caught:
        identify(KEY, {entry.digest: entry}.get, TIERS, NOW)
    assert (caught.value.status, caught.value.code) == (403, "tier_not_configured")
    assert "'lab', is not configured on this server" in caught.value.message
    assert caught.value.headers == (), "another key would not do"
    ours = {**TIERS, "lab": own_tier("lab")}
    assert identify(KEY, {entry.digest: entry}.get, ours, NOW).tier is ours["lab"]


def test_a_caller_cannot_be_changed():
    entry = record()
    caller = identify(KEY, {entry.digest: entry}.get, TIERS, NOW)
    with pytest.raises(AttributeError):
        caller.paid = True


@pytest.mark.parametrize(
    ("presented", "entry", "message"),
    [
        (None, record(), "No API key provided"),
        (b"sk-" + b"a" * 43, record(), "start with 'kr-'"),
        (b"", record(), "start with 'kr-'"),
        (b"kr-" + b"a" * 510, record(), "too long"),
        (b"kr-" + b"b" * 43, record(), "Incorrect API key provided."),
        (KEY + b"a", record(), "Incorrect API key provided."),
        (KEY[:-1], record(), "Incorrect API key provided."),
        (b"kr-\xff\x00", record(), "Incorrect API key provided."),
        (KEY, record(expires_at=int(NOW)), "expired"),
        (KEY, record(revoked=True), "revoked"),
    ],
)
def test_every_refusal_is_the_401_of_the_contract(presented, entry, message):
    rejected = refused(presented, entry)
    assert (rejected.status, rejected.code) == (401, "invalid_api_key")
    assert message in rejected.message
    assert dict(rejected.headers)[b"www-authenticate"].startswith(b"Bearer")
    # No refusal says back what was sent.
    if presented:
        assert presented.decode("latin-1") not in repr(rejected)


def test_every_refusal_of_a_presented_key_says_what_clients_match_on():
    for presented in (b"x", KEY):
        assert refused(presented).message.startswith("Incorrect API key provided")


def test_a_key_expires_at_its_second_and_not_before():
    entry = record(expires_at=int(NOW))
    assert identify(KEY, {entry.digest: entry}.get, TIERS, NOW - 0.001).key_id == "key_1"
    with pytest.raises(Rejected, match="expired"):
        identify(KEY, {entry.digest: entry}.get, TIERS, NOW)


def test_a_lookup_that_matches_loosely_does_not_let_anyone_in(monkeypatch):
    compared = []
    compare = hmac.compare_digest

    def watched(left, right):
        compared.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(identity.hmac, "compare_digest", watched)
    stranger = record(key=b"kr-somebody-else")
    with pytest.raises(Rejected):
        identify(KEY, lambda _: stranger, TIERS, NOW)
    assert compared == [(stranger.digest, digest(KEY))]
