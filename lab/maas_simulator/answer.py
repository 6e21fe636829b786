"""An answer before it becomes HTTP: status, body, content type exactly as a region sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

JSON = "application/json; charset=utf-8"
JSON_PLAIN = "application/json"
TEXT = "text/plain; charset=utf-8"
# Piston's short-hand answers (OK, 204, 404) carry no charset; the recordings show both.
TEXT_PLAIN = "text/plain"
HTML = "text/html; charset=utf-8"
BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Answer:
    """What a handler returns."""

    status: int
    body: str | bytes = ""
    content_type: str = TEXT
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, content_type: str = JSON) -> Answer:
        """A JSON answer."""
        return cls(status, json.dumps(value), content_type)

    def response(self) -> Response:
        """The same as Starlette sends it."""
        headers = {**self.headers, "content-type": self.content_type}
        if self.file is not None:
            return FileResponse(self.file, self.status, headers)
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return Response(body, self.status, headers)


OK = Answer(200, "OK", TEXT_PLAIN)
DELETED = Answer(204, "", TEXT_PLAIN)
