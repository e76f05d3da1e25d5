"""Two workers on one board: what one shows the other hears, in time, and by its own clock."""

import pytest
import trio
from trio.testing import MockClock

from kproxy.errors import Fault, FaultKind
from kproxy.routing.live import HealthParams, Routes
from kproxy.sharing import STALE, Turn, join
from kproxy.store.board import Board, Topic
from kproxy.telemetry.metrics import Metrics

KEYS = ("acme/m",)


class Worker:
    def __init__(self, board: Board, number: int, ahead: float = 0.0) -> None:
        self.routes = Routes(KEYS, HealthParams())
        self.metrics = Metrics([("acme", "m")])
        self.place = board.place(number)
        self.ahead = ahead
        self.sharing = join(self.place, self.routes, self.metrics, self.steady)
        board.occupy(number)

    def steady(self) -> float:
        return trio.current_time() + self.ahead

    def samples(self) -> int:
        return self.routes.snapshot(trio.current_time())["acme/m"].measured.samples

    def answer(self) -> None:
        now = trio.current_time()
        self.routes.admit("acme/m", now).complete(now, 1.0, None)


@pytest.fixture
def board() -> Board:
    return Board(2)


async def test_what_one_shows_the_other_hears(board: Board, mock_clock: MockClock) -> None:
    await trio.lowlevel.checkpoint()
    one, other = Worker(board, 0), Worker(board, 1)
    one.answer()
    for worker in (one, other):
        worker.sharing.show_all()
    one.sharing.exchange()
    assert (one.samples(), other.samples()) == (1, 1)
    text = other.metrics.render().decode()
    assert "kproxy_workers 2.0" in text
    assert "kproxy_workers_replaced_total 0.0" in text


async def test_rests_end_at_the_same_moment_by_every_clock(
    board: Board, autojump_clock: MockClock
) -> None:
    one, other = Worker(board, 0), Worker(board, 1)
    await trio.sleep(100.0)
    busy = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=30.0)
    one.routes.admit("acme/m", 100.0).failed(100.0, busy, accrued=False)
    one.ahead, other.ahead = 1_000.0, 1_005.0  # the same moment is 5 s later by the other's clock
    one.sharing.exchange()
    other.sharing.exchange()
    assert other.routes.snapshot(100.0)["acme/m"].resting == 25.0


async def test_who_is_gone_or_stuck_is_not_heard(board: Board, autojump_clock: MockClock) -> None:
    one, other = Worker(board, 0), Worker(board, 1)
    one.answer()
    one.sharing.show_all()
    other.sharing.exchange()
    assert other.samples() == 1
    await trio.sleep(STALE - 1)
    other.sharing.exchange()
    assert other.samples() == 1
    await trio.sleep(1.5)
    other.sharing.exchange()
    assert other.samples() == 0, "it shows nothing new"
    one.sharing.show_all()
    await trio.sleep(1.0)
    other.sharing.exchange()
    assert other.samples() == 1
    board.vacate(0)
    other.sharing.exchange()
    await trio.sleep(1.0)
    assert other.samples() == 0


async def test_what_does_not_fit_is_said_once(
    board: Board, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Worker(board, 0)
    monkeypatch.setattr(one.place, "show", lambda topic, payload: topic is Topic.ROUTES)
    one.sharing.show_all()
    await trio.lowlevel.checkpoint()
    one.sharing.show_all()
    assert [record.getMessage() for record in caplog.records] == [
        "the other workers do not see all of this one's metrics: it is too long"
    ]


def test_turns(board: Board) -> None:
    one, other = Turn(board.place(0)), Turn(board.place(1))
    assert one.mine(1_000), "nobody else is there"
    for number in range(2):
        board.occupy(number)
    assert not one.mine(1), "the other has none"
    assert other.mine(0)
    other.have(32)
    assert one.mine(34)
    assert not one.mine(35)
