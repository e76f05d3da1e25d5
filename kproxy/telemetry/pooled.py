"""The metrics of several processes in, those of all together out. Pure but for the library's types.

Counters and histograms add up. What a gauge means together is its owner's to say (`Merge`). What
lasts, and only that, is kept of a process that is gone, so that no counter goes back when one is
replaced: its heir begins with what it left (`lasting`), and shows the sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from prometheus_client.metrics_core import Metric

__all__ = ["Family", "Merge", "add_up", "decode", "encode", "families", "lasting", "metrics"]

Merge = Literal["sum", "max", "min", "total"]
"""What several processes' values of a gauge are together. `total`: it only grows, as a counter."""

LASTING = frozenset({"counter", "histogram"})

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with its samples: name and labels, value."""

    name: str
    text: str
    kind: str
    samples: tuple[tuple[str, Labels, float], ...]


def families(found: Iterable[Metric]) -> list[Family]:
    """What a registry has collected, as values."""
    return [
        Family(
            one.name,
            one.documentation,
            one.type,
            tuple((s.name, tuple(s.labels.items()), float(s.value)) for s in one.samples),
        )
        for one in found
    ]


def metrics(found: Iterable[Family]) -> list[Metric]:
    """The same for the library, which writes them out."""
    made = []
    for family in found:
        metric = Metric(family.name, family.text, family.kind)
        for name, labels, value in family.samples:
            metric.add_sample(name, dict(labels), value)
        made.append(metric)
    return made


def lasting(found: Iterable[Family], rules: Mapping[str, Merge]) -> list[Family]:
    """What counts of a process that is gone."""
    return [one for one in found if one.kind in LASTING or rules.get(one.name) == "total"]


def add_up(parts: Sequence[Iterable[Family]], rules: Mapping[str, Merge]) -> list[Family]:
    """All together, in the order of the first part. A gauge without a rule is a sum."""
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
