"""`kproxy usage`: sums for people and for scripts, with what a server has not moved yet."""

import json

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy
from kproxy.outcome import Usage
from kproxy.store.journal import JournalParams, open_journal
from kproxy.store.keystore import open_keystore
from tests.fakes.receipts import NOON, attempt, receipt

DAY = 86_400


@pytest.fixture
def data(tmp_path):
    """Two accounts with a key each; the journal is open, as in a running server."""
    store = open_keystore(tmp_path)
    keys = []
    for name in ("acme", "beta"):
        store.create_account(name, "team", 0)
        keys.append(store.create_key(name, f"{name} key", None, 0)[0])
    store.close()
    journal = open_journal(tmp_path, JournalParams(segment=65_536))

    def append(number, *attempts, of=0, arrived=NOON):
        who = {"account_id": keys[of].account.id, "key_id": keys[of].key_id}
        journal.append(receipt(number, *attempts, arrived=arrived, **who))

    append(1, attempt(usage=Usage(1000, 200, 50, 20)))
    append(2, attempt(usage=Usage(1000, 200)), arrived=NOON + DAY)
    journal._mover.move()
    append(3, attempt("good/m", usage=Usage(10, 5)), of=1)
    yield keys
    journal.close()


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments):
        return CliRunner().invoke(kproxy, ["usage", "--data-dir", str(tmp_path), *arguments])

    return invoke


def lines(result):
    assert result.exit_code == 0
    return [line.split() for line in result.stdout.splitlines()]


def test_a_table_by_day_and_model(data, run):
    header, *rows, total = lines(run())
    assert header == ["DAY", "MODEL", "REQUESTS", "ERRORS", "IN", "CACHED", "OUT", "REASONING",
                      "COST_USD", "SAVED_USD"]  # fmt: skip
    assert rows == [
        ["2025-11-25", "m", "2", "0", "1010", "50", "205", "20", "0.000364066", "0.0008"],
        ["2025-11-26", "m", "1", "0", "1000", "0", "200", "0", "0.000364", "0.0004"],
    ]
    assert total == ["total", "3", "0", "2010", "50", "405", "20", "0.000728066", "0.0012"]


def test_json_by_key(data, run):
    shown = json.loads(run("--by", "key", "--by", "provider", "--by", "key", "--json").stdout)
    assert shown["object"] == "list"
    by_key = {one["key"]: one for one in shown["data"]}
    assert set(by_key) == {key.key_id for key in data}
    assert by_key[data[1].key_id] == {
        "key": data[1].key_id,
        "provider": "good",
        "key_name": "beta key",
        "requests": 1,
        "errors": 0,
        "attempts": 1,
        "estimated": 0,
        "unpriced": 0,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": 6.6e-08,
        "savings_usd": 0.0004,
        "charged_tokens": 0,
        "charged_spend_usd": 0,
    }
    assert shown["total"]["cost_usd"] == 0.000728066


def test_names_are_shown_to_people(data, run):
    _, first, second, _ = lines(run("--by", "account"))
    assert {first[0], second[0]} == {"acme", "beta"}


def test_of_one_account(data, run):
    assert json.loads(run("--account", "beta", "--json").stdout)["total"]["requests"] == 1
    refused = run("--account", "nobody")
    assert (refused.exit_code, refused.stderr) == (1, "Error: there is no account 'nobody'\n")


@pytest.mark.parametrize(
    ("since", "requests"),
    [
        ("2025-11-25", 3),
        ("2025-11-25T12:00", 3),
        ("2025-11-25T12:01", 1),
        ("2025-11-25T13:00+01:00", 3),
        ("2025-11-27", 0),
        ("1m", 0),
        ("20000d", 3),
    ],
)
def test_since(data, run, since, requests):
    assert json.loads(run("--since", since, "--json").stdout)["total"]["requests"] == requests


@pytest.mark.parametrize("since", ["yesterday", "", "d", "-1d", "1w", "99999999999d", "2025-13-01"])
def test_a_time_that_is_none(data, run, since):
    refused = run("--since", since)
    assert refused.exit_code == 2
    assert "is none of 2026-11-24," in refused.stderr


def test_what_has_no_price_is_said(data, run, tmp_path):
    assert "known price" not in run().stdout
    journal = open_journal(tmp_path, JournalParams(segment=65_536))
    journal.append(receipt(4, attempt("odd/m", usage=Usage(1, 1))))
    result = run()
    journal.close()
    assert result.stdout.endswith("\n1 attempts have no known price and are not in the cost.\n")


def test_an_empty_ledger_is_a_total_of_nothing(tmp_path, run):
    open_keystore(tmp_path).close()
    assert lines(run())[1] == ["total", *["0"] * 8]


def test_a_mistyped_directory_is_no_empty_ledger(tmp_path):
    result = CliRunner().invoke(kproxy, ["usage", "--data-dir", str(tmp_path / "no")])
    assert (result.exit_code, (tmp_path / "no").exists()) == (1, False)
