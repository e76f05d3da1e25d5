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
    opening = raw[:_OPENING].decode("utf-8", "ignore").lower()
    around = (raw[:_HEAD] + b"\n" + raw[_HEAD:][-_TAIL:]).decode("utf-8", "ignore").lower()
    for text, is_opening in ((opening, True), (around, False)):
        for people, words in cues.items():
            if any(word in text for word in words):
                return Cue(people, is_opening)
    return None
