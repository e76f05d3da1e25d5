"""`kproxy keys`: make, show and revoke API keys (contract sections 11 and 12)."""

from pathlib import Path

import click

from kproxy.admission.guardrails import shown
from kproxy.admission.keys import KeyRecord
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
from kproxy.store.database import StoreError
from kproxy.store.keystore import KeyStore

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """API keys: create, list, revoke."""


@keys.command()
@click.option("--account", required=True, help="Whose key it is; created if it does not exist.")
@click.option("--tier", help="The tier of a new account: free, team, ... or one of your file's.")
@click.option("--name", default="command line", show_default=True, help="A name for the key.")
@click.option("--expires-in", type=int, metavar="SECONDS", help="Without it the key never expires.")
@config_option
@data_dir_option
@as_json
def create(
    *,
    account: str,
    tier: str | None,
    name: str,
    expires_in: int | None,
    config: Path | None,
    data_dir: Path | None,
    json: bool,
) -> None:
    """Create a key and print it, this once."""
    if tier is not None:
        check_tier(config, tier)
    with keystore(config, data_dir, make=True) as store:
        _ensure_account(store, account, tier)
        record, secret = store.create_key(account, name, expires_in, unix_now())
    if json:
        print_json({"key": secret, **_public(record)})
        return
    # The key alone on standard output, so that a shell can take it: KEY=$(kproxy keys create ...).
    click.echo(secret)
    click.echo(
        f"{record.key_id} of {record.account.name} ({record.account.tier}), "
        f"expires: {spell_time(record.expires_at)}. The key is not shown again.",
        err=True,
    )


@keys.command(name="list")
@click.option("--account", help="Only the keys of this account.")
@config_option
@data_dir_option
@as_json
def list_(*, account: str | None, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """List keys, never their secrets. Times are UTC."""
    with keystore(config, data_dir) as store:
        if account is not None and store.account(account) is None:
            raise StoreError(f"there is no account {account!r}")
        records = store.list(account)
    if json:
        print_json({"object": "list", "data": [_listed(record) for record in records]})
        return
    header = ("ID", "ACCOUNT", "TIER", "NAME", "PREFIX", "CREATED", "EXPIRES", "USED")
    rows = [
        (
            record.key_id,
            record.account.name,
            record.account.tier,
            record.name,
            record.prefix,
            spell_time(record.created_at),
            "revoked" if record.revoked else spell_time(record.expires_at),
            spell_time(record.last_used_at),
        )
        for record in records
    ]
    print_table(header, rows)


@keys.command()
@click.argument("key_id")
@config_option
@data_dir_option
@as_json
def revoke(*, key_id: str, config: Path | None, data_dir: Path | None, json: bool) -> None:
    """Revoke a key by its id; running servers refuse it from their next request on."""
    with keystore(config, data_dir) as store:
        if not store.revoke(key_id):
            raise StoreError(f"there is no key {key_id!r} in force")
    if json:
        print_json({"id": key_id, "deleted": True})
    else:
        click.echo(f"{key_id} is revoked.")


def _ensure_account(store: KeyStore, name: str, tier: str | None) -> None:
    found = store.account(name)
    if found is None:
        if tier is None:
            raise StoreError(f"there is no account {name!r}: name its --tier to create it")
        store.create_account(name, tier, unix_now())
    elif tier is not None and tier != found.tier:
        raise StoreError(f"the account {name!r} has the tier {found.tier}, not {tier}")


def _public(record: KeyRecord) -> dict[str, object]:
    return {
        "id": record.key_id,
        "name": record.name,
        "prefix": record.prefix,
        "account": record.account.name,
        "tier": record.account.tier,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked": record.revoked,
    }


def _listed(record: KeyRecord) -> dict[str, object]:
    return {
        **_public(record),
        "last_used_at": record.last_used_at,
        "guardrails": shown(record.guardrails, record.own_providers),
    }
