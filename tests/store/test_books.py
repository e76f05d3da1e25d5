"""The tables: each receipt once, whatever is moved twice, and sums that are the rows'."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.ledger.settle import cost
from kproxy.outcome import Usage
from kproxy.schema.receipt import Receipt
from kproxy.store.books import Books, known
from kproxy.store.database import StoreError, open_database
from tests.fakes.receipts import NOON, PRICES, anything, attempt, receipt

encode = msgspec.json.encode
USED = Usage(1000, 200, 50, 20, True, 7)


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def books(database):
    return Books(database)


def count(database, table):
    return database.query(f"SELECT count(*) FROM {table}")[0][0]


def test_a_receipt_with_its_attempts(database, books):
    one = receipt(1, attempt("odd/m"), attempt("acme/m", USED), arrived=NOON + 0.25)
    assert books.post("a.spool", [encode(one)], 500) == 0
    ((body, *columns),) = database.query(
        "SELECT body, id, account_id, key_id, arrived, asked, model, provider, status, cost,"
        " savings, policy_version FROM receipt"
    )
    assert msgspec.json.decode(body, type=type(one)) == one
    assert columns == [
        one.receipt_id, "acct_1", "key_1", NOON + 0.25, "auto", "m", "acme", "complete",
        364_000, 400_000, "1",
    ]  # fmt: skip
    assert books.moved("a.spool") == 500
    assert books.moved("b.spool") == 0


def test_what_is_there_is_not_counted_again(database, books):
    bodies = [encode(receipt(number)) for number in range(3)]
    books.post("a.spool", bodies[:2], 200)
    books.post("a.spool", bodies, 300)
    books.post("b.spool", [*bodies, bodies[0]], 300)
    assert count(database, "receipt") == 3
    for table in ("usage_minute", "usage_day"):
        assert database.query(f"SELECT requests, cost FROM {table}") == [(3, 3 * 364_000)]
    assert known(database, ["rcpt_x", receipt(2).receipt_id]) == [receipt(2).receipt_id]


def test_the_position_moves_with_the_rows_or_not_at_all(database, books):
    books.post("a.spool", [encode(receipt(1))], 100)
    database.execute("DROP TABLE usage_day")
    with pytest.raises(StoreError, match="usage_day"):
        books.post("a.spool", [encode(receipt(2))], 200)
    assert books.moved("a.spool") == 100
    assert count(database, "receipt") == 1


def test_a_group_of_any_size_is_entered(database, books):
    for end, size in enumerate((1, 63, 64, 65, 128, 200)):
        numbers = range(1_000 * end, 1_000 * end + size)
        books.post("a.spool", [encode(receipt(number)) for number in numbers], end)
        ((entered,),) = database.query(
            "SELECT count(*) FROM receipt WHERE id BETWEEN ? AND ?",
            (receipt(numbers[0]).receipt_id, receipt(numbers[-1]).receipt_id),
        )
        assert entered == size
    assert database.query("SELECT sum(requests) FROM usage_day") == [(count(database, "receipt"),)]


def test_one_that_is_there_does_not_keep_others_of_its_group_out(database, books):
    bodies = [encode(receipt(number)) for number in range(130)]
    books.post("a.spool", bodies[60:70], 1)
    books.post("b.spool", bodies, 1)
    assert count(database, "receipt") == 130
    for table in ("usage_minute", "usage_day"):
        assert database.query(f"SELECT requests, cost FROM {table}") == [(130, 130 * 364_000)]


@pytest.mark.parametrize(
    "bad",
    [
        b"{}",
        b"not JSON",
        encode(receipt(7, arrived=float("nan"))),
        encode(receipt(7, arrived=1e300)),
        encode(receipt(7, attempt(usage=Usage(2**53)))),
        encode(receipt(7, replace(attempt(), cost=2**53))),
        encode(receipt(7, execution=replace(receipt().execution, cost=2**53))),
        encode(receipt(7, execution=replace(receipt().execution, charged_tokens=2**53))),
        encode(receipt(7, execution=replace(receipt().execution, charged_spend=2**70))),
        encode(receipt(7, execution=replace(receipt().execution, savings=-(2**70)))),
    ],
)
def test_one_that_cannot_be_entered_does_not_hold_up_the_others(database, books, bad):
    assert books.post("a.spool", [encode(receipt(1)), bad, encode(receipt(2))], 300) == 1
    assert count(database, "receipt") == 2
    assert books.moved("a.spool") == 300


def test_a_field_that_a_newer_kproxy_has_added_is_kept(database, books):
    body = encode(receipt(1))[:-1] + b',"more":[1]}'
    assert books.post("a.spool", [body], 300) == 0
    assert database.query("SELECT body FROM receipt") == [(body.decode(),)]


def test_a_spool_is_forgotten_when_the_disk_has_it(database, books):
    said = []
    database._connection.set_trace_callback(said.append)
    books.post("a.spool", [encode(receipt(1))], 300)
    books.forget("a.spool")
    assert books.moved("a.spool") == 0
    full = said.index("PRAGMA synchronous = FULL")
    assert said[full:].index("COMMIT") < said[full:].index("PRAGMA synchronous = NORMAL")
    assert database.query("PRAGMA synchronous") == [(1,)]


def worked_out(one):
    """The amount of an attempt once more, from its usage and the price list."""
    return 0 if one.usage is None else cost(one.usage, PRICES[f"{one.provider}/{one.model}"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    opened = open_database(tmp_path_factory.mktemp("shared"))
    yield opened
    opened.close()


@given(anything(), st.data())
def test_rows_and_sums_and_usage_times_price_are_one_amount(shared, receipts, data):
    for table in ("receipt", "usage_minute", "usage_day"):
        shared.execute(f"DELETE FROM {table}")
    books, bodies = Books(shared), [encode(one) for one in receipts]
    for end in range(data.draw(st.integers(0, 5))):  # a mover that is killed again and again
        some = data.draw(st.lists(st.sampled_from(bodies), max_size=9)) if bodies else []
        books.post("a.spool", some, end)
    books.post("a.spool", bodies, 99)

    attempts = [one for receipt in receipts for one in receipt.attempts]
    expected = sum(worked_out(one) or 0 for one in attempts)
    amounts = {
        table: total(shared, f"SELECT sum(cost) FROM {table}")
        for table in ("usage_minute", "usage_day")
    }
    # A receipt with one unknown amount has no sum; its known amounts are in its attempts.
    rows = shared.query("SELECT cost, body FROM receipt")
    stored = [(cost, msgspec.json.decode(body, type=Receipt)) for cost, body in rows]
    amounts["receipt"] = sum(
        sum(each.cost or 0 for each in one.attempts) if cost is None else cost
        for cost, one in stored
    )
    assert set(amounts.values()) == {expected}
    assert all(isinstance(amount, int) for amount in amounts.values())
    for table in ("usage_minute", "usage_day"):
        assert total(shared, f"SELECT sum(requests) FROM {table}") == len(receipts)
        assert total(shared, f"SELECT sum(attempts) FROM {table}") == len(attempts)
        saved = sum(one.execution.savings for one in receipts)
        assert total(shared, f"SELECT sum(savings) FROM {table}") == saved


def total(database, sql):
    return database.query(sql)[0][0] or 0
