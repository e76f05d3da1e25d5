"""`kproxy accounts`: make, show and change accounts (contract section 12)."""

from pathlib import Path

import click

from kproxy.admission.keys import Account
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
from kproxy.store.database import StoreError

__all__ = ["accounts"]


@click.group()
def accounts() -> None:
    """Accounts: create, list, set-tier."""


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


def _public(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "tier": account.tier,
        "created_at": account.created_at,
    }
