"""Look at certificate files every few seconds, and at once when asked: changed ones take effect.

Asking is what SIGHUP does. Looking as well serves those who only replace files, as Kubernetes and
ACME clients do. Files are compared by their content. A look that comes between the writing of a
certificate and of its key finds them wrong, which is logged, and the next one finds them right.
"""

import logging
import math
from collections.abc import Sequence
from typing import NoReturn

import trio

from kproxy.transport.certificates import Credentials, CredentialsError

__all__ = ["LOOK", "Renewal"]

LOOK = 10.0
"""Seconds between two looks: some 100 us of a thread for each listener with TLS."""

log = logging.getLogger("kproxy.tls")


class Renewal:
    """The task behind `Credentials.renew`. `run` must be running for `ask` to do anything."""

    def __init__(self, credentials: Sequence[Credentials]) -> None:
        self._credentials = tuple(credentials)
        self._asked = trio.Event()
        self._said: dict[Credentials, str] = {}  # what is wrong, logged once unless asked

    def ask(self) -> bool:
        """Look now. False: there is nothing to look at."""
        self._asked.set()
        return bool(self._credentials)

    async def run(self) -> NoReturn:
        """Look for ever; ends by cancellation."""
        while True:
            with trio.move_on_after(LOOK if self._credentials else math.inf):
                await self._asked.wait()
            if self._asked.is_set():
                self._asked = trio.Event()
                self._said.clear()
            for one in self._credentials:
                await self._renew(one)

    async def _renew(self, one: Credentials) -> None:
        try:
            if await trio.to_thread.run_sync(one.renew):
                log.warning("new connections get the certificate in %s", one.files.certificate)
            self._said.pop(one, None)
        except CredentialsError as error:
            if self._said.get(one) != error.reason:
                self._said[one] = error.reason
                log.error("the certificate in force stays: %s: %s", error.field, error.reason)
