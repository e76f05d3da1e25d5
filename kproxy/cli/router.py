"""`kproxy router`: train, score, judge and edit the learned router (contract section 12).

Files in, an artefact or text on standard output out. `train` and `eval` need numpy, the others do
not; each imports what it needs when it is called.
"""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from kproxy.cli.options import as_json, print_json, print_table

if TYPE_CHECKING:
    from kproxy.routing.router import Router
    from kproxy.routing.table import Pool

__all__ = ["router"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)

data_option = click.option(
    "--data", type=_FILE, required=True, help="Answered prompts, JSON lines, plain or .gz."
)
pools_option = click.option(
    "--pools", type=_FILE, required=True, help="The models of each pool with their prices (JSON)."
)
artefact_option = click.option(
    "--artefact", type=_FILE, help="A router's file. [default: the one in the package]"
)


@click.group()
def router() -> None:
    """The learned router: train it, score prompts, judge it, edit its table."""


@router.command()
@data_option
@pools_option
@click.option("--out", type=_NEW_FILE, required=True, help="Where to write the artefact.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same: the same bytes.")
@as_json
def train(*, data: Path, pools: Path, out: Path, seed: int, json: bool) -> None:
    """Train a router and write its artefact. Takes minutes."""
    with _numpy():
        from kproxy.routing.learning.records import parse_corpus
        from kproxy.routing.learning.train import train as train_router
    with _opened(data) as lines:
        corpus = parse_corpus(lines, pools.read_bytes())
    artefact = train_router(corpus, seed)
    _write(out, artefact)
    made = _loaded(artefact)
    facts = {"artefact": str(out), "version": made.version, "bytes": len(artefact)}
    if json:
        print_json({**facts, "categories": len(made.table.categories)})
    else:
        click.echo(f"{out}: version {made.version}, {len(artefact)} bytes")


@router.command()
@artefact_option
@data_option
def score(*, artefact: Path | None, data: Path) -> None:
    """Judge prompts: a JSON object a line, models in the order of the artefact's pool."""
    from kproxy.routing.dial import choose
    from kproxy.routing.estimate import estimate_prompt_tokens
    from kproxy.routing.lines import parse_lines
    from kproxy.routing.panel import ModelRow

    made = _load(artefact)
    pools = {pool.name: pool for pool in made.table.pools}
    rows = {
        name: tuple(ModelRow(f"{name}/{model.id}") for model in pool.models)
        for name, pool in pools.items()
    }
    with _opened(data) as lines:
        for line in parse_lines(lines):
            if line.pool not in pools:
                raise click.ClickException(f"{line.id}: the artefact has no pool {line.pool}")
            found = made.judge(line.prompt, rows[line.pool])
            tokens = estimate_prompt_tokens(line.prompt.encode("utf-8", "replace"))
            costs = _costs(pools[line.pool], tokens, found.output_tokens)
            print_json(
                {
                    "id": line.id,
                    "quality": [round(one, 4) for one in found.quality],
                    "choice": choose(found, costs, "balanced"),
                    "novel": found.novel,
                }
            )


@router.command(name="eval")
@artefact_option
@data_option
@pools_option
@as_json
def eval_(*, artefact: Path | None, data: Path, pools: Path, json: bool) -> None:
    """Measure a router on answered prompts beside what needs no router."""
    with _numpy():
        from kproxy.routing.learning.evaluate import HEADER, evaluate
        from kproxy.routing.learning.records import parse_corpus
    with _opened(data) as lines:
        corpus = parse_corpus(lines, pools.read_bytes())
    rows = evaluate(_load(artefact), corpus)
    if json:
        print_json([dict(zip(HEADER, row, strict=True)) for row in rows])
        return
    print_table(HEADER, [tuple(_spell(value) for value in row) for row in rows])


@router.command()
@artefact_option
@click.option("--apply", "edited", type=_FILE, help="A table as --json prints it, edited.")
@click.option("--out", type=_NEW_FILE, help="Where to write the artefact with that table.")
@as_json
def table(*, artefact: Path | None, edited: Path | None, out: Path | None, json: bool) -> None:
    """Print the category table, or put an edited one into an artefact."""
    if (edited is None) != (out is None):
        raise click.UsageError("--apply and --out belong together")
    if edited is not None and out is not None:
        _apply(artefact, edited, out)
        return
    made = _load(artefact)
    if json:
        from kproxy.routing.table import encode_table

        click.echo(encode_table(made.table))
        return
    click.echo(f"version {made.version}; quality by category, prompts in brackets")
    for pool in made.table.pools:
        _print_pool(pool)


def _apply(artefact: Path | None, edited: Path, out: Path) -> None:
    from kproxy.routing.artefact import pack, unpack
    from kproxy.routing.table import decode_table

    old = unpack(_read(artefact))
    try:
        new = decode_table(edited.read_bytes())
    except ValueError as error:
        raise click.ClickException(f"{edited}: {error}") from error
    if [one.name for one in new.categories] != [one.name for one in old.table.categories]:
        raise click.ClickException(f"{edited}: the weights need the same categories in this order")
    data = pack(new, old.scale, old.vocabulary, old.weights)
    _write(out, data)
    click.echo(f"{out}: version {_loaded(data).version}")


def _print_pool(pool: "Pool") -> None:
    names = list(pool.prompts)
    click.echo(f"\n{pool.name}")
    header = ("CATEGORY", *(model.id for model in pool.models))
    rows = [
        (f"{name} ({pool.prompts[name]})", *(f"{m.cells[name].quality:.3f}" for m in pool.models))
        for name in names
    ]
    print_table(header, rows)


def _costs(pool: "Pool", tokens_in: int, tokens_out: Sequence[float]) -> list[float]:
    return [
        tokens_in * model.usd_per_mtok_in + out * model.usd_per_mtok_out
        for model, out in zip(pool.models, tokens_out, strict=True)
    ]


def _read(artefact: Path | None) -> bytes:
    if artefact is None:
        return (files("kproxy.routing") / "router.bin").read_bytes()
    return artefact.read_bytes()


def _load(artefact: Path | None) -> "Router":
    return _loaded(_read(artefact))


def _loaded(data: bytes) -> "Router":
    from kproxy.routing.router import load

    return load(data)


def _write(out: Path, data: bytes) -> None:
    try:
        out.write_bytes(data)
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror or error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The lines of a file, plain or compressed."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            yield cast("BinaryIO", stream)
    except (OSError, EOFError) as error:
        raise click.ClickException(f"{path}: {error}") from error


@contextmanager
def _numpy() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "numpy":
            raise
        raise click.ClickException("this needs numpy: pip install 'kproxy[train]'") from error


def _spell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
