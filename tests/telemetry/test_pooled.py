"""Several processes' metrics as one: what adds up, what does not, what lasts."""

import msgspec
import pytest

from kproxy.telemetry.pooled import Family, Merge, add_up, decode, encode, lasting

RULES: dict[str, Merge] = {"lag": "max", "healthy": "min", "refused": "max"}


def process(requests: dict[str, float], *, gauge: float = 0.0) -> list[Family]:
    counts = tuple(
        ("requests_total", (("route", route),), count) for route, count in requests.items()
    )
    times = (
        ("seconds_bucket", (("le", "1.0"),), gauge),
        ("seconds_bucket", (("le", "+Inf"),), gauge + 1),
        ("seconds_count", (), gauge + 1),
        ("seconds_sum", (), gauge * 2),
    )
    return [
        Family("requests", "Requests.", "counter", counts),
        Family("seconds", "Seconds.", "histogram", times),
        *(Family(name, "G.", "gauge", ((name, (), gauge),)) for name in ("open", "lag", "healthy")),
        Family("refused", "R.", "counter", (("refused_total", (), gauge),)),
    ]


def values(found: list[Family]) -> dict[str, float]:
    return {
        f"{name}{dict(labels) or ''}": value
        for family in found
        for name, labels, value in family.samples
    }


def test_counters_and_histograms_add_up_and_gauges_by_their_rule() -> None:
    one = process({"/a": 1, "/b": 2}, gauge=3)
    other = process({"/b": 5, "/c": 7}, gauge=1)
    assert values(add_up([one, other], RULES)) == {
        "requests_total{'route': '/a'}": 1,
        "requests_total{'route': '/b'}": 7,
        "requests_total{'route': '/c'}": 7,
        "seconds_bucket{'le': '1.0'}": 4,
        "seconds_bucket{'le': '+Inf'}": 6,
        "seconds_count": 6,
        "seconds_sum": 8,
        "open": 4,
        "lag": 3,
        "healthy": 1,
        "refused_total": 3,
    }


def test_of_who_is_gone_only_what_counts_is_kept() -> None:
    kept = lasting(process({"/a": 1}, gauge=3))
    assert [family.name for family in kept] == ["requests", "seconds", "refused"]


def test_what_only_one_of_them_has_is_there() -> None:
    only = [Family("more", "More.", "gauge", ())]
    assert [one.name for one in add_up([process({}), only], RULES)][-1] == "more"


def test_through_bytes_it_is_the_same() -> None:
    found = process({'/a"\n\\': 1.5}, gauge=2)
    assert decode(encode(found)) == found


def test_nothing_else_is_decoded() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(b"\x93abc")
