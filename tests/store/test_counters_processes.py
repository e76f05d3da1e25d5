"""Real processes on one file: a budget, a rate, and workers that are killed.

On a machine that stops a worker for 20 ms at the wrong instant, another one goes on without the
lock. Workers count that, and each time may cost what one request is: the bounds say so.
"""

import random  # noqa: TID251 - the moments are seeded

import pytest

from kproxy.admission.quota import NOTHING, Amount
from kproxy.errors import Rejected
from kproxy.store.cells import SPEND, TOKENS, Cells
from kproxy.store.counters import Counters, open_counters
from tests.fakes.bucket import MINUTE, Bucket
from tests.fakes.worker import MOST_ASKED, NOW, Worker, tier


@pytest.fixture
def counters(tmp_path):
    found = open_counters(tmp_path, lambda _: (), NOW)
    yield found
    found.close()


@pytest.fixture
def workers(tmp_path, counters):
    with Worker(tmp_path) as first, Worker(tmp_path) as second:
        for one in (first, second):
            one.ask("take", per_minute=1, burst=1, times=[])  # has opened the file
        yield first, second


def left(counters, limit):
    probe = counters.reserve("a", tier(limit), NOTHING, NOW)
    probe.release()
    return probe.standing.remaining


@pytest.mark.parametrize("seed", range(5))
def test_calls_of_two_workers_stay_within_a_budget_and_it_can_be_used_up(workers, counters, seed):
    limit = 30_000
    for number, worker in enumerate(workers):
        worker.tell("spend", limit=limit, calls=100, seed=2 * seed + number)
    results = [worker.answer() for worker in workers]
    used = sum(tokens for tokens, _, _ in results)
    assert used <= limit + MOST_ASKED * sum(unlocked for _, _, unlocked in results)
    assert sum(accepted for _, accepted, _ in results) < 200, "the budget was never in the way"
    # Once everything is settled, the rest is there, and nothing else is.
    assert left(counters, limit) == limit - used
    counters.reserve("a", tier(limit), Amount(limit - used, 0), NOW).release()
    with pytest.raises(Rejected):
        counters.reserve("a", tier(limit), Amount(limit - used + 1, 0), NOW)


def test_two_workers_never_have_the_same_tokens_at_once(workers):
    for worker in workers:
        worker.tell("contend", limit=100, calls=10_000)
    results = [worker.answer() for worker in workers]
    assert all(had for had, _, _ in results)
    assert sum(over for _, over, _ in results) <= 2 * sum(unlocked for _, _, unlocked in results)


def test_nothing_of_many_calls_of_two_workers_is_lost(workers, counters):
    limit = 10**9
    for number, worker in enumerate(workers):
        worker.tell("spend", limit=limit, calls=5_000, seed=number)
    results = [worker.answer() for worker in workers]
    assert [accepted for _, accepted, _ in results] == [5_000, 5_000]
    assert left(counters, limit) == limit - sum(tokens for tokens, _, _ in results)


@pytest.mark.parametrize(("per_minute", "burst"), [(60, 5), (600, 50), (3_000, 250)])
def test_ten_minutes_of_a_rate_on_two_workers(workers, per_minute, burst):
    chance = random.Random(per_minute)
    bucket = Bucket(per_minute, burst)
    now, accepted, expected = 10**15, 0, 0
    end = now + 10 * MINUTE
    while now < end:
        times = []
        for _ in range(chance.randrange(1, 100)):
            now += int(chance.expovariate(1.3 * per_minute / MINUTE))
            times.append(now)
        worker = workers[chance.randrange(2)]
        accepted += sum(worker.ask("take", per_minute=per_minute, burst=burst, times=times))
        expected += sum(map(bucket.take, times))
        assert abs(accepted - expected) <= 1
    assert accepted > 9 * per_minute


def test_a_rate_that_two_workers_use_up_at_once(workers):
    per_minute, burst = 60_000, 50_000
    interval = MINUTE // per_minute
    times = [10**15 + number * 7 * interval for number in range(1_000)]
    for worker in workers:
        worker.tell("exhaust", per_minute=per_minute, burst=burst, times=times)
    results = [worker.answer() for worker in workers]
    accepted = sum(count for count, _ in results)
    unlocked = sum(one for _, one in results)
    assert abs(accepted - burst - (times[-1] - times[0]) // interval) <= unlocked


def test_a_worker_that_is_killed_leaves_no_reservation(tmp_path):
    chance = random.Random(4)
    cells = Cells(tmp_path)
    cells.opened()
    counters = Counters(cells, NOW)
    slot = cells.slot("a")
    words = slice(slot.base + TOKENS, slot.base + SPEND + (SPEND - TOKENS))
    found = 0
    with Worker(tmp_path) as nursery:
        for seed in range(50):
            nursery.ask("killed", steps=chance.randrange(1, 300), seed=seed)
            found += any(slot.words[words])
            assert counters.recover() == 1
            assert not any(slot.words[words])
            assert left(counters, 1_000) == 1_000
    assert found == 50, "nothing was reserved when the workers died"
    counters.close()
