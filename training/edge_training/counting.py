"""What both services count of each request, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "POST", "PUT", "DELETE")


class Requests:
    """Answers by method, route and status, and how long they took. `buckets` in seconds."""

    def __init__(self, service: str, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        self.answers = Counter(
            f"{service}_requests_total", "Requests", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            f"{service}_request_seconds",
            "Time to the answer's first byte",
            ["route"],
            buckets=buckets,
            registry=registry,
        )


class Counting:
    """ASGI middleware: each answer is counted, by the route's name and not by what a client may write there."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._requests.answers.labels(method, route, str(message["status"])).inc()
                self._requests.seconds.labels(route).observe(time.monotonic() - began)
            await send(message)

        return await self._app(scope, receive, counted)
