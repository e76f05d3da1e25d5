"""Who is refused when the loop is late: the share that brings it back, and nobody before that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.shedding import LATE_TURN, SPREAD, refused_share, shed

CHANCES = [number / 1_000 for number in range(1_000)]


@pytest.mark.parametrize(
    ("turn", "share"), [(0, 0), (0.25, 0), (0.5, 0.5), (1.0, 0.75), (25.0, 0.99)]
)
def test_the_share(turn: float, share: float) -> None:
    assert refused_share(turn, 0.25) == pytest.approx(share)
    refused = [one for one in CHANCES if shed(turn, 0.25, one) is not None]
    assert len(refused) == pytest.approx(share * len(CHANCES), abs=1)


@given(st.floats(0, 100), st.floats(0.01, 10))
def test_what_goes_on_takes_as_long_as_it_may(turn: float, bound: float) -> None:
    share = refused_share(turn, bound)
    assert 0 <= share < 1
    assert turn * (1 - share) == pytest.approx(min(turn, bound))


def test_what_the_caller_is_told() -> None:
    refusal = shed(1.0, LATE_TURN, 0.0)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (503, "overloaded")
    later = set()
    for chance in CHANCES:
        if (one := shed(1.0, LATE_TURN, chance)) is not None:
            ((name, value),) = one.headers
            assert name == b"retry-after"
            later.add(int(value))
    assert later == set(range(1, SPREAD + 1)), "they do not come back together"
