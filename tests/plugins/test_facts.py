"""What is worth remembering of what users say, and the words that look it up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.plugins.facts import LONGEST, MOST, WORDS, Fact, facts, words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("My name is Ada.", [Fact("My name is Ada.", "name")]),
        ("Hi! I'm called Ada. What is 1+1?", [Fact("I'm called Ada.", "name")]),
        ("I\u2019m called Ada", [Fact("I'm called Ada", "name")]),
        ("Remember that the deploy is on Monday", [Fact("the deploy is on Monday", None)]),
        ("please remember: tabs, not spaces", [Fact("tabs, not spaces", None)]),
        ("Please remember that my name is Bob", [Fact("my name is Bob", "name")]),
        ("I prefer tea.\nNo!", [Fact("I prefer tea.", None)]),
        ("Oh. I live in Oslo.", [Fact("I live in Oslo.", "home")]),
        ("My favorite colour is blue", [Fact("My favorite colour is blue", "favourite colour")]),
        ("I'm allergic to nuts", [Fact("I'm allergic to nuts", None)]),
        ("I work at kproxy.dev now", [Fact("I work at kproxy.dev now", "work")]),
        ("I don't like tea.", [Fact("I don't like tea.", "taste tea")]),
        ("I like tea very much", [Fact("I like tea very much", "taste tea")]),
        ("I am not a vegetarian.", [Fact("I am not a vegetarian.", "am a vegetarian")]),
        ("I'm vegan", [Fact("I'm vegan", "am vegan")]),
        ("I am 30 years old.", [Fact("I am 30 years old.", "age")]),
        ("I speak French.", [Fact("I speak French.", "speak french")]),
        ("I don't eat meat.", [Fact("I don't eat meat.", None)]),
        ("I live in Bern, Switzerland.", [Fact("I live in Bern, Switzerland.", "home")]),
        ('Call me "Al".', [Fact('Call me "Al".', "name")]),
        ("About me: I prefer tea", [Fact("About me: I prefer tea", None)]),
        ("My  name \t is  Ada", [Fact("My name is Ada", "name")]),
    ],
)  # fmt: skip
def test_what_is_said_to_be_remembered(said: str, expected: list[Fact]) -> None:
    assert facts(said) == expected


@pytest.mark.parametrize(
    "said",
    [
        "",
        "What is my name?",
        "Do you remember that song?",
        "Do I prefer tea or coffee?",
        "I would like a poem",
        "Is there anybody who can call?",
        "Explain quantum computing in simple terms.",
        "```\nmy name is Ada\n```",
        "```python\nprint('I prefer tea')",
        "> my name is Ada",
        "~~~\nI live in Oslo.\n~~~",
        'Fix this text: "My name is Carol and I live in Rome."',
        "Translate to German: I like cheese and my name is Hans.",
        "Translate:\n\nI like cheese.\nMy name is Hans.",
        'He wrote "My name is Carol. I live in Rome." to her.',
        "Say \u201cI live in Rome\u201d or \u00abI like tea\u00bb or 'I like tea' or `I like tea`",
        'What does it mean? "I like tea. I live in',
        "I'm a bit tired",
        "If I am a fool, say so",
        "I remember",
        "My name is " + "a" * LONGEST,
    ],
)
def test_what_is_not(said: str) -> None:
    assert facts(said) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "My name is Bob and I prefer metric units.",
            [("My name is Bob", "name"), ("I prefer metric units.", None)],
        ),
        (
            "My name is Bob, I live in Rome, and I'm allergic to nuts.",
            [
                ("My name is Bob", "name"),
                ("I live in Rome", "home"),
                ("I'm allergic to nuts.", None),
            ],
        ),
        ("My name is Bob, a baker from Rome.", [("My name is Bob, a baker from Rome.", None)]),
        ("When it rains, I like tea.", [("When it rains, I like tea.", None)]),
        ("I like tea and I think it helps", [("I like tea and I think it helps", None)]),
        ("I like tea, but not at night", [("I like tea, but not at night", None)]),
    ],
)
def test_a_newer_fact_takes_nothing_else_with_it(said: str, expected: list[Fact]) -> None:
    assert facts(said) == expected


def test_the_last_taste_counts() -> None:
    said = "I like tea. I love coffee. I hate tea. I don't like rum. I like rum."
    assert [fact.text for fact in facts(said)] == ["I love coffee.", "I hate tea.", "I like rum."]


def test_what_follows_material_is_the_users_own() -> None:
    said = 'Fix this: "My name is Carol."\nI live in Oslo.'
    assert [fact.text for fact in facts(said)] == ["I live in Oslo."]


def test_of_a_topic_there_is_the_last() -> None:
    said = "My name is Ada. I prefer tea. Well, my name is Bob."
    assert [fact.text for fact in facts(said)] == ["I prefer tea.", "Well, my name is Bob."]


def test_there_are_bounds() -> None:
    many = facts("\n".join(f"I prefer number {number}." for number in range(100)))
    assert len(many) == MOST
    assert many[-1].text == "I prefer number 99."
    assert facts("x" * 20_000 + "\nI prefer tea.") == []
    assert len(words(" ".join(f"word{number}" for number in range(500)))) == WORDS


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("What is my name?", ["name"]),
        ("Tea or Tea, or coffee?", ["tea", "coffee"]),
        ("Was trinke ich um Öl?", ["trinke", "ich", "um", "öl"]),
        ("is it?", []),
        ('"OR" NEAR( a* -b ^c {x} : "', ["near"]),
    ],
)
def test_words(said: str, expected: list[str]) -> None:
    got = words(said)
    assert [word for word in got if word != "was"] == expected


@given(st.text(alphabet=st.sampled_from("imynae s`>.!?\nIiprefer\u2019tb"), max_size=400))
def test_any_text_is_read(text: str) -> None:
    for fact in facts(text):
        assert 0 < len(fact.text) <= LONGEST
        assert not fact.text.endswith("?")
