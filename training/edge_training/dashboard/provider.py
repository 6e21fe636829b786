"""Sign-in by an OpenID provider: the authorization code flow with PKCE, state and nonce; Authlib does the protocol."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from pydantic import BaseModel, StringConstraints, ValidationError

from edge_training.dashboard.accounts import in_short
from edge_training.dashboard.oidc import PREFIX, Oidc
from edge_training.problem import ProblemError

CALLBACK = "/api/oidc/callback"
BEGUN_SECONDS = 600
"""From the button to the way back."""
BEGUN_BY_AN_ADDRESS = 20
ANSWER_SECONDS = 10
LEEWAY_SECONDS = 60
"""That clocks may differ by."""
NAME_CHARACTERS = 100
# A provider may offer `none`, too, and codes that whoever has the client's secret can write.
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})

Https = Annotated[str, StringConstraints(pattern=r"^https://")]


class Discovered(BaseModel):
    """What is needed of OpenID Connect Discovery 1.0. No more is handed on: Authlib would take it as settings."""

    issuer: str
    authorization_endpoint: Https
    token_endpoint: Https
    jwks_uri: Https
    userinfo_endpoint: Https | None = None
    id_token_signing_alg_values_supported: list[str] = ["RS256"]


@dataclass(frozen=True)
class Member:
    """Somebody whom the provider knows, and who may sign in. `subject`: the provider's own, which never changes."""

    name: str
    role: Literal["operator", "viewer"]
    subject: str


@dataclass(frozen=True)
class Begun:
    """A sign-in on its way: the browser that began it, and what the provider has to send back, or to be shown."""

    browser: bytes
    address: str
    nonce: str
    verifier: str
    at: float


