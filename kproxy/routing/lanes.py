"""Rows of a table of small numbers go in; their sum, column by column, comes out. No numpy.

The problem: a prompt of a kilobyte has about 250 features, each with a row of 26 weights, and the
rows must be added up within a part of 300 microseconds, in a package that does not want numpy in
its base install (installed, numpy is seven times as large as all other dependencies together).

The obvious way is a loop in Python: 150 microseconds for the additions alone. Ours takes 11.

Our way: Python's integers are vectors. A row is one integer with a lane of 32 bits per column;
adding two such integers adds all columns at once, in C, without carries between lanes as long as
no lane overflows. Weights are stored as 16 bits without a sign, 0 being 32,768, so a lane holds
the sum of 65,536 rows; a prompt has at most 2,004 (`features.py`). The sum is exact, and the same
on every machine.

All rows of the packaged table are 9.7 MB as integers and 3.5 MB as they are stored, and many a
process never judges a prompt. So a row is made into an integer when it is first asked for, which
takes 1 microsecond, and is kept; what it was made from may lie in a mapped file.

What we do not do: multiply lanes, or convert a row for each prompt anew.
"""

import struct
from collections.abc import Collection

__all__ = ["ZERO", "Buffer", "LaneTable"]

Buffer = bytes | memoryview
"""Bytes, or a view of some."""

ZERO = 1 << 15
"""What a weight of 0 is stored as."""


class LaneTable:
    """A table of `width` columns of 16-bit weights; rows are numbered from 0.

    `data` is row after row, little-endian, and is kept. Raises ValueError when it holds no whole
    rows. For several threads.
    """

    def __init__(self, data: Buffer, width: int) -> None:
        if width < 1 or len(data) % (2 * width):
            raise ValueError("the table of weights holds no whole rows")
        self._data = data
        self._size = 4 * width
        self._lanes = struct.Struct(f"<{width}I")
        # So far below 0 that one of them shows in a sum, whatever the others are.
        unmade = -(1 << 8 * self._size)
        self._rows = [unmade] * (len(data) // (2 * width))

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<LaneTable {len(self._rows)} rows of {self._size // 4}>"

    def total(self, rows: Collection[int]) -> tuple[int, ...]:
        """The sum of each column over these rows; each row adds ZERO to what it means."""
        summed = sum(map(self._rows.__getitem__, rows))
        if summed < 0:
            self._make(rows)
            summed = sum(map(self._rows.__getitem__, rows))
        return self._lanes.unpack(summed.to_bytes(self._size, "little"))

    def _make(self, rows: Collection[int]) -> None:
        """Make the integers of these that have none yet."""
        narrow = self._size // 2
        for row in rows:
            if self._rows[row] < 0:
                part = self._data[row * narrow : (row + 1) * narrow]
                wide = bytearray(self._size)
                wide[0::4] = part[0::2]
                wide[1::4] = part[1::2]
                self._rows[row] = int.from_bytes(wide, "little")
