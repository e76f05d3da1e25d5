"""Any prompt has features: bounded, the same in every process, alike for alike prompts."""

import subprocess
import sys
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.features import HEAD, ROWS, TAIL, VOCABULARY, WORD_ROWS, clip, extract

MOST = 2 * 1_000 - 1 + 5  # single words, pairs of neighbours, openings and closings

ODD = {
    "empty": "",
    "one sign": "?",
    "a megabyte": "word " * 200_000,
    "signs": "!?;" * 100_000,
    "rubbish": bytes(range(256)) * 4_000,
    "no UTF-8": b"\xff\xfe\x80" * 5_000,
    "lone surrogates": "\ud800" * 5_000,
    "grows in lower case": "\u0130" * 5_000,
    "zeros": "\0" * 10_000,
    "a script without spaces": "今天天气很好" * 1_000,
    "marks": "e\u0301" * 4_000,
}


@pytest.mark.parametrize("name", ODD)
def test_any_prompt_has_bounded_features(name):
    found = extract(ODD[name])
    assert len(found.words) <= MOST
    assert 0 < len(found.shape) <= 17
    assert all(0 <= row < WORD_ROWS for row in found.words)
    assert len(found.vocabulary) <= 1_000
    assert all(0 <= place < VOCABULARY for place in found.vocabulary)
    assert all(WORD_ROWS <= row < ROWS for row in found.shape)


@given(st.one_of(st.text(), st.binary()))
def test_nothing_raises(prompt):
    assert extract(prompt) == extract(prompt)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_text_and_its_bytes_are_one_prompt(text):
    assert extract(text) == extract(text.encode())


@given(st.text(alphabet="aé今😀 \n", min_size=HEAD + TAIL, max_size=HEAD + TAIL + 9))
def test_long_text_and_its_bytes_are_clipped_alike(text):
    assert clip(text) == clip(text.encode())


def test_the_middle_of_a_long_prompt_is_not_read():
    head, tail = "a " * (HEAD // 2), "z " * (TAIL // 2)
    assert clip(head + "secret" * 1_000 + tail) == (head + "\n" + tail).encode()
    assert clip((head + "secret" * 20_000 + tail).encode()).startswith(head.encode())


def test_spelling_counts_and_case_does_not():
    assert extract("Add Apples").words == extract("add apples").words
    assert extract("add apples").words != extract("add pears").words
    assert extract("12 apples").words == extract("34 apples").words
    assert extract("12 apples").words != extract("345 apples").words


def test_order_counts():
    assert extract("dog bites man").words != extract("man bites dog").words


def test_shape_is_of_the_look_alone():
    assert extract("one cat?").shape == extract("two dog?").shape
    assert extract("one cat?").shape != extract("one cat.").shape
    assert extract("pick\nA. x\nB. y").shape != extract("pick\nA; x\nB; y").shape


def test_another_process_finds_the_same():
    code = "from kproxy.routing.features import extract; print(sorted(extract('Añ 12?').words))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(extract("Añ 12?").words))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", b"d0"),
        ("7" * 9, b"D20"),
        ("ABC", b"U10"),
        ("\n" * 99, b"n8"),
        ("$" * 5, b"$4"),
        ("\\", b"b1"),
        ("a. b. c. ", b"s3"),
        (",,", b"c2"),
        ("word", b"w8"),
        ("why? who?", b"q2"),
        ("\U0001f600" * (HEAD + TAIL + 1), b"l28"),  # no prompt is clipped to more bytes
    ],
)
def test_a_fact_of_the_shape_is_known_by_its_name(text, name):
    assert crc32(name) % (ROWS - WORD_ROWS) + WORD_ROWS in extract(text).shape
