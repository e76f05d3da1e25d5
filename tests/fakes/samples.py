"""Collected metrics, a name and labels in; the one sample that has them out."""

from collections.abc import Iterable, Mapping

from kproxy.telemetry.pooled import Family

__all__ = ["sample"]


def sample(found: Iterable[Family], name: str, labels: Mapping[str, str]) -> float:
    """The value; 0 where there is none."""
    for family in found:
        for named, values, value in family.samples:
            if named == name and dict(values) == dict(labels):
                return value
    return 0.0
