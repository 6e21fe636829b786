"""The Device Manager's HTTP interface. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from edge_training.counting import Counting
from edge_training.manager.access import Access
from edge_training.manager.containers import DATA, DATA_DIR, Container, is_data_dir, present
from edge_training.manager.engine import engine
from edge_training.manager.manager import Manager, Purged
from edge_training.manager.metrics import Metrics
from edge_training.manager.release import Digest, Kind
from edge_training.manager.settings import Settings
from edge_training.manager.state import Lock
from edge_training.manager.status import Model, Status, Training
from edge_training.problem import ProblemError, answer_with_problems

LOG_READERS = 4
TITLE = "Edge Device Manager"
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Job = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


def _data_dir(path: str) -> str:
    if not is_data_dir(path):
        raise ValueError(f"{path!r} is no normalized path below {', '.join(DATA)} without hidden folders")
    return path


DataDir = Annotated[str, AfterValidator(_data_dir), Field(json_schema_extra={"pattern": DATA_DIR})]


class Asked(BaseModel):
    """A field too many is an error: somebody means something by it."""

    model_config = ConfigDict(extra="forbid")


class Deployment(Asked):
    """`force`: during a training, too."""

    digest: Digest
    force: bool = False


class Rollback(Asked):
    force: bool = False


class Start(Asked):
    """`data_dirs`: folders of the device that the worker reads at the same path."""

    job: Job
    data_dirs: list[DataDir] = []


class Locking(Asked):
    holder: Line
    reason: Line


class Health(BaseModel):
    status: str = "ready"


class ProblemDetails(BaseModel):
    """RFC 9457. `holder`: who has what was asked for; `log`: the last words of a container."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details",
        "content": {"application/problem+json": {"schema": ProblemDetails.model_json_schema()}},
    }
}


def create_app(settings: Settings) -> FastAPI:
    """The service."""
    manager, metrics = Manager(settings), Metrics()
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, responses=PROBLEM)
    app.add_middleware(Access, token_file=settings.config_dir / "token")
    app.add_middleware(Counting, requests=metrics.requests)
    answer_with_problems(app)

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: RequestValidationError) -> Response:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return ProblemError(422, "The request is not understood", "; ".join(found)).response()

    @app.exception_handler(Exception)
    async def bug(_request: Request, _error: Exception) -> Response:
        return ProblemError(500, "The Device Manager has a bug", "Its log has the details; report them.").response()

    @app.get("/healthz")
    def healthz() -> Health:
        """200 while the Docker Engine answers; open to everybody."""
        with engine():
            return Health()

    _queries(app, manager, metrics)
    _changes(app, manager)
    return app


def _by(request: Request) -> str:
    return request.client.host if request.client else "unknown"


By = Annotated[str, Depends(_by)]
TOKEN = [Depends(HTTPBearer(auto_error=False, description="The device's token"))]


def _queries(app: FastAPI, manager: Manager, metrics: Metrics) -> None:
    readers = anyio.CapacityLimiter(LOG_READERS)

    @app.get("/status", dependencies=TOKEN)
    def status() -> Status:
        """All that there is to say."""
        return manager.status()

    @app.get("/model", dependencies=TOKEN)
    def model() -> Model:
        return manager.model()

    @app.get("/training", dependencies=TOKEN)
    def training() -> Training:
        return manager.training()

    @app.get("/lock", dependencies=TOKEN)
    def lock() -> Lock | None:
        return manager.lock_held()

    @app.get("/metrics", dependencies=TOKEN, response_class=Response)
    def prometheus() -> Response:
        """In Prometheus's text format."""
        return metrics.exposed(manager.status())

    @app.get("/containers/{kind}/logs", dependencies=TOKEN, response_class=StreamingResponse)
    async def logs(
        kind: Kind, tail: Annotated[int, Query(ge=0, le=10_000)] = 100, follow: bool = False
    ) -> StreamingResponse:
        """What the container says, as it says it with `follow`."""
        if readers.available_tokens < 1:
            detail = f"{LOG_READERS} follow logs of this device; close one."
            raise ProblemError(429, "Too many read logs", detail, {"Retry-After": "5"})
        stream = await run_sync(functools.partial(_log, kind, tail, follow))
        return StreamingResponse(_lines(stream, readers), media_type="text/plain; charset=utf-8")


def _log(kind: Kind, tail: int, follow: bool) -> Any:
    with engine() as one:
        return one.api.logs(present(one, kind)["Id"], stream=True, follow=follow, tail=tail, timestamps=True)


async def _lines(stream: Any, readers: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    try:
        while (line := await run_sync(_next, stream, limiter=readers, abandon_on_cancel=True)) is not None:
            yield line
    finally:
        stream.close()  # ends a thread that waits for a line


def _next(stream: Iterator[bytes]) -> bytes | None:
    return next(stream, None)


def _changes(app: FastAPI, manager: Manager) -> None:
    @app.put("/model", dependencies=TOKEN)
    def deploy(wanted: Deployment, by: By) -> Model:
        """The Predictor serves the release's model, or the old one if the new is not healthy; answers when it is
        known which."""
        return manager.deploy(wanted.digest, by, wanted.force)

    @app.post("/model/rollback", dependencies=TOKEN)
    def roll_back(by: By, wanted: Rollback | None = None) -> Model:
        """The Predictor serves the model that it served before."""
        return manager.roll_back(by, bool(wanted and wanted.force))

    @app.post("/training", dependencies=TOKEN)
    def start_training(wanted: Start, by: By) -> Training:
        """This device's worker is ready for the job, whose keys are on the device."""
        return manager.start_training(wanted.job, by, wanted.data_dirs)

    @app.delete("/training", dependencies=TOKEN)
    def stop_training(by: By) -> Training:
        """The worker is gone, and its ranks with it."""
        return manager.stop_training(by)

    @app.post("/containers/{kind}/start", dependencies=TOKEN)
    def start(kind: Kind, by: By) -> Container:
        return manager.start(kind, by)

    @app.post("/containers/{kind}/stop", dependencies=TOKEN)
    def stop(kind: Kind, by: By) -> Container:
        return manager.stop(kind, by)

    @app.post("/containers/{kind}/restart", dependencies=TOKEN)
    def restart(kind: Kind, by: By) -> Container:
        return manager.restart(kind, by)

    @app.put("/lock", dependencies=TOKEN)
    def lock(wanted: Locking) -> Lock:
        """Nothing is changed on the device until it is unlocked."""
        return manager.lock(wanted.holder, wanted.reason)

    @app.delete("/lock", dependencies=TOKEN, status_code=204)
    def unlock() -> None:
        manager.unlock()

    @app.post("/purge", dependencies=TOKEN)
    def purge(by: By) -> Purged:
        """What nobody needs any more is gone: an ended worker, old models, checkpoints."""
        return manager.purge(by)
