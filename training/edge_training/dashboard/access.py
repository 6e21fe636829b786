"""Sessions: who asks, and whether he may. The cookie is signed, and names a session that the store has."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from edge_training.dashboard.accounts import Accounts
from edge_training.dashboard.oidc import PREFIX, Oidc
from edge_training.dashboard.provider import Member
from edge_training.dashboard.store import Store
from edge_training.manager.access import Attempts, be_patient, bears
from edge_training.problem import ProblemError

HEADER = "X-CSRF-Token"


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in."""

    name: str
    role: str
    csrf: str

    def described(self) -> dict[str, str]:
        return {"name": self.name, "role": self.role, "csrf": self.csrf}


@dataclass(frozen=True)
class Terms:
    """What a session stands on: it is over when `mark` is another one. An empty role is as it was at the sign-in."""

    mark: str
    seconds: float
    role: str = ""


class Access:
    """`seconds`: how long a session lasts at most. The token is what devices and trainings report with."""

    def __init__(
        self, store: Store, accounts: Accounts, token_file: Path, seconds: float, oidc: Oidc | None = None
    ) -> None:
        self._store, self._accounts, self._token_file, self._seconds = store, accounts, token_file, seconds
        self._oidc = oidc
        self._logins, self._tokens, self._one_at_a_time = Attempts(), Attempts(), threading.Lock()

    def sign_in(self, request: Request, name: str, password: str) -> Visitor:
        address = address_of(request)
        # One at a time: a hash takes a core for a quarter of a second, and guesses that come together count, too.
        with self._one_at_a_time:
            be_patient(self._logins, address, "Too many attempts")
            account = self._accounts.admit(name, password)
            if account is None:
                self._logins.failed(address)
                raise ProblemError(401, "Not signed in", "Name or password is wrong.")
        return self._begin(request, account.name, account.role)

    def admit(self, request: Request, member: Member) -> Visitor:
        """Somebody whom the provider has let in."""
        return self._begin(request, member.name, member.role)

    def _begin(self, request: Request, name: str, role: str) -> Visitor:
        number, visitor, now = secrets.token_urlsafe(32), Visitor(name, role, secrets.token_urlsafe(32)), time.time()
        terms = self._terms(name)
        if terms is None:
            raise ProblemError(401, "Not signed in", f"{name} is not known any more.")
        with self._store.change() as change:
            change.connection.execute("DELETE FROM visits WHERE began < ?", (now - self._seconds,))
            row = (_key(number, terms), name, role, visitor.csrf, now)
            change.connection.execute("INSERT INTO visits VALUES (?, ?, ?, ?, ?)", row)
        request.session.clear()
        request.session.update({"id": number, "user": name})
        return visitor

    def sign_out(self, request: Request) -> None:
        terms = self._terms(str(request.session.get("user", "")))
        if terms:
            with self._store.change() as change:
                key = _key(str(request.session.get("id", "")), terms)
                change.connection.execute("DELETE FROM visits WHERE id = ?", (key,))
        request.session.clear()

    def visitor(self, session: dict[str, Any]) -> Visitor:
        """Raises ProblemError (401) where nobody has signed in, or the session has ended."""
        user = str(session.get("user", ""))
        if terms := self._terms(user):
            key, since = _key(str(session.get("id", "")), terms), time.time() - terms.seconds
            with self._store.reading() as connection:
                query = "SELECT role, csrf FROM visits WHERE id = ? AND user = ? AND began > ?"
                row = connection.execute(query, (key, user, since)).fetchone()
            if row:
                return Visitor(user, terms.role or row["role"], row["csrf"])
        raise ProblemError(401, "Not signed in", "POST /api/session with name and password.")

    def _terms(self, user: str) -> Terms | None:
        """None for somebody who is not known, or not any more."""
        if user.startswith(PREFIX):
            oidc = self._oidc
            return Terms(oidc.mark, min(oidc.about.session_seconds, self._seconds)) if oidc else None
        account = self._accounts.find(user)
        return Terms(account.mark, self._seconds, account.role) if account else None

    def operator(self, request: Request) -> Visitor:
        """Who may change something, and has asked for it himself. Raises ProblemError (401, 403)."""
        visitor = self.changing(request)
        if visitor.role != "operator":
            where = "a group of operators" if visitor.name.startswith(PREFIX) else "the role operator in the users file"
            detail = f"{visitor.name} is a viewer; {where} is needed."
            raise ProblemError(403, "Operators alone may do that", detail)
        return visitor

    def changing(self, request: Request) -> Visitor:
        visitor = self.visitor(request.session)
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), visitor.csrf.encode()):
            detail = f"Send the header {HEADER} with `csrf` of GET /api/session."
            raise ProblemError(403, "The request is not from the page", detail)
        return visitor

    def reporter(self, request: Request) -> None:
        """Raises ProblemError where the token is not the one that devices, trainings and Prometheus have."""
        address = address_of(request)
        be_patient(self._tokens, address, "Too many wrong tokens")
        try:
            token = self._token_file.read_bytes().strip()
        except OSError as error:
            detail = f"{self._token_file}: {error.strerror}. Make a token."
            raise ProblemError(503, "The dashboard has no token", detail) from error
        if not bears(request.headers.get("Authorization", ""), token):
            self._tokens.failed(address)
            detail = "Send `Authorization: Bearer TOKEN` with the token of the dashboard."
            raise ProblemError(401, "Not admitted", detail, {"WWW-Authenticate": "Bearer"})


def own_origin(request: Request) -> None:
    """Raises ProblemError (403) where a browser says that another site's page asks; it is so for a sign-in, too."""
    origin = request.headers.get("Origin")
    if origin and origin != f"https://{request.headers.get('Host', '')}":
        raise ProblemError(403, "The request is not from the page", f"Its origin is {origin[:200]}.")


def _key(number: str, terms: Terms) -> str:
    """What the store has of a session: nobody signs in by reading it, and another password makes another key."""
    return hashlib.sha256(f"{number}:{terms.mark}".encode()).hexdigest()


def address_of(request: Request) -> str:
    """Whence it comes, as the audit has it and as guesses are counted."""
    return request.client.host if request.client else ""


def access_of(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def visitor_of(request: Request) -> Visitor:
    return access_of(request).visitor(request.session)


def operator_of(request: Request) -> Visitor:
    return access_of(request).operator(request)


Viewing = Annotated[Visitor, Depends(visitor_of)]
Operating = Annotated[Visitor, Depends(operator_of)]
