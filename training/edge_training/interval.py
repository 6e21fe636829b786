"""When a checkpoint is due: every so many steps or minutes, whichever comes first."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_training.communicator import Communicator


class Interval:
    """All ranks ask after each step, and are told the same. 0 steps, or 0 minutes: not by them.

    Steps are counted alike everywhere. Of minutes rank 0 has the only clock: at a few appointments, each half way to
    the moment, it says whether it has come. To ask it at each step would cost a small model as much as its gradients.
    """

    def __init__(
        self, communicator: Communicator, steps: int, minutes: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._communicator, self._steps, self._seconds, self._clock = communicator, steps, minutes * 60, clock
        self.restart()

    def restart(self) -> None:
        """A checkpoint has been written."""
        self._began = self._looked_at = self._clock()
        self._taken, self._looked, self._appointment = 0, 0, 1

    def due(self) -> bool:
        """Whether this step is one."""
        self._taken += 1
        due = bool(self._steps) and self._taken >= self._steps
        if self._seconds and self._taken >= self._appointment:
            late, self._appointment = self._communicator.broadcast(self._look())
            due = due or late
        return due

    def _look(self) -> tuple[bool, int]:
        """Whether the time has come, and at how many steps to look again; not too far, for steps may become slower."""
        present = self._clock()
        left = self._began + self._seconds - present
        pace = (self._taken - self._looked) / max(present - self._looked_at, 1e-9)
        self._looked, self._looked_at = self._taken, present
        return left <= 0, self._taken + max(1, min(self._taken, int(left * pace / 2)))
