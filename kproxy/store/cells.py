"""A data directory in, integers that all worker processes of the machine share out.

The problem: limits hold across processes, on every request, and nothing may serve as their server.
A worker can be killed between any two instructions, and what it had reserved must not stay.

The obvious ways fail: a row in SQLite costs 9 us a change and a lock on the whole database; one
number for "reserved" cannot tell whose reservations a dead worker's were; a mutex of pthreads in
shared memory is quicker than a lock on a file (0.25 us against 1.3 us) but is reached through
ctypes, where a wrong size is memory corruption.

Our way: one file that every worker maps.

1. An account has a slot. Its words are 64-bit integers: the rate's time, the month, and for every
   worker a column of its own (tokens and spend, each used and reserved). Only the owner of a column
   adds to it, so no addition is lost, and what is taken is the sum over the columns.
2. A column belongs to whoever holds the lock on its byte of the file. The kernel frees the lock
   when the process ends, however it ends. Whoever gets the lock of a column that is marked as taken
   has found a dead worker, and clears what it had reserved; what it had used stays.
3. Look, then change: the lock on an account's slot is held meanwhile. It is an open file
   description lock (`F_OFD_SETLK` in fcntl(2)): a POSIX lock of a process is dropped when any
   descriptor of the file is closed, and does not keep two users in one process apart. Nothing waits
   longer than 20 ms for it, because the waiting is done by the thread that serves all requests. A
   holder that takes longer was stopped inside a few microseconds of work. We then go on without the
   lock; at worst, one request too many or too few is let in. While no other process has ever joined
   there is nobody to lock out, and six system calls of each request are saved. Who joins says so in
   the header, and needs milliseconds more until it changes anything.
4. Slots stand in the order in which accounts came, and are never moved or given up. Each worker
   keeps an index, so that an account is looked for once; a hash table in the file would answer
   nothing faster. The file grows by a chunk at a time, whose blocks are allocated before they are
   mapped: a full disk refuses a new account, instead of killing the process with SIGBUS.
5. The file is a cache. Whoever opens it while nobody else has it open starts it anew, so neither a
   power cut nor an older kproxy's layout can leave anything in it.

The file belongs to one machine, as `kproxy.generation` does, and must be neither cut nor removed
while a kproxy runs. A `Cells` is used by one thread, and never across a fork: a worker opens its
own.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import time
from pathlib import Path

from kproxy.store.database import StoreError

__all__ = ["COLUMNS", "MONTH", "MOST_ACCOUNTS", "SPEND", "TAT", "TOKENS", "Cells", "Slot"]

FILE_NAME = "kproxy.counters"
COLUMNS = 64  # worker processes at once; a restart that overlaps has twice its workers

# Words of a slot: the key, then what is shared, then a pair of used and reserved for each column.
TAT, MONTH, TOKENS = 2, 3, 4
SPEND = TOKENS + 2 * COLUMNS
_SLOT_WORDS = SPEND + 2 * COLUMNS
_WORD = 8

# The header: words, then a byte for each lock, of which only the position means anything.
_HEADER = 65_536  # bytes: a mapping begins at a multiple of the page, which is 64 KiB at most
_MAGIC_AT, _COUNT, _USED_COLUMNS, _TAKEN = 0, 1, 2, 3  # from _TAKEN on, a word for each column
_MAGIC = int.from_bytes(b"kproxy\x00\x01", "big")  # the last byte is the layout's number
_OPENING, _GROWING, _OWNERS = 4_096, 4_097, 4_104

_CHUNK = 1 << 20
_PER_CHUNK = _CHUNK // (_SLOT_WORDS * _WORD)
_MOST_CHUNKS = 256
MOST_ACCOUNTS = _PER_CHUNK * _MOST_CHUNKS

_PATIENCE_NS = 20_000_000  # as long as one step may hold up everything else (reliability.md R12)
_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


class Slot:
    """An account's words: `words[base + TAT]` and so on; and what locks and unlocks them."""

    __slots__ = ("base", "held", "let_go", "words")

    def __init__(self, words: memoryview, base: int, place: int) -> None:
        self.words = words
        self.base = base
        self.held = _flock(fcntl.F_WRLCK, place, _SLOT_WORDS * _WORD)
        self.let_go = _flock(fcntl.F_UNLCK, place, _SLOT_WORDS * _WORD)


