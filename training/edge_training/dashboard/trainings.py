"""What trainings tell of themselves, kept so that a page that comes later sees the whole curve."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict  # typing's own only from Python 3.12 on

from edge_training.dashboard.store import Change, Store

POINTS = 400
"""Of a curve; a page has no more columns for it."""
TRAININGS_KEPT = 20


def _finite(value: Any) -> Any:
    """A loss that is no number any more is not 0 either."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Word = Annotated[str, Field(max_length=200)]


# One link of the ring; `from` is no name that a class could have.
Link = TypedDict("Link", {"from": Word, "to": Word, "bits_per_second": Count})


class Links(BaseModel):
    """What the ring carried before the start, as edge.rack.horovod_job reports it."""

    links: Annotated[list[Link], Field(max_length=10_000)]


class Start(BaseModel):
    """As edge_training.train reports it; what is not named here is not kept."""

    task: Word = ""
    ranks: Annotated[int, Field(ge=1, le=10_000)]
    hosts: Annotated[list[Word], Field(max_length=10_000)] = []
    steps_per_epoch: Count | None = None
    wire_bytes_per_step: Count | None = None
    examples: Count | None = None


class Epoch(BaseModel):
    epoch: Count
    epochs: Count
    loss: Number = None
    accuracy: Number = None
    seconds: Number = None
    images_per_second: Number = None


class Step(BaseModel):
    """One step of one rank, counted from the training's start. `seconds`: how long it took; `samples_per_second`: of
    this rank."""

    @model_validator(mode="before")
    @classmethod
    def _from_the_start(cls, given: Any) -> Any:
        """edge_training.train counts the `steps` of each `epoch` from 1."""
        match given:
            case {"epoch": int(epoch), "steps": int(steps), "step": int(step)}:
                return {**given, "step": (epoch - 1) * steps + step - 1}
        return given

    rank: Annotated[int, Field(ge=0, le=10_000)]
    step: Count
    loss: Number = None
    seconds: Number = None
    samples_per_second: Number = None
    time: Word = ""


class Result(BaseModel):
    accuracy: Number = None
    loss_first: Number = None
    loss_last: Number = None
    seconds: Number = None
    slowest_host: Word = ""
    slowest_why: Word = ""
    model_digest: Word = ""
    wire_bytes_per_step: Count | None = None
    wire_bytes_per_step_measured: Count | None = None


class Training(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job: Word
    links: list[Link] = []
    start: Start | None = None
    epochs: list[Epoch] = []
    result: Result | None = None


class Trainings:
    def __init__(self, store: Store) -> None:
        self._store = store

    def links(self, change: Change, job: str, record: Links) -> None:
        """Measured before a training begins."""
        self._begin(change, Training(job=job, links=record.links))
        change.tell("training", {"job": job, "event": "links", **record.model_dump()})

    def start(self, change: Change, job: str, record: Start) -> None:
        """A training begins, begins anew under the same name, or goes on after a fault, with the links that it has."""
        before = self._of(change, job)
        self._begin(change, Training(job=job, start=record, links=before.links if before.result is None else []))
        change.tell("training", {"job": job, "event": "start", **record.model_dump()})

    def _begin(self, change: Change, training: Training) -> None:
        change.connection.execute("DELETE FROM steps WHERE job = ?", (training.job,))
        self._save(change, training)
        old = "SELECT job FROM trainings ORDER BY touched DESC LIMIT -1 OFFSET ?"
        for row in change.connection.execute(old, (TRAININGS_KEPT,)).fetchall():
            change.connection.execute("DELETE FROM steps WHERE job = ?", (row["job"],))
            change.connection.execute("DELETE FROM trainings WHERE job = ?", (row["job"],))

    def epoch(self, change: Change, job: str, record: Epoch) -> None:
        training = self._of(change, job)
        # Reported twice is reported once.
        others = [one for one in training.epochs if one.epoch < record.epoch]
        self._save(change, training.model_copy(update={"epochs": [*others, record]}))
        change.tell("training", {"job": job, "event": "epoch", **record.model_dump()})

    def step(self, change: Change, job: str, record: Step) -> None:
        training = self._of(change, job)
        row = (
            job,
            *(getattr(record, name) for name in ("rank", "step", "loss", "seconds", "samples_per_second", "time")),
        )
        written = change.connection.execute("INSERT OR IGNORE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if written.rowcount:
            self._save(change, training)
            change.tell("training", {"job": job, "event": "step", **record.model_dump()})

    def result(self, change: Change, job: str, record: Result) -> None:
        self._save(change, self._of(change, job).model_copy(update={"result": record}))
        change.tell("training", {"job": job, "event": "result", **record.model_dump()})

    def newest(self) -> dict[str, Any] | None:
        """The training that was heard of last: its start, epochs and result, its curve, and each rank's last step."""
        with self._store.reading() as connection:
            row = connection.execute("SELECT data FROM trainings ORDER BY touched DESC LIMIT 1").fetchone()
            if row is None:
                return None
            training = Training.model_validate_json(row["data"]).model_dump()
            job = (training["job"],)
            # By their places, not their numbers: a training may tell of few of its steps.
            count = connection.execute("SELECT count(DISTINCT step) AS steps FROM steps WHERE job = ?", job)
            stride = max(1, math.ceil(count.fetchone()["steps"] / POINTS))
            curve = (
                "SELECT step, loss FROM "
                "(SELECT step, avg(loss) AS loss, row_number() OVER (ORDER BY step) - 1 AS place "
                "FROM steps WHERE job = ? GROUP BY step) WHERE place % ? = 0 ORDER BY step"
            )
            last = (
                "SELECT rank, max(step) AS step, loss, seconds, samples_per_second, time FROM steps WHERE job = ? "
                "GROUP BY rank ORDER BY rank"
            )
            training["points"] = [[one["step"], one["loss"]] for one in connection.execute(curve, (*job, stride))]
            training["by_rank"] = [dict(one) for one in connection.execute(last, job)]
            return training

    def _of(self, change: Change, job: str) -> Training:
        row = change.connection.execute("SELECT data FROM trainings WHERE job = ?", (job,)).fetchone()
        return Training.model_validate_json(row["data"]) if row else Training(job=job)

    def _save(self, change: Change, training: Training) -> None:
        newest = "(SELECT coalesce(max(touched), 0) + 1 FROM trainings)"
        change.connection.execute(
            f"INSERT OR REPLACE INTO trainings VALUES (?, {newest}, ?)",  # noqa: S608  # of our own words
            (training.job, training.model_dump_json()),
        )
