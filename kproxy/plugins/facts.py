"""A user's words in; the sentences that are worth remembering out, and the words to look up others.

By rule: a sentence that says who somebody is or what they want, or that it is to be remembered.
A model would find more, at the price of another call for every request; a rule costs microseconds
and never invents anything, since what is kept is what was said. Pure, and bounded in everything.

Questions are none, and neither is what stands in a code block or is quoted.
"""

import re
from typing import NamedTuple

__all__ = ["Fact", "facts", "words"]

LONGEST = 300  # characters of a sentence
MOST = 10  # sentences of one message
LOOKED_AT = 16_384  # characters of a message
WORDS = 24  # that are looked up


class Fact(NamedTuple):
    """A sentence; `topic`: there is one such thing, None: of several."""

    text: str
    topic: str | None


_RULES = (
    (re.compile(r"\b(?:my name is|call me|i am called|i'm called)\s+\w", re.I), "name"),
    (re.compile(r"\bi (?:now )?live in\s+\w", re.I), "home"),
    (re.compile(r"\bi (?:now )?work (?:at|for|as|in)\s+\w", re.I), "work"),
    (re.compile(r"\bmy (birthday|time zone|timezone|pronouns) (?:is|are)\s+\w", re.I), r"\1"),
    (re.compile(r"\bmy favou?rite (\w{1,30}(?: \w{1,30})?) is\s+\w", re.I), r"favourite \1"),
    (re.compile(r"\bi (?:really |strongly )?(?:prefer|like|love|dislike|hate)\s+\w", re.I), None),
    (re.compile(r"\bi (?:always|never|usually)\s+\w", re.I), None),
    (re.compile(r"\b(?:i am|i'm) allergic to\s+\w", re.I), None),
)
"""A pattern, and the topic that its sentence is of."""

_TOLD = re.compile(
    r"^(?:please |and |also )*(?:remember|don't forget|do not forget|keep in mind)"
    r"(?: that|:|, )\s*(?=\w)",
    re.I,
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.S)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\w)[^.!?\n]*)*[.!?]?")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]{2,40}")

# What is in every question and tells nothing of what it is about.
_FILLING = """
    about after all also am an and any are as at be because been but by can could did do does for
    from get give had has have he help her here him his how if in into is it its just let me more my
    no not of on or our out please she should so some tell than that the their them then there these
    they this to up us was we were what when where which who will with would you your
"""
_COMMON = frozenset(_FILLING.split())


def facts(text: str) -> list[Fact]:
    """What is worth remembering, in the order it was said; of a topic the last."""
    text = _FENCED.sub("\n", text[:LOOKED_AT].replace("\u2019", "'"))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(">")]
    found: dict[str, Fact] = {}
    for match in _SENTENCE.finditer("\n".join(lines)):
        fact = _fact(_SPACE.sub(" ", match[0]).strip())
        if fact is not None:
            key = fact.topic or fact.text
            found.pop(key, None)
            found[key] = fact
    return list(found.values())[-MOST:]


def _fact(sentence: str) -> Fact | None:
    if not sentence or len(sentence) > LONGEST or sentence.endswith("?"):
        return None
    told = _TOLD.match(sentence)
    said = sentence[told.end() :] if told else sentence
    for pattern, topic in _RULES:
        match = pattern.search(said)
        if match:
            return Fact(said, topic and match.expand(topic).lower())
    return Fact(said, None) if told else None


def words(text: str) -> list[str]:
    """Different words of the end of a text, at most `WORDS`, without those that all texts have."""
    said = (word.lower() for word in _WORD.findall(text[-4 * LONGEST :]))
    return list(dict.fromkeys(word for word in said if word not in _COMMON))[-WORDS:]
