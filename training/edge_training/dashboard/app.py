"""The dashboard's HTTP interface: the page, and the JSON that it and scripts live on. Errors are problem details."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.middleware.sessions import SessionMiddleware
from starlette.staticfiles import StaticFiles

from edge_training.dashboard.access import Access, Operating, Viewing, address_of
from edge_training.dashboard.accounts import Accounts
from edge_training.dashboard.actions import Action
from edge_training.dashboard.guard import Guard
from edge_training.dashboard.jobs import Jobs
from edge_training.dashboard.metrics import Metrics
from edge_training.dashboard.oidc import Oidc
from edge_training.dashboard.provider import Provider
from edge_training.dashboard.rack import Rack
from edge_training.dashboard.releases import Releases
from edge_training.dashboard.reports import add_reports, take_line
from edge_training.dashboard.settings import Settings
from edge_training.dashboard.sign_in import add_sign_in
from edge_training.dashboard.store import ForgottenError, Store
from edge_training.dashboard.trainings import Trainings
from edge_training.dashboard.watch import Watch
from edge_training.problem import ProblemError, answer_with_problems

PAGE = Path(__file__).parent / "page"
HEARTBEAT_SECONDS = 15
RETRY_MILLISECONDS = 1000
MOST = 2**53
PATIENCE_SECONDS = 30
"""A page that takes nothing for so long is let go; it comes back and catches up."""
Number = Annotated[int, Field(ge=1, le=MOST)]


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=256)]


def create_app(settings: Settings) -> FastAPI:
    """The service."""
    oidc = Oidc.read(settings.oidc_file)
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Store(settings.state_dir / "dashboard.sqlite", settings.events_kept)
    access = Access(store, Accounts(settings.users_file), settings.token_file, settings.session_seconds, oidc)
    rack, trainings = Rack(store), Trainings(store)
    watch, releases = Watch(store, rack, settings), Releases(store, settings.release_report)

    def ended(action: str) -> None:
        if action == "status":
            watch.take()
        elif action == "power":
            watch.ask_now()

    jobs = Jobs(store, settings, told=lambda change, line: take_line(change, line, trainings), ended=ended)

    metrics = Metrics(rack, jobs, trainings, watch, settings.certificate)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        jobs.open()
        watch.open()
        releases.open()
        yield
        await run_sync(releases.close)
        await run_sync(watch.close)
        await run_sync(jobs.close)
        store.close()

    app = FastAPI(title="Edge dashboard", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.access = access
    app.add_middleware(
        SessionMiddleware,
        secret_key=_secret(settings.state_dir / "session_key"),
        session_cookie="__Host-edge",
        max_age=int(settings.session_seconds),
        same_site="strict",
        https_only=True,
    )
    app.add_middleware(Guard, access=access)
    answer_with_problems(app)

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: RequestValidationError) -> Response:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return ProblemError(422, "The request is not understood", "; ".join(found)[:2000]).response()

    @app.exception_handler(Exception)
    async def bug(_request: Request, _error: Exception) -> Response:
        return ProblemError(500, "The dashboard has a bug", "Its log has the details; report them.").response()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """200 while it answers; open to everybody."""
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    def prometheus(request: Request) -> Response:
        """In Prometheus's text format, for who has the token that devices report with."""
        access.reporter(request)
        return metrics.exposed()

    _sessions(app, access)
    add_sign_in(app, access, Provider(oidc) if oidc else None, settings.audit_file)
    _queries(app, store, rack, trainings, jobs, watch, releases)
    _jobs(app, rack, jobs)
    add_reports(app, store, rack, trainings)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def _secret(file: Path) -> str:
    """What signs cookies; made once."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return file.read_text()


def _sessions(app: FastAPI, access: Access) -> None:
    @app.post("/api/session")
    def sign_in(given: Credentials, request: Request) -> dict[str, str]:
        """Sign in. The answer's `csrf` goes into the header X-CSRF-Token of every change."""
        return access.sign_in(request, given.name, given.password).described()

    @app.get("/api/session")
    def session(visitor: Viewing) -> dict[str, str]:
        """Who has signed in."""
        return visitor.described()

    @app.delete("/api/session", status_code=204)
    def sign_out(request: Request) -> None:
        """The session is over, here and for whoever else has its cookie."""
        access.changing(request)
        access.sign_out(request)


