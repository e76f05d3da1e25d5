"""`kproxy accounts`: make, show and change accounts (contract section 12)."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kproxy.admission.keys import Account
from kproxy.admission.quota import overage_cost
from kproxy.admission.tiers import TIERS
from kproxy.cli.options import (
    as_json,
    config_option,
    data_dir_option,
    keystore,
    print_json,
    print_table,
    spell_time,
    unix_now,
)
from kproxy.config import Overrides, load
from kproxy.money import format_usd
from kproxy.store.database import StoreError
from kproxy.store.month import month_at
from kproxy.store.receipts import open_receipts

__all__ = ["accounts"]


@click.group()
def accounts() -> None:
    """Accounts: create, list, set-tier, bill."""


@accounts.command()
@click.argument("name")
@click.option("--tier", type=click.Choice(list(TIERS)), required=True)
@config_option
@data_dir_option
@as_json
def create(*, name: str, tier: str, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """Create an account without a key."""
    with keystore(config, data_dir, make=True) as store:
        account = store.create_account(name, tier, unix_now())
    if json:
        print_json(_public(account))
    else:
        click.echo(f"{account.name} ({account.tier}) is created.")


@accounts.command(name="list")
@config_option
@data_dir_option
@as_json
def list_(*, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """List accounts. Times are UTC."""
    with keystore(config, data_dir) as store:
        found = store.accounts()
    if json:
        print_json({"object": "list", "data": [_public(account) for account in found]})
        return
    rows = [(entry.name, entry.tier, spell_time(entry.created_at), entry.id) for entry in found]
    print_table(("NAME", "TIER", "CREATED", "ID"), rows)


@accounts.command(name="set-tier")
@click.argument("name")
@click.argument("tier", type=click.Choice(list(TIERS)))
@config_option
@data_dir_option
@as_json
def set_tier(
    *, name: str, tier: str, config: Path | None, data_dir: Path | None, json: bool
) -> None:
    """Give an account another tier; running servers know it from their next request on."""
    with keystore(config, data_dir) as store:
        account = store.set_tier(name, tier)
    if account is None:
        raise StoreError(f"there is no account {name!r}")
    if json:
        print_json(_public(account))
    else:
        click.echo(f"{account.name} has the tier {account.tier}.")


def _month(context: click.Context, parameter: click.Parameter, value: str | None) -> float:
    """A moment in the month, in Unix seconds; now without a value."""
    if value is None:
        return unix_now()
    try:
        return datetime.strptime(value, "%Y-%m").replace(tzinfo=UTC).timestamp()
    except ValueError:
        said = f"{value!r} is no month like 2026-11"
        raise click.BadParameter(said, context, parameter) from None


@accounts.command()
@click.option("--month", callback=_month, metavar="YYYY-MM", help="In UTC. Without it: this one.")
@config_option
@data_dir_option
@as_json
def bill(*, month: float, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """Show what a month's tokens come to beyond each account's tier, and the credit used until now.

    The tier is the one that the account has now.
    """
    settings = load(Overrides(config=config, data_dir=data_dir), os.environ)
    with keystore(config, data_dir) as store:
        found = store.accounts()
    receipts = open_receipts(settings.data_dir)
    try:
        tokens, credit = receipts.charged(month_at(month))
    finally:
        receipts.close()
    bills = []
    for account in found:
        tier = settings.tiers[account.tier]
        used, overage = tokens[account.id], overage_cost(tier, tokens[account.id])
        spent = None if tier.trial_credit is None else format_usd(credit[account.id])
        bills.append((account, used, tier.tokens_per_month, format_usd(overage), spent))
    if json:
        print_json({"object": "list", "data": [_bill(*one) for one in bills]})
        return
    rows = [
        (one.name, one.tier, str(used), "-" if limit is None else str(limit), over, spent or "-")
        for one, used, limit, over, spent in bills
    ]
    print_table(("NAME", "TIER", "TOKENS", "OF", "OVERAGE_USD", "CREDIT_USED_USD"), rows)


def _bill(
    account: Account, used: int, limit: int | None, overage: str, spent: str | None
) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "tier": account.tier,
        "charged_tokens": used,
        "tokens_per_month": limit,
        "overage_usd": msgspec.Raw(overage.encode("ascii")),
        "credit_used_usd": None if spent is None else msgspec.Raw(spent.encode("ascii")),
    }


def _public(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "tier": account.tier,
        "created_at": account.created_at,
    }
