"""`kproxy accounts`: make, show and change accounts (contract section 12)."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from kproxy.admission.keys import Account
from kproxy.admission.quota import overage_cost
from kproxy.admission.tiers import Tier
from kproxy.cli.options import (
    as_json,
    check_tier,
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
@click.option("--tier", required=True, help="free, team, ... or one of your file's.")
@config_option
@data_dir_option
@as_json
def create(*, name: str, tier: str, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """Create an account without a key."""
    check_tier(config, tier)
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
@click.argument("tier")
@config_option
@data_dir_option
@as_json
def set_tier(
    *, name: str, tier: str, config: Path | None, data_dir: Path | None, json: bool
) -> None:
    """Give an account another tier; running servers know it from their next request on."""
    check_tier(config, tier)
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

    The tier is the one that the account has now; of one that is not configured, nothing is known.
    """
    settings = load(Overrides(config=config, data_dir=data_dir), os.environ)
    with keystore(config, data_dir) as store:
        found = store.accounts()
    receipts = open_receipts(settings.data_dir)
    try:
        tokens, credit = receipts.charged(month_at(month))
    finally:
        receipts.close()
    bills = [
        _Bill(account, settings.tiers.get(account.tier), tokens[account.id], credit[account.id])
        for account in found
    ]
    if json:
        print_json({"object": "list", "data": [_billed(one) for one in bills]})
        return
    rows = [
        (
            one.account.name,
            one.account.tier,
            str(one.used),
            "-" if one.limit is None else str(one.limit),
            one.overage or "?",
            one.spent or "-",
        )
        for one in bills
    ]
    print_table(("NAME", "TIER", "TOKENS", "OF", "OVERAGE_USD", "CREDIT_USED_USD"), rows)


class _Bill(NamedTuple):
    """What an account's month comes to. Without its tier it is not known, which is not 0."""

    account: Account
    tier: Tier | None
    used: int  # tokens of the month
    credit: int  # nano-dollars until now

    @property
    def limit(self) -> int | None:
        return None if self.tier is None else self.tier.tokens_per_month

    @property
    def overage(self) -> str | None:
        return None if self.tier is None else format_usd(overage_cost(self.tier, self.used))

    @property
    def spent(self) -> str | None:
        on_credit = self.tier is not None and self.tier.trial_credit is not None
        return format_usd(self.credit) if on_credit else None


def _billed(one: _Bill) -> dict[str, object]:
    return {
        "id": one.account.id,
        "name": one.account.name,
        "tier": one.account.tier,
        "charged_tokens": one.used,
        "tokens_per_month": one.limit,
        "overage_usd": None if one.overage is None else msgspec.Raw(one.overage.encode("ascii")),
        "credit_used_usd": None if one.spent is None else msgspec.Raw(one.spent.encode("ascii")),
    }


def _public(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "tier": account.tier,
        "created_at": account.created_at,
    }
