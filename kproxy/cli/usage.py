"""`kproxy usage`: what was used, what it cost and what it saved, by day, key, model or account.

Reads the sums in the database and, behind them, the receipts that a running server has not moved
there yet (they are in its spool for a second or so), so every ended answer is counted.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from kproxy.cli.options import (
    as_json,
    config_option,
    data_dir_option,
    keystore,
    print_json,
    print_table,
    unix_now,
)
from kproxy.config import Overrides, find_data_dir
from kproxy.ledger.rollup import MINUTE, Counts, Place
from kproxy.money import format_usd
from kproxy.store.database import StoreError
from kproxy.store.receipts import open_receipts

__all__ = ["usage"]

GROUPS = ("day", "account", "key", "model", "provider")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_SPELLINGS = "2026-11-24, 2026-11-24T12:00, 90m, 12h, 7d"
_NUMBERS = ("REQUESTS", "ERRORS", "IN", "CACHED", "OUT", "REASONING", "COST_USD", "SAVED_USD")

Sums = Mapping[tuple[str, ...], Counts]


def _since(context: click.Context, parameter: click.Parameter, value: str | None) -> int:
    """Unix seconds, the first of a minute; 0 without a value."""
    if value is None:
        return 0
    number, unit = value[:-1], _UNITS.get(value[-1:])
    try:
        if unit is not None and number.isascii() and number.isdigit():
            moment = datetime.fromtimestamp(unix_now(), UTC) - timedelta(**{unit: int(number)})
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is none of {_SPELLINGS}", context, parameter) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) // MINUTE * MINUTE


@click.command()
@click.option(
    "--by",
    type=click.Choice(GROUPS),
    multiple=True,
    default=("day", "model"),
    show_default="day and model",
    help="What to sum up by; may be repeated.",
)
@click.option("--since", callback=_since, metavar="TIME", help=f"From then on: {_SPELLINGS} (UTC).")
@click.option("--account", help="Only of this account.")
@config_option
@data_dir_option
@as_json
def usage(
    *,
    by: tuple[str, ...],
    since: int,
    account: str | None,
    config: Path | None,
    data_dir: Path | None,
    json: bool,
) -> None:
    """Show usage, cost and savings. Days are UTC. What has no known price is counted apart."""
    names = _names(config, data_dir)
    account_id = None
    if account is not None:
        found = [one for one, name in names.items() if name == account and one.startswith("acct_")]
        if not found:
            raise StoreError(f"there is no account {account!r}")
        account_id = found[0]
    receipts = open_receipts(find_data_dir(Overrides(config=config, data_dir=data_dir), os.environ))
    try:
        lines = receipts.usage(since, account_id)
    finally:
        receipts.close()
    groups = tuple(dict.fromkeys(by))
    sums = _grouped(lines, groups)
    if json:
        print_json(_as_json(groups, sums, names))
    else:
        _print(groups, sums, names)


def _names(config: Path | None, data_dir: Path | None) -> dict[str, str]:
    """What accounts and keys are called, by their ids."""
    with keystore(config, data_dir) as store:
        found = {account.id: account.name for account in store.accounts()}
        found.update({record.key_id: record.name for record in store.list()})
    return found


def _grouped(lines: Iterable[tuple[Place, Counts]], groups: Sequence[str]) -> Sums:
    sums: dict[tuple[str, ...], Counts] = {}
    for place, counts in lines:
        spelt = {
            "day": datetime.fromtimestamp(place.start, UTC).strftime("%Y-%m-%d"),
            "account": place.account_id,
            "key": place.key_id,
            "model": place.model,
            "provider": place.provider,
        }
        group = tuple(spelt[name] for name in groups)
        sums[group] = _add(sums.get(group, Counts()), counts)
    return dict(sorted(sums.items()))


def _add(one: Counts, other: Counts) -> Counts:
    return Counts(*map(sum, zip(one, other, strict=True)))


def _total(sums: Sums) -> Counts:
    total = Counts()
    for counts in sums.values():
        total = _add(total, counts)
    return total


def _as_json(groups: Sequence[str], sums: Sums, names: Mapping[str, str]) -> dict[str, object]:
    data = []
    for group, counts in sums.items():
        members: dict[str, object] = dict(zip(groups, group, strict=True))
        for name in ("account", "key"):
            if name in members:
                members[f"{name}_name"] = names.get(str(members[name]))
        data.append({**members, **_numbers(counts)})
    return {"object": "list", "data": data, "total": _numbers(_total(sums))}


_AMOUNTS = (
    ("cost", "cost_usd"),
    ("savings", "savings_usd"),
    ("charged_spend", "charged_spend_usd"),  # against trial credits
)


def _numbers(counts: Counts) -> dict[str, object]:
    members: dict[str, object] = counts._asdict()
    for name, key in _AMOUNTS:
        members[key] = msgspec.Raw(format_usd(int(str(members.pop(name)))).encode("ascii"))
    return members


def _print(groups: Sequence[str], sums: Sums, names: Mapping[str, str]) -> None:
    rows = [
        (*(names.get(one, one) for one in group), *_cells(counts)) for group, counts in sums.items()
    ]
    total = _total(sums)
    rows.append(("total", *("" for _ in groups[1:]), *_cells(total)))
    print_table((*(name.upper() for name in groups), *_NUMBERS), rows)
    if total.unpriced:
        click.echo(f"{total.unpriced} attempts have no known price and are not in the cost.")


def _cells(counts: Counts) -> tuple[str, ...]:
    return (
        str(counts.requests),
        str(counts.errors),
        str(counts.prompt_tokens),
        str(counts.cached_tokens),
        str(counts.completion_tokens),
        str(counts.reasoning_tokens),
        format_usd(counts.cost),
        format_usd(counts.savings),
    )
