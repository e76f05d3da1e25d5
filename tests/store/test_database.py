"""Real files: who may read them, what is migrated, what is refused, and who waits for whom."""

import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from kproxy.store import database
from kproxy.store.database import (
    Migration,
    StoreError,
    file_lock,
    migrations,
    open_database,
)


@pytest.fixture
def opened(tmp_path):
    found = open_database(tmp_path / "data")
    yield found
    found.close()


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_directory_and_files_are_the_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        found = open_database(tmp_path / "a" / "data")
        with found.transaction():
            found.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")
        names = sorted(os.listdir(tmp_path / "a" / "data"))
        assert names == ["kproxy.db", "kproxy.db-shm", "kproxy.db-wal", "kproxy.lock"]
        assert {mode(tmp_path / "a" / "data" / name) for name in names} == {0o600}
        assert mode(tmp_path / "a" / "data") == 0o700
        found.close()
    finally:
        os.umask(before)


def test_pragmas_are_as_the_docstring_says(opened):
    assert opened.query("PRAGMA journal_mode") == [("wal",)]
    assert opened.query("PRAGMA synchronous") == [(1,)]  # NORMAL
    assert opened.query("PRAGMA foreign_keys") == [(1,)]
    assert opened.query("PRAGMA busy_timeout") == [(5_000,)]
    assert opened.query("PRAGMA page_size") == [(16_384,)]
    assert opened.query("PRAGMA user_version") == [(len(migrations()),)]
    assert "kproxy.db" in repr(opened)


def test_a_second_open_finds_what_the_first_wrote(tmp_path):
    first = open_database(tmp_path)
    first.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")
    second = open_database(tmp_path)
    assert second.query("SELECT name FROM account") == [("n",)]
    first.close()
    first.close()
    second.close()


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(opened):
    def half_way():
        with opened.transaction():
            opened.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert opened.query("SELECT * FROM account") == []
    with opened.transaction():
        assert opened.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)") == 1
    assert len(opened.query("SELECT * FROM account")) == 1


def test_a_snapshot_is_one_moment(tmp_path, opened):
    other = open_database(tmp_path / "data")
    with opened.snapshot():
        assert opened.query("SELECT * FROM account") == []
        other.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")
        assert opened.query("SELECT * FROM account") == []
    assert len(opened.query("SELECT * FROM account")) == 1
    with pytest.raises(StoreError, match="no such table"), opened.snapshot():
        opened.query("SELECT * FROM missing")
    with opened.transaction():
        opened.execute("DELETE FROM account")
    other.close()


def test_many_rows_of_one_statement(opened):
    with opened.transaction():
        opened.execute_many(
            "INSERT INTO account VALUES (?, ?, 'free', 0)", [("1", "a"), ("2", "b")]
        )
    assert opened.query("SELECT name FROM account ORDER BY id") == [("a",), ("b",)]


def test_what_sqlite_refuses_is_a_store_error_that_names_the_file(opened):
    with pytest.raises(StoreError, match=r"kproxy\.db: FOREIGN KEY"), opened.transaction():
        opened.execute(
            "INSERT INTO api_key (id, account_id, digest, name, prefix, created_at)"
            " VALUES ('k', 'nobody', ?, 'n', 'p', 0)",
            (bytes(32),),
        )
    assert opened.query("SELECT * FROM api_key") == []


def test_a_closed_database_says_so(tmp_path):
    found = open_database(tmp_path)
    found.close()
    with pytest.raises(StoreError, match="closed"):
        found.query("SELECT 1")


def test_threads_take_turns(opened):
    opened.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")

    def add():
        for _ in range(100):
            with opened.transaction():
                (count,) = opened.query("SELECT created_at FROM account")[0]
                opened.execute("UPDATE account SET created_at = ?", (count + 1,))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened.query("SELECT created_at FROM account") == [(400,)]


def test_a_newer_database_is_refused_by_name_and_left_alone(tmp_path):
    open_database(tmp_path).close()
    newer = len(migrations()) + 1
    raw = sqlite3.connect(tmp_path / "kproxy.db")
    raw.execute(f"PRAGMA user_version = {newer}")
    raw.close()
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/kproxy.db was written by a newer kproxy: "
        f"its schema is {newer}, and this kproxy knows {newer - 1}"
    )
    raw = sqlite3.connect(tmp_path / "kproxy.db")
    assert raw.execute("PRAGMA user_version").fetchone() == (newer,)
    raw.close()


