"""What the request path may rely on: one account, several workers, one balance."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.admission.quota import NOTHING, Amount, ReservationEnded
from kproxy.admission.ratelimit import rate_params
from kproxy.admission.standing import Standing
from kproxy.admission.tiers import TIERS
from kproxy.errors import Rejected
from kproxy.store.counters import Counters, Used, open_counters
from kproxy.store.database import StoreError
from kproxy.store.month import month_at
from tests.store.test_cells import die

NOW = 1_795_545_415.0  # 24 November 2026
NEXT = month_at(NOW).end
FREE = TIERS["free"]
LIMIT = 100_000


@pytest.fixture
def worker(tmp_path):
    everyone = []

    def join(*totals, now=NOW):
        one = open_counters(tmp_path, lambda _: totals, now)
        everyone.append(one)
        return one

    yield join
    for one in everyone:
        one.close()


def left(counters, account="a", now=NOW, tier=FREE):
    """What the month still has, by a reservation that is given back."""
    probe = counters.reserve(account, tier, NOTHING, now)
    probe.release()
    return probe.standing.remaining


def refused(counters, asked, now=NOW, tier=FREE):
    with pytest.raises(Rejected) as caught:
        counters.reserve("a", tier, asked, now)
    assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
    return caught.value


def test_a_rate_is_the_accounts_on_every_worker(worker):
    first, second = worker(), worker()
    rate = rate_params(60, 2)
    assert first.take("a", rate, 10**12).standing == Standing(60, 1, 10**9)
    assert second.take("a", rate, 10**12).standing == Standing(60, 0, 2 * 10**9)
    verdict = first.take("a", rate, 10**12)
    assert (verdict.allowed, verdict.retry_after_ns) == (False, 10**9)
    assert second.take("b", rate, 10**12).allowed
    assert second.take("a", rate, 10**12 + 10**9).allowed


def test_without_a_rate_nothing_is_kept(worker):
    assert worker().take("a", None, 1) is None


def test_what_is_reserved_cannot_be_reserved_again_until_it_is_settled(worker):
    first, second = worker(), worker()
    held = first.reserve("a", FREE, Amount(60_000, 0), NOW)
    assert held.standing.remaining == 40_000
    assert held.standing.limit == LIMIT
    assert held.standing.reset_ns == (NEXT - NOW) * 10**9
    assert "40000 of this month's 100000" in refused(second, Amount(60_000, 0)).message
    held.settle(Amount(10_000, 0))
    assert left(second) == 90_000
    second.reserve("a", FREE, Amount(60_000, 0), NOW).release()
    assert left(first) == left(second) == 90_000


def test_a_request_that_used_more_than_it_reserved_is_counted_in_full(worker):
    counters = worker()
    counters.reserve("a", FREE, Amount(99_999, 0), NOW).settle(Amount(100_500, 0))
    assert left(counters) == 0
    refused(counters, Amount(1, 0))


def test_a_refused_request_leaves_nothing(worker):
    counters = worker()
    refused(counters, Amount(LIMIT + 1, 1_000))
    refused(counters, Amount(1_000, FREE.trial_credit + 1))
    counters.reserve("a", FREE, Amount(LIMIT, FREE.trial_credit), NOW).release()


def test_money_is_counted_apart(worker):
    first, second = worker(), worker()
    held = first.reserve("a", FREE, Amount(0, FREE.trial_credit - 10), NOW)
    refused(second, Amount(0, 11))
    held.settle(Amount(0, FREE.trial_credit - 100))
    second.reserve("a", FREE, Amount(0, 100), NOW).settle(Amount(0, 100))
    refused(first, Amount(0, 1))
    assert left(first) == LIMIT


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("second", ["settle", "release"])
@pytest.mark.parametrize("tier", ["free", "unlimited"])
def test_a_reservation_ends_once(worker, first, second, tier):
    counters = worker()
    held = counters.reserve("a", TIERS[tier], Amount(100, 0), NOW)
    ends = {"settle": lambda: held.settle(Amount(10, 0)), "release": held.release}
    ends[first]()
    with pytest.raises(ReservationEnded):
        ends[second]()
    assert first.upper() in repr(held)
    if tier == "free":
        assert left(counters) == LIMIT - (10 if first == "settle" else 0)


def test_an_unlimited_tier_costs_no_slot(worker):
    counters = worker()
    held = counters.reserve("a", TIERS["unlimited"], Amount(10**12, 10**12), NOW)
    assert held.standing is None
    held.settle(Amount(10**12, 10**12))
    assert left(counters) == LIMIT


def test_overage_goes_on_and_says_that_nothing_is_left(worker):
    counters, team = worker(), TIERS["team"]
    counters.reserve("a", team, Amount(10**7, 0), NOW).settle(Amount(10**7, 0))
    held = counters.reserve("a", team, Amount(5, 0), NOW)
    assert held.standing.remaining == 0
    held.release()
    refused(counters, Amount(5, 0), tier=dataclasses.replace(team, hard_cap=True))


def test_a_new_month_has_its_tokens_again_and_no_new_credit(worker):
    first, second = worker(), worker()
    first.reserve("a", FREE, Amount(LIMIT, FREE.trial_credit), NOW).settle(
        Amount(LIMIT, FREE.trial_credit)
    )
    refused(second, Amount(1, 0), now=NEXT - 1)
    assert left(second, now=NEXT) == LIMIT
    refused(second, Amount(0, 1), now=NEXT)
    assert left(first, now=NEXT) == LIMIT


def test_a_request_over_the_turn_of_the_month_is_the_old_months(worker):
    first, second = worker(), worker()
    over = [one.reserve("a", FREE, Amount(30_000, 1_000), NOW) for one in (first, second)]
    assert left(first, now=NEXT) == LIMIT
    mine = first.reserve("a", FREE, Amount(50_000, 0), NEXT)
    over[0].settle(Amount(20_000, 1_000))
    over[1].release()
    assert left(second, now=NEXT) == 50_000
    mine.settle(Amount(1, 0))
    assert left(second, now=NEXT) == LIMIT - 1
    second.reserve("a", FREE, Amount(0, FREE.trial_credit - 1_000), NEXT).release()
    refused(second, Amount(0, FREE.trial_credit - 999), now=NEXT)


def test_a_clock_that_goes_back_over_the_turn_gives_no_tokens_twice(worker):
    first, second = worker(), worker()
    first.reserve("a", FREE, Amount(70_000, 0), NEXT).settle(Amount(70_000, 0))
    held = second.reserve("a", FREE, Amount(20_000, 0), NEXT - 5)
    assert held.standing.remaining == 10_000
    held.settle(Amount(20_000, 0))
    assert left(first, now=NEXT) == 10_000


def test_nobody_is_refused_for_what_a_dead_worker_had_reserved(worker):
    first, second = worker(), worker()
    second.reserve("a", FREE, Amount(1_000, 0), NOW).settle(Amount(1_000, 0))
    second.reserve("a", FREE, Amount(LIMIT - 1_000, FREE.trial_credit), NOW)
    refused(first, Amount(1, 0))
    die(second._cells)
    assert first.reserve("a", FREE, Amount(99_000, FREE.trial_credit), NOW).standing.remaining == 0
    assert first.recover() == 0


def test_whoever_sees_a_worker_die_can_say_so(worker):
    first, second = worker(), worker()
    second.reserve("a", FREE, Amount(5_000, 0), NOW)
    die(second._cells)
    assert left(first) == LIMIT - 5_000
    assert (first.recover(), first.recover()) == (1, 0)
    assert left(first) == LIMIT


def test_the_first_starts_from_the_ledgers_sums_and_the_second_does_not(worker):
    first = worker(Used("a", 40_000, 10), Used("b", 1, 0))
    second = worker(Used("a", 5, 5))
    assert left(second) == left(first) == 60_000
    assert left(second, "b") == LIMIT - 1
    first.reserve("a", FREE, Amount(0, FREE.trial_credit - 10), NOW).release()
    refused(second, Amount(0, FREE.trial_credit - 9))


def test_the_sums_asked_for_are_those_of_the_month(tmp_path):
    asked = []
    open_counters(tmp_path, lambda month: asked.append(month) or (), NOW).close()
    assert asked == [month_at(NOW)]


def test_a_ledger_that_cannot_be_read_is_asked_again(worker, tmp_path):
    def broken(_):
        raise StoreError("damaged")

    with pytest.raises(StoreError, match="damaged"):
        open_counters(tmp_path, broken, NOW)
    assert left(worker(Used("a", 7, 0))) == LIMIT - 7


def test_rebuilding_sets_what_all_workers_have_used_together(worker):
    first, second = worker(), worker()
    month = month_at(NOW).number
    for one in (first, second):
        one.reserve("a", FREE, Amount(10_000, 0), NOW).settle(Amount(10_000, 0))
    first.rebuild(month, Used("a", 3_000, 0))
    assert left(second) == 97_000
    second.rebuild(month, Used("a", 50_000, 0))
    assert left(first) == 50_000
    second.rebuild(month - 1, Used("a", 0, 0))
    assert left(first) == 50_000
    second.rebuild(month, Used("a", 10**30, 10**30))
    assert left(first) == 0
    first.reserve("a", TIERS["team"], Amount(5, 0), NOW).settle(Amount(5, 0))


def test_a_sum_too_large_for_its_counter_stops_there(worker):
    counters, team = worker(), TIERS["team"]
    for _ in range(2):
        counters.reserve("a", team, Amount(1, 1), NOW).settle(Amount(2**63, 2**63))
    assert left(counters) == 0


def test_an_account_whose_lock_is_not_to_be_had_is_served_all_the_same(worker):
    first, second = worker(), worker()
    first._cells.lock(first._cells.slot("a"))
    assert second.take("a", rate_params(60, 1), 10**12).allowed
    second.reserve("a", FREE, Amount(10, 0), NOW).settle(Amount(10, 0))
    assert (first.unlocked, second.unlocked) == (0, 3)


def test_closed_counters_count_no_more(tmp_path):
    counters = open_counters(tmp_path, lambda _: (), NOW)
    held = counters.reserve("a", FREE, Amount(10, 0), NOW)
    assert "kproxy.counters" in repr(counters)
    counters.close()
    counters.close()
    with pytest.raises(ValueError, match="released memoryview"):
        held.release()


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "release", "die"]),
        st.integers(0, 1),
        st.integers(0, 60_000),
        st.integers(0, 70_000),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(calls=CALLS)
def test_the_balance_is_what_was_settled_and_what_is_held(tmp_path_factory, calls):
    """Any calls on two workers, one of which may die and come again, against plain sums."""
    directory = tmp_path_factory.mktemp("counters")
    keeper = open_counters(directory, lambda _: (), NOW)  # keeps the file from starting anew
    workers: list[Counters] = [open_counters(directory, lambda _: (), NOW) for _ in range(2)]
    held: list[list] = [[], []]
    used = 0
    for what, who, asked, taken in calls:
        reserved = sum(amount for one in held for _, amount in one)
        if what == "reserve":
            try:
                one = workers[who].reserve("a", FREE, Amount(asked, 0), NOW)
            except Rejected:
                assert used + reserved + asked > LIMIT
                continue
            assert used + reserved + asked <= LIMIT or not asked
            assert one.standing.remaining == max(0, LIMIT - used - reserved - asked)
            held[who].append((one, asked))
        elif what == "die":
            die(workers[who]._cells)
            assert keeper.recover() == 1
            held[who].clear()
            workers[who] = open_counters(directory, lambda _: (), NOW)
        elif held[who]:
            one, _ = held[who].pop()
            if what == "settle":
                one.settle(Amount(taken, 0))
                used += taken
            else:
                one.release()
    for reservation, _ in held[0] + held[1]:
        reservation.release()
    for one in workers:
        assert left(one) == max(0, LIMIT - used)
        one.close()
    keeper.close()
