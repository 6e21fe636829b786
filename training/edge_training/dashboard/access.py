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

from edge_training.dashboard.accounts import Account, Accounts
from edge_training.dashboard.store import Store
from edge_training.manager.access import Attempts, be_patient, bears
from edge_training.problem import ProblemError

HEADER = "X-CSRF-Token"


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in."""

    account: Account
    csrf: str

    def described(self) -> dict[str, str]:
        return {"name": self.account.name, "role": self.account.role, "csrf": self.csrf}


class Access:
    """`seconds`: how long a session lasts at most. The token is what devices and trainings report with."""

    def __init__(self, store: Store, accounts: Accounts, token_file: Path, seconds: float) -> None:
        self._store, self._accounts, self._token_file, self._seconds = store, accounts, token_file, seconds
        self._logins, self._tokens, self._one_at_a_time = Attempts(), Attempts(), threading.Lock()

    def sign_in(self, request: Request, name: str, password: str) -> Visitor:
        address = _address(request)
        # One at a time: a hash takes a core for a quarter of a second, and guesses that come together count, too.
        with self._one_at_a_time:
            be_patient(self._logins, address, "Too many attempts")
            account = self._accounts.admit(name, password)
            if account is None:
                self._logins.failed(address)
                raise ProblemError(401, "Not signed in", "Name or password is wrong.")
        number, visitor = secrets.token_urlsafe(32), Visitor(account, secrets.token_urlsafe(32))
        with self._store.change() as change:
            change.connection.execute("DELETE FROM sessions WHERE began < ?", (time.time() - self._seconds,))
            row = (_key(number, account), account.name, visitor.csrf, time.time())
            change.connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
        request.session.clear()
        request.session.update({"id": number, "user": account.name})
        return visitor

    def sign_out(self, request: Request) -> None:
        account = self._accounts.find(str(request.session.get("user", "")))
        if account:
            with self._store.change() as change:
                key = _key(str(request.session.get("id", "")), account)
                change.connection.execute("DELETE FROM sessions WHERE id = ?", (key,))
        request.session.clear()

    def visitor(self, session: dict[str, Any]) -> Visitor:
        """Raises ProblemError (401) where nobody has signed in, or the session has ended."""
        account = self._accounts.find(str(session.get("user", "")))
        if account:
            key, since = _key(str(session.get("id", "")), account), time.time() - self._seconds
            with self._store.reading() as connection:
                query = "SELECT csrf FROM sessions WHERE id = ? AND user = ? AND began > ?"
                row = connection.execute(query, (key, account.name, since)).fetchone()
            if row:
                return Visitor(account, row["csrf"])
        raise ProblemError(401, "Not signed in", "POST /api/session with name and password.")

    def operator(self, request: Request) -> Visitor:
        """Who may change something, and has asked for it himself. Raises ProblemError (401, 403)."""
        visitor = self.changing(request)
        if visitor.account.role != "operator":
            detail = f"{visitor.account.name} is a viewer; the role operator in the users file is needed."
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
        address = _address(request)
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


def _key(number: str, account: Account) -> str:
    """What the store has of a session: nobody signs in by reading it, and another password makes another key."""
    return hashlib.sha256(f"{number}:{account.mark}".encode()).hexdigest()


def _address(request: Request) -> str:
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
