"""An artefact's bytes go in; a `Router` comes out, which judges prompts. Pure, and without numpy.

A prompt's features (`features.py`) pick rows of the table of weights, their sum (`lanes.py`) is the
evidence for each category, and a panel (`panel.py`) turns evidence into what to expect of each
model. A decision is then a matter of price (`dial.py`).
"""

import math
from collections.abc import Sequence

from kproxy.routing.artefact import RARITY_STEP, Artefact, unpack
from kproxy.routing.cues import find_cue
from kproxy.routing.dial import Judgement
from kproxy.routing.features import extract
from kproxy.routing.lanes import ZERO, Buffer, LaneTable
from kproxy.routing.panel import ModelRow, Panel
from kproxy.routing.table import CategoryTable

__all__ = ["Router", "load"]

_PANELS_KEPT = 64

_LEAST_KNOWN = 0.6
"""Share of a prompt's distinct words that must be known. Of 12,429 training prompts 3 have less
when their fold is left out, and as many when their kind is; chance knows one word in five."""


class Router:
    """Judges prompts by one artefact. Nothing that it is asked changes what it answers."""

    def __init__(self, artefact: Artefact) -> None:
        self._table = artefact.table
        self._digest = artefact.digest
        self._scale = artefact.scale
        self._known = artefact.vocabulary
        self._lanes = LaneTable(artefact.weights, len(artefact.table.categories) + 1)
        self._panels: dict[tuple[ModelRow, ...], Panel] = {}

    def __repr__(self) -> str:
        return f"<Router {self.version} {len(self._table.categories)} categories>"

    @property
    def version(self) -> str:
        """The policy's name in a decision: another artefact or an edited table is another one."""
        return self._digest[:12]

    @property
    def table(self) -> CategoryTable:
        """What an operator can read."""
        return self._table

    def judge(self, prompt: str | bytes, models: Sequence[ModelRow]) -> Judgement:
        """What to expect of these models, at least one, on this prompt. Any prompt will do."""
        panel = self._panel(tuple(models))
        return panel.judge(self.evidence(prompt), find_cue(prompt, self._table.cues))

    def evidence(self, prompt: str | bytes) -> list[float]:
        """What the prompt says for each category, in the table's order; 0 says nothing.

        Rows of the table are shared, so an unknown word says what some known one means. Among
        known words that is noise; a prompt of unknown ones, another language or rubbish, would be
        all noise, so it says nothing.
        """
        found = extract(prompt)
        known = sum(map(self._known.__getitem__, found.vocabulary))
        if known <= _LEAST_KNOWN * len(found.vocabulary):
            return [0.0] * len(self._table.categories)
        *said, rarity = self._lanes.total(found.words)
        *looks, _ = self._lanes.total(found.shape)
        said_zero, looks_zero = ZERO * len(found.words), ZERO * len(found.shape)
        square = (rarity - said_zero) * RARITY_STEP
        scale = self._scale
        word = scale / math.sqrt(max(square, RARITY_STEP))
        return [
            word * (one - said_zero) + scale * (other - looks_zero)
            for one, other in zip(said, looks, strict=True)
        ]

    def _panel(self, models: tuple[ModelRow, ...]) -> Panel:
        found = self._panels.get(models)
        if found is None:
            if not models:
                raise ValueError("no models to judge")
            if len(self._panels) >= _PANELS_KEPT:
                self._panels.clear()
            found = self._panels[models] = Panel(self._table, models)
        return found


def load(data: Buffer) -> Router:
    """A router from an artefact's bytes, which it keeps.

    Raises ArtefactError, naming what is wrong with them.
    """
    return Router(unpack(data))
