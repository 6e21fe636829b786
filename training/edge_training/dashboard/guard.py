"""ASGI middleware around everything: headers that every answer has, and requests that are not even read."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_training.dashboard.access import Access, own_origin
from edge_training.manager.access import limit
from edge_training.problem import ProblemError

BODY_BYTES = 1024 * 1024
SIGNED_OUT_BODY_BYTES = 4096
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SIGNED_OUT = ("/api/session", "/api/oidc")
READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/api/") else "no-cache")
            await send(message)

        try:
            if scope["method"] not in READING:
                self._refuse(Request(scope))
        except ProblemError as error:
            return await error.response()(scope, receive, with_headers)
        return await self._app(scope, receive, with_headers)

    def _refuse(self, request: Request) -> None:
        own_origin(request)
        if request.url.path == "/api/events":
            self._access.reporter(request)
            limit(request.headers, BODY_BYTES)
        else:
            limit(request.headers, SIGNED_OUT_BODY_BYTES if request.url.path in SIGNED_OUT else BODY_BYTES)
