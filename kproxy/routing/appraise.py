"""A request goes in; what to expect of each model of the catalog on it comes out.

What the router reads of a request is what its people say: the last words of the user. Where these
are few and ask for nothing by a cue ("and in Rust?"), the ones before are read behind them. What
tools bring and what models have answered is not read. A system message is often a uniform that
every request of an application wears ("You are a coding assistant"): of it only a cue counts for
what is done to material, and only where the user gives none.
"""

from collections.abc import Container, Mapping, Sequence

import msgspec

from kproxy.catalog.load import Model
from kproxy.routing.cues import Cue, find_cue
from kproxy.routing.dial import Dial, Judgement, worths
from kproxy.routing.panel import ModelRow, Panel
from kproxy.routing.router import Router
from kproxy.routing.table import People
from kproxy.schema.chat import ChatRequest, Message

__all__ = ["Appraisal", "Appraiser", "said"]

_FEW = 80  # characters of the user's last words under which the ones before are read as well
_MOST_TURNS = 4
_INSTRUCTING = ("system", "developer")
_TASKS = ("summarization", "extraction")

Cues = Mapping[People, tuple[str, ...]]


class Appraisal(msgspec.Struct, frozen=True):
    """A judgement of many models, and the place in it of each `provider/id`.

    `version` is the router's: the same version and prompt give the same judgement. Of the models in
    `unknown` nobody has said anything: they are taken to be middling, and have no quality.
    """

    judgement: Judgement
    places: Mapping[str, int]
    unknown: Container[str]
    version: str

    def of(self, key: str) -> tuple[float, int] | None:
        """The quality to expect, 0 to 1, and the usual length of an answer to this in tokens; None
        where nobody has said anything of the model."""
        place = self.places.get(key)
        if place is None or key in self.unknown:
            return None
        return self.judgement.quality[place], int(self.judgement.output_tokens[place]) + 1

    def worths(
        self, keys: Sequence[str], costs: Sequence[float | None], dial: Dial
    ) -> tuple[float, ...]:
        """What each of these judged models is worth beside the others, see `dial.worths`."""
        return worths(self.judgement, costs, dial, [self.places[key] for key in keys])


class Appraiser:
    """Judges requests for the models of one catalog. Immutable; at least one model."""

    def __init__(self, router: Router, models: Sequence[Model]) -> None:
        self._router = router
        # Hosts of one model share a row: they differ in price and speed, which are not judged here.
        rows: dict[ModelRow, int] = {}
        places = {
            model.key: rows.setdefault(ModelRow(model.id, model.quality), len(rows))
            for model in models
        }
        self._places = places
        measured = {one.id for pool in router.table.pools for one in pool.models}
        self._unknown = frozenset(
            model.key for model in models if not model.quality and model.id not in measured
        )
        self._panel = Panel(router.table, tuple(rows)) if rows else None
        self._cues = router.table.cues
        self._tasks = {people: words for people, words in self._cues.items() if people in _TASKS}

    def __repr__(self) -> str:
        return f"<Appraiser {len(self._places)} routes by {self._router.version}>"

    def __call__(self, request: ChatRequest) -> Appraisal | None:
        """What to expect; None where there is no model."""
        if self._panel is None:
            return None
        prompt, cue = _asked(request.messages, self._cues)
        cue = cue or find_cue(_instructed(request.messages), self._tasks)
        judgement = self._panel.judge(self._router.evidence(prompt), cue)
        return Appraisal(judgement, self._places, self._unknown, self._router.version)


def said(messages: Sequence[Message], cues: Cues) -> str:
    """The user's last words; where they are few and give no cue, those before behind them."""
    return _asked(messages, cues)[0]


def _asked(messages: Sequence[Message], cues: Cues) -> tuple[str, Cue | None]:
    """What is said, and the cue that it gives; mostly one turn, which is searched once."""
    turns: list[str] = []
    size = 0
    cue = None
    for message in reversed(messages):
        if message.role == "user" and (text := _text(message)):
            turns.append(text)
            size += len(text)
            enough = size >= _FEW or len(turns) == _MOST_TURNS
            if not enough or len(turns) == 1:
                cue = find_cue(text, cues)
            if enough or cue is not None:
                break
    whole = "\n".join(turns)
    return whole, cue if len(turns) == 1 else find_cue(whole, cues)


def _instructed(messages: Sequence[Message]) -> str:
    for one in messages[:2]:
        if one.role in _INSTRUCTING:
            return _text(one)
    return ""


def _text(message: Message) -> str:
    content = message.content
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.text)
    return content or ""
