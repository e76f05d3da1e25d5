"""The metrics of several processes in, those of all together out. Pure.

Counters and histograms add up, but for a counter of what all of them see. What a gauge means
together is its owner's to say (`Merge`). What
lasts, and only that, is kept of a process that is gone, so that no counter goes back when one is
replaced: its heir begins with what it left (`lasting`), and shows the sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

__all__ = ["Family", "Merge", "Named", "add_up", "decode", "encode", "lasting"]

Merge = Literal["sum", "max", "min"]
"""What several processes' values are together."""

LASTING = frozenset({"counter", "histogram"})

Named = tuple[tuple[str, str], ...]
"""Labels of one sample: names with values."""

Samples = dict[tuple[str, Named], float]


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with its samples: name and labels, value.

    Names are those of the exposition: a counter `x` has samples `x_total`, a histogram has
    `x_bucket` with the label `le`, `x_count` and `x_sum`.
    """

    name: str
    text: str
    kind: str
    samples: tuple[tuple[str, Named, float], ...]


def lasting(found: Iterable[Family]) -> list[Family]:
    """What counts of a process that is gone."""
    return [one for one in found if one.kind in LASTING]


def add_up(parts: Sequence[Iterable[Family]], rules: Mapping[str, Merge]) -> list[Family]:
    """All together, in the order of the first part. What has no rule is a sum."""
    first: dict[str, Family] = {}
    samples: dict[str, Samples] = {}
    for part in parts:
        for family in part:
            first.setdefault(family.name, family)
            _add(samples.setdefault(family.name, {}), family, rules.get(family.name, "sum"))
    return [
        msgspec.structs.replace(
            family, samples=tuple((*key, value) for key, value in samples[name].items())
        )
        for name, family in first.items()
    ]


def _add(known: Samples, family: Family, rule: Merge) -> None:
    for name, labels, value in family.samples:
        before = known.get((name, labels))
        if before is None:
            known[name, labels] = value
        elif rule in ("max", "min"):
            known[name, labels] = max(before, value) if rule == "max" else min(before, value)
        else:
            known[name, labels] = before + value


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[Family]).decode
