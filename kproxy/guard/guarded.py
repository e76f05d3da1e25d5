"""One request under the operator's rules: its messages in, what a provider may see out; and back.

`Guarded` is made for a request, edits its messages once, then each whole answer or each stream
of one, and knows afterwards which rules have found how much. It holds the originals of what it
masked, so it lives no longer than the request.
"""

from collections import Counter

from msgspec import Raw

from kproxy.errors import Fault, FaultKind, Rejected, Withheld
from kproxy.guard.placeholders import Placeholders, Restorer, looks_written
from kproxy.guard.rules import Action, Rule, Ruleset
from kproxy.guard.scan import Blocked, Overworked, Scanner, rewrite
from kproxy.guard.texts import edit_json, edit_messages, edit_reply
from kproxy.schema.receipt import Fired

__all__ = ["MAX_PIECE", "MOST_STEPS", "AnswerEditor", "Guarded", "refuse_blocked", "texts_of"]

MAX_PIECE = 65_536
"""Characters of one piece of a stream. A token has a few, a whole answer in one piece thousands."""

MOST_STEPS = 2_000
"""Matches, or what looks like them, in one piece: it is looked at where nobody else runs meanwhile,
and each takes some 4 us, so a piece at most 10 ms."""


class Guarded:
    """See the module. `asked` and `answered` are the rules of the two sides; `in_json`: the answer
    is to be JSON, and stays such. A stream cannot be held until its strings are known, so there
    this is sure of originals alone; see `redacts`."""

    def __init__(
        self, asked: Ruleset | None, answered: Ruleset | None, *, in_json: bool = False
    ) -> None:
        self._asked = asked
        self._answered = answered
        self._in_json = in_json
        self._counts: Counter[Rule] = Counter()
        self._placeholders = Placeholders()
        self._adopted: list[AnswerEditor] = []

    def __repr__(self) -> str:
        return f"<Guarded {self.fired}>"

    def messages(self, messages: Raw) -> Raw:
        """The messages as a provider may see them. Raises Rejected 400. Only once."""
        asked = self._asked
        if asked is None:
            return messages
        if any(rule.action is Action.MASK for rule in asked.rules) and looks_written(
            bytes(messages)
        ):
            for text in texts_of(messages):
                self._placeholders.avoid(text)
        try:
            return edit_messages(
                messages, lambda text: rewrite(asked, text, self._replace, self._counts)
            )
        except Blocked as blocked:
            raise refuse_blocked(blocked, "messages") from None

    def added(self, text: str) -> str:
        """A text that is added to the messages, behind `messages`. Raises Rejected 400."""
        if self._asked is None:
            return text
        try:
            return rewrite(self._asked, text, self._replace, self._counts)
        except Blocked as blocked:
            raise refuse_blocked(blocked, "plugins") from None

    def reply(self, body: bytes) -> bytes:
        """A whole answer as the caller may see it. Raises Withheld."""
        if self._answered is None and not self._placeholders.originals:
            return body
        try:
            edit = self._answer_in_json if self._in_json else self._answer
            return edit_reply(body, edit, self._placeholders.restore)
        except Blocked as blocked:
            raise _withheld(blocked) from None

    def editor(self, *, goes_on: bool = False) -> "AnswerEditor | None":
        """For one stream of an answer; None: nothing is to be changed in it.

        `goes_on`: it continues the stream that was adopted last, and what was withheld there.
        """
        if self._answered is None and not self._placeholders.originals:
            return None
        if goes_on and self._adopted:
            return self._adopted[-1].fork()
        return AnswerEditor(self._answered, self._placeholders, in_json=self._in_json)

    def adopt(self, editor: "AnswerEditor") -> None:
        """This stream is the one that the caller gets, or a part of it. Only once each."""
        self._adopted.append(editor)

    @property
    def fired(self) -> tuple[Fired, ...]:
        """The rules that have found something so far, and how often."""
        total = sum((editor.counts for editor in self._adopted), self._counts)
        return tuple(Fired(rule.name, rule.action.value, count) for rule, count in total.items())

    @property
    def redacts(self) -> bool:
        """Whether a stream's text was changed so that it may be no JSON any more, had it been."""
        found = (editor.counts for editor in self._adopted)
        return any(rule.action is Action.REDACT for counts in found for rule in counts)

    def restored(self, text: str) -> str:
        """What a provider says of the request, as its caller wrote it."""
        return self._placeholders.restore(text)

    def _replace(self, rule: Rule, found: str) -> str:
        if rule.action is Action.MASK:
            return self._placeholders.give(rule.label, found)
        return _redacted(rule, found)

    def _answer(self, text: str) -> str:
        if self._answered is not None:
            text = rewrite(self._answered, text, _redacted, self._counts)
        return self._placeholders.restore(text)

    def _answer_in_json(self, text: str) -> str:
        return edit_json(text, self._answer)


