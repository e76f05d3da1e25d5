"""Questions off the loop one at a time; last uses written every few seconds and at the end."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.store import desk as desks
from kproxy.store.database import StoreError
from kproxy.store.desk import PATIENCE, PAUSE, KeyDesk, StoreBusy
from kproxy.store.keystore import KeyStore, open_keystore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    store = open_keystore(tmp_path)
    store.create_account("acme", "team", 0)
    yield store
    store.close()


def uses(store: KeyStore) -> list[int | None]:
    return [record.last_used_at for record in store.list()]


async def test_a_question_is_asked_in_a_thread_of_its_own(store: KeyStore) -> None:
    desk = KeyDesk(store)

    def question(asked: KeyStore) -> tuple[bool, int]:
        return asked is store, threading.get_ident()

    same, thread = await desk.ask(question)
    assert same
    assert thread != threading.get_ident()

    def refusal(_: KeyStore) -> None:
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        await desk.ask(refusal)


async def test_questions_take_turns(store: KeyStore) -> None:
    desk = KeyDesk(store)
    inside: list[int] = []
    most: list[int] = []

    def question(_: KeyStore) -> None:
        inside.append(1)
        most.append(len(inside))
        inside.pop()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(desk.ask, question)
    assert most == [1] * 20


async def test_a_question_waits_so_long_and_is_then_not_asked(
    autojump_clock: MockClock, store: KeyStore
) -> None:
    desk = KeyDesk(store)
    asked: list[KeyStore] = []
    async with desk._turn:
        with pytest.raises(StoreBusy):
            await desk.ask(asked.append)
        assert trio.current_time() == PATIENCE
    assert asked == []
    await desk.ask(asked.append)
    assert asked == [store]


async def test_a_question_that_has_begun_is_answered_whoever_was_cancelled(
    store: KeyStore,
) -> None:
    desk = KeyDesk(store)
    begun, may_end = threading.Event(), threading.Event()
    answers: list[str] = []

    def question(_: KeyStore) -> str:
        begun.set()
        assert may_end.wait(20)
        return "done"

    async def ask() -> None:
        answers.append(await desk.ask(question))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.to_thread.run_sync(begun.wait, 20)
        nursery.cancel_scope.cancel()
        may_end.set()
    assert answers == ["done"]


# --- last use


def test_the_latest_use_is_known_before_it_is_written(store: KeyStore) -> None:
    desk = KeyDesk(store)
    record, _ = store.create_key("acme", "k", None, 0)
    assert desk.last_used(record) is None
    desk.used(record.key_id, 50.9)
    assert desk.last_used(record) == 50
    store.write_last_use({record.key_id: 70})
    assert desk.last_used(store.list()[0]) == 70
    desk.used(record.key_id, 80)
    assert desk.last_used(store.list()[0]) == 80
    assert uses(store) == [70], "nothing is written on the way"
    assert "1 uses to write" in repr(desk)


async def test_uses_are_written_after_a_pause(
    autojump_clock: MockClock, nursery: trio.Nursery, store: KeyStore
) -> None:
    desk = KeyDesk(store)
    record, _ = store.create_key("acme", "k", None, 0)
    written = trio.Event()
    write = store.write_last_use

    def watched(used: dict[str, int]) -> None:
        write(used)
        trio.from_thread.run_sync(written.set)

    store.write_last_use = watched  # type: ignore[method-assign,assignment]
    nursery.start_soon(desk.run)
    await wait_all_tasks_blocked()
    for seconds in (10, 20):
        desk.used(record.key_id, seconds)
    await written.wait()
    assert trio.current_time() >= PAUSE
    assert uses(store) == [20]


def test_what_is_noted_at_the_end_is_written_and_the_store_closed(tmp_path: Path) -> None:
    store = open_keystore(tmp_path)
    store.create_account("acme", "team", 0)
    record, _ = store.create_key("acme", "k", None, 0)
    desk = KeyDesk(store)
    desk.used(record.key_id, 33)
    desk.close()
    with pytest.raises(StoreError, match="closed"):
        store.list()
    again = open_keystore(tmp_path)
    assert uses(again) == [33]
    again.close()


def test_what_cannot_be_written_at_the_end_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_keystore(tmp_path)
    desk = KeyDesk(store)
    desk.used("key_1", 33)
    store.close()
    desk.close()
    assert "when keys were last used is lost" in caplog.text


async def test_what_cannot_be_written_is_kept_and_said_once(
    store: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    desk = KeyDesk(store)
    record, _ = store.create_key("acme", "k", None, 0)
    write = store.write_last_use

    def failing(_: object) -> None:
        desk.used(record.key_id, 12)  # meanwhile
        raise StoreError("the disk is full")

    store.write_last_use = failing  # type: ignore[method-assign]
    desk.used(record.key_id, 11)
    desk.used("key_2", 11)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            await desk._write()
    assert caplog.text.count("the disk is full") == 1
    assert desk._used == {record.key_id: 12, "key_2": 11}
    store.write_last_use = write  # type: ignore[method-assign]
    await desk._write()
    assert (uses(store), desk.statistics()) == ([12], 0)


async def test_a_cancelled_writing_loses_nothing(store: KeyStore) -> None:
    desk = KeyDesk(store)
    desk.used("key_1", 11)
    async with desk._turn:
        with trio.CancelScope() as scope:
            scope.cancel()
            await desk._write()
    assert desk._used == {"key_1": 11}


def test_the_notes_are_bounded(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "LIMIT", 2)
    desk = KeyDesk(store)
    for key_id in ("key_1", "key_2", "key_3"):
        desk.used(key_id, 1)
    desk.used("key_1", 2)
    assert desk._used == {"key_1": 2, "key_2": 1}


async def test_nothing_noted_is_nothing_written(store: KeyStore) -> None:
    desk = KeyDesk(store)
    statements: list[str] = []
    store._database._connection.set_trace_callback(statements.append)
    await desk._write()
    assert statements == []