def _queries(
    app: FastAPI, store: Store, rack: Rack, trainings: Trainings, jobs: Jobs, watch: Watch, releases: Releases
) -> None:
    @app.get("/api/rack")
    def everything(visitor: Viewing) -> dict[str, Any]:
        """All that the page shows, and `last`, the event from which GET /api/events goes on."""
        with store.reading():
            return {
                "last": store.last,
                "user": {"name": visitor.name, "role": visitor.role},
                "devices": rack.devices(),
                "training": trainings.newest(),
                "release": releases.newest(),
                "jobs": jobs.newest(),
                "watch": watch.state(),
            }

    @app.get("/api/training")
    def training(_visitor: Viewing) -> dict[str, Any] | None:
        """The training that was heard of last."""
        return trainings.newest()

    @app.get("/api/release")
    def release(_visitor: Viewing) -> dict[str, Any] | None:
        """The release that went out last, or goes out now: its wave, and how many devices came to which verdict."""
        return releases.newest()

    @app.get("/api/events", response_class=EventSourceResponse)
    async def events(
        request: Request,
        _visitor: Viewing,
        after: Annotated[int | None, Query(ge=0, le=MOST)] = None,
        last_event_id: Annotated[int | None, Header(ge=0, le=MOST)] = None,
    ) -> EventSourceResponse:
        """Server-sent events after the one that is named, by Last-Event-ID or else by `after`; else from now on.

        `reset` says that some of them are no longer there: read GET /api/rack anew.
        """
        given = last_event_id if last_event_id is not None else after
        return EventSourceResponse(
            _told(request, store, store.last if given is None else given),
            ping=HEARTBEAT_SECONDS,
            send_timeout=PATIENCE_SECONDS,
            sep="\n",
        )


async def _told(request: Request, store: Store, number: int) -> AsyncIterator[ServerSentEvent | bytes]:
    access: Access = request.app.state.access
    yield ServerSentEvent(comment="here", retry=RETRY_MILLISECONDS)
    with store.woken() as woken:
        looked = time.monotonic()
        while True:
            woken.clear()
            # Whoever has signed out meanwhile, or whose session is over, hears no more, however much there is to tell.
            if time.monotonic() - looked >= HEARTBEAT_SECONDS:
                try:
                    await run_sync(access.visitor, request.session)
                except ProblemError:
                    return
                looked = time.monotonic()
            try:
                events = await run_sync(store.after, number)
            except ForgottenError:
                yield ServerSentEvent("{}", event="reset", id=str(store.last))
                return
            if events:
                yield b"".join(event.sent for event in events)
                number = events[-1].id
                continue
            try:
                await asyncio.wait_for(woken.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                # Of comments a page hears nothing, and a connection may be dead without a word.
                yield ServerSentEvent("{}", event="here")


def _jobs(app: FastAPI, rack: Rack, jobs: Jobs) -> None:
    @app.get("/api/jobs")
    def newest(_visitor: Viewing) -> list[dict[str, Any]]:
        """The newest jobs, newest first."""
        return jobs.newest()

    @app.post("/api/jobs", status_code=201, responses={200: {"description": "It runs already"}})
    def start(wanted: Action, request: Request, visitor: Operating) -> Response:
        """Have a playbook run. 201: it begins. 200: somebody had the same one run just now, and this is it."""
        if unknown := rack.unknown(wanted.named):
            detail = f"The last status knows no {', '.join(unknown)[:300]}. Press Status, or enroll it."
            raise ProblemError(422, "No such device", detail)
        job, new = jobs.start(wanted, visitor.name, address_of(request))
        return JSONResponse(job, status_code=201 if new else 200)

    @app.get("/api/jobs/{number}")
    def job(number: Number, _visitor: Viewing) -> dict[str, Any]:
        return jobs.job(number)

    @app.get("/api/jobs/{number}/output")
    def output(number: Number, _visitor: Viewing, after: Annotated[int, Query(ge=0, le=MOST)] = 0) -> dict[str, Any]:
        """What it has said after so many bytes, in pieces: ask again from `to` until `text` is empty."""
        text, to = jobs.output(number, after)
        return {"job": number, "from": after, "to": to, "text": text}

    @app.post("/api/jobs/{number}/cancel", status_code=202)
    def cancel(number: Number, request: Request, visitor: Operating) -> dict[str, Any]:
        """The playbook is ended, wherever it is."""
        return jobs.cancel(number, visitor.name, address_of(request))
