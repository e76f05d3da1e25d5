"""Keys are spelled from entropy, found by digest, and never print."""

import copy
import hashlib
import logging
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.keys import (
    Account,
    KeyRecord,
    Secret,
    check_expiry,
    check_name,
    digest,
    format_key,
    key_id,
    prefix,
)

CANARY = "kr-canary-canary-canary-canary-canary"


@given(st.binary(min_size=24, max_size=64))
def test_a_key_is_url_safe_long_enough_and_says_its_entropy(entropy):
    key = format_key(entropy)
    assert re.fullmatch(r"kr-[A-Za-z0-9_-]{32,}", key)
    assert key == format_key(entropy)
    assert key != format_key(bytes([entropy[0] ^ 1]) + entropy[1:])


def test_a_key_of_23_bytes_is_refused_and_of_24_is_not():
    with pytest.raises(ValueError, match="24 random bytes, not 23"):
        format_key(bytes(23))
    assert len(format_key(bytes(24))) == len("kr-") + 32


def test_identifiers_are_public_and_unlike_keys():
    assert key_id(bytes(range(12))) == "key_000102030405060708090a0b"
    with pytest.raises(ValueError, match="8 random bytes, not 7"):
        key_id(bytes(7))


def test_the_digest_is_sha_256():
    assert digest(b"kr-x") == hashlib.sha256(b"kr-x").digest()


def test_a_listing_shows_five_characters():
    assert prefix(CANARY) == "kr-canar"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, "{0!r:>5}".format])
def test_a_secret_never_prints(show):
    assert "***" in show(Secret(CANARY))
    assert "canary" not in show(Secret(CANARY))


def test_a_secret_in_a_container_a_log_line_and_an_error_does_not_print(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("kproxy.test").warning("%s %r", [Secret(CANARY)], {"k": Secret(CANARY)})
    assert "***" in caplog.text
    assert "canary" not in caplog.text + repr(ValueError(Secret(CANARY)))


def test_a_secret_is_revealed_on_purpose_only_and_not_pickled():
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert secret != CANARY
    assert len({secret, Secret(CANARY)}) == 1
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(secret)


def test_a_record_prints_without_its_digest():
    account = Account("acct_1", "acme", "team", 1)
    record = KeyRecord(account, "key_1", digest(CANARY.encode()), "first", prefix(CANARY), 1)
    assert "digest" not in repr(record)
    assert "acme" in repr(record)


def test_a_record_prints_without_its_provider_keys_and_names_their_providers():
    account = Account("acct_1", "acme", "team", 1)
    record = KeyRecord(
        account,
        "key_1",
        digest(b"a"),
        "first",
        "kr-",
        1,
        provider_keys={"openai": Secret(CANARY)},
        locked=frozenset({"groq"}),
    )
    assert "canary" not in repr(record)
    assert record.own_providers == {"openai", "groq"}


@pytest.mark.parametrize("name", ["a", "a" * 200, "Ключ №1", "x'; DROP TABLE api_key; --"])
def test_names(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2J", "a" * 201, "\ud800"])
def test_a_name_that_is_not_for_people_is_refused(name):
    with pytest.raises(ValueError, match=r"^1 to 200 printable characters$"):
        check_name(name)


def test_a_key_lives_from_a_second_to_a_century():
    century = 100 * 366 * 86_400
    check_expiry(1)
    check_expiry(century)
    for seconds in (0, -1, century + 1):
        with pytest.raises(ValueError, match=f"^1 to {century} seconds$"):
            check_expiry(seconds)
