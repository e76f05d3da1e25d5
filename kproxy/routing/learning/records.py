"""Lines of answered prompts and the list of their models go in; a checked `Corpus` comes out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kproxy.routing.lines import DataError, Line, parse_lines

__all__ = ["Corpus", "Measured", "parse_corpus"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Model(msgspec.Struct, frozen=True):
    id: str
    usd_per_mtok_in: float
    usd_per_mtok_out: float


class _Pool(msgspec.Struct, frozen=True):
    models: tuple[_Model, ...]
    cost_mode: str = "tokens"
    nominal_out_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The lines of one pool: their numbers in the corpus, and arrays (lines, models).

    `cost` is in USD; `price_in` and `price_out`, (models,), in USD per token.
    """

    ids: tuple[str, ...]
    lines: Ints
    score: Floats
    output_tokens: Floats
    cost: Floats
    price_in: Floats
    price_out: Floats


@dataclass(frozen=True, slots=True)
class Corpus:
    """All lines, and by pool what was measured."""

    lines: tuple[Line, ...]
    pools: Mapping[str, Measured]


_decode_pools = msgspec.json.Decoder(dict[str, _Pool]).decode


def parse_corpus(data: Iterable[bytes], pools: bytes) -> Corpus:
    """Read lines and the list of pools. Raises DataError."""
    lines = parse_lines(data)
    try:
        listed = _decode_pools(pools)
    except ValueError as error:
        raise DataError(f"the list of pools: {error}") from error
    by_pool: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        by_pool.setdefault(line.pool, []).append(number)
    if not lines:
        raise DataError("the data has no lines")
    unknown = by_pool.keys() - listed.keys()
    if unknown:
        raise DataError(f"pool {min(unknown)}: not in the list of pools")
    return Corpus(
        lines,
        {name: _measure(listed[name], lines, by_pool[name]) for name in sorted(by_pool)},
    )


def _measure(pool: _Pool, lines: Sequence[Line], numbers: Sequence[int]) -> Measured:
    size = len(pool.models)
    for number in numbers:
        line = lines[number]
        if not len(line.s) == len(line.it) == len(line.ot) == size:
            raise DataError(f"{line.id}: not one value for each of the pool's {size} models")
    score = np.array([lines[number].s for number in numbers], np.float64)
    tokens_in = _filled([lines[number].it for number in numbers], 0.0)
    nominal = pool.nominal_out_tokens if pool.cost_mode == "nominal" else None
    if nominal is None:
        tokens_out = _filled([lines[number].ot for number in numbers], 0.0)
    else:
        tokens_out = np.full(score.shape, nominal)
    price_in = np.array([model.usd_per_mtok_in for model in pool.models]) / 1e6
    price_out = np.array([model.usd_per_mtok_out for model in pool.models]) / 1e6
    return Measured(
        ids=tuple(model.id for model in pool.models),
        lines=np.array(numbers, np.int64),
        score=score,
        output_tokens=tokens_out,
        cost=tokens_in * price_in + tokens_out * price_out,
        price_in=price_in,
        price_out=price_out,
    )


def _filled(rows: Sequence[tuple[float | None, ...]], empty: float) -> Floats:
    """An array in which a value that was not recorded is its column's mean."""
    values = np.array([[np.nan if one is None else one for one in row] for row in rows], float)
    known = ~np.isnan(values)
    sums = np.where(known, values, 0.0).sum(0)
    means = np.where(known.any(0), sums / np.maximum(known.sum(0), 1), empty)
    return np.where(known, values, means)