def test_an_older_database_gets_only_what_it_lacks(tmp_path, monkeypatch):
    open_database(tmp_path).close()
    more = Migration(len(migrations()) + 1, "more.sql", "CREATE TABLE more (x);\n-- the end\n")
    known = migrations()
    monkeypatch.setattr(database, "migrations", lambda: (*known, more))
    found = open_database(tmp_path)
    assert found.query("PRAGMA user_version") == [(more.number,)]
    assert found.query("SELECT * FROM more") == []
    found.close()


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    open_database(tmp_path).close()
    known = migrations()
    bad = Migration(len(known) + 1, "bad.sql", "CREATE TABLE half (x);\nCREATE TABLE half (x);\n")
    monkeypatch.setattr(database, "migrations", lambda: (*known, bad))
    with pytest.raises(StoreError, match="half already exists"):
        open_database(tmp_path)
    monkeypatch.undo()
    found = open_database(tmp_path)
    assert found.query("PRAGMA user_version") == [(len(known),)]
    assert found.query("SELECT name FROM sqlite_master WHERE name = 'half'") == []
    found.close()


def test_migrations_are_consecutive_and_only_add():
    found = migrations()
    assert [entry.number for entry in found] == list(range(1, len(found) + 1))
    for entry in found:
        assert not re.search(r"\b(DROP|RENAME|DELETE|UPDATE|REPLACE)\b", entry.sql, re.IGNORECASE)
        assert "BEGIN" not in entry.sql.upper().split()


def test_a_gap_in_the_migrations_is_refused(tmp_path, monkeypatch):
    for name in ("0001_a.sql", "0003_c.sql", "README"):
        (tmp_path / "migrations").mkdir(exist_ok=True)
        (tmp_path / "migrations" / name).write_text("")
    monkeypatch.setattr(database, "_MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(StoreError, match="incomplete"):
        migrations()


@pytest.mark.parametrize("content", [b"not a database, " * 100, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "kproxy.db").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path)
    assert str(caught.value) == f"{tmp_path}/kproxy.db is not a database"
    assert (tmp_path / "kproxy.db").read_bytes() == content


def test_a_damaged_database_is_called_that(tmp_path):
    open_database(tmp_path).close()
    file = tmp_path / "kproxy.db"
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(StoreError, match=r"kproxy\.db is damaged: "):
        open_database(tmp_path).query("SELECT * FROM account")


def test_a_database_that_may_only_be_read_says_so(opened):
    opened.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match=r"kproxy\.db cannot be written: "):
        opened.execute("INSERT INTO account VALUES ('1', 'n', 'free', 0)")


def test_a_directory_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "data").write_text("")
    for where in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(StoreError, match=f"^cannot use the data directory {where}: "):
            open_database(where)


def test_a_database_that_is_a_directory_is_refused(tmp_path):
    (tmp_path / "kproxy.db").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        open_database(tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(database.os, "open", denied)  # the tests may run as root
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path)
    assert str(caught.value) == (
        f"cannot use the data directory {tmp_path}: {tmp_path}/kproxy.lock: Permission denied"
    )


def test_the_lock_is_exclusive_and_is_given_back(tmp_path):
    order = []

    def second():
        with file_lock(tmp_path / "lock"):
            order.append("second")

    with file_lock(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


_OPEN = """
import sys
from pathlib import Path
from kproxy.store.database import open_database
sys.stdout.write("r"); sys.stdout.flush()
sys.stdin.read(1)
found = open_database(Path(sys.argv[1]))
print(found.query("PRAGMA user_version")[0][0], len(found.query("SELECT * FROM account")))
"""


def test_processes_that_start_together_migrate_once(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout.read(1) == b"r"
    for process in started:
        process.stdin.write(b"g")
        process.stdin.flush()
    for process in started:
        out, err = process.communicate()
        assert (out.strip(), err, process.returncode) == (b"%d 0" % len(migrations()), b"", 0)


_WRITE = """
import sys
from pathlib import Path
from kproxy.store.database import open_database
found = open_database(Path(sys.argv[1]))
found.execute("INSERT INTO account VALUES (?, ?, 'free', 0)", (sys.argv[2], sys.argv[2]))
found.close()
"""


def test_a_second_connection_of_one_process_leaves_the_first_its_locks(tmp_path):
    """Without them another process takes itself for the last one, and deletes the log in use."""
    first = open_database(tmp_path)
    second = open_database(tmp_path)
    for number in ("1", "2"):
        subprocess.run([sys.executable, "-c", _WRITE, str(tmp_path), number], check=True)
        assert (tmp_path / "kproxy.db-wal").exists()
        for found in (first, second):
            assert found.query("SELECT count(*) FROM account") == [(int(number),)]
    second.close()
    first.execute("INSERT INTO account VALUES ('3', '3', 'free', 0)")
    first.close()
    third = open_database(tmp_path)
    assert third.query("SELECT count(*) FROM account") == [(3,)]
    third.close()
