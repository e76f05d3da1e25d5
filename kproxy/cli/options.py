"""What several commands share: where the configuration and the data are, and how to print.

Click's values in; `Overrides`, an open key store, or text on standard output out.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from kproxy.config import Overrides, find_data_dir, find_tiers
from kproxy.store.keystore import KeyStore, open_keystore

__all__ = [
    "as_json",
    "check_tier",
    "config_option",
    "data_dir_option",
    "keystore",
    "print_json",
    "print_table",
    "spell_time",
    "unix_now",
]

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration file (TOML). [environment: KPROXY_CONFIG]",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where keys and receipts are kept. [environment: KPROXY_DATA_DIR]",
)


def as_json(command: F) -> F:
    """Give a command the flag `--json`, as its argument `json`."""
    return click.option("--json", is_flag=True, help="Print JSON for scripts.")(command)


@contextmanager
def keystore(
    config: Path | None, data_dir: Path | None, *, make: bool = False
) -> Iterator[KeyStore]:
    """The key store that these options mean, closed afterwards. Raises KproxyError.

    Only a command that puts something in makes a store that is not there (`make`).
    """
    overrides = Overrides(config=config, data_dir=data_dir)
    store = open_keystore(find_data_dir(overrides, os.environ), make=make)
    try:
        yield store
    finally:
        store.close()


def check_tier(config: Path | None, named: str) -> None:
    """Pass the name of a tier of this configuration. Raises ConfigError and BadParameter."""
    tiers = find_tiers(Overrides(config=config), os.environ)
    if named not in tiers:
        there = ", ".join(map(repr, tiers))
        raise click.BadParameter(f"{named!r} is not one of {there}.", param_hint="tier")


def unix_now() -> float:
    """The wall clock, in Unix seconds."""
    return time.time()


def spell_time(seconds: int | None) -> str:
    """Unix seconds for people, in UTC; `never` for None."""
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def print_json(value: object) -> None:
    """One line of JSON on standard output."""
    click.echo(msgspec.json.encode(value))


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as they need to be, on standard output."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
