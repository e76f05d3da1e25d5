"""The category table: what an operator can read and edit of a router, as JSON and as values.

A category is a kind of prompt that training has seen (`gsm`, `mmlu-pro/physics`); each belongs to
one of six categories for people. A pool is a set of models that were measured on the same
prompts; a model's cell is its mean score and its usual length of answer in a category. Where a
pool has no cell, nothing is known, and nothing is invented. Everything that the router says of a
model is a mean of these cells, so whoever changes a cell changes the decision.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

__all__ = [
    "PEOPLE",
    "Category",
    "CategoryTable",
    "Cell",
    "MeasuredModel",
    "Novelty",
    "Pool",
    "Rate",
    "decode_table",
    "encode_table",
]

People = Literal["code", "reasoning", "analysis", "extraction", "summarization", "creative"]
PEOPLE: tuple[People, ...] = (
    "code",
    "reasoning",
    "analysis",
    "extraction",
    "summarization",
    "creative",
)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of prompt. `bias` is what speaks for it before a word is read: its share."""

    name: str
    people: People
    bias: float


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model in one category: the mean score, 0 to 1, and the mean output tokens."""

    quality: Share
    output_tokens: Amount


class MeasuredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model with a cell for each category of its pool, and its list prices at training."""

    id: str
    usd_per_mtok_in: Amount
    usd_per_mtok_out: Amount
    cells: Mapping[str, Cell]


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To keep `floor` of the best model's quality, its whole price buys `rate` of quality."""

    floor: Share
    rate: Amount


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models measured on the same prompts; `prompts` counts them by category."""

    name: str
    prompts: Mapping[str, Annotated[int, msgspec.Meta(gt=0)]]
    models: tuple[MeasuredModel, ...]
    rates: tuple[Rate, ...]


class Novelty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """P(a prompt is of no known kind) = 1 / (1 + exp(slope x evidence - offset)); novel: > limit.

    `trust` is how far what is surely novel is drawn to the model's mean over all categories.
    """

    offset: float
    slope: Amount
    limit: Share
    trust: Share


class CategoryTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. Raises ValueError when names do not fit together."""

    categories: tuple[Category, ...]
    pools: tuple[Pool, ...]
    novelty: Novelty
    cues: Mapping[People, tuple[str, ...]]
    sharpness: Positive  # weights are exp(sharpness x (evidence + bias))

    def __post_init__(self) -> None:
        names = [category.name for category in self.categories]
        if not names or len(set(names)) != len(names):
            raise ValueError("the categories are none, or one is listed twice")
        for pool in self.pools:
            if not pool.models or not pool.prompts or not set(pool.prompts) <= set(names):
                raise ValueError(f"pool {pool.name}: no models, no prompts or an unknown category")
            for model in pool.models:
                if set(model.cells) != set(pool.prompts):
                    raise ValueError(f"{pool.name}/{model.id}: not one cell for each category")
        keys = [f"{pool.name}/{model.id}" for pool in self.pools for model in pool.models]
        if len(set(keys)) != len(keys):
            raise ValueError("a pool lists a model twice")


_decoder = msgspec.json.Decoder(CategoryTable)


def decode_table(data: bytes) -> CategoryTable:
    """Read a table. Raises ValueError (msgspec's errors are ValueErrors) saying what is wrong."""
    return _decoder.decode(data)


def encode_table(table: CategoryTable) -> bytes:
    """A table as JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(table), indent=1)
