"""Closing a database while it is in use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import monotonic

from .pool import Pool

GRACE = 0.05 if os.environ.get("WERKZEUG_RUN_MAIN") == "true" else 0.2
"""Seconds for which a statement may go on when its database closes, before it is interrupted.

Less under the reloader: on Ctrl-C its watcher gives the child 0.25 s, then kills it.
"""
_TICK = 0.02
"""Seconds between two looks at what is still out."""


class Closing:
    """The end of one pool, in steps, so that several pools can end at the same time.

    New loans are refused from the start. Who has a connection may finish within ``timeout``
    seconds; a statement that goes on for longer than the grace is interrupted. A connection
    that has not come back by then is not closed under its borrower, which could crash the
    interpreter: it is reported, refuses every further statement, and is closed when it comes
    back.
    """

    def __init__(self, pool: Pool, timeout: float) -> None:
        self.pool = pool
        self._timeout = timeout
        began = monotonic()
        self._grace_ends = began + min(GRACE, timeout / 2)
        self._deadline = began + timeout
        pool.refuse_new_loans()

    def step(self) -> bool:
        """Do what is to be done at this moment; tell whether the end is reached."""
        self.pool.look_after()
        now = monotonic()
        if self.pool.size and now >= self._grace_ends:
            self._interrupt(now)
        if self.pool.size and now >= self._deadline:
            self._leave_the_rest()
            return True
        return not self.pool.size

    def wait(self) -> None:
        """Wait for the next connection to come back, or for the time of the next step."""
        self.pool.wait_for_return(_TICK)

    def _interrupt(self, now: float) -> None:
        """Interrupt what runs for longer than the grace, fetching included.

        Where nothing runs this does nothing, and where it does it ends by itself soon: the
        borrower sees an error, lets go, and the connection comes back.
        """
        since = now if now >= self._deadline else now - GRACE
        self.pool.interrupt(running_since=since)

    def _leave_the_rest(self) -> None:
        for connection, borrower in self.pool.out():
            if not connection.revoked:
                self.pool.leave(connection, borrower, self._timeout)


def wait_for(closings: Iterable[Closing]) -> None:
    """Go on until every one of them has reached its end."""
    left = list(closings)
    while left := [closing for closing in left if not closing.step()]:
        left[0].wait()
