"""A cache on the disk that stays within its bytes, whatever becomes of its files."""

import os

import pytest

from kproxy.plugins.bookshelf import Bookshelf


def aged(shelf_path, name, seconds):
    os.utime(shelf_path / f"{name}.txt", (seconds, seconds))


def test_what_is_put_is_there_for_another_process_too(tmp_path):
    assert Bookshelf(tmp_path / "a" / "b", 100).get("pg1") is None
    Bookshelf(tmp_path / "a" / "b", 100).put("pg1", "größer")
    assert Bookshelf(tmp_path / "a" / "b", 100).get("pg1") == "größer"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["pg1.txt"]


def test_the_longest_unread_goes_first(tmp_path):
    shelf = Bookshelf(tmp_path, 30)
    for number in (1, 2, 3):
        shelf.put(f"pg{number}", "x" * 10)
        aged(tmp_path, f"pg{number}", number)
    assert shelf.get("pg1")  # read now
    shelf.put("pg4", "y" * 10)
    assert [shelf.get(f"pg{number}") is not None for number in (1, 2, 3, 4)] == [
        True, False, True, True,
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 30


def test_at_the_limit_and_one_more(tmp_path):
    shelf = Bookshelf(tmp_path, 10)
    shelf.put("a", "x" * 10)
    shelf.put("b", "x" * 11)
    assert (shelf.get("a"), shelf.get("b")) == ("x" * 10, None)


def test_a_disk_that_refuses_means_that_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("no directory")
    shelf = Bookshelf(tmp_path / "file", 100)
    shelf.put("a", "x")
    assert shelf.get("a") is None


def test_a_broken_file_is_not_there(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    assert Bookshelf(tmp_path, 100).get("a") is None


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "a.b", "x" * 101])
def test_a_name_that_leads_elsewhere(tmp_path, name):
    with pytest.raises(ValueError):
        Bookshelf(tmp_path, 100).get(name)
