"""Hostile code meets the sandbox as it is: nothing leaks, and each piece ends as it may.

The pieces of a group are run together, once for each tier; every piece is a test of its own. What
is asserted is the kind of end, never how long it took: a piece that outlives the sandbox's own
deadline would still be running.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import escapes_host, escapes_inside
from tests.fakes.exhaustion import ENDS
from tests.fakes.prison import SECRET, Report, attack, params
from tests.fakes.snippets import PRELUDE, WON

# Real listeners, so that a connection which should not be there is seen from outside.
pytestmark = pytest.mark.loopback

TIERS = ("monty", "python")
ESCAPES = {"host": escapes_host.ESCAPES, "inside": escapes_inside.ESCAPES}
GROUPS = ESCAPES | {name: pieces for name, (pieces, _) in ENDS.items()}
# What was run at all: not "busy", nor "size".
ANY_END = {None, "syntax", "exception", "time", "memory", "output", "crash"}


@pytest.fixture(scope="session")
def report(compiled: Path) -> Callable[[str, str], Report]:
    @cache
    def run(tier: str, group: str) -> Report:
        return attack(params(tier, compiled), GROUPS[group])

    return run


def every(groups: tuple[str, ...]) -> list[Any]:
    return [pytest.param(g, name, id=f"{g}: {name}") for g in groups for name in GROUPS[g]]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("group", "name"), every(tuple(ESCAPES)))
def test_nothing_escapes(
    report: Callable[[str, str], Report], tier: str, group: str, name: str
) -> None:
    outcome = report(tier, group).outcomes[name]
    said = f"{outcome.stdout}{outcome.result}{outcome.text}"
    assert WON not in said, said
    assert SECRET not in said, said
    assert outcome.error in ANY_END, outcome


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("group", "name"), every(tuple(ENDS)))
def test_nothing_is_exhausted(
    report: Callable[[str, str], Report], tier: str, group: str, name: str
) -> None:
    outcome = report(tier, group).outcomes[name]
    assert outcome.error in ENDS[group][1], outcome
    assert len(outcome.stdout.encode()) <= params("monty", Path()).output_bytes


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("group", GROUPS)
def test_the_host_notices_nothing(
    report: Callable[[str, str], Report], tier: str, group: str
) -> None:
    assert report(tier, group).outside == []


def test_there_are_enough_pieces() -> None:
    assert sum(map(len, GROUPS.values())) >= 150


@pytest.mark.parametrize("tier", TIERS)
def test_a_piece_that_wins_is_seen(compiled: Path, tier: str) -> None:
    """Otherwise the tests above could not fail."""
    given = params(tier, compiled)
    pieces = {"won": PRELUDE + "won(1)", "told": "print('canary-' + '5f1c0a')"}
    outcomes = attack(given, pieces).outcomes
    assert WON in outcomes["won"].stdout
    assert SECRET in outcomes["told"].stdout
