"""The same bytes, cut anywhere: what a socket may make of one message."""

import itertools
from collections.abc import Iterator

from hypothesis import strategies as st

positions = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)
"""Where to cut; positions beyond the end cut nothing."""


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, none of them empty."""
    edges = [0, *sorted({place for place in at if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    """`data` whole, in two pieces at every place, and byte by byte."""
    yield [data]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]
    yield [data[place : place + 1] for place in range(len(data))]
