"""Healing that takes long: a text in, what became of it out, and the event loop goes on meanwhile.

Schemas are read here, too: each small one where we are, a large one where the text is.

Problem: a megabyte of broken JSON takes 100 ms, and a value checked by a schema that refers to
itself may take for ever. The loop serves everybody else and must not wait 20 ms for one caller. A
thread would not do: both hold the interpreter's lock, and a thread that does not end cannot be
ended.

Our way: small work is done at once. The rest goes to another process (anyio's, kept for the next
text), which is killed when its time is over or the caller leaves. There are at most `WORKERS` of
them; who finds them busy until its time is over has an answer that is not healed, and it says so.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, TypeVarTuple

import trio

from kproxy.errors import Rejected
from kproxy.guard.forms import check_by, heal_by, refuse_schema
from kproxy.guard.heal import MAX_TEXT, TOO_MANY, Form, Healed, check_work, heal, is_valid
from kproxy.guard.schemas import load_validator, must_load

__all__ = ["LONGEST", "Apart"]

AT_ONCE = 1_000_000
"""Steps of a schema's check that are done where we are: some 5 ms."""

SHORT = 65_536
"""Characters of a text that are healed where we are, as far as `STEPS` take: some 5 ms, too."""

STEPS = 1_000

LONGEST = 3.0
"""Seconds of one text, with the start of a process (some 0.3 s) and the wait for a free one."""

WORKERS = 2


Done = TypeVar("Done")
Given = TypeVarTuple("Given")


class Apart:
    """The processes of one event loop. None is started before it is needed."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def check(self, form: Form, deadline: float) -> None:
        """Make the form of an answer ready to be checked. Raises Rejected: 400 where its schema
        cannot be used, 503 where nobody could say so in time; `deadline` is absolute."""
        schema = form.schema
        if schema is None:
            return
        if not schema.is_large:
            await _compiled(form)
            return
        said = await self._run(deadline, check_by, schema.raw)
        if said is None:
            message = "The schema could not be checked in time. Nothing was dispatched."
            raise Rejected(503, "healing_unavailable", message)
        if said.result is not None:
            raise refuse_schema(said.result)

    async def heal(self, text: str, finish: str, form: Form, deadline: float) -> Healed:
        """See `guard.heal.heal`; `deadline` is absolute. Raises nothing but cancellation."""
        try:
            await _compiled(form)
        except Rejected:
            form = form._replace(schema=None)  # a tool's
        healed = _at_once(text, finish, form)
        if healed is not None:
            return healed
        schema = None if form.schema is None else form.schema.raw
        said = await self._run(deadline, heal_by, text, finish, schema, form.arguments)
        return Healed(text, healed=False, why="too_long") if said is None else said.result

    async def _run(
        self, deadline: float, work: Callable[[*Given], Done], *given: *Given
    ) -> "_Said[Done] | None":
        """Have a process do it; None: it was not done in time."""
        import anyio.to_process  # 1.4 MB, and few servers ever need it

        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(WORKERS)
        with (
            suppress(anyio.BrokenWorkerProcess, OSError),
            trio.move_on_at(min(deadline, trio.current_time() + LONGEST)),
        ):
            return _Said(await anyio.to_process.run_sync(
                work, *given, cancellable=True, limiter=self._limiter,  # type: ignore[arg-type]
            ))  # fmt: skip
        return None


class _Said(Generic[Done]):
    """What a process has answered."""

    __slots__ = ("result",)

    def __init__(self, result: Done) -> None:
        self.result = result


async def _compiled(form: Form) -> None:
    """See `Schema.compile`; the library is loaded where it stops nobody. Raises Rejected 400."""
    schema = form.schema
    if schema is None or schema.is_large:
        return
    if must_load():
        await trio.to_thread.run_sync(load_validator)
    schema.compile()


def _at_once(text: str, finish: str, form: Form) -> Healed | None:
    """What a few milliseconds are enough for; None: they are not."""
    if form.schema is not None and form.schema.is_large:
        return None
    if len(text) <= MAX_TEXT:
        if check_work(text, form) > AT_ONCE:
            return None
        if len(text) > SHORT and (form.checks or not is_valid(text, form)):
            return None  # to be checked by a schema, a value must be built
    healed = heal(text, finish, form, STEPS)
    return None if healed.why == TOO_MANY else healed
