"""Measures the learned router by cross-validation against the goals that it was set.

    python bench/routing.py --data train.jsonl.gz --pools pools.json      about three minutes

Everything is fitted on a part of the data and judged on the rest: in five folds (other prompts of
known kinds), and without one kind of one pool at a time (kinds never seen). One artefact's worth of
weights and one setting, the 98 % dial, for all pools. Then it times the artefact in the package.
The file's format is that of `kproxy router train`. Needs numpy. Exit code: 0 also when a goal is
missed; each line says so.
"""

import argparse
import gzip
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kproxy.errors import KproxyError
from kproxy.routing.dial import choose
from kproxy.routing.learning import baselines
from kproxy.routing.learning.crossfit import Crossfit, crossfit
from kproxy.routing.learning.evaluate import cross_predict
from kproxy.routing.learning.metrics import Point, aiq, calibration_error, saved, sweep
from kproxy.routing.learning.records import Corpus, Measured, parse_corpus
from kproxy.routing.learning.rehearsal import Outcome, rehearse_known, rehearse_novel
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import load

FLOOR = 0.98
AIQ_GOALS = {"frontier24": (0.806, 0.810), "open9": (0.630, 0.640), "mmlupro": (0.772, 0.780)}
SIZES = (("1 kB", 1_000, 300), ("200 kB", 200_000, 1_000))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """Quality and cost at the setting, of those of the best single model of the training part."""

    quality: float
    cost: float


