"""Which passages answer to a question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.plugins.passages import LONG, SHORT, best_passages, paragraphs, terms

WHALE = "The whale was white as snow, and it was seen from every ship of the fleet. " * 4
STORM = "In the night the storm tore the sails, and nobody slept while it lasted. " * 4
LEG = "The captain lost his leg to the white whale, which he never forgave, nor ever will. " * 4
BOOK = "\n\n".join((STORM, WHALE, STORM, LEG, STORM))


def test_the_passage_that_shares_most_with_the_question():
    assert best_passages(BOOK, "How did the captain lose his leg?", 1) == [LEG.strip()]


def test_passages_stand_in_the_order_of_the_text():
    found = best_passages(BOOK, "Where does the captain see the white whales?", 2)
    assert found == [WHALE.strip(), LEG.strip()]


def test_what_shares_no_word_is_no_answer():
    assert len(best_passages(BOOK, "whale", 5)) == 2
    assert best_passages(BOOK, "Quantum chromodynamics?", 3) == [STORM.strip()]
    assert best_passages(BOOK, "", 3) == [STORM.strip()]


def test_an_empty_text_has_none():
    assert best_passages("", "whale", 3) == []
    assert best_passages(" \n\n \n", "whale", 3) == []


def test_a_rare_word_counts_for_more_than_a_frequent_one():
    text = "\n\n".join([*(f"whale {number} " * 40 for number in range(9)), "harpoon " * 40])
    assert best_passages(text, "whale harpoon", 1) == [("harpoon " * 40).strip()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What is the story of Captain Ahab about?", ["captain", "ahab"]),
        ("Whales, ships; glass.", ["whale", "ship", "glass"]),
        ("L'Étranger à Paris", ["étranger", "pari"]),
        ("", []),
    ],
)
def test_the_terms_of_a_question(text, words):
    assert terms(text) == words


@given(st.text(alphabet="ab. \n\t", max_size=8_000))
def test_paragraphs_lose_nothing_and_are_never_long(text):
    pieces = list(paragraphs(text))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= LONG for piece in pieces)


def test_a_paragraph_without_a_place_to_cut_is_cut():
    assert [len(piece) for piece in paragraphs("x" * 20_000)][:2] == [LONG, LONG]


def test_dialogue_goes_on_into_what_follows():
    text = "\n\n".join(f'"Yes {number}," she said.' for number in range(40))
    assert all(len(piece) >= SHORT for piece in list(paragraphs(text))[:-1])
