"""The graceful shutdown of a pool while its connections are in use."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from .pool import Pool

_TICK = 0.02
"""Seconds between two looks at what is still out."""


class Limits:
    """How long an end may take, in seconds, where nothing else is set.

    ``grace``: for which a statement may go on when its database closes, before it is
    interrupted. ``shutdown_timeout``: for which a connection is waited for.
    """

    def __init__(self) -> None:
        self.grace = 0.2
        self.shutdown_timeout = 5.0

    def hurry(self) -> None:
        """Take less time: somebody will kill this process soon."""
        self.grace, self.shutdown_timeout = 0.05, 1.0


limits = Limits()


class GracefulShutdown:
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
        self._grace = limits.grace
        began = monotonic()
        self._grace_ends = began + min(self._grace, timeout / 2)
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
        if self.pool.size:
            self.pool.returned.wait(_TICK)

    def _interrupt(self, now: float) -> None:
        """Interrupt what runs for longer than the grace, fetching included.

        Where nothing runs this does nothing, and where it does it ends by itself soon: the
        borrower sees an error, lets go, and the connection comes back.
        """
        since = now if now >= self._deadline else now - self._grace
        self.pool.interrupt(running_since=since)

    def _leave_the_rest(self) -> None:
        for connection, borrower in self.pool.out():
            if not connection.revoked:
                self.pool.leave_to_borrower(connection, borrower, self._timeout)


def wait_for(shutdowns: Iterable[GracefulShutdown]) -> None:
    """Go on until every one of them has reached its end."""
    left = list(shutdowns)
    while left := [shutdown for shutdown in left if not shutdown.step()]:
        left[0].wait()
