"""Who may ask: whoever has the device's token. Without it there is /healthz and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import Headers
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
            headers = Headers(scope=scope)
            self._admit(scope["client"][0] if scope["client"] else "", headers.get("authorization", ""))
            limit(headers, BODY_BYTES)
        except ProblemError as error:
            return await error.response()(scope, receive, send)
        return await self._app(scope, receive, send)

    def _admit(self, address: str, given: str) -> None:
        be_patient(self._attempts, address, "Too many wrong tokens")
        try:
            token = self._token_file.read_bytes().strip()
        except OSError as error:
            detail = f"{self._token_file}: {error.strerror}. Make a token for this device."
            raise ProblemError(503, "The device has no token", detail) from error
        if not bears(given, token):
            self._attempts.failed(address)
            title, detail = "Not admitted", "Send `Authorization: Bearer TOKEN` with the token of this device."
            raise ProblemError(401, title, detail, {"WWW-Authenticate": "Bearer"})


def be_patient(attempts: Attempts, address: str, title: str) -> None:
    """Raises ProblemError (429) where this address has failed too often."""
    if wait := math.ceil(attempts.wait_seconds(address)):
        raise ProblemError(429, title, f"Try again in {wait} seconds.", {"Retry-After": str(wait)})


def bears(authorization: str, token: bytes) -> bool:
    """Whether the header has this token (RFC 6750); an empty one admits nobody."""
    scheme, _space, word = authorization.partition(" ")
    # The bytes that came, and hashes of equal length, so that the time tells nothing.
    given = hashlib.sha256(word.encode("latin-1").strip()).digest()
    right = hmac.compare_digest(given, hashlib.sha256(token).digest())
    return scheme.lower() == "bearer" and right and bool(token)


def limit(headers: Headers, most: int) -> None:
    """Raises ProblemError (411, 413) for a body that does not say how long it is, or is longer than `most` bytes."""
    if "transfer-encoding" in headers:
        raise ProblemError(411, "The length is missing", "Send Content-Length.")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > most:
        raise ProblemError(413, "The request is too large", f"Send at most {most} bytes.")
