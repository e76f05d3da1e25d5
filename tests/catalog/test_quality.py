"""A price stands for a quality where nothing else does: never less of it for more money."""

import msgspec
import pytest

from kproxy.catalog.quality import (
    CATEGORIES,
    CHEAPEST,
    DEAREST,
    LINES,
    Line,
    Qualities,
    price_prior,
    prior_at,
)
from kproxy.money import nanos
from kproxy.routing.table import PEOPLE

PRICES = (0.0, 0.05, CHEAPEST, 0.3, 1.0, 4.0, DEAREST, 1000.0)


def test_the_categories_are_the_routers_in_its_order() -> None:
    assert CATEGORIES == PEOPLE
    assert set(LINES) == set(CATEGORIES)


@pytest.mark.parametrize("category", range(len(CATEGORIES)))
def test_more_money_is_never_expected_to_buy_less(category: int) -> None:
    expected = [prior_at(usd)[category] for usd in PRICES]
    assert expected == sorted(expected)
    assert 0 < expected[0] < expected[-1] < 1


def test_beyond_the_scored_models_the_lines_do_not_go_on() -> None:
    assert prior_at(0) == prior_at(CHEAPEST) != prior_at(2 * CHEAPEST)
    assert prior_at(1000) == prior_at(DEAREST) != prior_at(DEAREST / 2)


def test_at_one_dollar_the_line_is_its_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = dict.fromkeys(CATEGORIES, Line(0.0, 0.5)) | {"creative": Line(1.0, 0.0)}
    monkeypatch.setattr("kproxy.catalog.quality.LINES", lines)
    assert prior_at(1) == (0.5, 0.5, 0.5, 0.5, 0.5, 0.731)


def test_three_tokens_of_input_to_one_of_output() -> None:
    assert price_prior(nanos(1), nanos(5)) == prior_at(2)
    assert price_prior(nanos("0.2"), nanos("0.2")) == prior_at(0.2)


@pytest.mark.parametrize("wrong", [{"code": 1.1}, {"code": -0.1}, {"code": "1"}, {"maths": 0.5}])
def test_six_numbers_from_0_to_1(wrong: dict[str, object]) -> None:
    good = dict.fromkeys(CATEGORIES, 0.5)
    assert msgspec.convert(good, Qualities).in_order() == (0.5,) * 6
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(good | wrong, Qualities)
    with pytest.raises(msgspec.ValidationError, match="creative"):
        msgspec.convert(dict.fromkeys(CATEGORIES[:-1], 0.5), Qualities)


def test_a_tuple_is_in_the_order_of_the_categories() -> None:
    given = {name: place / 10 for place, name in enumerate(CATEGORIES)}
    assert msgspec.convert(given, Qualities).in_order() == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
