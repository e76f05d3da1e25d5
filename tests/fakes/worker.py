"""A worker process that holds the counters of a data directory and does as it is told.

`Worker(directory)` starts one; `ask(...)` sends a command and waits for its answer. Run as a
program it is the other end: a line of JSON in, a line of JSON out, until standard input ends.
Budgets and reservations are those of the account `a`.
"""

import dataclasses
import itertools
import json
import os
import random  # noqa: TID251 - each command brings its seed
import signal
import subprocess
import sys
from pathlib import Path

from kproxy.admission.quota import Amount
from kproxy.admission.ratelimit import rate_params
from kproxy.admission.tiers import TIERS
from kproxy.errors import Rejected
from kproxy.store.cells import SPEND, TOKENS
from kproxy.store.counters import Counters, open_counters

__all__ = ["MOST_ASKED", "NOW", "Worker", "tier"]

ROOT = Path(__file__).parent.parent.parent
NOW = 1_795_545_415.0
MOST_ASKED = 2_000


def tier(limit):
    """The free tier with so many tokens in a month."""
    return dataclasses.replace(TIERS["free"], tokens_per_month=limit)


class Worker:
    """Ends with its `with` block."""

    def __init__(self, directory):
        command = [sys.executable, "-m", "tests.fakes.worker", str(directory)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self):
        assert self.answer() == "ready"
        return self

    def __exit__(self, *_):
        self.process.communicate()
        assert self.process.returncode == 0

    def tell(self, name, **arguments):
        """A command, without waiting for its answer."""
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self):
        """The next answer."""
        return json.loads(self.process.stdout.readline())

    def ask(self, name, **arguments):
        """A command and its answer."""
        self.tell(name, **arguments)
        return self.answer()


def take(counters, per_minute, burst, times):
    """For each of the given moments, whether a request was let in."""
    rate = rate_params(per_minute, burst)
    return [counters.take("a", rate, now).allowed for now in times]


def exhaust(counters, per_minute, burst, times):
    """At each of the given moments requests without a pause, on to a refusal: how many were let in.

    The second figure is how many of them went on without a lock. Nobody leaves a moment before the
    rate is used up, so workers that come late or are stopped change nothing in the sum.
    """
    rate = rate_params(per_minute, burst)
    accepted = 0
    for now in times:
        while counters.take("a", rate, now).allowed:
            accepted += 1
    return accepted, counters.unlocked


def spend(counters, limit, calls, seed):
    """So many calls, some of them open at once: what they used, and how many were let in.

    The last figure is how often one of them went on without a lock.
    """
    chance = random.Random(seed)
    plan, held = tier(limit), []
    used = accepted = 0
    for _ in range(calls):
        asked = chance.randrange(1, MOST_ASKED + 1)
        try:
            held.append((counters.reserve("a", plan, Amount(asked, 0), NOW), asked))
            accepted += 1
        except Rejected:
            pass
        while held and (len(held) > 10 or chance.random() < 0.5):
            used += _end(*held.pop(chance.randrange(len(held))), chance)
    used += sum(_end(*one, chance) for one in held)
    return used, accepted, counters.unlocked


def contend(counters, limit, calls):
    """The whole budget again and again, given back at once: how often it was had.

    The second figure is how often more than the budget was reserved then, the third how often one
    of them went on without a lock.
    """
    plan, slot = tier(limit), counters._cells.slot("a")
    tokens = slice(slot.base + TOKENS, slot.base + SPEND)
    had = over = 0
    for _ in range(calls):
        try:
            held = counters.reserve("a", plan, Amount(limit, 0), NOW)
        except Rejected:
            continue
        had += 1
        over += sum(slot.words[tokens]) > limit
        held.release()
    return had, over, counters.unlocked


def _end(reservation, asked, chance):
    if chance.random() < 0.2:
        reservation.release()
        return 0
    actual = chance.randrange(asked + 1)
    reservation.settle(Amount(actual, 0))
    return actual


def killed(directory, steps, seed):
    """Another process that reserves and settles nothing, killed when it has done so many steps."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _churn(open_counters(Path(directory), lambda _: (), NOW), writer, random.Random(seed))
    os.close(writer)
    done = 0
    while done < steps:
        done += len(os.read(reader, steps - done))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return done


def _churn(counters: Counters, writer, chance):
    plan, held = tier(10**9), []
    for step in itertools.count():
        held.append(counters.reserve("a", plan, Amount(chance.randrange(1, 1_000), step), NOW))
        if len(held) > 5:
            one = held.pop(chance.randrange(len(held)))
            if chance.random() < 0.5:
                one.settle(Amount(0, 0))
            else:
                one.release()
        os.write(writer, b".")


def _main():
    directory = sys.argv[1]
    commands = {"take": take, "exhaust": exhaust, "spend": spend, "contend": contend}
    counters = None
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        if name == "killed":
            answer = killed(directory, **arguments)
        else:
            counters = counters or open_counters(Path(directory), lambda _: (), NOW)
            answer = commands[name](counters, **arguments)
        print(json.dumps(answer), flush=True)
    if counters is not None:
        counters.close()


if __name__ == "__main__":
    _main()
