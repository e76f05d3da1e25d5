"""`kill -9` of two writers on one data directory, again and again: nothing lost, nothing doubled.

KPROXY_KILLS says how many processes are killed; 50 by default.
"""

import os
import secrets
import signal
import subprocess
import sys

import pytest

from kproxy.store.database import open_database
from kproxy.store.journal import open_journal
from kproxy.store.segment import segment_names
from tests.arch.tree import ROOT
from tests.fakes.ledger_writer import PARAMS, RANGE

WRITERS = 2
KILLS = int(os.environ.get("KPROXY_KILLS", "50"))


def one_round(process, first, chance):
    """Two writers from their first receipt to their death; the acknowledged ids."""
    process.stdin.write(f"{WRITERS} {first}\n")
    process.stdin.flush()
    living, acknowledged, wanted = [], set(), chance.randint(1, 120)
    for line in process.stdout:
        what, _, value = line.rstrip("\n").partition(" ")
        if what == "pid":
            living.append(int(value))
        elif what == "ack":
            acknowledged.add(value)
        else:
            assert what == "end"
            return acknowledged
        # One dies a while before the other, which may take over what it leaves.
        if len(acknowledged) >= wanted and living:
            os.kill(living.pop(chance.randrange(len(living))), signal.SIGKILL)
            wanted += chance.randint(1, 60)
    raise AssertionError("the writers' parent has ended")


@pytest.mark.timeout(60 + KILLS)
def test_no_acknowledged_receipt_is_lost_and_none_is_counted_twice(tmp_path):
    chance = secrets.SystemRandom()  # a seed could not make the kernel do the same again
    acknowledged = set()
    command = [sys.executable, "-m", "tests.fakes.ledger_writer", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for number in range(-(-KILLS // WRITERS)):
            acknowledged |= one_round(process, number * WRITERS * RANGE, chance)
        process.stdin.close()

    journal = open_journal(tmp_path, PARAMS)
    while set(segment_names(tmp_path / "spool")) != {one.name for one in journal._spool.segments}:
        journal._mover.adopt()
    journal.close()
    database = open_database(tmp_path)
    rows = {name for (name,) in database.query("SELECT id FROM receipt")}
    assert acknowledged - rows == set()
    assert len(rows - acknowledged) <= KILLS, "at most the one that each was about to acknowledge"
    ((amount,),) = database.query("SELECT sum(cost) FROM receipt")
    for table in ("usage_minute", "usage_day"):
        assert database.query(f"SELECT sum(requests), sum(cost) FROM {table}") == [
            (len(rows), amount)
        ]
    assert database.query("SELECT * FROM spool") == []
    assert list((tmp_path / "spool").glob("*.damaged")) == []
    database.close()
