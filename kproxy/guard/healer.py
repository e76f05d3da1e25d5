"""The pieces of a streamed text go in, healed as they pass or at their end; an editor of streams.

Two ways (`x_kairosroute.heal`). `buffer` holds the whole text until its end and lets the healed one
go. `stream` lets go at once what is surely the beginning of a good answer (`prefix.py`), holds the
rest from the first doubt on, and at the end gives what healing made of it: that begins with what
has left already, since mends change no stretch of a text that is good.

Where nothing can be done the text leaves as it came, and `report` says so. All is done in the step
that reads the stream, so a text of more than `MAX_TEXT` characters, or one whose schema would take
long to check, is not healed here; by a large schema nothing is checked at all. And nobody is asked
again: the caller has the beginning.
"""

from collections.abc import Mapping

from kproxy.guard.forms import Forms
from kproxy.guard.heal import Form, Healed, check_work, heal
from kproxy.guard.prefix import Prefix

__all__ = ["MAX_TEXT", "Healer", "stream_healer"]

MAX_TEXT = 65_536
"""Characters; a few milliseconds at the very end of a stream, and more than a model writes."""

MOST_WORK = 1_000_000
"""Steps of a schema's check, some 5 ms; and as long may the mending take."""

MOST_STEPS = 1_000

CALLS = frozenset({"tool_calls", "function_call"})
"""Finish reasons behind which the words are no answer yet, but stand beside a call."""


class _Choice:
    """One choice's text."""

    def __init__(self, prefix: Prefix | None) -> None:
        self.prefix = prefix  # None: everything is held
        self.left: list[str] = []
        self.held: list[str] = []
        self.size = 0


class Healer:
    """See `dialect.editor.Editor`. One instance belongs to one stream."""

    def __init__(self, form: Form, *, whole: bool) -> None:
        self._form = form
        self._whole = whole
        self._choices: dict[int, _Choice] = {}
        self._reports: dict[int, Healed] = {}
        self._ended: set[int] = set()

    def __repr__(self) -> str:
        return f"<Healer of {len(self._choices)} choices>"

    @property
    def reports(self) -> Mapping[int, Healed]:
        """What became of each choice that has ended."""
        return self._reports

    def text(self, choice: int, piece: str) -> str:
        """What of the text may leave now."""
        if choice in self._ended:
            return piece  # behind its end: it is no part of what was healed
        known = self._choices.get(choice)
        if known is None:
            known = self._choices[choice] = _Choice(None if self._whole else self._prefix())
        known.size += len(piece)
        if known.prefix is None or known.prefix.doubt or known.size > MAX_TEXT:
            return self._hold(known, piece)
        passed = known.prefix.feed(piece)
        known.left.append(passed)
        return passed

    def _prefix(self) -> Prefix:
        schema = self._form.schema
        return Prefix(None if schema is None else schema.value)

    def _hold(self, known: _Choice, piece: str) -> str:
        """The piece is held; where all is too long to be healed, nothing is any more."""
        if known.size <= MAX_TEXT:
            known.held.append(piece)
            return ""
        passed = (known.prefix.held if known.prefix else "") + "".join(known.held) + piece
        known.prefix, known.held, known.left = None, [], []
        return passed

    def end(self, choice: int, finish: str) -> str:
        """What is still due before the choice's finish reason."""
        known = self._choices.pop(choice, None)
        if known is None or choice in self._ended:
            return ""
        self._ended.add(choice)
        held = (known.prefix.held if known.prefix else "") + "".join(known.held)
        if finish in CALLS:
            return held
        if known.size > MAX_TEXT:  # it has left
            self._reports[choice] = Healed("", healed=False, why="too_large")
            return ""
        left = "".join(known.left)
        report = self._healed(left + held, finish)
        if report.healed and not report.text.startswith(left):
            report = Healed(left + held, healed=False, done=(), why="streamed")
        self._reports[choice] = report
        return report.text[len(left) :]

    def _healed(self, text: str, finish: str) -> Healed:
        if check_work(text, self._form) > MOST_WORK:
            return Healed(text, healed=False, why="too_large")
        return heal(text, finish, self._form, MOST_STEPS)


def stream_healer(forms: Forms | None) -> Healer | None:
    """What heals a stream; None: it passes as it comes."""
    if forms is None or forms.way == "whole" or forms.content is None:
        return None
    return Healer(forms.content, whole=forms.way == "buffer")
