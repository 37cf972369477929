"""Whether to expect other processes that write to the same file."""

from __future__ import annotations

_LASTS = 5.0
"""Seconds for which another process that was met is expected to go on writing."""
_PROBES = 16
"""How many BEGINs look whether there is another process, once it is suspected."""
_DOUBT, _DOUBTS = 0.01, 10.0
"""Seconds for which no suspicion counts after one that proved wrong: the first, and the most."""


class Contention:
    """What is known of other processes that write to a file. Used by who holds the write lock.

    A BEGIN that took long is no proof of another process: most often it has only waited for the
    interpreter's lock. It raises a suspicion, and the next BEGINs look whether it is true.
    """

    __slots__ = ("_doubt", "_trusted_until", "expected_until", "probes")

    def __init__(self) -> None:
        self.expected_until = 0.0
        self.probes = 0
        self._trusted_until = 0.0
        self._doubt = _DOUBT

    def is_expected(self, now: float) -> bool:
        """Tell whether the next BEGIN should expect another process."""
        if self.probes:
            self.probes -= 1
            return True
        return now < self.expected_until

    def met(self, now: float) -> None:
        """Note that another process was writing at this moment."""
        self.expected_until = now + _LASTS
        self._trusted_until, self._doubt = now, _DOUBT

    def suspect(self, now: float) -> None:
        """Note that a BEGIN took so long that it may have met another process."""
        if now >= self._trusted_until:
            self.probes = _PROBES
            self._trusted_until = now + self._doubt
            self._doubt = min(2 * self._doubt, _DOUBTS)
