"""Cancel a story at its k-th step, for every k: nothing may be lost wherever it stops."""

from collections.abc import Awaitable, Callable

import trio

__all__ = ["cancelled_at"]


class _AtStep(trio.abc.Instrument):
    """Cancels `scope` when `task` (None: any task) has been stepped `left` times."""

    def __init__(self, task: trio.lowlevel.Task | None, scope: trio.CancelScope, left: int) -> None:
        self._task = task
        self._scope = scope
        self._left = left

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._task in (None, task):
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(
    step: int, story: Callable[[], Awaitable[None]], *, every_task: bool = False
) -> bool:
    """Run `story`, cancelled where it waits for the `step`-th time. False: it came to its end.

    With `every_task` the steps of all tasks count, so that those of a race are found as well.
    """
    with trio.CancelScope() as scope:
        task = None if every_task else trio.lowlevel.current_task()
        instrument = _AtStep(task, scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await story()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught
