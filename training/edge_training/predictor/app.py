"""The Predictor's HTTP interface. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from edge_training.bundle import BundleError
from edge_training.predictor.model import InputError, Model, load
from edge_training.predictor.settings import Settings

log = logging.getLogger("uvicorn.error")


class ProblemError(Exception):
    """An answer that is an error: HTTP status, one-line title, and what to do about it."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail

    def response(self) -> JSONResponse:
        return JSONResponse(
            {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail},
            status_code=self.status,
            media_type="application/problem+json",
        )


def create_app(settings: Settings) -> FastAPI:
    """The service. A model that cannot be used leaves it running and unready, with the reason in /healthz."""
    state: dict[str, Model | str] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            state["model"] = await run_in_threadpool(load, settings)
        except BundleError as error:
            log.error("not ready: %s", error)
            state["reason"] = str(error)
        yield

    app = FastAPI(title="Edge Predictor", lifespan=lifespan, docs_url=None, redoc_url=None)

    def ready() -> Model:
        model = state.get("model")
        if not isinstance(model, Model):
            raise ProblemError(
                503, "The model is not ready", str(state.get("reason", "it is being loaded; try again soon"))
            )
        return model

    @app.exception_handler(ProblemError)
    async def problem(_request: Request, error: ProblemError) -> JSONResponse:
        return error.response()

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        return ProblemError(error.status_code, str(error.detail), "See /openapi.json for what there is.").response()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 once the model has answered its own samples as it did after training; 503 with the reason until then."""
        return {"status": "ready", "model_digest": ready().bundle.digest}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Which model this is, what it takes, and how good it was."""
        loaded = ready().bundle
        manifest = loaded.manifest
        return {
            "digest": loaded.digest,
            "task": manifest.task,
            "classes": manifest.classes,
            "input": manifest.input,
            "preprocessing": manifest.preprocessing,
            "metrics": manifest.metrics,
            "trained": manifest.trained,
        }

    @app.get("/samples")
    async def samples() -> dict[str, Any]:
        """Held-out inputs with their true class: something to send to /predictions."""
        loaded = ready().bundle
        classes = loaded.manifest.classes
        return {
            "samples": [
                {"input": sample.input, "truth": {"index": sample.truth, "label": classes[sample.truth]}}
                for sample in loaded.samples
            ]
        }

    @app.post("/predictions")
    async def predictions(request: Request) -> dict[str, Any]:
        """`{"instances": [input, ...]}` -> for each its class and probability."""
        loaded = ready()
        instances = instances_of(await body_of(request, settings.max_body_bytes), settings.max_instances)
        try:
            answers = await run_in_threadpool(loaded.predict, instances)
        except InputError as error:
            raise ProblemError(422, "An instance does not fit the model", str(error)) from error
        return {"model_digest": loaded.bundle.digest, "predictions": answers}

    return app


async def body_of(request: Request, limit: int) -> bytes:
    """The request's body, read no further than `limit` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise ProblemError(413, "The request is too large", f"Send at most {limit} bytes; split the instances.")
    return body


def instances_of(body: bytes, limit: int) -> list[Any]:
    """The instances in a request's body."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, "The body is not JSON", str(error)) from error
    instances = value.get("instances") if isinstance(value, dict) else None
    if not isinstance(instances, list) or not instances:
        raise ProblemError(422, "No instances", 'Send {"instances": [input, ...]} with at least one input.')
    if len(instances) > limit:
        raise ProblemError(422, "Too many instances", f"Send at most {limit} at once; there are {len(instances)}.")
    return instances
