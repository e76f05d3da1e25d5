"""Answered prompts that were never answered: two small pools, with kinds that words tell apart.

`south` has a dear model that is good at everything and a cheap one that is as good at sums, but not
at verses; `north` has two models and knows two kinds, of which sums are the same as `south`'s.
Everything is computed from numbers, so it is the same in every process.
"""

import json
from functools import cache

from kproxy.routing.learning.records import Corpus, parse_corpus
from kproxy.routing.learning.train import train

__all__ = ["POOLS", "corpus", "lines", "pools_json", "trained"]

POOLS = {
    "south": {
        "cost_mode": "tokens",
        "models": [
            {"id": "large", "usd_per_mtok_in": 10, "usd_per_mtok_out": 30},
            {"id": "small", "usd_per_mtok_in": 1, "usd_per_mtok_out": 3},
        ],
    },
    "north": {
        "cost_mode": "nominal",
        "nominal_out_tokens": 50,
        "models": [
            {"id": "wide", "usd_per_mtok_in": 2, "usd_per_mtok_out": 2},
            {"id": "narrow", "usd_per_mtok_in": 0.5, "usd_per_mtok_out": 0.5},
        ],
    },
}

_KINDS = {
    # pool, family, bench: words of its own, and of ten answers how many each model has right
    ("south", "math", "sums"): ("add apples to pears and count coins in total", (9, 9)),
    ("south", "writing", "verses"): ("sing a rhyme of moon and sea in gentle verse", (9, 2)),
    ("south", "code", "loops"): ("for while return def print range list index", (8, 5)),
    ("north", "math", "counts"): ("add apples to pears and count coins in total", (8, 7)),
    ("north", "open-qa", "capitals"): ("which city is the capital of this old country", (7, 4)),
}
_EACH = 60


def lines() -> bytes:
    """The data as JSON lines."""
    made = []
    for kind, ((pool, family, bench), (words, right)) in enumerate(_KINDS.items()):
        vocabulary = words.split()
        for number in range(_EACH):
            picked = [
                vocabulary[(number * step + len(words)) % len(vocabulary)] for step in range(1, 9)
            ]
            made.append(
                {
                    "id": f"{bench}/{number}",
                    "pool": pool,
                    "family": family,
                    "bench": bench,
                    "cat": bench,
                    "prompt": f"{' '.join(picked)} {number}?",
                    "s": [float((number * 7) % 10 < share) for share in right],
                    "it": [12, 12],
                    "ot": [100 + kind, 80 + kind] if pool == "south" else [None, None],
                }
            )
    return b"".join(json.dumps(one).encode() + b"\n" for one in made)


def pools_json() -> bytes:
    """The list of pools as a file has it."""
    return json.dumps(POOLS).encode()


@cache
def corpus() -> Corpus:
    """All of it, read."""
    return parse_corpus(lines().splitlines(), pools_json())


@cache
def trained() -> bytes:
    """An artefact learned from it with seed 1."""
    return train(corpus(), 1)
