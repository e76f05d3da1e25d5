"""What one worker has counted and learned goes to the others, and theirs comes to it.

Once a second: its metrics, its windows and rests are shown on the board (`store/board.py`), and
what the others show of routes is heard. Nothing of it is on a request's path. What belongs to a
conversation, and the budgets of hedges and repeats, stay each worker's own.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import trio

from kproxy.routing.live import Routes
from kproxy.routing.news import News, decode_news, encode_news
from kproxy.store.board import Place, Topic
from kproxy.telemetry.metrics import Metrics

__all__ = ["PERIOD", "STALE", "Sharing", "Turn", "join"]

PERIOD = 1.0
"""Seconds between two looks: what others learn is a second or two old."""

STALE = 10.0
"""Seconds from which a worker that shows nothing new is stuck, and what it knew counts no more."""

log = logging.getLogger("kproxy.workers")


@dataclass(frozen=True, slots=True)
class _Counts:
    """The metrics' side of a place; see `telemetry.metrics.Colleagues`."""

    place: Place

    @property
    def left(self) -> bytes | None:
        return self.place.left[Topic.METRICS]

    def show(self, payload: bytes) -> bool:
        return self.place.show(Topic.METRICS, payload)

    def others(self) -> list[tuple[bytes, bool]]:
        return [(one.payload, one.alive) for one in self.place.others(Topic.METRICS)]


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is to accept, see `transport.entry.Turns`: who has about the fewest."""

    place: Place

    def mine(self, total: int) -> bool:
        """As far as is known here; a sixteenth more than the fewest is few."""
        self.place.be_busy(total)
        fewest = self.place.least_busy()
        return fewest is None or total <= fewest + fewest // 16

    def have(self, total: int) -> None:
        """Tell the others."""
        self.place.be_busy(total)


class Sharing:
    """One worker's part. `run` is a task of the composition root's. `steady` is a clock that all
    processes share, in seconds."""

    def __init__(
        self, place: Place, routes: Routes, metrics: Metrics, steady: Callable[[], float]
    ) -> None:
        self._place = place
        self._routes = routes
        self._metrics = metrics
        self._steady = steady
        self._short = False  # something did not fit, and that was said

    async def run(self) -> NoReturn:
        """Show and hear, again and again; ends by cancellation."""
        while True:
            self.exchange()
            shown = await trio.to_thread.run_sync(self._metrics.show)
            self._check(shown, "metrics")
            await trio.sleep(PERIOD)

    def show_all(self) -> None:
        """Show what there is, blocking, so that nobody meets what a predecessor has left."""
        self.exchange()
        self._check(self._metrics.show(), "metrics")

    def exchange(self) -> None:
        """Show what is known of routes, and hear what others know."""
        now = trio.current_time()
        ahead = self._steady() - now
        news = self._routes.news(now).moved(ahead)
        room = self._place.room(Topic.ROUTES)
        self._check(self._place.show(Topic.ROUTES, encode_news(news, room)), "what it knows")
        self._routes.hear([one.moved(-ahead) for one in self._heard(now + ahead)], now)
        self._metrics.note_routes(self._routes.snapshot(now))

    def _heard(self, steady: float) -> list[News]:
        shown = self._place.others(Topic.ROUTES)
        news = [decode_news(one.payload) for one in shown if one.alive]
        return [one for one in news if steady - one.at < STALE]

    def _check(self, shown: bool, what: str) -> None:
        if not shown and not self._short:
            self._short = True
            log.error("the other workers do not see all of this one's %s: it is too long", what)


def join(place: Place, routes: Routes, metrics: Metrics, steady: Callable[[], float]) -> Sharing:
    """Take part: the metrics answer for all from now on. Every gauge must be watched already."""
    board = place.board
    metrics.watch("kproxy_workers", "Worker processes.", lambda: board.occupied, "max")
    metrics.watch_count(
        "kproxy_workers_replaced", "Workers that ended unasked.", lambda: board.replaced, "max"
    )
    metrics.share(_Counts(place))
    return Sharing(place, routes, metrics, steady)
