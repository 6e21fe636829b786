"""The button "Sign in with ...": there to the provider, and back. Users of the users file do not come by here."""

from __future__ import annotations

import html
import logging
import secrets
from pathlib import Path
from string import Template

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from edge_training.dashboard import audit
from edge_training.dashboard.access import Access, address_of
from edge_training.dashboard.provider import BEGUN_SECONDS, CALLBACK, Provider
from edge_training.problem import ProblemError

COOKIE = "__Host-edge-sign-in"
"""Lax: the way back comes from another site. It opens nothing by itself; the session's own stays strict."""
REFUSED = Template((Path(__file__).parent / "refused.html").read_text())


def add_sign_in(app: FastAPI, access: Access, provider: Provider | None, audit_file: Path) -> None:
    def configured() -> Provider:
        if provider is None:
            raise ProblemError(404, "There is no provider", "oidc.yml is not there: sign in with name and password.")
        return provider

    @app.get("/api/oidc")
    def offered() -> dict[str, str | None]:
        """The provider that one may sign in by, if there is one; open to everybody."""
        return {"provider": provider.oidc.about.name if provider else None}

    @app.post("/api/oidc")
    async def begin(request: Request, response: Response) -> dict[str, str]:
        """Begin a sign-in by the provider: the browser has to go to `url`, within ten minutes."""
        there = configured()
        address = there.oidc.about.address
        if f"https://{request.headers.get('Host', '').lower()}" != address:
            detail = f"{there.oidc.about.name} sends people back to {address}; open the dashboard there."
            raise ProblemError(409, "The dashboard has another address", detail)
        browser = secrets.token_urlsafe(32)
        url = await there.begin(browser, address_of(request))
        response.set_cookie(
            COOKIE, browser, max_age=BEGUN_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
        )
        return {"url": url}

    @app.get(CALLBACK, include_in_schema=False)
    async def finish(request: Request) -> Response:
        """The way back: a session, and on to the page, or a page that says why not."""
        answer: Response
        try:
            there = configured()
            member = await there.finish(request.query_params, request.cookies.get(COOKIE, ""))
            # Names may change hands at the provider, its subject does not.
            about = {"issuer": there.oidc.about.issuer, "subject": member.subject, "address": address_of(request)}
            await run_sync(lambda: audit.write(audit_file, event="sign_in", who=member.name, role=member.role, **about))
            await run_sync(access.admit, request, member)
            answer = RedirectResponse("/", 303)
        except ProblemError as error:
            # Quoted, for it has words of the request.
            logging.getLogger("uvicorn.error").warning("no sign-in from %s: %r", address_of(request), error.detail)
            answer = _page(error) if "text/html" in request.headers.get("Accept", "") else error.response()
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer


def _page(error: ProblemError) -> Response:
    words = {"title": html.escape(error.title), "detail": html.escape(error.detail)}
    return HTMLResponse(REFUSED.substitute(words), error.status, error.headers)
