"""What each worker process shows to the others goes in, bytes; what the others show comes out.

The problem: whoever is scraped answers for all, and what one has learned of a provider holds for
all. Asking the others would make every worker a server of every other one, with a deadline for each
answer, and one that is stuck would hold up the scrape. Files would outlive those they speak of.

Our way: memory that the parent maps before it forks. Each worker has a place with one sheet for
each topic, which it alone writes; all read. Nobody waits for anybody.

1. A sheet is two halves, written in turn, each with a number, a length and a checksum in front. The
   newest half whose checksum is right counts, so a writer that is killed in the middle spoils what
   nobody has seen yet, and a reader that is overtaken notices and looks again.
2. What is on a sheet outlives the worker that wrote it. Who takes its place finds it (`left`), and
   goes on from there: counters that were shown once are never taken back.
3. Beside the sheets each place has one number, for how much it has to do: a load changes more often
   than anybody could write sheets.
4. The parent notes which places are occupied. Of a dead worker's sheet only what lasts is of use,
   and the reader is told so.

The memory is the kernel's and goes with the last process; it is not on any disk. Pages that nothing
was written to do not exist.
"""

import enum
import mmap
import struct
import threading
import zlib
from typing import NamedTuple

__all__ = ["Board", "Place", "Shown", "Topic"]


class Topic(enum.IntEnum):
    """The sheets of a place."""

    METRICS = 0
    ROUTES = 1


SIZES = (2_097_152, 524_288)
"""Bytes of one half of each topic's sheet: some 800 models' metrics, all routes in full use."""

_HEADER = 8_192
_MOST = 255
_REPLACED = 0  # words of it, and of these one for each place:
_OCCUPIED, _USED, _BUSY = 1, 1 + _MOST, 1 + 2 * _MOST
_PLACE = 2 * sum(SIZES)
_HEAD = struct.Struct("<QII")  # the number, counted up; bytes behind it; their CRC-32
_LOOKS = 8  # a writer that overtakes a reader so often is not there: it writes once a second


class Shown(NamedTuple):
    """What a place shows. `alive`: by who is there now."""

    payload: bytes
    alive: bool


class Board:
    """The memory of so many places, mapped before the fork; every process may use its copy."""

    def __init__(self, places: int) -> None:
        if not 0 < places <= _MOST:
            raise ValueError(f"a board has 1 to {_MOST} places")
        self.places = places
        self._map = mmap.mmap(-1, _HEADER + places * _PLACE)
        self._words = memoryview(self._map)[:_HEADER].cast("Q")

    def __repr__(self) -> str:
        return f"<Board {self.places} places, {self.occupied} occupied>"

    def place(self, number: int) -> "Place":
        """For who is at this place, counted from 0."""
        return Place(self, number)

    @property
    def occupied(self) -> int:
        """How many places somebody is at."""
        return sum(self.is_occupied(number) for number in range(self.places))

    @property
    def replaced(self) -> int:
        """How often somebody has come in another's place."""
        return self._words[_REPLACED]

    def is_occupied(self, number: int) -> bool:
        """Whether what is shown there is shown by somebody."""
        return bool(self._words[_OCCUPIED + number])

    def occupy(self, number: int) -> None:
        """Somebody is there, and shows what is true. The parent's.

        Every place is filled once; whoever comes after that is in another's place.
        """
        self._words[_REPLACED] += self._words[_USED + number]
        self._words[_OCCUPIED + number] = self._words[_USED + number] = 1

    def vacate(self, number: int) -> None:
        """Nobody is there any more. The parent's."""
        self._words[_OCCUPIED + number] = 0

    def set_load(self, number: int, load: int) -> None:
        """The number of a place."""
        self._words[_BUSY + number] = load

    def least_load(self, number: int) -> int | None:
        """The least number of the other places that somebody is at."""
        words = self._words
        return min(
            (
                words[_BUSY + other]
                for other in range(self.places)
                if other != number and words[_OCCUPIED + other]
            ),
            default=None,
        )

    def read(self, number: int, topic: Topic) -> bytes | None:
        """What the place shows; None: nothing yet."""
        return max(self.halves(number, topic), default=(0, None), key=lambda half: half[0])[1]

    def halves(self, number: int, topic: Topic) -> list[tuple[int, bytes]]:
        """The numbers and payloads of those halves that are whole."""
        for _ in range(_LOOKS):
            found = [half for side in (0, 1) if (half := self._half(number, topic, side))]
            if found:
                return found
        return []

    def write(self, number: int, topic: Topic, turn: int, payload: bytes) -> None:
        """Write the half whose turn it is."""
        at = _start(number, topic, turn % 2)
        body = at + _HEAD.size
        self._map[body : body + len(payload)] = payload
        self._map[at:body] = _HEAD.pack(turn, len(payload), zlib.crc32(payload))

    def _half(self, number: int, topic: Topic, side: int) -> tuple[int, bytes] | None:
        at = _start(number, topic, side)
        body = at + _HEAD.size
        turn, length, checksum = _HEAD.unpack(self._map[at:body])
        if not turn or length > SIZES[topic] - _HEAD.size:
            return None
        payload = self._map[body : body + length]
        return (turn, payload) if zlib.crc32(payload) == checksum else None


class Place:
    """One worker's view of the board: it shows, and sees what the others show.

    Two threads may use it at one time.
    """

    def __init__(self, board: Board, number: int) -> None:
        self.number = number
        self.board = board
        self.left = {topic: board.read(number, topic) for topic in Topic}
        self._writing = threading.Lock()
        self._turns = {
            topic: max((turn for turn, _ in board.halves(number, topic)), default=0)
            for topic in Topic
        }

    def __repr__(self) -> str:
        return f"<Place {self.number} of {self.board!r}>"

    def room(self, topic: Topic) -> int:
        """Bytes that a sheet of this topic takes."""
        return SIZES[topic] - _HEAD.size

    def show(self, topic: Topic, payload: bytes) -> bool:
        """Show this from now on. False: it is too long, and what was shown before stays."""
        if len(payload) > self.room(topic):
            return False
        with self._writing:
            self._turns[topic] += 1
            self.board.write(self.number, topic, self._turns[topic], payload)
        return True

    def be_busy(self, load: int) -> None:
        """Show how much there is to do here."""
        self.board.set_load(self.number, load)

    def least_busy(self) -> int | None:
        """The least that another one has to do; None: nobody else is there."""
        return self.board.least_load(self.number)

    def others(self, topic: Topic) -> list[Shown]:
        """What all other places show, those that show anything."""
        return [
            Shown(payload, self.board.is_occupied(number))
            for number in range(self.board.places)
            if number != self.number and (payload := self.board.read(number, topic)) is not None
        ]


def _start(number: int, topic: Topic, side: int) -> int:
    before = 2 * sum(SIZES[:topic])
    return _HEADER + number * _PLACE + before + side * SIZES[topic]
