"""Answers are kept with their receipts, found for a day, and cleaned away."""

from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from kproxy.schema.receipt import Receipt
from kproxy.store.answers import Answers, AnswersParams, Kept, open_answers
from kproxy.store.books import Books
from kproxy.store.database import StoreError, open_database
from tests.fakes.receipts import NOON, receipt

DAY = 86_400
NAME, OTHER = b"n" * 32, b"o" * 32
HEAD = ((b"content-type", b"application/json"), (b"x-odd", b"\xff"))
KEPT = Kept(b"d" * 32, 200, receipt(1).receipt_id, HEAD, b'{"a": "\xc3\xb6\x00"}')


@pytest.fixture
def answers(tmp_path: Path):
    opened = open_answers(tmp_path, AnswersParams(most=100))
    yield opened
    opened.close()


def entered(folder: Path, *receipts: Receipt) -> None:
    """The ledger's tables have them."""
    database = open_database(folder)
    Books(database).post("spool-1", [msgspec.json.encode(one) for one in receipts], 1)
    database.close()


async def cleaned(answers: Answers, now: float) -> list[Receipt]:
    """What is posted in one round."""
    posted: list[Receipt] = []
    await answers.clean(posted.append, now)
    return posted


async def test_what_is_kept_is_found(answers: Answers) -> None:
    assert await answers.find(NAME, NOON) is None
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    assert await answers.find(NAME, NOON) == KEPT
    assert await answers.find(OTHER, NOON) is None
    assert answers.owed() == [receipt(1)]


async def test_it_is_there_for_the_next_process(tmp_path: Path, answers: Answers) -> None:
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    other = open_answers(tmp_path, AnswersParams(strict=True))
    assert await other.find(NAME, NOON + 1) == KEPT
    assert other.owed() == [receipt(1)]
    other.close()


async def test_for_24_hours(answers: Answers) -> None:
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    assert await answers.find(NAME, NOON + DAY - 1) == KEPT
    assert await answers.find(NAME, NOON + DAY) is None
    again = replace(KEPT, body=b"new", receipt_id=receipt(2).receipt_id)
    await answers.keep(NAME, again, receipt(2), NOON + DAY)
    assert await answers.find(NAME, NOON + DAY) == again
    assert answers.owed() == [receipt(1), receipt(2)], "an old receipt is still owed"


async def test_a_receipt_is_owed_until_the_ledger_has_it(tmp_path: Path, answers: Answers) -> None:
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    second = replace(KEPT, receipt_id=receipt(2).receipt_id)
    await answers.keep(OTHER, second, receipt(2), NOON)
    entered(tmp_path, receipt(1))
    assert answers.owed() == [receipt(2)]


async def test_old_answers_go_and_leave_no_word(tmp_path: Path, answers: Answers) -> None:
    secret = b"a word of the model"
    many = [replace(KEPT, receipt_id=f"rcpt_{n}", body=secret) for n in range(450)]
    for number, one in enumerate(many):
        made = receipt(1, receipt_id=one.receipt_id)
        await answers.keep(number.to_bytes(32, "big"), one, made, NOON)
    await answers.keep(NAME, KEPT, receipt(1), NOON + 1)
    await cleaned(answers, NOON + DAY)
    database = open_database(tmp_path)
    assert database.query("SELECT name FROM kept_answer") == [(NAME,)]
    database.query("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert secret not in (tmp_path / "kproxy.db").read_bytes()


async def test_owed_receipts_are_posted_and_forgotten(tmp_path: Path, answers: Answers) -> None:
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    assert await cleaned(answers, NOON) == [receipt(1)]
    entered(tmp_path, receipt(1))
    assert await cleaned(answers, NOON) == []
    assert answers.owed() == []
    assert await answers.find(NAME, NOON) == KEPT, "the answer stays"


async def test_over_its_bound_it_is_full_until_there_is_room(
    answers: Answers,
) -> None:
    await answers.keep(NAME, replace(KEPT, body=bytes(100)), receipt(1), NOON)
    await cleaned(answers, NOON)
    assert not answers.full
    await answers.keep(OTHER, replace(KEPT, body=b"x"), receipt(2), NOON + 1)
    await cleaned(answers, NOON)
    assert answers.full
    assert "full" in repr(answers)
    await cleaned(answers, NOON + DAY)
    assert not answers.full


async def test_a_trouble_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers, refused = open_answers(tmp_path, AnswersParams(pause=0)), trio.Event()
    await answers.keep(NAME, KEPT, receipt(1), NOON)
    tries = iter(range(3))

    def refuse(_: Receipt) -> None:
        if next(tries, None) is None:
            refused.set()
        raise StoreError("no room")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.run, refuse, lambda: NOON)
        await refused.wait()
        nursery.cancel_scope.cancel()
    assert [one.message for one in caplog.records] == [
        "kept answers cannot be cleaned yet: no room"
    ]
    assert answers.owed() == [receipt(1)]
    answers.close()


async def test_a_busy_store_is_waited_for_with_a_bound(
    autojump_clock: MockClock, answers: Answers
) -> None:
    await answers._turn.acquire()
    with pytest.raises(StoreError, match="busy"):
        await answers.find(NAME, NOON)
    assert trio.current_time() == AnswersParams().patience


async def test_all_or_nothing(tmp_path: Path, answers: Answers) -> None:
    database = open_database(tmp_path)
    database.execute("DROP TABLE kept_receipt")
    with pytest.raises(StoreError):
        await answers.keep(NAME, KEPT, receipt(1), NOON)
    assert await answers.find(NAME, NOON) is None
    database.close()


def test_a_damaged_directory(tmp_path: Path) -> None:
    (tmp_path / "kproxy.claims").mkdir()
    with pytest.raises(StoreError, match=r"kproxy\.claims"):
        open_answers(tmp_path, AnswersParams())