class Cells:
    """The file, opened and joined: `column` is ours. `first` says that it was started anew.

    Whoever else opens it waits until `opened()` is called. Raises StoreError when the file cannot
    be made, has another kproxy's layout, or has no free column. `close()` gives everything back.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.unlocked = 0  # how often a lock was not to be had in time
        self._slots: dict[str, Slot] = {}
        self._index: dict[tuple[int, int], int] = {}
        self._mapped: list[tuple[mmap.mmap, memoryview]] = []
        self._chunks: list[memoryview] = []
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot use {self.path}: {error.strerror}") from error
        try:
            self.first = self._alone()
            self._header = self._map(0, _HEADER)
            self.column = self._join()
        except (OSError, ValueError) as error:
            self._give_back()
            reason = getattr(error, "strerror", None) or error
            raise StoreError(f"cannot use {self.path}: {reason}") from error
        except StoreError:
            self._give_back()
            raise

    def __repr__(self) -> str:
        return f"<Cells {self.path} column {self.column} of {self.columns}>"

    @property
    def columns(self) -> int:
        """How many columns have ever been owned: those from this one on hold nothing."""
        return self._header[_USED_COLUMNS]

    def opened(self) -> None:
        """Let others open the file."""
        self._let_go(_OPENING)

    def slot(self, account_id: str) -> Slot:
        """The account's slot, made when there is none. Raises StoreError when none can be made."""
        found = self._slots.get(account_id)
        if found is None:
            found = self._slots[account_id] = self._find(account_id)
        return found

    def lock(self, slot: Slot) -> None:
        """Hold the slot until `unlock`. Does not nest."""
        if self._header[_USED_COLUMNS] == 1:
            return
        if not self._try(slot.held) and not self._insist(slot.held):
            self.unlocked += 1

    def unlock(self, slot: Slot) -> None:
        """Let go of the slot; nothing happens where it was not held."""
        if self._header[_USED_COLUMNS] == 1:
            return
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, slot.let_go)

    def recover(self) -> int:
        """Clear what dead workers had reserved; how many of them there were."""
        dead = 0
        for column in range(self.columns):
            if column == self.column or not self._header[_TAKEN + column]:
                continue
            if self._try(_flock(fcntl.F_WRLCK, _OWNERS + column, 1)):
                self._clear(column)
                self._let_go(_OWNERS + column)
                dead += 1
        return dead

    def close(self) -> None:
        """Give up the column, with what is still reserved in it, and the mappings."""
        if self._file >= 0:
            self._clear(self.column)
            self._give_back()

    def _alone(self) -> bool:
        """Wait until nobody opens the file; whether nobody has it open, and it is new then."""
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _flock(fcntl.F_WRLCK, _OPENING, 1))
        if not self._try(_flock(fcntl.F_WRLCK, _OWNERS, COLUMNS)):
            return False
        os.ftruncate(self._file, 0)
        os.posix_fallocate(self._file, 0, _HEADER)
        return True

    def _join(self) -> int:
        header = self._header
        if self.first:
            header[_MAGIC_AT] = _MAGIC
            self._let_go(_OWNERS + 1, COLUMNS - 1)
        elif header[_MAGIC_AT] != _MAGIC:
            raise StoreError(f"{self.path} is in use by another version of kproxy")
        for column in range(COLUMNS):
            if self._try(_flock(fcntl.F_WRLCK, _OWNERS + column, 1)):
                if header[_TAKEN + column]:
                    self._clear(column)
                header[_TAKEN + column] = 1
                header[_USED_COLUMNS] = max(header[_USED_COLUMNS], column + 1)
                return column
        raise StoreError(f"{self.path} is in use by {COLUMNS} processes, which is the limit")

    def _clear(self, column: int) -> None:
        """Clear what a column that we own had reserved, and mark it as free."""
        count = self._header[_COUNT]
        reserved = (TOKENS + 2 * column + 1, SPEND + 2 * column + 1)
        for first in range(0, count, _PER_CHUNK):
            words = self._chunk(first // _PER_CHUNK)
            for word in reserved:
                for at, value in enumerate(words[word : _PER_CHUNK * _SLOT_WORDS : _SLOT_WORDS]):
                    if value:
                        slot = self._slot_at(first + at)
                        self.lock(slot)
                        words[slot.base + word] = 0
                        self.unlock(slot)
        self._header[_TAKEN + column] = 0

    def _let_go(self, start: int, length: int = 1) -> None:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, start, length))

    def _give_back(self) -> None:
        """What the kernel does when a process dies. A mapping holds the file, and so its locks."""
        for mapped, words in self._mapped:
            words.release()
            mapped.close()
        os.close(self._file)
        self._file = -1

    def _find(self, account_id: str) -> Slot:
        digest = hashlib.blake2b(account_id.encode(), digest_size=16).digest()
        first, second = struct.unpack("qq", digest)
        growing = _flock(fcntl.F_WRLCK, _GROWING, 1)
        if not self._try(growing) and not self._insist(growing):
            raise StoreError(f"{self.path} is being grown by a process that does not go on")
        try:
            return self._slot_at(self._place((first, second)))
        except OSError as error:
            raise StoreError(f"{self.path} cannot grow: {error.strerror}") from error
        finally:
            self._let_go(_GROWING)

    def _place(self, key: tuple[int, int]) -> int:
        """Where the slot of this key is, after the newest of the others are in the index."""
        count = self._header[_COUNT]
        for at in range(len(self._index), count):
            slot = self._slot_at(at)
            self._index[slot.words[slot.base], slot.words[slot.base + 1]] = at
        if key in self._index:
            return self._index[key]
        if count >= MOST_ACCOUNTS:
            raise StoreError(f"{self.path} has {count} accounts, which is the limit")
        if count % _PER_CHUNK == 0:
            os.posix_fallocate(self._file, _HEADER + count // _PER_CHUNK * _CHUNK, _CHUNK)
        slot = self._slot_at(count)
        slot.words[slot.base], slot.words[slot.base + 1] = key
        self._header[_COUNT] = count + 1  # from here on it counts; before, it is written again
        self._index[key] = count
        return count

    def _slot_at(self, at: int) -> Slot:
        chunk, position = divmod(at, _PER_CHUNK)
        base = position * _SLOT_WORDS
        return Slot(self._chunk(chunk), base, _HEADER + chunk * _CHUNK + base * _WORD)

    def _chunk(self, number: int) -> memoryview:
        while number >= len(self._chunks):
            self._chunks.append(self._map(_HEADER + len(self._chunks) * _CHUNK, _CHUNK))
        return self._chunks[number]

    def _map(self, offset: int, length: int) -> memoryview:
        mapped = mmap.mmap(self._file, length, offset=offset)
        words = memoryview(mapped).cast("q")
        self._mapped.append((mapped, words))
        return words

    def _try(self, lock: bytes) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True

    def _insist(self, lock: bytes) -> bool:
        deadline = time.monotonic_ns() + _PATIENCE_NS
        while time.monotonic_ns() < deadline:
            os.sched_yield()
            if self._try(lock):
                return True
        return False


def _flock(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
