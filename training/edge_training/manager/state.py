"""What a Device Manager remembers, and who does what at the moment.

On disk is only what nobody else knows. What runs is the engine's to say, and how a replacement that was cut ends is
edge-commit's: so there is nothing to repair after a kill.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from edge_training import atomic
from edge_training.problem import ProblemError

SERVED = 10


class Lock(BaseModel):
    """Somebody who wants the device left as it is."""

    holder: str
    reason: str
    since: datetime


class State(BaseModel):
    """`served`: digests of the models that this device served, the newest last."""

    lock: Lock | None = None
    served: list[str] = []

    def before(self, model: str | None) -> str | None:
        """The model that was served before this one."""
        return next((one for one in reversed(self.served) if one != model), None)


class StateFile:
    """One file, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Raises SystemExit where what is there cannot be read."""
        self._path = path
        self._guard = threading.Lock()
        try:
            self._state = State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            self._state = State()
        except (OSError, ValidationError) as error:
            raise SystemExit(
                f"{path} cannot be read ({error}). Remove it; the lock and the model before are then forgotten."
            ) from error

    @property
    def present(self) -> State:
        return self._state

    def lock(self, lock: Lock | None) -> None:
        with self._guard:
            self._write(self._state.model_copy(update={"lock": lock}))

    def serves(self, model: str) -> None:
        """This model is served, and another will be."""
        with self._guard:
            others = [one for one in self._state.served if one != model]
            self._write(self._state.model_copy(update={"served": [*others, model][-SERVED:]}))

    def _write(self, state: State) -> None:
        atomic.write_json(self._path, state.model_dump(mode="json"))
        self._state = state


class Holder(BaseModel):
    """Who does something at the moment, and what."""

    verb: str
    by: str
    since: datetime


class Claims:
    """One request at a time for one thing; the second is told of the first."""

    def __init__(self) -> None:
        self._held: dict[str, Holder] = {}
        self._guard = threading.Lock()

    def held(self) -> dict[str, Holder]:
        with self._guard:
            return dict(self._held)

    @contextlib.contextmanager
    def taken(self, things: tuple[str, ...], verb: str, by: str) -> Iterator[None]:
        """Raises ProblemError where another request has one of them."""
        with self._guard:
            for thing in things:
                if holder := self._held.get(thing):
                    raise ProblemError(
                        409,
                        f"Another request works on the {thing}",
                        f"{holder.by} began `{holder.verb}` at {holder.since.isoformat()}; try again after its end.",
                        holder=holder.model_dump(mode="json"),
                    )
            self._held.update(dict.fromkeys(things, Holder(verb=verb, by=by, since=now())))
        try:
            yield
        finally:
            with self._guard:
                for thing in things:
                    del self._held[thing]


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
