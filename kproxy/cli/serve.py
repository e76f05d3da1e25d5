"""`kproxy serve`: options in, a running server until a signal ends it."""

import logging
import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kproxy.cli.options import config_option, data_dir_option
from kproxy.config import Overrides, load

if TYPE_CHECKING:
    from kproxy.app import Started

__all__ = ["serve"]

NO_MODEL = 'none: add [[models]] rows, or models = "any" to a provider'


@click.command()
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT, unix:PATH or systemd; may be repeated. [environment: KPROXY_LISTEN, PORT]",
)
@click.option("--workers", type=click.IntRange(1, 32), help="Processes on the same listeners.")
@config_option
@data_dir_option
def serve(
    *, listen: tuple[str, ...], workers: int | None, config: Path | None, data_dir: Path | None
) -> None:
    """Serve the API."""
    overrides = Overrides(listen=listen, config=config, data_dir=data_dir, workers=workers)
    reread = partial(load, overrides, os.environ)
    loaded = reread()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Here and not above: `kproxy --help` lists this command and needs no server.
    if loaded.workers > 1:
        from kproxy.workers.parent import serve_by_many

        serve_by_many(loaded, _announce, reread)
        return
    import trio

    from kproxy import app

    trio.run(app.serve, loaded, _announce, reread)


def _announce(started: "Started") -> None:
    """Tell people where it is, the first key, and a line to try; once, on standard output."""
    click.echo(f"kproxy is ready on {', '.join(started.urls)}")
    if started.admin_urls:
        click.echo(f"for operators: {', '.join(started.admin_urls)}")
    names = [*started.models, *(f"{slug}/<any name>" for slug in started.passthrough)]
    kind = "simulated models, no account needed" if started.simulated else "models"
    click.echo(f"{kind}: {', '.join(names) or NO_MODEL}")
    if started.keyless:
        click.echo("no key is needed: every program on this machine may call")
    elif started.first_key is not None:
        click.echo(f"first key, shown only once: {started.first_key}")
    key = started.first_key or "$KPROXY_KEY"  # in double quotes, so that the shell puts it in
    field = "" if started.keyless else f'-H "Authorization: Bearer {key}" '
    body = '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}'
    click.echo("try it:")
    click.echo(
        f"  curl -N {_target(started.urls[0])}/v1/chat/completions {field}"
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _target(url: str) -> str:
    """What curl takes for it; the path follows."""
    path = url.removeprefix("unix:")
    return url if path == url else f"--unix-socket {shlex.quote(path)} http://localhost"
