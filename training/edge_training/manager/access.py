"""Who may ask: whoever has the device's token. Without it there is /healthz and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from edge_training.problem import ProblemError

OPEN = "/healthz"
ATTEMPTS = 10
"""Wrong tokens that an address may bring at once; further ones at one in SECONDS."""
SECONDS = 6.0
ADDRESSES = 1024
BODY_BYTES = 64 * 1024


class Attempts:
    """A leaky bucket of failures for each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """How long this address has to wait; 0 if it may try."""
        return max(0.0, (self._level(address) - ATTEMPTS + 1) * SECONDS)

    def failed(self, address: str) -> None:
        self._failures[address] = (self._level(address) + 1, self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)

    def _level(self, address: str) -> float:
        level, since = self._failures.get(address, (0.0, 0.0))
        return max(0.0, level - (self._clock() - since) / SECONDS)


class Access:
    """ASGI middleware: a request that is refused is not read."""

    def __init__(self, app: ASGIApp, token_file: Path) -> None:
        self._app, self._token_file, self._attempts = app, token_file, Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == OPEN:
            return await self._app(scope, receive, send)
        try:
            headers = dict(scope["headers"])
            self._admit(scope["client"][0] if scope["client"] else "", headers.get(b"authorization", b""))
            _limit(headers)
        except ProblemError as error:
            return await error.response()(scope, receive, send)
        return await self._app(scope, receive, send)

    def _admit(self, address: str, given: bytes) -> None:
        if wait := math.ceil(self._attempts.wait_seconds(address)):
            raise ProblemError(
                429, "Too many wrong tokens", f"Try again in {wait} seconds.", {"Retry-After": str(wait)}
            )
        try:
            token = self._token_file.read_bytes().strip()
        except OSError as error:
            detail = f"{self._token_file}: {error.strerror}. Make a token for this device."
            raise ProblemError(503, "The device has no token", detail) from error
        scheme, _space, word = given.partition(b" ")
        # Of equal length, so that the time tells nothing.
        right = hmac.compare_digest(hashlib.sha256(word.strip()).digest(), hashlib.sha256(token).digest())
        if scheme.lower() != b"bearer" or not right or not token:
            self._attempts.failed(address)
            title, detail = "Not admitted", "Send `Authorization: Bearer TOKEN` with the token of this device."
            raise ProblemError(401, title, detail, {"WWW-Authenticate": "Bearer"})


def _limit(headers: dict[bytes, bytes]) -> None:
    if b"transfer-encoding" in headers:
        raise ProblemError(411, "The length is missing", "Send Content-Length.")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > BODY_BYTES:
        raise ProblemError(413, "The request is too large", f"Send at most {BODY_BYTES} bytes.")
