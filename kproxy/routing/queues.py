"""Routes, and how long others wait for a connection to their providers; which routes are left out.

A provider takes so many requests at one time; the next ones wait at its gate (`transport/pool.py`)
until they have a connection or no time left. How long the first of them has waited is what one more
would wait at least. Beyond a bound such a route counts as resting: another provider is asked, as
after a failure, and where there is none the caller is told to come back instead of waiting for what
it will not get in time. Those who wait already are let be.
"""

from collections.abc import Iterable, Mapping

import msgspec

from kproxy.routing.live import UNKNOWN, Live

__all__ = ["LONGEST", "without_queues"]

LONGEST = 10.0
"""Seconds to come back after, at most: queues move faster than they look."""

WHY = "all its connections are taken, and others wait for one"


def without_queues(
    snapshot: Mapping[str, Live], waits: Mapping[str, float], asked: Iterable[str]
) -> Mapping[str, Live]:
    """The same, but the routes of the providers in `waits` (seconds, by slug) rest.

    `asked` are names as callers write them: among them may be routes that no row lists.
    """
    if not waits:
        return snapshot
    changed = dict(snapshot)
    for key in (*snapshot, *asked):
        wait = waits.get(key.partition("/")[0])
        live = changed.get(key, UNKNOWN)
        if wait is not None and not live.resting:
            resting = min(wait, LONGEST)
            changed[key] = msgspec.structs.replace(live, resting=resting, why=WHY, due=False)
    return changed
