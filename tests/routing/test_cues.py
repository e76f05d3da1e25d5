"""Words by which people ask, where instructions stand."""

import pytest

from kproxy.routing.cues import DEFAULT_CUES, Cue, find_cue
from kproxy.routing.table import PEOPLE

CUES = dict(DEFAULT_CUES)
FILLER = "lorem ipsum " * 200


@pytest.mark.parametrize(
    ("prompt", "people"),
    [
        ("Summarize this article:", "summarization"),
        ("EXTRACT every date", "extraction"),
        ("Write a haiku", "creative"),
        ("def f(x):", "code"),
        ("Prove that 2 is prime", "reasoning"),
        ("Compare REST and gRPC", "analysis"),
    ],
)
def test_each_category_has_its_words(prompt, people):
    assert find_cue(prompt, CUES) == Cue(people, opening=True)


def test_the_close_counts_and_the_middle_does_not():
    assert find_cue(f"{FILLER}Summarize the above.", CUES) == Cue("summarization", opening=False)
    assert find_cue(f"{FILLER}a summary of it{FILLER}", CUES) is None


def test_the_opening_comes_before_the_close():
    found = find_cue(f"Write a haiku. {FILLER} summarize", CUES)
    assert found == Cue("creative", opening=True)


@pytest.mark.parametrize("prompt", ["", b"\xff\xfe" * 4_000, "\ud800", "привет"])
def test_other_prompts_have_none(prompt):
    assert find_cue(prompt, CUES) is None


def test_every_category_of_the_contract_has_cues():
    assert set(CUES) == set(PEOPLE)
    assert all(word == word.lower() for words in CUES.values() for word in words)


def test_a_letter_at_the_end_of_the_opening_is_as_if_nothing_followed():
    prompt = "x" * 78 + "\u03a3\u03b1"  # a capital sigma, the last that fits, and an alpha
    assert find_cue(prompt, {"code": ("\u03c2",)}) == Cue("code", opening=True)
    assert find_cue(prompt, {"code": ("\u03c3",)}) == Cue("code", opening=False)
