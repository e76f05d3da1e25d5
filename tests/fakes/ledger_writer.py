"""Processes that write receipts until they are killed, for the tests of `kill -9`.

`python -m tests.fakes.ledger_writer DIRECTORY` reads a line `WRITERS FIRST` from standard input,
forks that many writers, and says `pid N` for each. A writer says `ack ID` when `append` has
returned, as a response that has ended would; it numbers its receipts from FIRST on, each writer in
a range of its own. When all are dead it says `end`, and reads the next line.
"""

import os
import sys
from pathlib import Path

import trio

from kproxy.store.journal import Journal, JournalParams, open_journal
from tests.fakes.receipts import receipt

__all__ = ["PARAMS", "RANGE"]

# Small files and no pauses: whatever the journal does, it does often.
PARAMS = JournalParams(segment=16_384, interval=0, probe=0, adopt=0.01)
RANGE = 1_000_000


def say(line: str) -> None:
    """One line in one write, so that lines of several processes do not mix."""
    os.write(1, f"{line}\n".encode())


async def write(directory: Path, number: int) -> None:
    journal: Journal = open_journal(directory, PARAMS)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        while True:
            if journal.healthy:
                made = receipt(number)
                journal.append(made)
                say(f"ack {made.receipt_id}")
                number += 1
            await trio.sleep(0.0002)


def main() -> None:
    directory = Path(sys.argv[1])
    for line in sys.stdin:
        writers, first = map(int, line.split())
        pids = []
        for writer in range(writers):
            pid = os.fork()
            if pid == 0:
                try:
                    trio.run(write, directory, first + writer * RANGE)
                finally:
                    os._exit(1)
            pids.append(pid)
            say(f"pid {pid}")
        for pid in pids:
            os.waitpid(pid, 0)
        say("end")


if __name__ == "__main__":
    main()
