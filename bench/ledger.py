"""Measures what a receipt costs: CPU of appending it, and of moving it into SQLite beside that.

    python bench/ledger.py                    200, 1,000 and 4,000 receipts a second, three rounds
    python bench/ledger.py --rates 500 --seconds 5 --directory DIR

"append" is the call alone, in a loop: what a request waits for. "all" is what the whole process
spends while receipts are appended at a fixed rate and moved at the same time (encoding, the write,
the worker thread, SQLite, and handing the interpreter from one to the other), less what the same
loop spends without a journal, for each receipt. "strict" is the time for which an answer waits for
the disk, with 64 that end together. Receipts are those of a plan with six candidates and one
attempt. Run it from the project's root on an otherwise idle machine; DIR is on the disk to measure,
by default where temporary files are.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
import trio

from kproxy.ledger.receipt import receipt_id
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Candidate, Classification, Decision, Execution, Receipt
from kproxy.store.journal import Journal, JournalParams, open_journal

TICK = 0.005  # seconds between two handfuls of receipts
TOGETHER = 64


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default="200,1000,4000", help="receipts a second")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    wanted = parser.parse_args()
    body = msgspec.json.encode(_receipt(0))
    print(f"a receipt has {len(body)} bytes; median (lowest to highest) of {wanted.rounds} rounds")
    _show("append", [_append(wanted.directory) for _ in range(wanted.rounds)], "us")
    for rate in map(int, wanted.rates.split(",")):
        costs = []
        for _ in range(wanted.rounds):
            idle = _paced(None, rate, wanted.seconds)
            costs.append(_paced(wanted.directory or Path(), rate, wanted.seconds) - idle)
        _show(f"all, {rate} a second", costs, "us")
    _show("strict, 64 together", [_strict(wanted.directory) for _ in range(wanted.rounds)], "ms")


def _show(what: str, values: list[float], unit: str) -> None:
    print(f"{what:24}{median(values):7.1f} {unit} ({min(values):.1f} to {max(values):.1f})")


def _append(directory: Path | None) -> float:
    """Microseconds of CPU for one `append`; the spool is large enough for all."""
    receipts = [_receipt(number) for number in range(5_000)]
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        journal = open_journal(Path(scratch), JournalParams())
        start = time.thread_time()
        for receipt in receipts:
            journal.append(receipt)
        spent = time.thread_time() - start
        journal.close()
    return 1e6 * spent / len(receipts)


def _paced(directory: Path | None, rate: int, seconds: float) -> float:
    """Microseconds of CPU of the process for each receipt; None: nothing is written.

    From the first receipt until the last one is moved: opening and closing are not among it.
    """
    receipts = [_receipt(number) for number in range(int(rate * seconds))]
    if directory is None:
        spent = trio.run(_unjournalled, receipts, rate)
    else:
        with tempfile.TemporaryDirectory(dir=directory if directory.parts else None) as scratch:
            spent = trio.run(_journalled, receipts, rate, Path(scratch))
    return 1e6 * spent / len(receipts)


async def _unjournalled(receipts: list[Receipt], rate: int) -> float:
    start = time.process_time()
    await _ticks(receipts, rate, None)
    return time.process_time() - start


async def _journalled(receipts: list[Receipt], rate: int, directory: Path) -> float:
    journal = open_journal(directory, JournalParams())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        start = time.process_time()
        await _ticks(receipts, rate, journal)
        while journal.statistics().unmoved:  # noqa: ASYNC110 - nobody else asks for the moment
            await trio.sleep(TICK)
        spent = time.process_time() - start
        nursery.cancel_scope.cancel()
    journal.close()
    return spent


async def _ticks(receipts: list[Receipt], rate: int, journal: Journal | None) -> None:
    began, done = trio.current_time(), 0
    while done < len(receipts):
        due = min(len(receipts), int(rate * (trio.current_time() - began)))
        for receipt in receipts[done:due]:
            if journal is not None:
                journal.append(receipt)
        done = max(done, due)
        await trio.sleep(TICK)


def _strict(directory: Path | None) -> float:
    """Milliseconds from `append` until the disk has it; the median of many answers."""
    waits: list[float] = []
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        trio.run(_answers, Path(scratch), waits)
    return 1e3 * median(waits)


async def _answers(directory: Path, waits: list[float]) -> None:
    journal = open_journal(directory, JournalParams(strict=True))

    async def answer(first: int) -> None:
        for number in range(first, first + 10):
            start = trio.current_time()
            journal.append(_receipt(number))
            await journal.durable()
            waits.append(trio.current_time() - start)

    async with trio.open_nursery() as tasks:
        await tasks.start(journal.run)
        async with trio.open_nursery() as nursery:
            for number in range(TOGETHER):
                nursery.start_soon(answer, 10 * number)
        tasks.cancel_scope.cancel()
    journal.close()


def _receipt(number: int) -> Receipt:
    usage = Usage(1_000 + number, 200, cached_tokens=50)
    arrived = 1_764_072_000 + number / 1_000
    names = [(f"model-name-{rank}", f"provider{rank}") for rank in range(6)]
    return Receipt(
        receipt_id=receipt_id(arrived, f"{number * 0x9E3779B97F4A7C15F39CC061 % 2**96:024x}"),
        account_id=f"acct_{7:024x}",
        key_id=f"key_{number % 10:024x}",
        arrived=arrived,
        asked="auto",
        stream=True,
        classification=Classification("code", 0.75),
        candidates=tuple(
            Candidate(model, provider, 27_000, None, ("meets every constraint", "cheapest"), 0.8)
            for model, provider in names
        ),
        decision=Decision(*names[0], "single", tuple("/".join(name) for name in names[:4])),
        attempts=(
            AttemptOutcome(*names[0], 0.001, 0.5, 1.5, Ending.COMPLETE, None, usage, 27_000),
        ),
        execution=Execution(Ending.COMPLETE, 27_000, 400_000, 1.5, 0.5, usage),
        policy_version="2026-11-24",
    )


if __name__ == "__main__":
    main()
