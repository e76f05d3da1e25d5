"""A router and a corpus go in; the table of measures beside the baselines comes out.

Nothing is fitted on the corpus but two baselines, and those in five folds: `length` and `label`.
"""

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kproxy.errors import KproxyError
from kproxy.routing.dial import choose
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.learning import baselines
from kproxy.routing.learning.metrics import Point, aiq, calibration_error, saved, sweep
from kproxy.routing.learning.records import Corpus, Measured
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import Router

__all__ = ["HEADER", "Row", "cross_predict", "evaluate", "measures"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HEADER = (
    "pool", "policy", "AIQ", "saved@.95", "saved@.98", "saved@1.00",
    "quality", "quality/best", "cost/best", "novel", "ECE",
)  # fmt: skip

Row = tuple[str | float | None, ...]

_FOLDS = 5


def evaluate(router: Router, corpus: Corpus) -> list[Row]:
    """Rows as in HEADER; `quality`, `cost` and `novel` are at the 98 % setting. Raises KproxyError.

    `best` is the best single model of the router's own training, as the choice is made against it.
    """
    rows: list[Row] = []
    listed = {pool.name: tuple(model.id for model in pool.models) for pool in router.table.pools}
    for name, pool in corpus.pools.items():
        if listed.get(name) != pool.ids:
            raise KproxyError(f"pool {name}: not the models that the artefact was trained with")
        rows += _pool_rows(router, corpus, name)
    return rows


def measures(points: Sequence[Point], score: Floats, cost: Floats, best: int) -> Row:
    """AIQ and the three savings of a policy's points."""
    top = (float(cost.mean(0)[best]), float(score.mean(0)[best]))
    found = [saved(points, floor, top) for floor in (0.95, 0.98, 1.0)]
    return (aiq(points, float(cost.mean(0).min()), top[0]), *found)


def cross_predict(
    predict: Callable[[Bools], Floats], block: Ints, shape: tuple[int, ...]
) -> Floats:
    """Each block's predictions by what was learned from the others."""
    out = np.zeros(shape)
    for number in np.unique(block):
        out[block == number] = predict(block != number)[block == number]
    return out


def _pool_rows(router: Router, corpus: Corpus, name: str) -> list[Row]:
    pool = corpus.pools[name]
    judged = [_judge(router, corpus, name, int(number)) for number in pool.lines]
    quality, expected = np.array([one[0] for one in judged]), np.array([one[1] for one in judged])
    chosen = np.array([one[2] for one in judged])
    novel = float(np.mean([one[3] for one in judged]))
    best = judged[0][4]
    at = np.arange(len(judged))
    cost, score = pool.cost.mean(0)[best], pool.score.mean(0)[best]
    reached = float(pool.score[at, chosen].mean())
    alone = baselines.singles(pool.score, pool.cost)
    affordable = [point for point in alone if point[0] <= cost]
    rows: list[Row] = [
        (
            name,
            "router",
            *measures(sweep(quality, expected, pool.score, pool.cost), pool.score, pool.cost, best),
            reached,
            reached / max(float(score), 1e-9),
            float(pool.cost[at, chosen].mean() / cost),
            novel,
            calibration_error(quality, pool.score),
        ),
        (name, f"best: {pool.ids[best]}", *(None,) * 4, float(score), 1.0, 1.0, None, None),
        _baseline(name, "zero router", measures(affordable, pool.score, pool.cost, best), None),
    ]
    for policy, predicted in _predictions(corpus, pool).items():
        points = sweep(predicted, expected, pool.score, pool.cost)
        found = measures(points, pool.score, pool.cost, best)
        rows.append(_baseline(name, policy, found, calibration_error(predicted, pool.score)))
    return rows


def _baseline(name: str, policy: str, found: Row, error: float | None) -> Row:
    return (name, policy, *found, None, None, None, None, error)


def _judge(
    router: Router, corpus: Corpus, name: str, number: int
) -> tuple[Sequence[float], Floats, int, bool, int]:
    """Quality, expected cost, choice, novelty, and the best single model."""
    pool, prompt = corpus.pools[name], corpus.lines[number].prompt
    found = router.judge(prompt, tuple(ModelRow(f"{name}/{model}") for model in pool.ids))
    tokens = estimate_prompt_tokens(prompt.encode("utf-8", "replace"))
    expected = tokens * pool.price_in + np.array(found.output_tokens) * pool.price_out
    best = max(range(len(pool.ids)), key=found.standing.__getitem__)
    return found.quality, expected, choose(found, expected.tolist()), found.novel, best


def _predictions(corpus: Corpus, pool: Measured) -> Mapping[str, Floats]:
    lines = [corpus.lines[number] for number in pool.lines]
    fold = np.array([crc32(line.prompt.encode("utf-8", "replace")) % _FOLDS for line in lines])
    length = baselines.length_features(np.array([float(len(line.prompt)) for line in lines]))
    _, label = np.unique([line.label for line in lines], return_inverse=True)
    shape = pool.score.shape
    return {
        "length": cross_predict(
            lambda chosen: baselines.by_length(length, pool.score, chosen), fold, shape
        ),
        "true label": cross_predict(
            lambda chosen: baselines.by_label(label, pool.score, chosen), fold, shape
        ),
        "oracle": baselines.oracle(pool.score),
    }
