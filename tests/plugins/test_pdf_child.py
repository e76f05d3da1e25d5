"""What the child says of a file, asked in this process: the limits are the reader's to test."""

import base64

import pytest

from kproxy.plugins.pdf_child import extract
from tests.fakes.pdfs import drawn, endless, locked, ring, written

LIMITS = {"pages": 3, "text": 1_000, "encoded": False}


@pytest.fixture(autouse=True)
def _logging_again():
    import logging

    yield
    logging.disable(logging.NOTSET)


def test_text_stands_behind_the_mark_of_its_page():
    said = extract(written("One\nand (two)", "Three"), LIMITS)
    assert said == {
        "pages": 2, "read": 2, "text": "[page 1]\nOne\nand (two)\n\n[page 2]\nThree", "cut": False,
    }  # fmt: skip


def test_pages_at_the_limit_and_one_more():
    assert extract(written("a", "b", "c"), LIMITS)["cut"] is False
    said = extract(written("a", "b", "c", "d"), LIMITS)
    assert (said["pages"], said["read"], said["cut"]) == (4, 3, True)
    assert "[page 4]" not in said["text"]


@pytest.mark.parametrize(("size", "cut"), [(1_000, False), (1_001, True)])
def test_text_at_the_limit_and_one_more(size, cut):
    said = extract(written("x" * size), LIMITS)
    assert (said["text"], said["cut"]) == ("[page 1]\n" + "x" * 1_000, cut)


def test_base64_is_decoded_here():
    encoded = base64.b64encode(written("One"))
    assert extract(encoded, {**LIMITS, "encoded": True})["text"] == "[page 1]\nOne"
    assert extract(b"#" + encoded, {**LIMITS, "encoded": True}) == {"error": "base64"}


def test_a_file_that_only_its_owner_may_change_is_read():
    assert extract(locked("One", ""), LIMITS)["text"] == "[page 1]\nOne"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (locked("One", "secret"), "encrypted"),
        (b"", "no pdf"),
        (b"<html>", "no pdf"),
        (b"x" * 1_024 + b"%PDF-1.7", "no pdf"),
        (b"%PDF-1.7", "broken"),
        (written("One")[:200], "broken"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 40, "broken"),
    ],
)
def test_what_cannot_be_read(data, error):
    assert extract(data, LIMITS) == {"error": error}


def test_a_page_without_text_has_none():
    assert extract(drawn(), LIMITS)["text"] == ""


@pytest.mark.parametrize("data", [ring(), endless()])
def test_what_turns_in_circles_ends(data):
    try:
        said = extract(data, LIMITS)
    except RecursionError:
        return
    assert said.get("error") == "broken" or said["pages"] <= 1
