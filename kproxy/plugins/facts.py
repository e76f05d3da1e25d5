"""A user's words in; the sentences that are worth remembering out, and the words to look up others.

By rule: a sentence that says who somebody is or what they want, or that it is to be remembered.
A model would find more, at the price of another call for every request; a rule costs microseconds
and never invents anything, since what is kept is what was said. Pure, and bounded in everything.

Questions are none. Neither is material that the user hands over: what is quoted, stands in code, or
comes behind a colon up to the line's end (the next paragraph, where the colon ends its line).

A sentence that says several things is taken apart at "and I", so that a newer fact of one kind
takes nothing else with it; where that cannot be done, it has no topic, and stays beside the newer.
"""

import re
from typing import NamedTuple

__all__ = ["Fact", "facts", "words"]

LONGEST = 300  # characters of a sentence
MOST = 10  # sentences of one message
BEFORE = 2  # words that say nothing: "Well, my name is"
QUOTED = 40  # characters of a quotation that is part of its sentence
LOOKED_AT = 16_384  # characters of a message
WORDS = 24  # that are looked up


class Fact(NamedTuple):
    """A sentence; `topic`: there is one such thing, None: of several."""

    text: str
    topic: str | None


_SAID = r"[\w\0]"  # the beginning of what somebody says, or quotes
_THING = r"(?P<thing>[^,;:!?\n]{1,60}?)(?: very much| a lot| at all| any ?more)?(?:[,;:.!?]|$)"
_RULES = tuple(
    (re.compile(pattern.replace("SAID", _SAID).replace("THING", _THING), re.I), topic)
    for pattern, topic in (
        (r"\b(?:my name is|call me|i am called|i'm called)\s+SAID", "name"),
        (r"\bi (?:now )?live in\s+SAID", "home"),
        (r"\bi (?:now )?work (?:at|for|as|in)\s+SAID", "work"),
        (r"\bmy (?P<thing>birthday|time zone|timezone|pronouns) (?:is|are)\s+SAID", ""),
        (r"\bmy favou?rite (?P<thing>\w{1,30}(?: \w{1,30})?) is\s+SAID", "favourite "),
        (r"\bi (?:really |strongly |do not |don't )*(?:like|love|dislike|hate) THING", "taste "),
        (r"\bi (?:can |can't |cannot |do not |don't |also )*speak THING", "speak "),
        (r"(?<!if )\b(?:i am|i'm) (?:not )?(?P<thing>(?:an? (?!bit|few|little|lot|tad)|vegan|"
         r"vegetarian|diabetic|colou?r-?blind|left-handed|married|retired)"
         r"[^,;:.!?\n]{0,60})", "am "),
        (r"\b(?:i am|i'm) \d+ years old", "age"),
        (r"\bi (?:really |strongly |do not |don't )*prefer\s+SAID", None),
        (r"\bi (?:do not|don't|can't|cannot) (?:eat|drink|use|own|drive|smoke)\b", None),
        (r"\bi (?:always|never|usually)\s+SAID", None),
        (r"\b(?:i am|i'm) (?:not )?allergic to\s+SAID", None),
    )
)  # fmt: skip
"""A pattern, and the topic that its sentence is of, which the thing follows where it has one."""

_NEXT = re.compile(r"(?:,? (?:and|but)|[,;]) (?=(?:i|i'm|my)\b)", re.I)
_MORE = re.compile(r",\s+(?![A-Z]\w*[.!]?$)|;|\b(?:and|but|because|who|which|or)\b")
"""What a sentence goes on with; a country behind a town is no more than the town."""

