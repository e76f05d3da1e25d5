"""The models of a decision go in, once; for each prompt's evidence, what to expect of each comes
out.

The problem: two models are comparable only where both were measured, a new model has not been
measured at all, and a prompt may be like nothing that anybody was measured on. The obvious way, one
regression per model, makes twelve noisy numbers, and the noise decides which is the largest.

Our way: evidence for each category (`router.py`) becomes weights over the categories that the
model's pool has been measured in, and a model's quality is the mean of its cells under these
weights. Models of one pool share their weights, so their differences are differences of the table
and not of noise.

A model that was never measured enters by one row: what its owner declares for the six categories
for people. Not all prompts of such a category are equally hard, and between hard ones models differ
more. So the row is the model's ability, each category of the table has an easiness that the
measured models have shown, and the two add up as log-odds (Rasch's model): on arithmetic for
children a small model loses little, on competition problems much. It needs no training.

The measure of novelty is the best evidence among a pool's own categories: a question of general
knowledge is novel to models measured on arithmetic, however well another pool knows it. What is
uncertain is drawn to the model's mean over all categories, each counting alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import add, itemgetter, mul

import msgspec

from kproxy.routing.cues import Cue
from kproxy.routing.dial import Judgement, rate_at
from kproxy.routing.table import PEOPLE, CategoryTable, Pool, Rate

__all__ = ["ModelRow", "Panel"]

_UNKNOWN_QUALITY = 0.5
_UNKNOWN_TOKENS = 256.0  # as estimate.DEFAULT_OUTPUT_TOKENS
_SURE = 0.98  # a cell of 0 or 1 has no log-odds, and so many prompts do not show one
_LEAST_WEIGHT = 0.002  # of a category; all that have less change no quality by more than 0.03
_STEEP = 4  # a little doubt moves nothing: with 1 the known prompts are drawn as well
_OPENING_CUE = 0.7  # share of the mass that a cue in the first sentence takes


class ModelRow(msgspec.Struct, frozen=True):
    """A model to be judged: its id, as `pool/id` or `id` where it was measured.

    For a model that was not measured, `quality` (0 to 1) and `output_tokens` are what its owner
    declares, in the order of PEOPLE; an empty tuple says that nothing is known.
    """

    id: str
    quality: tuple[float, ...] = ()
    output_tokens: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for values in (self.quality, self.output_tokens):
            if values and len(values) != len(PEOPLE):
                raise ValueError(f"{self.id}: not one value for each of the six categories")
        if not all(0 <= value <= 1 for value in self.quality):
            raise ValueError(f"{self.id}: a quality is not between 0 and 1")
        if not all(0 <= value < math.inf for value in self.output_tokens):
            raise ValueError(f"{self.id}: not a number of tokens")


class _Member(msgspec.Struct, frozen=True):
    """One model of a group: cells in the group's order of categories, and its plain means.

    `row` is what was declared for the six categories; empty where the model was measured.
    """

    place: int
    quality: tuple[float, ...]
    tokens: tuple[float, ...]
    standing: float
    middle: float
    row: tuple[float, ...] = ()


class _Group(msgspec.Struct, frozen=True):
    """Models with the same known categories: numbers of these, or all when `places` is None."""

    places: tuple[int, ...] | None
    members: tuple[_Member, ...]


class Panel:
    """The models of a decision, made ready. Immutable."""

    def __init__(self, table: CategoryTable, models: Sequence[ModelRow]) -> None:
        self._table = table
        self._size = len(models)
        self._people = tuple(PEOPLE.index(category.people) for category in table.categories)
        self._bias = tuple(category.bias for category in table.categories)
        self._groups, self._pools = _group(table, models)
        self._rates = _rates(table, self._pools, len(self._groups))
        standing = [0.0] * self._size
        for group in self._groups:
            for member in group.members:
                standing[member.place] = member.standing
        self._standing = tuple(standing)

    def __repr__(self) -> str:
        return f"<Panel {self._size} models in {len(self._groups)} groups>"

    def judge(self, evidence: Sequence[float], cue: Cue | None) -> Judgement:
        """What to expect of each model on a prompt with this evidence for each category."""
        table = self._table
        quality, tokens = [0.0] * self._size, [0.0] * self._size
        prior = list(map(add, evidence, self._bias))
        top = max(prior)
        general = self._doubt(max(evidence))
        learned, mass = self._shares(general, cue)
        weights = _soften(prior, top, table.sharpness, learned)
        worst = 0.0
        for group in self._groups:
            if group.places is None:
                doubt = min(general, 0.5 * table.novelty.limit) if cue else general
                self._declare(group, weights, mass, (quality, tokens))
            else:
                doubt = self._doubt(max([evidence[place] for place in group.places]))
                known = [prior[place] for place in group.places]
                known = _soften(known, max(known), table.sharpness)
                for one in group.members:
                    quality[one.place] = sum(map(mul, known, one.quality))
                    tokens[one.place] = sum(map(mul, known, one.tokens))
            worst = max(worst, doubt)
            drawn = table.novelty.trust * doubt**_STEEP
            for one in group.members:
                quality[one.place] += drawn * (one.middle - quality[one.place])
        people = self._mass(weights, mass)
        best = people.index(max(people))
        return Judgement(
            category=PEOPLE[best],
            confidence=people[best],
            nearest=table.categories[prior.index(top)].name,
            novel=worst > table.novelty.limit,
            novelty=worst,
            quality=tuple(quality),
            output_tokens=tuple(tokens),
            standing=self._standing,
            rates=self._rates,
        )

    def _doubt(self, evidence: float) -> float:
        """The probability that a prompt with no better evidence than this is of no known kind."""
        novelty = self._table.novelty
        return _sigmoid(novelty.offset - novelty.slope * evidence)

    def _declare(
        self,
        group: _Group,
        weights: Sequence[float],
        mass: Sequence[float],
        found: tuple[list[float], list[float]],
    ) -> None:
        """Declared models: their cells by the weights of the table's categories, and their rows by
        the mass of the six that no word has spoken for."""
        quality, tokens = found
        of = _picker([place for place, one in enumerate(weights) if one > _LEAST_WEIGHT] or [0])
        said = of(weights)
        total = sum(said) + sum(mass)
        lengths: tuple[float, ...] = ()
        length = 0.0
        for one in group.members:
            likely = sum(map(mul, said, of(one.quality))) + sum(map(mul, mass, one.row))
            quality[one.place] = likely / total
            if one.tokens is not lengths:  # most share the table's own
                lengths = one.tokens
                length = sum(map(mul, said, of(lengths)))
                length += sum(map(mul, mass, lengths[len(weights) :]))
            tokens[one.place] = length / total

    def _shares(self, doubt: float, cue: Cue | None) -> tuple[float, list[float]]:
        """How much the learned weights count, and the mass of the six beside them: what a cue
        takes, and the rest over all alike."""
        cued = 0.0 if cue is None else _OPENING_CUE if cue.opening else doubt
        learned = (1 - cued) * (1 - doubt)
        mass = [(1 - cued - learned) / len(PEOPLE)] * len(PEOPLE)
        if cue is not None:
            mass[PEOPLE.index(cue.people)] += cued
        return learned, mass

    def _mass(self, weights: Sequence[float], mass: Sequence[float]) -> list[float]:
        """Weights over the six categories, all in all."""
        whole = list(mass)
        for place, weight in zip(self._people, weights, strict=True):
            whole[place] += weight
        return whole


def _group(
    table: CategoryTable, models: Sequence[ModelRow]
) -> tuple[tuple[_Group, ...], tuple[Pool, ...]]:
    measured = _measured(table)
    members: dict[str, list[_Member]] = {}
    declared: list[tuple[int, ModelRow]] = []
    for place, row in enumerate(models):
        pool = measured.get(row.id)
        if pool is None:
            declared.append((place, row))
        else:
            members.setdefault(pool.name, []).append(_known(place, row, pool, table))
    pools = tuple(pool for pool in table.pools if pool.name in members)
    groups = [_Group(_places(table, pool), tuple(members[pool.name])) for pool in pools]
    if declared:
        usual = _usual(table)
        groups.append(_Group(None, tuple(_declared(*one, table, usual) for one in declared)))
    return tuple(groups), pools


def _measured(table: CategoryTable) -> Mapping[str, Pool]:
    """Every measured name: `pool/id`, and `id` for the first pool that has it."""
    found: dict[str, Pool] = {}
    for pool in table.pools:
        for model in pool.models:
            found[f"{pool.name}/{model.id}"] = pool
            found.setdefault(model.id, pool)
    return found


def _places(table: CategoryTable, pool: Pool) -> tuple[int, ...]:
    return tuple(n for n, one in enumerate(table.categories) if one.name in pool.prompts)


def _known(place: int, row: ModelRow, pool: Pool, table: CategoryTable) -> _Member:
    model = next(one for one in pool.models if row.id in (one.id, f"{pool.name}/{one.id}"))
    names = [one.name for one in table.categories if one.name in pool.prompts]
    cells = [model.cells[name] for name in names]
    prompts = [pool.prompts[name] for name in names]
    quality = tuple(cell.quality for cell in cells)
    return _Member(
        place,
        quality,
        tuple(cell.output_tokens for cell in cells),
        sum(map(mul, prompts, quality)) / sum(prompts),
        sum(quality) / len(quality),
    )


class _Usual(msgspec.Struct, frozen=True):
    """What the measured models have shown of each category: how easy it is beside others of its
    people's category, as log-odds; and how long answers are, the six categories' own last."""

    easiness: tuple[float, ...]
    tokens: tuple[float, ...]


def _usual(table: CategoryTable) -> _Usual:
    easiness: list[list[float]] = [[] for _ in table.categories]
    lengths: list[list[float]] = [[] for _ in table.categories]
    for pool in table.pools:
        odds = {
            name: _mean([_odds(m.cells[name].quality) for m in pool.models])
            for name in pool.prompts
        }
        for place, one in enumerate(table.categories):
            if one.name not in odds:
                continue
            alike = [c.name for c in table.categories if c.people == one.people and c.name in odds]
            easiness[place].append(odds[one.name] - _mean([odds[name] for name in alike]))
            lengths[place] += [m.cells[one.name].output_tokens for m in pool.models]
    tokens = [_length(one) for one in lengths]
    for people in PEOPLE:
        places = [n for n, one in enumerate(table.categories) if one.people == people]
        tokens.append(_length([length for place in places for length in lengths[place]]))
    return _Usual(tuple(_mean(one) for one in easiness), tuple(tokens))


def _declared(place: int, row: ModelRow, table: CategoryTable, usual: _Usual) -> _Member:
    quality = row.quality or (_UNKNOWN_QUALITY,) * len(PEOPLE)
    owns = [PEOPLE.index(one.people) for one in table.categories]
    cells = tuple(
        _chance(_odds(quality[own]) + easy) for own, easy in zip(owns, usual.easiness, strict=True)
    )
    tokens = usual.tokens
    if row.output_tokens:
        tokens = (*(row.output_tokens[own] for own in owns), *row.output_tokens)
    mean = _mean(quality)
    return _Member(place, cells, tokens, mean, mean, quality)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _length(lengths: Sequence[float]) -> float:
    """The mean of those that were recorded."""
    return _mean([one for one in lengths if one > 0]) or _UNKNOWN_TOKENS


def _odds(quality: float) -> float:
    sure = min(_SURE, max(1 - _SURE, quality))
    return math.log(sure / (1 - sure))


def _chance(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def _rates(table: CategoryTable, pools: tuple[Pool, ...], groups: int) -> tuple[Rate, ...]:
    """One pool's own rates; for any other mixture, at each floor the most careful pool's."""
    if len(pools) == 1 and groups == 1:
        return pools[0].rates
    listed = [pool.rates for pool in table.pools if pool.rates]
    floors = sorted({rate.floor for rates in listed for rate in rates})
    return tuple(Rate(floor, min(rate_at(rates, floor) for rates in listed)) for floor in floors)


def _soften(
    evidence: Sequence[float], top: float, sharpness: float, whole: float = 1.0
) -> list[float]:
    """Weights that add up to the whole; `top` is the most of the evidence."""
    powers = list(map(math.exp, [sharpness * (one - top) for one in evidence]))
    total = sum(powers)
    return [whole * (power / total) for power in powers]


def _picker(places: Sequence[int]) -> Callable[[Sequence[float]], Sequence[float]]:
    """What takes the values of these places, at least one, out of many."""
    if len(places) == 1:
        only = places[0]
        return lambda values: values[only : only + 1]
    return itemgetter(*places)


def _sigmoid(x: float) -> float:
    return _chance(max(-60.0, min(60.0, x)))
