"""The corpus: broken answers, each with the value that is meant, or with none.

`generated()` crosses values with kinds of damage, by a seed; `written.py` has those that a
generator would not think of. A case whose damage leaves valid JSON is none and is left out.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from kproxy.sim.chance import Chance
from tests.guard.corpus.damage import DAMAGE
from tests.guard.corpus.values import VALUES
from tests.guard.corpus.written import HOPELESS, WRITTEN

__all__ = ["HOPELESS_KIND", "Case", "corpus"]

HOPELESS_KIND = "hopeless"
SEED = 20_26


class Case(NamedTuple):
    """`value` is what is meant; of a hopeless one nothing is (`meant` is False)."""

    kind: str
    text: str
    value: Any = None
    meant: bool = True


def corpus() -> list[Case]:
    """All cases, the same in every process."""
    cases = [*_generated(), *(Case("written by hand", text, value) for text, value in WRITTEN)]
    cases += [Case(HOPELESS_KIND, text, meant=False) for text in HOPELESS]
    return cases


def _generated() -> Iterator[Case]:
    chance = Chance(SEED)
    for kind, damage in DAMAGE.items():
        for number, value in enumerate(VALUES):
            indent = None if number % 2 else 2
            text = json.dumps(value, ensure_ascii=False, indent=indent)
            quoted = damage(value, text, chance)
            if quoted is None or quoted == text or _is_json(quoted, kind):
                continue
            yield Case(kind, quoted, _with_quotes(value, text, quoted, kind))


def _with_quotes(value: Any, text: str, quoted: str, kind: str) -> Any:
    """Quotes that were put into a text belong to the value that is meant."""
    if kind != "inner quotes":
        return value
    start = next(at for at, (one, two) in enumerate(zip(text, quoted, strict=False)) if one != two)
    end = quoted.index('"', start + 1)
    return json.loads(f'{quoted[:start]}\\"{quoted[start + 1 : end]}\\"{quoted[end + 1 :]}')


def _is_json(text: str, kind: str) -> bool:
    if kind == "JSON in a string":
        return False  # of JSON's grammar, but no object
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
