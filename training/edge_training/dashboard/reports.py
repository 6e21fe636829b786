"""What devices and trainings tell of themselves: POST /api/events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge_training.dashboard import trainings
from edge_training.dashboard.rack import Percent, Rack
from edge_training.dashboard.store import Change, Store
from edge_training.dashboard.trainings import Trainings

Job = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]
Line = Annotated[str, Field(max_length=500)]


class DeviceReport(BaseModel):
    """A device on itself; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid")

    event: Literal["device"]
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    outcome: (
        Literal["ok", "corrective", "changed", "waiting", "failed", "refused", "interrupted", "never", "silent"] | None
    ) = None
    running: Line | None = None
    ended: Line | None = None
    fault: Line | None = None
    containers: Annotated[dict[Line, Line], Field(max_length=50)] | None = None
    disk_free_percent: Percent | None = None
    cpu_percent: Percent | None = None
    memory_percent: Percent | None = None
    temperature_celsius: Annotated[float, Field(ge=-100, le=300)] | None = None


class LinksReport(trainings.Links):
    event: Literal["links"]
    job: Job


class StartReport(trainings.Start):
    event: Literal["start"]
    job: Job


class EpochReport(trainings.Epoch):
    event: Literal["epoch"]
    job: Job


class StepReport(trainings.Step):
    event: Literal["step"]
    job: Job


class ResultReport(trainings.Result):
    event: Literal["result"]
    job: Job


OfTraining = LinksReport | StartReport | EpochReport | StepReport | ResultReport
TrainingReport = Annotated[OfTraining, Field(discriminator="event")]
TRAINING_REPORT: TypeAdapter[TrainingReport] = TypeAdapter(TrainingReport)
Report = Annotated[DeviceReport | OfTraining, Field(discriminator="event")]


class Reports(BaseModel):
    """All of them are taken, or none."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[Report], Field(min_length=1, max_length=1000)]


class Taken(BaseModel):
    """`last`: number of the newest event."""

    last: int


def add_reports(app: FastAPI, store: Store, rack: Rack, seen: Trainings) -> None:
    @app.post("/api/events")
    def report(wanted: Reports) -> Taken:
        """Devices and trainings report with the dashboard's token; a record that comes twice counts once."""
        with store.change() as change:
            for one in wanted.events:
                if isinstance(one, DeviceReport):
                    rack.report(change, one.device, _given(one))
                else:
                    _take(change, one, seen)
        return Taken(last=store.last)


def take_line(change: Change, line: str, seen: Trainings) -> None:
    """One line of a job's progress; what is no report, such as a note for people, is left out."""
    try:
        report = TRAINING_REPORT.validate_json(line)
    except ValidationError:
        return
    _take(change, report, seen)


def _take(change: Change, report: TrainingReport, seen: Trainings) -> None:
    given = _given(report)
    match report:
        case LinksReport():
            seen.links(change, report.job, trainings.Links.model_validate(given))
        case StartReport():
            seen.start(change, report.job, trainings.Start.model_validate(given))
        case EpochReport():
            seen.epoch(change, report.job, trainings.Epoch.model_validate(given))
        case StepReport():
            seen.step(change, report.job, trainings.Step.model_validate(given))
        case ResultReport():
            seen.result(change, report.job, trainings.Result.model_validate(given))


def _given(report: BaseModel) -> dict[str, Any]:
    return report.model_dump(exclude={"event", "job"}, exclude_unset=True)
