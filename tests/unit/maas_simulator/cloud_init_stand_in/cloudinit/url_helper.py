"""Signed requests that raise an error of their own."""

from __future__ import annotations

import httpx

from lab.oauth import authorization


class UrlError(OSError):
    """A request that was not answered, or refused."""


class OauthUrlHelper:
    """Signs as MAAS wants it."""

    def __init__(
        self,
        consumer_key: str | None = None,
        token_key: str | None = None,
        token_secret: str | None = None,
        consumer_secret: str | None = None,
    ) -> None:
        self.key = (consumer_key or "", token_key or "", token_secret or "")

    def readurl(
        self, url: str, *, data: str, timeout: float, retries: int = 0, log_req_resp: bool = True
    ) -> httpx.Response:
        try:
            answer = httpx.post(url, content=data, headers=authorization(*self.key), timeout=timeout, trust_env=False)
            return answer.raise_for_status()
        except httpx.HTTPError as error:
            raise UrlError(str(error)) from error