def main() -> int:
    wanted = _arguments()
    try:
        with gzip.open(wanted.data) if wanted.data.suffix == ".gz" else wanted.data.open("rb") as f:
            corpus = parse_corpus(f, wanted.pools.read_bytes())
    except (OSError, KproxyError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    fitted = crossfit(corpus, wanted.seed)
    known = rehearse_known(corpus, fitted, FLOOR)
    novel = rehearse_novel(corpus, fitted, FLOOR)
    _g1(corpus, known)
    _g2(corpus, fitted, known)
    _g3(corpus, fitted, novel)
    _unseen_frontier(corpus, fitted, novel)
    _g5(corpus, fitted, known, novel)
    _g6(corpus)
    return 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pools", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _g1(corpus: Corpus, known: Mapping[str, Outcome]) -> None:
    print("G1  known kinds, five folds, 98 % setting: quality >= .98 of the best single model,")
    print("    cost <= .55 of its in each pool and <= .30 on the mean of the pools")
    shares = []
    for name, pool in corpus.pools.items():
        one = _share(pool, known[name], np.ones(len(pool.lines), bool))
        shares.append(one)
        print(
            f"    {name:<12} quality {one.quality:.3f}  cost {one.cost:.3f}"
            f"  novel {known[name].novel.mean():.3f}"
            f"  {_verdict(one.quality >= FLOOR and one.cost <= 0.55)}"
        )
    mean = statistics.fmean(one.cost for one in shares)
    print(f"    {'mean':<12} cost {mean:.3f}  {_verdict(mean <= 0.30)}")


def _g2(corpus: Corpus, fitted: Crossfit, known: Mapping[str, Outcome]) -> None:
    print("\nG2  known kinds, five folds: AIQ, and cost saved at .95 / .98 / 1.00 of the best")
    for name, pool in corpus.pools.items():
        outcome = known[name]
        fold, kind = fitted.fold[pool.lines], fitted.kind[pool.lines]
        length = _by_length(corpus, pool, fold)
        label = cross_predict(
            lambda chosen, kind=kind, pool=pool: baselines.by_label(kind, pool.score, chosen),
            fold,
            pool.score.shape,
        )
        goal, stretch = AIQ_GOALS.get(name, (0.0, 0.0))
        reached = _print_policy(pool, name, "router", _swept(pool, outcome, outcome.quality))
        _print_policy(pool, name, "zero router", _blind(pool))
        _print_policy(pool, name, "length alone", _swept(pool, outcome, length))
        _print_policy(pool, name, "true label", _swept(pool, outcome, label))
        _print_policy(pool, name, "oracle", _swept(pool, outcome, baselines.oracle(pool.score)))
        if goal:
            print(
                f"    {name:<12} goal {goal}: {_verdict(reached >= goal)},"
                f" stretch {stretch}: {_verdict(reached >= stretch)}"
            )


def _g3(corpus: Corpus, fitted: Crossfit, novel: Mapping[str, Outcome]) -> None:
    print("\nG3  each kind left out, 98 % setting: quality >= .95 of the best single model of the")
    print("    rest, never dearer, some saving on the mean; `own` is against the best on that kind")
    shares, lengths = [], []
    for number, kind in enumerate(fitted.kinds):
        name = kind.partition("/")[0]
        pool, outcome = corpus.pools[name], novel[name]
        inside = fitted.kind[pool.lines] == number
        one = _share(pool, outcome, inside)
        at = np.flatnonzero(inside)
        own = pool.score[at, outcome.chosen[at]].mean() / pool.score[at].mean(0).max()
        by_length = _length_share(corpus, pool, outcome, inside)
        shares.append(one)
        lengths.append(by_length)
        print(
            f"    {kind:<34} quality {one.quality:.3f}  cost {one.cost:.3f}  own {own:.3f}"
            f"  novel {outcome.novel[at].mean():.2f}"
            f"  length alone {by_length.quality:.3f} at {by_length.cost:.3f}"
            f"  {_verdict(one.quality >= 0.95 and one.cost <= 1)}"
        )
    for who, found in (("router", shares), ("length alone", lengths)):
        below = sum(one.quality < 0.95 for one in found)
        print(
            f"    {who}: {below} of {len(found)} kinds below .95, the lowest"
            f" {min(one.quality for one in found):.3f}; mean quality"
            f" {statistics.fmean(one.quality for one in found):.3f}, mean saving"
            f" {1 - statistics.fmean(one.cost for one in found):.3f}, dearest"
            f" {max(one.cost for one in found):.3f}"
        )


def _unseen_frontier(corpus: Corpus, fitted: Crossfit, novel: Mapping[str, Outcome]) -> None:
    print("\n    AIQ on kinds left out, all lines of a pool together, without the fall-back")
    for name, pool in corpus.pools.items():
        length = _by_length(corpus, pool, fitted.kind[pool.lines])
        _print_policy(pool, name, "router", _swept(pool, novel[name], novel[name].quality))
        _print_policy(pool, name, "length alone", _swept(pool, novel[name], length))
        _print_policy(pool, name, "zero router", _blind(pool))


def _g5(
    corpus: Corpus,
    fitted: Crossfit,
    known: Mapping[str, Outcome],
    novel: Mapping[str, Outcome],
) -> None:
    print("\nG5  expected calibration error, every prompt and model: <= .03 known, <= .10 unseen")
    for what, outcomes, limit in (("known", known, 0.03), ("unseen", novel, 0.10)):
        parts = [(outcomes[name].quality, pool.score) for name, pool in corpus.pools.items()]
        for name, part in zip(corpus.pools, parts, strict=True):
            error = calibration_error(*part)
            print(f"    {what:<7} {name:<12} {error:.3f}  {_verdict(error <= limit)}")
        together = calibration_error(
            np.concatenate([one.ravel() for one, _ in parts]),
            np.concatenate([one.ravel() for _, one in parts]),
        )
        print(f"    {what:<7} {'together':<12} {together:.3f}  {_verdict(together <= limit)}")
    errors = []
    for number, kind in enumerate(fitted.kinds):
        name = kind.partition("/")[0]
        at = fitted.kind[corpus.pools[name].lines] == number
        errors.append(calibration_error(novel[name].quality[at], corpus.pools[name].score[at]))
    print(f"    unseen  each kind by itself, mean {statistics.fmean(errors):.3f}")


def _g6(corpus: Corpus) -> None:
    print("\nG6  the artefact in the package: <= 5 MB, load <= 50 ms; a decision <= 300 us at 1 kB")
    data = (files("kproxy.routing") / "router.bin").read_bytes()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        load(data)
        times.append(time.perf_counter() - start)
    loading = statistics.median(times) * 1e3
    print(f"    {len(data)} bytes  {_verdict(len(data) <= 5_000_000)}")
    print(f"    load p50 {loading:.1f} ms  {_verdict(loading <= 50)}")
    router = load(data)
    text = "\n".join(line.prompt for line in corpus.lines[::61])
    for pool in router.table.pools:
        models = tuple(ModelRow(f"{pool.name}/{model.id}") for model in pool.models)
        costs = [1.0 + number for number in range(len(models))]
        for what, size, limit in SIZES:
            times = []
            for number in range(400):
                prompt = text[number * 97 :][:size].ljust(size, "x")
                start = time.perf_counter()
                choose(router.judge(prompt, models), costs)
                times.append((time.perf_counter() - start) * 1e6)
            half = statistics.median(times)
            print(
                f"    {pool.name:<12} {what:<7} p50 {half:.0f} us"
                f"  p99 {sorted(times)[-4]:.0f} us  {_verdict(half <= limit)}"
            )


def _share(pool: Measured, outcome: Outcome, inside: NDArray[np.bool_]) -> Share:
    at = np.flatnonzero(inside)
    chosen, best = outcome.chosen[at], outcome.best[at]
    return Share(
        float(pool.score[at, chosen].mean() / pool.score[at, best].mean()),
        float(pool.cost[at, chosen].mean() / pool.cost[at, best].mean()),
    )


def _length_share(
    corpus: Corpus, pool: Measured, outcome: Outcome, inside: NDArray[np.bool_]
) -> Share:
    """What the length alone does to a kind left out, at a rate set for 98 % on the rest."""
    predicted = baselines.by_length(_lengths(corpus, pool), pool.score, ~inside)
    best = int(outcome.best[np.flatnonzero(inside)[0]])
    scaled = outcome.expected / outcome.expected[:, [best]]
    rest, at = np.flatnonzero(~inside), np.flatnonzero(inside)
    cheapest: tuple[float, float] | None = None
    for rate in np.geomspace(0.005, 1.5, 70):
        chosen = (predicted - rate * scaled).argmax(1)
        kept = pool.score[rest, chosen[rest]].mean() / pool.score[rest, best].mean()
        price = float(pool.cost[rest, chosen[rest]].mean())
        if kept >= FLOOR and (cheapest is None or price < cheapest[0]):
            cheapest = (price, float(rate))
    if cheapest is None:
        return Share(1.0, 1.0)
    chosen = (predicted - cheapest[1] * scaled).argmax(1)[at]
    return Share(
        float(pool.score[at, chosen].mean() / pool.score[at, best].mean()),
        float(pool.cost[at, chosen].mean() / pool.cost[at, best].mean()),
    )


def _lengths(corpus: Corpus, pool: Measured) -> Floats:
    lengths = [float(len(corpus.lines[number].prompt)) for number in pool.lines]
    return baselines.length_features(np.array(lengths))


def _by_length(corpus: Corpus, pool: Measured, block: NDArray[np.int64]) -> Floats:
    features = _lengths(corpus, pool)
    return cross_predict(
        lambda chosen: baselines.by_length(features, pool.score, chosen), block, pool.score.shape
    )


def _swept(pool: Measured, outcome: Outcome, quality: Floats) -> list[Point]:
    return sweep(quality, outcome.expected, pool.score, pool.cost)


def _blind(pool: Measured) -> list[Point]:
    best = pool.cost.mean(0)[pool.score.mean(0).argmax()]
    return [one for one in baselines.singles(pool.score, pool.cost) if one[0] <= best]


def _print_policy(pool: Measured, name: str, policy: str, points: list[Point]) -> float:
    costs, scores = pool.cost.mean(0), pool.score.mean(0)
    top = (float(costs[scores.argmax()]), float(scores.max()))
    found = aiq(points, float(costs.min()), top[0])
    savings = [saved(points, floor, top) for floor in (0.95, 0.98, 1.0)]
    spelled = " / ".join("-" if one is None else f"{one:.2f}" for one in savings)
    print(f"    {name:<12} {policy:<13} {found:.4f}  {spelled}")
    return found


def _verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
