"""`kproxy sim`: options in, the simulated providers as a process of their own."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from kproxy.cli.options import as_json, config_option, print_json
from kproxy.config import Address, Overrides, load

__all__ = ["sim"]


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1:4100",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen.",
)
@click.option("--seed", type=int, help="The same seed gives the same answers.")
@click.option("--first-token-ms", type=float, help="Median time to the first token.")
@click.option("--token-ms", type=float, help="Median time between two tokens.")
@click.option("--jitter", type=float, help="Spread of both times (sigma of a log-normal); 0: none.")
@click.option("--tail", metavar="NxF", help="1 request in N waits F times as long: 20x10.")
@click.option("--tokens", metavar="N|N-M", help="Length of an answer: 40, or 20-80.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="[MODEL!]FAULT",
    help="cut=40, 'gpt-4.1!429=7', 'acme/*!503'; may be repeated. GET /sim/faults lists them.",
)
@config_option
@as_json
def sim(*, listen: str, config: Path | None, json: bool, **chosen: Any) -> None:
    """Serve the simulated providers alone: the load-test target."""
    loaded = load(Overrides(listen=(listen,), config=config), os.environ)
    # Flags come before the file; a flag that was not given leaves the file's value.
    given = {name: value for name, value in chosen.items() if value is not None and value != ()}
    try:
        params = dataclasses.replace(loaded.sim, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    # Here and not above: `kproxy --help` lists this command and needs no server.
    from kproxy.sim.serve import run

    def announce(address: tuple[str, int]) -> None:
        base_url = f"http://{Address(*address)}/v1"
        if json:
            print_json({"base_url": base_url, "host": address[0], "port": address[1]})
        else:
            click.echo(f"Simulated providers at {base_url}")

    place = loaded.listeners[0].place
    if not isinstance(place, Address):
        raise click.ClickException("--listen: the simulated providers listen on HOST:PORT alone")
    try:
        run(place.host, place.port, params, announce)
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(f"cannot listen on {place}: {reason}") from error
