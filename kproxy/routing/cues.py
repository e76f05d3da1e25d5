"""A prompt goes in; which of the six categories its own words ask for comes out.

Training data has no summaries and little extraction, so the table carries cues for them: words
that people use when they ask. A cue counts where instructions stand, at the opening and at the
close; in between is material, which may contain any word.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kproxy.routing.features import clip
from kproxy.routing.table import People

__all__ = ["DEFAULT_CUES", "Cue", "find_cue"]

_OPENING = 80  # bytes: the first sentence, where "Summarize the following" stands
_HEAD, _TAIL = 400, 200

DEFAULT_CUES: tuple[tuple[People, tuple[str, ...]], ...] = (
    ("summarization", ("summarize", "summarise", "summary", "tl;dr", "tldr", "key points")),
    ("extraction", ("extract", "list all", "find all", "as json", "into json", "parse the")),
    ("code", ("```", "python", "javascript", "sql", "regex", "def ", "implement", "unit test")),
    (
        "creative",
        (
            "poem",
            "story about",
            "write a story",
            "short story",
            "haiku",
            "lyrics",
            "slogan",
            "joke",
        ),
    ),
    ("reasoning", ("prove that", "solve", "calculate", "how many", "step by step")),
    ("analysis", ("compare", "analy", "evaluate", "explain", "describe", "pros and cons")),
)


class Cue(NamedTuple):
    """What was found; `opening` when it stands in the first sentence."""

    people: People
    opening: bool


def find_cue(prompt: str | bytes, cues: Mapping[People, tuple[str, ...]]) -> Cue | None:
    """The first cue of the opening, else of the head and the close, in the table's order."""
    raw = clip(prompt)
    around = _first(raw[:_HEAD] + b"\n" + raw[_HEAD:][-_TAIL:], cues)
    # What the head has not, its beginning has not; but beyond ASCII a letter's lower case may
    # depend on what follows it, and a sigma does.
    if around is None and raw.isascii():
        return None
    opening = _first(raw[:_OPENING], cues)
    if opening is not None:
        return Cue(opening, opening=True)
    return None if around is None else Cue(around, opening=False)


def _first(part: bytes, cues: Mapping[People, tuple[str, ...]]) -> People | None:
    """The first category of the table with a word in this part; a cut character is passed over."""
    text = part.decode("utf-8", "ignore").lower()
    for people, words in cues.items():
        for word in words:  # a generator would take four times as long as the search itself
            if word in text:
                return people
    return None
