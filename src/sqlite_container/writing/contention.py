"""Other processes that write to a file: whether to expect them."""

from __future__ import annotations

_RIVALRY = 5.0
"""Seconds for which another process that was met is expected to go on writing."""
_PROBES = 16
"""How many times to look whether there is another process, once it is suspected."""
_DOUBT, _DOUBTS = 0.01, 10.0
"""Seconds for which no suspicion counts after one that proved wrong: the first, and the most."""


class Rivals:
    """What is known of other processes that write to a file. Used by who holds the turn.

    That a BEGIN took long is no proof of them: most often it has waited for the interpreter's
    lock. It raises a suspicion, and the next ones find out.
    """

    __slots__ = ("_doubt", "_expected_until", "_probes", "_trusted_until")

    def __init__(self) -> None:
        self._expected_until = 0.0
        self._probes = 0
        self._trusted_until = 0.0
        self._doubt = _DOUBT

    def expected(self, now: float) -> bool:
        """Whether the BEGIN that comes next should expect one."""
        if self._probes:
            self._probes -= 1
            return True
        return now < self._expected_until

    def met(self, now: float) -> None:
        """One of them was writing."""
        self._expected_until = now + _RIVALRY
        self._trusted_until, self._doubt = now, _DOUBT

    def suspect(self, now: float) -> None:
        """A BEGIN took so long that it may have met one."""
        if now >= self._trusted_until:
            self._probes = _PROBES
            self._trusted_until = now + self._doubt
            self._doubt = min(2 * self._doubt, _DOUBTS)
