"""Healing that takes long: a text in, what became of it out, and the event loop goes on meanwhile.

Problem: a megabyte of broken JSON takes 100 ms, and a value checked by a schema that refers to
itself may take for ever. The loop serves everybody else and must not wait 20 ms for one caller. A
thread would not do: both hold the interpreter's lock, and a thread that does not end cannot be
ended.

Our way: small work is done at once. The rest goes to another process (anyio's, kept for the next
text), which is killed when its time is over or the caller leaves. There are at most `WORKERS` of
them; who finds them busy until its time is over has an answer that is not healed, and it says so.
"""

from contextlib import suppress

import trio

from kproxy.guard.forms import heal_by
from kproxy.guard.heal import MAX_TEXT, TOO_MANY, Form, Healed, check_work, heal, is_valid

__all__ = ["LONGEST", "Apart"]

AT_ONCE = 1_000_000
"""Steps of a schema's check that are done where we are: some 5 ms."""

SHORT = 65_536
"""Characters of a text that are healed where we are, as far as `STEPS` take: some 5 ms, too."""

STEPS = 1_000

LONGEST = 3.0
"""Seconds of one text, with the start of a process (some 0.3 s) and the wait for a free one."""

WORKERS = 2


class Apart:
    """The processes of one event loop. None is started before it is needed."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def heal(self, text: str, finish: str, form: Form, deadline: float) -> Healed:
        """See `guard.heal.heal`; `deadline` is absolute. Raises nothing but cancellation."""
        healed = _at_once(text, finish, form)
        if healed is not None:
            return healed
        import anyio.to_process  # 1.4 MB, and few servers ever need it

        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(WORKERS)
        schema = None if form.schema is None else form.schema.raw
        with (
            suppress(anyio.BrokenWorkerProcess, OSError),
            trio.move_on_at(min(deadline, trio.current_time() + LONGEST)),
        ):
            return await anyio.to_process.run_sync(
                heal_by, text, finish, schema, form.arguments,
                cancellable=True, limiter=self._limiter,  # type: ignore[arg-type]
            )  # fmt: skip
        return Healed(text, healed=False, why="too_long")


def _at_once(text: str, finish: str, form: Form) -> Healed | None:
    """What a few milliseconds are enough for; None: they are not."""
    if len(text) <= MAX_TEXT:
        if check_work(text, form) > AT_ONCE:
            return None
        if len(text) > SHORT and (form.checks or not is_valid(text, form)):
            return None  # to be checked by a schema, a value must be built
    healed = heal(text, finish, form, STEPS)
    return None if healed.why == TOO_MANY else healed