_TOLD = re.compile(
    r"^(?:please |and |also )*(?:remember|don't forget|do not forget|keep in mind)"
    r"(?: that|:|, )\s*(?=\w)",
    re.I,
)
_FENCED = re.compile(r"(```|~~~).*?(?:\1|\Z)", re.S)
_QUOTED = re.compile(
    r"""(?<!\w)"[^"]*(?:"|\Z)|[\u201c\u201e][^\u201c\u201d]*(?:[\u201c\u201d]|\Z)|\u00ab[^\u00bb]*(?:\u00bb|\Z)"""
    r"""|(?<!\w)'[^'\n]*'(?!\w)|`[^`\n]*`"""
)
_ENDS = re.compile(r"[.!?\n]")
_BEHIND = re.compile(
    r"(?<!remember)(?<!forget)(?<!mind)(?<!remember this)(?<!about me)(?<!about myself)"
    r":(?:[ \t]+[^\s][^\n]*|[ \t]*\n\s*[^\s][^\n]*(?:\n[ \t]*[^\s][^\n]*)*)",
    re.I,
)
_CITED = re.compile(r"^[ \t]*>[^\n]*", re.M)
_SENTENCE = re.compile(r"[^.!?\n\1]+(?:[.!?](?=\w)[^.!?\n\1]*)*[.!?]?")
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
    text = text[:LOOKED_AT].replace("\u2019", "'").replace("\0", " ").replace("\1", " ")
    own = _own(text)
    found: dict[str, Fact] = {}
    for match in _SENTENCE.finditer(own):
        if len(match[0]) > 2 * LONGEST or match[0].rstrip().endswith("?"):
            continue
        for start, end in _clauses(match[0]):
            fact = _fact(match[0][start:end], text[match.start() + start : match.start() + end])
            if fact is not None:
                key = fact.topic or fact.text
                found.pop(key, None)
                found[key] = fact
    return list(found.values())[-MOST:]


def _own(text: str) -> str:
    """The text, as long as it was, without material: NULs for quoted words."""
    text = _FENCED.sub(lambda match: "\n" * len(match[0]), text)
    text = _CITED.sub(lambda match: "\n" * len(match[0]), text)
    text = _QUOTED.sub(_blank, text)
    return _BEHIND.sub(lambda match: "\n" * len(match[0]), text)


def _blank(quoted: re.Match[str]) -> str:
    """A few words belong to the sentence that they stand in; sentences do not."""
    words = len(quoted[0]) <= QUOTED and not _ENDS.search(quoted[0])
    return ("\0" if words else "\1") * len(quoted[0])


def _clauses(sentence: str) -> list[tuple[int, int]]:
    """Where the facts of a sentence begin and end; what is none goes with the one beside it."""
    cuts, start = [], 0
    for match in _NEXT.finditer(sentence):
        before, behind = sentence[start : match.start()], sentence[match.end() :]
        if _matches(before) and _matches(behind):
            cuts.append((start, match.start()))
            start = match.end()
    return [*cuts, (start, len(sentence))]


def _fact(own: str, text: str) -> Fact | None:
    """The fact of a clause. `own` is its text, as long, without what is quoted."""
    text = _SPACE.sub(" ", text).strip()
    if not text or len(text) > LONGEST:
        return None
    told = _TOLD.match(text)
    matches = _matches(_SPACE.sub(" ", own))
    said = text[told.end() :] if told else text
    if not matches:
        return Fact(said, None) if told else None
    match, topic = matches[0]
    before = len(match.string[: match.start()].split()) - (len(told[0].split()) if told else 0)
    more = len(matches) > 1 or before > BEFORE or _MORE.search(match.string, match.start())
    if topic is None or more:
        return Fact(said, None)
    return Fact(said, (topic + (match.groupdict().get("thing") or "")).strip().lower())


def _matches(text: str) -> list[tuple[re.Match[str], str | None]]:
    """Every rule that a text falls under."""
    found = ((pattern.search(text), topic) for pattern, topic in _RULES)
    return [(match, topic) for match, topic in found if match]


def words(text: str) -> list[str]:
    """Different words of the end of a text, at most `WORDS`, without those that all texts have."""
    said = (word.lower() for word in _WORD.findall(text[-4 * LONGEST :]))
    return list(dict.fromkeys(word for word in said if word not in _COMMON))[-WORDS:]