class AnswerEditor:
    """The text of one stream, piece by piece: rules first, then the originals.

    Only what comes from the provider is judged: what was masked is the caller's own.
    """

    __slots__ = ("_answered", "_in_json", "_lines", "_placeholders", "counts")

    def __init__(
        self, answered: Ruleset | None, placeholders: Placeholders, *, in_json: bool = False
    ) -> None:
        self._answered = answered
        self._in_json = in_json
        self._placeholders = placeholders
        self._lines: dict[int, tuple[Scanner | None, Restorer]] = {}
        self.counts: Counter[Rule] = Counter()

    def __repr__(self) -> str:
        return f"<AnswerEditor {sum(self.counts.values())} found>"

    def text(self, choice: int, piece: str) -> str:
        """What of the text may leave now. Raises Withheld, Fault."""
        if len(piece) > MAX_PIECE:
            raise _too_much()
        scanner, restorer = self._line(choice)
        try:
            return restorer.feed(piece if scanner is None else scanner.feed(piece))
        except Blocked as blocked:
            raise _withheld(blocked) from None
        except Overworked:
            raise _too_much() from None

    def end(self, choice: int, finish: str) -> str:
        """What was held back. Raises Withheld."""
        scanner, restorer = self._line(choice)
        try:
            rest = "" if scanner is None else scanner.end()
        except Blocked as blocked:
            raise _withheld(blocked) from None
        return restorer.feed(rest) + restorer.end()

    def fork(self) -> "AnswerEditor":
        """One that goes on from here, and counts anew. May be made several times."""
        forked = AnswerEditor(self._answered, self._placeholders, in_json=self._in_json)
        for choice, (scanner, restorer) in self._lines.items():
            scanning = None if scanner is None else scanner.fork(forked.counts)
            forked._lines[choice] = (scanning, restorer.fork())
        return forked

    def _line(self, choice: int) -> tuple[Scanner | None, Restorer]:
        line = self._lines.get(choice)
        if line is None:
            answered = self._answered
            scanner = None
            if answered is not None:
                scanner = Scanner(answered, _redacted, self.counts, MOST_STEPS)
            line = self._lines[choice] = (
                scanner,
                self._placeholders.restorer(in_json=self._in_json),
            )
        return line


def texts_of(messages: Raw) -> list[str]:
    """The texts of a request's messages, in order."""
    texts: list[str] = []

    def collect(text: str) -> str:
        texts.append(text)
        return text

    edit_messages(messages, collect)
    return texts


def refuse_blocked(blocked: Blocked, param: str) -> Rejected:
    """The 400 that names the rule, and not what it has found."""
    message = f"The content was blocked by the rule '{blocked.rule.name}'."
    return Rejected(400, "content_blocked", message, param=param)


def _withheld(blocked: Blocked) -> Withheld:
    return Withheld(f"The answer was blocked by the rule '{blocked.rule.name}'.")


def _too_much() -> Fault:
    return Fault(FaultKind.TOO_LARGE, "a piece of text with too much for the operator's rules")


def _redacted(rule: Rule, _: str) -> str:
    return f"<{rule.label}>"
