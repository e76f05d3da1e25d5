"""A text goes in, whole or piece by piece; the text with the rules applied comes out.

Problem: a secret may be cut anywhere between two pieces, yet a caller must not wait for more than
could still become one, and the same answer must come out however it was cut.

The obvious way runs the patterns over each piece, or over the last two. It misses what is cut
twice, replaces "4111" differently from "4111 1111", and its result depends on the network.

Our way decides places, in order. A place is decided once no later text can begin a match there
(`beginnings.py`): then the match that the engine finds there, or finds none, is the one that it
would find in the whole text. So what is found in pieces is what is found in the whole, and a
whole text is the same scan with everything decided at once.

What is kept: the undecided tail, at most `rules.LONGEST` characters, and the byte before it, which
assertions look at. A match that is decided may reach into the undecided part; it is replaced at
once, and what is found later inside it adds to it.

We work on UTF-8 bytes: places of characters would have to be counted anew for each match.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kproxy.guard.rules import STRENGTH, Action, Rule, Ruleset

__all__ = ["Blocked", "Overworked", "Replace", "Scanner", "rewrite"]

Replace = Callable[[Rule, str], str]
"""(rule, what it has found) -> what stands there instead."""

Counts = Counter[Rule]


class Blocked(Exception):
    """A blocking rule has found something."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.name)
        self.rule = rule


class Overworked(Exception):
    """One piece asks for more work than may be done at a time."""


class _Hit(NamedTuple):
    start: int
    end: int
    rule: Rule


def _place(hit: _Hit) -> tuple[int, int]:
    """Earlier ones first, then longer ones."""
    return hit.start, -hit.end


class Scanner:
    """One text. `counts` are the matches of each rule so far; allowed ones are not counted.

    `most` is how often the engine may be asked for one piece, where that matters: text has few
    matches, and what is all matches takes a hundred times as long as text.
    """

    __slots__ = ("_allowed", "_data", "_most", "_next", "_out", "_replace", "_ruleset", "counts")

    def __init__(
        self, ruleset: Ruleset, replace: Replace, counts: Counts, most: float = math.inf
    ) -> None:
        self._ruleset = ruleset
        self._replace = replace
        self._most = most
        self._data = b""
        self._next = [0] * len(ruleset.rules)  # where each rule goes on
        self._allowed: list[_Hit] = []
        self._out = 0  # up to here it has left, or was replaced
        self.counts = counts

    def __repr__(self) -> str:
        return f"<Scanner holds {len(self._data)} bytes>"

    def feed(self, piece: str) -> str:
        """What of the text may leave now. Raises Blocked, Overworked."""
        self._data += piece.encode()
        begun = self._ruleset.begun(self._data, min(self._next))
        return self._decide(len(self._data) if begun is None else begun[0])

    def end(self, rest: bytes = b"") -> str:
        """The text is whole, with this behind it: what is still due. What is fed from here on is
        another text. Raises Blocked, Overworked."""
        self._data += rest
        out = self._decide(len(self._data) + 1)
        self._data, self._out, self._allowed = b"", 0, []
        self._next = [0] * len(self._next)
        return out

    def fork(self, counts: Counts) -> "Scanner":
        """Another one at the same place of the same text."""
        forked = Scanner(self._ruleset, self._replace, counts, self._most)
        forked._data, forked._out = self._data, self._out
        forked._next, forked._allowed = [*self._next], [*self._allowed]
        return forked

    def _decide(self, limit: int) -> str:
        """Apply what begins before `limit`, and let go of what stands before it."""
        hits = self._hits(limit)
        parts: list[str] = []
        for start, end, rule in _merged(hits):
            if start >= self._out:
                parts.append(self._data[self._out : start].decode())
                parts.append(self._replace(rule, self._data[start:end].decode()))
            self._out = max(self._out, end)
        if self._out < limit:
            parts.append(self._data[self._out : limit].decode())
            self._out = limit
        self._forget(limit - 1)
        return "".join(parts)

    def _hits(self, limit: int) -> list[_Hit]:
        """Matches that begin before `limit` and are not allowed, in order. Raises Blocked."""
        occurring = self._ruleset.occurring.which(self._data)
        hits: list[_Hit] = []
        steps = 0
        for number in occurring:
            rule = self._ruleset.rules[number]
            found = self._allowed if rule.action is Action.ALLOW else hits
            for hit in self._matches(number, limit):
                steps += 1
                if steps > self._most:
                    raise Overworked
                if hit is not None:
                    found.append(hit)
        self._next = [max(place, limit) for place in self._next]
        hits.sort(key=_place)
        if self._allowed:
            hits = list(_not_within(self._allowed, hits))
        for hit in hits:
            self.counts[hit.rule] += 1
            if hit.rule.action is Action.BLOCK:
                raise Blocked(hit.rule)
        return hits

    def _matches(self, number: int, limit: int) -> Iterator[_Hit | None]:
        """Of one rule, from where it goes on; None for what only looked like one."""
        rule, search = self._ruleset.rules[number], self._ruleset.searches[number]
        check, place = rule.source.check, self._next[number]
        while place < limit and (span := search(self._data, place)) is not None:
            start, end = span
            if start >= limit:
                break
            if check is not None:
                end = start + check(self._data[start:end])
            yield _Hit(start, end, rule) if end > start else None
            place = max(end, start + 1)
        self._next[number] = place

    def _forget(self, before: int) -> None:
        """Drop what no decision needs; `before` becomes the first place."""
        if before <= 0:
            return
        self._data = self._data[before:]
        self._out -= before
        self._next = [place - before for place in self._next]
        self._allowed = [
            _Hit(one.start - before, one.end - before, one.rule)
            for one in self._allowed
            if one.end > before
        ]


def rewrite(ruleset: Ruleset, text: str, replace: Replace, counts: Counts) -> str:
    """A whole text; the very same object where no rule has found anything. Raises Blocked."""
    data = text.encode()
    if not ruleset.occurring.which(data):
        return text
    return Scanner(ruleset, replace, counts).end(data)


def _not_within(allowed: list[_Hit], hits: Sequence[_Hit]) -> Iterator[_Hit]:
    """Hits, in order, that no allowed match covers from start to end."""
    allowed.sort(key=_place)
    furthest = at = 0
    for hit in hits:
        while at < len(allowed) and allowed[at].start <= hit.start:
            furthest = max(furthest, allowed[at].end)
            at += 1
        if hit.end > furthest:
            yield hit


def _merged(hits: Sequence[_Hit]) -> Iterator[_Hit]:
    """Hits that overlap as one, of the strongest action among them."""
    merged: _Hit | None = None
    for hit in hits:
        if merged is None or hit.start >= merged.end:
            if merged is not None:
                yield merged
            merged = hit
        else:
            rule = max(merged.rule, hit.rule, key=lambda one: STRENGTH.index(one.action))
            merged = _Hit(merged.start, max(merged.end, hit.end), rule)
    if merged is not None:
        yield merged
