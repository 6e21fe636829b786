"""Errors over HTTP: problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException as StarletteHTTPException


class ProblemError(Exception):
    """An answer that is an error: HTTP status, one-line title, what to do about it, and members of its own."""

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail
        self.headers, self.members = dict(headers or {}), members

    def response(self) -> Response:
        content = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        # In ASCII: what it quotes of a request need not be encodable.
        return Response(
            json.dumps({**content, **self.members}),
            status_code=self.status,
            headers=self.headers,
            media_type="application/problem+json",
        )


def answer_with_problems(app: FastAPI) -> None:
    """Let the service's own errors, and the framework's, be problem details."""

    @app.exception_handler(ProblemError)
    async def problem(_request: Request, error: ProblemError) -> Response:
        return error.response()

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: StarletteHTTPException) -> Response:
        title = str(error.detail)
        return ProblemError(error.status_code, title, "See /openapi.json for what there is.", error.headers).response()