class Provider:
    """Used by one event loop. What the provider says of itself is asked anew each time, for its keys change."""

    def __init__(self, oidc: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        self.oidc, self._about, self._clock = oidc, oidc.about, clock
        self._begun: dict[str, Begun] = {}

    async def begin(self, browser: str, address: str) -> str:
        """Where this browser has to go. Raises ProblemError (429, 502, 503)."""
        old = self._clock() - BEGUN_SECONDS
        self._begun = {state: one for state, one in self._begun.items() if one.at > old}
        if sum(one.address == address for one in self._begun.values()) >= BEGUN_BY_AN_ADDRESS:
            detail = f"End one that you began, or try again in {BEGUN_SECONDS // 60} minutes."
            raise ProblemError(429, "Too many sign-ins were begun", detail, {"Retry-After": str(BEGUN_SECONDS)})
        state = secrets.token_urlsafe(32)
        begun = Begun(_digest(browser), address, secrets.token_urlsafe(32), secrets.token_urlsafe(48), self._clock())
        self._begun[state] = begun
        try:
            client = await self._client()
            made = await client.create_authorization_url(
                self._about.address + CALLBACK, state=state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        except BaseException:
            self._begun.pop(state, None)
            raise
        return str(made["url"])

    async def finish(self, query: Mapping[str, str], browser: str) -> Member:
        """Who comes back with this query. Raises ProblemError (400, 403, 502, 503)."""
        # Taken before anything is asked: it counts once, whatever comes of it.
        begun = self._begun.pop(query.get("state", ""), None)
        there = begun is not None and begun.at > self._clock() - BEGUN_SECONDS
        if begun is None or not there or not hmac.compare_digest(begun.browser, _digest(browser)):
            detail = (
                f"It is good once, for {BEGUN_SECONDS // 60} minutes, and in the browser that began it. Sign in again."
            )
            raise ProblemError(400, "This sign-in is not known", detail)
        if "code" not in query:
            reason = query.get("error", "no code")[:100]
            raise ProblemError(403, f"{self._about.name} does not let you in", f"It says {reason!r}. Sign in again.")
        client = await self._client()
        return self._member(await self._claims(client, query["code"], begun))

    async def _client(self) -> Any:
        about = self._about
        found = await self._discovered()
        return OAuth().register(
            "provider",
            client_id=about.client_id,
            client_secret=self.oidc.secret,
            authorize_url=found.authorization_endpoint,
            access_token_url=found.token_endpoint,
            client_kwargs={
                "scope": " ".join(about.scopes),
                "code_challenge_method": "S256",
                "verify": self.oidc.trust,
                "timeout": ANSWER_SECONDS,
            },
            issuer=found.issuer,
            jwks_uri=found.jwks_uri,
            userinfo_endpoint=found.userinfo_endpoint,
            id_token_signing_alg_values_supported=[
                one for one in found.id_token_signing_alg_values_supported if one in ALGORITHMS
            ],
        )

    async def _discovered(self) -> Discovered:
        url = f"{self._about.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            async with httpx2.AsyncClient(verify=self.oidc.trust, timeout=ANSWER_SECONDS) as asking:
                answer = await asking.get(url)
            answer.raise_for_status()
            found = Discovered.model_validate_json(answer.content)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._away(error) from error
        except ValidationError as error:
            raise ProblemError(502, f"{self._about.name} makes no sense", f"{url}: {in_short(error)}") from error
        if found.issuer != self._about.issuer:
            detail = f"{url} has {found.issuer[:200]}; `issuer` in oidc.yml must be the same to the letter."
            raise ProblemError(502, f"{self._about.name} is another issuer", detail)
        return found

    async def _claims(self, client: Any, code: str, begun: Begun) -> dict[str, Any]:
        try:
            return await self._asked(client, code, begun)
        except httpx2.HTTPError as error:
            raise self._away(error) from error
        # Authlib's JOSE is joserfc; a token or a key that is none at all is one of the others there.
        except (JoseError, ValueError, KeyError, TypeError) as error:
            detail = f"{type(error).__name__}: {str(error)[:200]}. Sign in again; if it stays so, tell your operator."
            raise ProblemError(403, "The ID token is not believed", detail) from error
        except AuthlibBaseError as error:
            detail = f"It says {str(error.error)[:100]!r}. Has it the same client_id and client's secret as oidc.yml?"
            raise ProblemError(502, f"{self._about.name} does not say who you are", detail) from error

    async def _asked(self, client: Any, code: str, begun: Begun) -> dict[str, Any]:
        about = self._about
        token = await client.fetch_access_token(
            redirect_uri=about.address + CALLBACK, code=code, code_verifier=begun.verifier
        )
        # Authlib looks at the signature, the nonce and the time, and at issuer and audience if it is told which.
        wanted = {"iss": about.issuer, "aud": about.client_id}
        options = {claim: {"essential": True, "value": value} for claim, value in wanted.items()}
        claims = await client.parse_id_token(token, begun.nonce, claims_options=options, leeway=LEEWAY_SECONDS)
        if claims is None:
            raise ProblemError(502, f"{about.name} sent no ID token", "Is `openid` among the client's scopes there?")
        missing = {about.name_claim, about.groups_claim} - claims.keys()
        if not missing or not client.server_metadata["userinfo_endpoint"]:
            return dict(claims)
        # Some providers have groups there alone.
        more = await client.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise ProblemError(403, "The ID token is not believed", "userinfo is about somebody else.")
        return {**more, **claims}

    def _member(self, claims: Mapping[str, Any]) -> Member:
        about, name = self._about, claims.get(self._about.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARACTERS or not name.isprintable() or " " in name:
            detail = f"{about.name_claim} must be a name without spaces, of {NAME_CHARACTERS} characters at most."
            raise ProblemError(403, f"{about.name} does not say your name", detail)
        if about.name_claim == "email" and claims.get("email_verified") is not True:
            detail = f"{about.name} has not verified the address {name}; anybody could have given it."
            raise ProblemError(403, "The address is not verified", detail)
        given = claims.get(about.groups_claim)
        groups = given if isinstance(given, list) else [given]
        role = self.oidc.role({one for one in groups if isinstance(one, str)})
        if role is None:
            wanted = ", ".join((*about.operator_groups, *about.viewer_groups))
            detail = f"{name} is in none of {wanted}. Have yourself added to one at {about.name}, and sign in again."
            raise ProblemError(403, "None of your groups may sign in", detail)
        return Member(PREFIX + name, role, str(claims["sub"]))

    def _away(self, error: Exception) -> ProblemError:
        why = f"{type(error).__name__}: {error}"[:300]
        detail = (
            f"{self._about.name} does not answer ({why}). Users of the dashboard's own sign in with name and password."
        )
        return ProblemError(503, f"{self._about.name} does not answer", detail)


def _digest(browser: str) -> bytes:
    return hashlib.sha256(browser.encode()).digest()
