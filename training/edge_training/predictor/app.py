"""The Predictor's HTTP interface. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from starlette.responses import Response

from edge_training.counting import Counting
from edge_training.predictor.inputs import IMAGE_TYPES, InputError, as_image
from edge_training.predictor.metrics import Metrics
from edge_training.predictor.model import Model
from edge_training.predictor.serving import Serving
from edge_training.predictor.settings import Settings
from edge_training.problem import ProblemError, answer_with_problems

log = logging.getLogger("uvicorn.error")


def create_app(settings: Settings) -> FastAPI:
    """The service. A model that cannot be used leaves it running and unready, with the reason in /healthz."""
    serving = Serving(settings)
    metrics = Metrics()
    # As many at a time as there are processors; the rest waits in line, and a line that is too long is refused.
    threads = anyio.CapacityLimiter(settings.concurrency)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await serving.begin()
        if serving.model is None:
            log.error("not ready: %s", serving.reason)
        async with serving.listening():
            yield

    app = FastAPI(title="Edge Predictor", lifespan=lifespan, docs_url=None, redoc_url=None)

    def ready() -> Model:
        if serving.model is None:
            raise ProblemError(503, "The model is not ready", serving.reason)
        return serving.model

    @contextmanager
    def place_in_line() -> Iterator[None]:
        if metrics.in_line >= settings.max_waiting:
            detail = f"{settings.max_waiting} requests wait already; ask again, or ask another device."
            raise ProblemError(503, "The Predictor is busy", detail, {"Retry-After": "1"})
        with metrics.waits():
            yield

    app.add_middleware(Counting, requests=metrics.requests)
    answer_with_problems(app)

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
        """`{"instances": [input, ...]}` -> for each its class and probability; an input is nested lists of numbers or
        `{"b64": image}`. A PNG or JPEG file as the body is one instance."""
        loaded = ready()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        with place_in_line():
            body = await body_of(request, settings.max_body_bytes)
            instances = [] if kind in IMAGE_TYPES else instances_of(body, settings.max_instances)

            def answer() -> list[dict[str, Any]]:
                return (
                    loaded.classify(as_image(body, loaded.shape)[None])
                    if kind in IMAGE_TYPES
                    else loaded.predict(instances)
                )

            try:
                answers = await run_sync(answer, limiter=threads)
            except InputError as error:
                raise ProblemError(422, "An instance does not fit the model", str(error)) from error
        metrics.count(answers)
        return {"model_digest": loaded.bundle.digest, "predictions": answers}

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """In Prometheus's text format."""
        return metrics.exposed(serving.model.bundle.digest if serving.model else "")

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
