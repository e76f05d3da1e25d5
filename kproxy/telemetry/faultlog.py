"""Provider faults for people: one line when something fails, not one for each time it fails.

A provider that is down fails thousands of attempts a minute; a log of each would be as long as the
traffic, and writing it would hold the event loop. So each (provider, model, kind) is told at once,
then at most once a minute, with how often it happened meanwhile. Counts are in the metrics.
"""

import logging

from kproxy.errors import Fault, FaultKind
from kproxy.routing.faults import OPERATOR, POLICIES

__all__ = ["QUIET", "FaultLog"]

QUIET = 60.0
"""Seconds before the same fault is told again."""

log = logging.getLogger("kproxy.faults")


class FaultLog:
    """What has been told, and when."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, FaultKind], tuple[float, int]] = {}

    def note(self, provider: str, model: str, fault: Fault, now: float) -> None:
        """An attempt has failed at `now` (any steady clock, seconds).

        `provider` and `model` are metric labels, so callers cannot choose what is remembered.
        """
        key = (provider, model, fault.kind)
        told_at, since = self._told.get(key, (-QUIET, 0))
        if now - told_at < QUIET:
            self._told[key] = (told_at, since + 1)
            return
        self._told[key] = (now, 0)
        again = f" ({since} more since it was last told)" if since else ""
        level = logging.ERROR if POLICIES[fault.kind].whose == OPERATOR else logging.WARNING
        log.log(level, "%s/%s: %s: %s%s", provider, model, fault.kind.value, fault.detail, again)
