"""Measures healing: how much of the corpus becomes what was meant, and what a text's length costs.

    python bench/heal.py             the table of the corpus, then times from 1 kB to 1 MB
    python bench/heal.py --rounds N  each time is the least of N (5)

The corpus is that of tests/guard/corpus: broken answers with the value that each means, and
hopeless ones that mean nothing. `right` became that value, `left` stayed as it came, `invented`
became another one. Where json-repair is installed, the second half of the table says the same of
it, called with its defaults (of a hopeless text an empty value counts as `left`). Times are CPU of
this process, so that a busy machine matters less; the last column is the time per character at the
end of the row against that at its beginning.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).resolve().parents[1]))

from kproxy.guard.heal import Form, heal
from tests.guard.corpus.cases import Case, corpus

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ENDS = ("right", "left", "invented")
FORM = Form()

Heal = Callable[[str], str | None]

_ROW = '{"id": 17, "name": "Ann O. Body", "tags": ["a", "b"], "ok": true, "note": "it is \\"so\\""}'
SHAPES: Mapping[str, tuple[str, str, str]] = {
    "fenced, good inside": ("```json\n[", _ROW + ",\n", _ROW + "]\n```"),
    "Python's literals": ("[", _ROW.replace("true", "True") + ",\n", "1]"),
    "Python's quotes": ("[", "{'id': 17, 'name': 'Ann', 'ok': True, 'text': 'so'}, ", "1]"),
    "comma too many": ("[", _ROW + ",\n", "]"),
    "many small objects": ("[", '{"a":{"b":{"c":[1,2,{"e":None}]}}},', "1]"),
    "one long string, raw lines": ('{"a": "', "x and y\n", '",}'),
    "one inner quote at the end": ("[", _ROW + ",\n", '{"a": "say "x" now"}]'),
    "brackets alone": ("", "[", ""),
    "no JSON at all": ("", "lorem ipsum ", ""),
}


def ours(text: str) -> str | None:
    """Our healing; None: left as it came."""
    found = heal(text, "stop", FORM)
    return found.text if found.healed else None


def other() -> Heal | None:
    """json-repair's, where it is installed."""
    if find_spec("json_repair") is None:
        return None
    repair: Callable[[str], str] = import_module("json_repair").repair_json
    return lambda text: repair(text) or None


def judged(case: Case, mend: Heal) -> str:
    """How the case ended."""
    try:
        text = mend(case.text)
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return "left"
    if text is None or (value in ("", [], {}) and not case.meant):
        return "left"
    return "right" if case.meant and value == case.value else "invented"


def table(cases: Sequence[Case], menders: Sequence[Heal]) -> Iterator[str]:
    """One line for each kind, and their sums."""
    counts: defaultdict[str, list[Counter[str]]] = defaultdict(lambda: [Counter() for _ in menders])
    for case in cases:
        for place, mend in enumerate(menders):
            end = judged(case, mend)
            counts[case.kind][place][end] += 1
            counts["all that mean something" if case.meant else "all hopeless"][place][end] += 1
    heads = "".join(f"{end:>10}" for end in ENDS)
    yield f"{'':<28}{'cases':>6}{heads * len(menders)}"
    for kind, ends in counts.items():
        numbers = "".join(f"{count[end]:>10}" for count in ends for end in ENDS)
        yield f"{kind:<28}{ends[0].total():>6}{numbers}"


def times(rounds: int) -> Iterator[str]:
    """Milliseconds for each shape and size."""
    yield (
        f"{'ms of CPU for characters':<28}"
        + "".join(f"{size:>11,}" for size in SIZES)
        + "   growth"
    )
    for shape, (head, unit, tail) in SHAPES.items():
        spent = []
        for size in SIZES:
            count = max(1, (size - len(head) - len(tail)) // len(unit))
            text = head + unit * count + tail
            spent.append(min(_timed(text) for _ in range(rounds)) / len(text))
        cells = "".join(
            f"{1000 * one * size:>11.2f}" for one, size in zip(spent, SIZES, strict=True)
        )
        yield f"{shape:<28}{cells}{spent[-1] / spent[0]:>9.2f}"


def _timed(text: str) -> float:
    begun = time.process_time()
    ours(text)
    return time.process_time() - begun


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    repair = other()
    for line in table(corpus(), [ours] if repair is None else [ours, repair]):
        print(line)
    print()
    for line in times(rounds):
        print(line)


if __name__ == "__main__":
    main()
