# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing in by an OpenID provider, a real one that runs beside the dashboard."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from edge_training.dashboard.oidc import Oidc
from edge_training.dashboard.provider import BEGUN_SECONDS, Provider
from edge_training.problem import ProblemError

from tests.unit.dashboard.openid import ANNA, COOKIE, EMMA, ERIC, NOBODY, NORA, OLGA, SECRET, VITO, OpenId, Person
from tests.unit.dashboard.served import Client, Dashboard


def cookies(answer: httpx.Response) -> dict[str, set[str]]:
    """Name of each cookie that is set -> its attributes."""
    lines = answer.headers.get_list("set-cookie")
    return {line.partition("=")[0]: {part.strip().lower() for part in line.split(";")[1:]} for line in lines}


def test_a_group_of_the_provider_makes_an_operator_and_the_audit_names_him(openid: OpenId) -> None:
    anna = Person(openid)
    assert anna.asked("GET", "/api/oidc") == {"provider": "Test ID"}
    answer = anna.signs_in(ANNA)
    assert answer.headers["location"] == "/"
    assert anna.asked("GET", "/api/session") == {"name": "oidc:anna", "role": "operator", "csrf": anna.csrf}
    job = anna.ended(anna.job(action="doctor")["id"])
    assert job["who"] == "oidc:anna"
    sign_in, begin = [line for line in openid.dashboard.audit() if line["event"] in ("sign_in", "begin")][-2:]
    about = {"who": "oidc:anna", "role": "operator", "issuer": openid.issuer, "subject": ANNA, "address": "127.0.0.1"}
    assert sign_in == {**sign_in, **about}
    assert (begin["who"], begin["action"]) == ("oidc:anna", "doctor")


def test_a_group_of_the_provider_makes_a_viewer_who_changes_nothing(openid: OpenId) -> None:
    vito = Person(openid)
    vito.signs_in(VITO)
    assert vito.asked("GET", "/api/rack")["user"] == {"name": "oidc:vito", "role": "viewer"}
    detail = vito.job(403, action="doctor")["detail"]
    assert detail == "oidc:vito is a viewer; a group of operators is needed."


def test_who_is_in_no_group_is_told_so(openid: OpenId) -> None:
    nora = Person(openid)
    problem = nora.is_refused(NORA)
    assert problem["title"] == "None of your groups may sign in"
    assert "is in none of rack-operators, rack-viewers." in problem["detail"]
    # In a browser it is a page, with what the provider said as text.
    answer = nora.http.get(nora.there(nora.begun(), NORA), headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 403 and answer.headers["content-type"].startswith("text/html")
    assert "&lt;b&gt;nora&lt;/b&gt; is in none of" in answer.text and "<b>" not in answer.text
    assert (
        "no-store" in answer.headers["cache-control"]
        and "default-src 'self'" in answer.headers["content-security-policy"]
    )


def test_a_name_of_the_provider_is_never_that_of_a_user_of_the_file(openid: OpenId) -> None:
    other, olga = Person(openid), openid.dashboard.signed_in("olga")
    other.signs_in(OLGA)
    assert other.asked("GET", "/api/session")["name"] == "oidc:olga"
    assert other.asked("GET", "/api/session")["role"] == "viewer"
    assert olga.asked("GET", "/api/session")["role"] == "operator"
    Client(openid.dashboard).asked("POST", "/api/session", 401, {"name": "oidc:olga", "password": ""})
    assert Person(openid).is_refused(NOBODY)["title"] == "Test ID does not say your name"


def test_cookies_are_as_strict_as_they_can_be(openid: OpenId) -> None:
    anna = Person(openid)
    asked = anna.http.post("/api/oidc")
    own = {"secure", "httponly", "path=/"}
    # The way back comes from another site; this cookie opens nothing.
    assert cookies(asked) == {COOKIE: own | {"samesite=lax", "max-age=600"}}
    answer = anna.back(anna.there(asked.json()["url"], ANNA))
    assert cookies(answer)["__Host-edge"] >= own | {"samesite=strict"}
    assert "max-age=0" in cookies(answer)[COOKIE] and anna.http.cookies.get(COOKIE) is None
    assert SECRET not in asked.text


def test_a_change_needs_the_token_that_only_the_page_knows(openid: OpenId) -> None:
    anna = Person(openid)
    anna.signs_in(ANNA)
    right, anna.csrf = anna.csrf, ""
    assert anna.job(403, action="doctor")["title"] == "The request is not from the page"
    anna.asked("DELETE", "/api/session", 403)
    anna.csrf = right
    anna.asked("POST", "/api/jobs", 403, {"action": "doctor"}, Origin=openid.issuer)
    assert anna.ended(anna.job(action="doctor")["id"])["state"] == "succeeded"


def test_another_sites_page_begins_no_sign_in(openid: OpenId) -> None:
    Person(openid).asked("POST", "/api/oidc", 403, Origin=openid.issuer)
    Person(openid).asked("POST", "/api/oidc", 409, Host="elsewhere.example")


def test_what_the_provider_is_asked_for_has_state_nonce_and_a_challenge_and_no_secret(openid: OpenId) -> None:
    person = Person(openid)
    url = urlsplit(person.begun())
    asked = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}" == openid.issuer
    fixed = {
        "response_type": "code",
        "client_id": "edge-dashboard",
        "redirect_uri": f"{openid.dashboard.url}/api/oidc/callback",
        "scope": "openid profile",
        "code_challenge_method": "S256",
    }
    assert asked == {**asked, **fixed}
    assert set(asked) == {*fixed, "state", "nonce", "code_challenge"}
    again = parse_qs(urlsplit(person.begun()).query)
    assert all(len(asked[name]) >= 43 and asked[name] != again[name][0] for name in ("state", "nonce"))


def test_a_state_counts_once_in_its_own_browser(openid: OpenId) -> None:
    anna = Person(openid)
    back = anna.there(anna.begun(), ANNA)
    # Somebody else's browser, which was sent there: with a sign-in of its own on its way, and without.
    for stranger in (Person(openid), Person(openid)):
        elsewhere = anna.there(anna.begun(), ANNA)
        assert stranger.back(elsewhere, 400).json()["title"] == "This sign-in is not known"
        stranger.asked("GET", "/api/session", 401)
        stranger.begun()
    other = Person(openid)
    other.begun()
    assert other.back(anna.there(anna.begun(), ANNA), 400)
    other.asked("GET", "/api/session", 401)

    # The first one's cookie is a newer sign-in's by now.
    anna.back(back, 400)
    back = anna.there(anna.begun(), ANNA)
    cookie = anna.http.cookies.get(COOKIE)
    anna.back(back)
    anna.http.cookies.set(COOKIE, str(cookie))
    anna.back(back, 400)


@pytest.mark.parametrize("query", ["", "state=guess&code=guess", "code=guess", "state=", "error=access_denied"])
def test_a_way_back_that_nobody_began_leads_nowhere(openid: OpenId, query: str) -> None:
    person = Person(openid)
    person.begun()
    person.back(f"/api/oidc/callback?{query}", 400)
    person.asked("GET", "/api/session", 401)


def test_a_wrong_state_does_not_pass_with_the_right_code(openid: OpenId) -> None:
    anna = Person(openid)
    back = anna.there(anna.begun(), ANNA)
    anna.back(re.sub("state=[^&]*", "state=guess", back), 400)
    anna.asked("GET", "/api/session", 401)


def test_who_is_denied_at_the_provider_is_told_its_word(openid: OpenId) -> None:
    person = Person(openid)
    state = parse_qs(urlsplit(person.begun()).query)["state"][0]
    problem = person.back(f"/api/oidc/callback?error=access_denied&state={state}", 403).json()
    assert problem["title"] == "Test ID does not let you in" and "access_denied" in problem["detail"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"claims": {"nonce": "another"}}, "nonce"),
        ({"without": ["nonce"]}, "nonce"),
        ({"claims": {"aud": "another-client"}}, "aud"),
        ({"claims": {"aud": ["another-client"], "azp": "edge-dashboard"}}, "aud"),
        ({"claims": {"aud": ["edge-dashboard", "another-client"], "azp": "another-client"}}, "azp"),
        ({"claims": {"iss": "https://another.example"}}, "iss"),
        ({"claims": {"exp": 1_700_000_000}}, "expired"),
        ({"without": ["exp"]}, "exp"),
        ({"without": ["sub"]}, "sub"),
        ({"key": "foreign"}, "bad_signature"),
        ({"alg": "none"}, "none"),
        ({"alg": "HS256"}, "HS256"),
    ],
    ids=json.dumps,
)
def test_an_id_token_that_is_wrong_is_not_believed(openid: OpenId, wrong: dict[str, Any], words: str) -> None:
    with openid.spoilt(**wrong):
        problem = Person(openid).is_refused(ANNA)
    assert problem["title"] == "The ID token is not believed"
    assert words in problem["detail"]


def test_an_id_token_for_others_besides_is_believed(openid: OpenId) -> None:
    with openid.spoilt(claims={"aud": ["another-client", "edge-dashboard"], "azp": "edge-dashboard"}):
        Person(openid).signs_in(ANNA)


def test_groups_that_userinfo_alone_has_count(openid: OpenId) -> None:
    with openid.spoilt(without=["groups"]):
        vito = Person(openid)
        vito.signs_in(VITO)
        assert vito.asked("GET", "/api/session")["role"] == "viewer"
    # It is about whom the token is about.
    with openid.spoilt(without=["groups"], claims={"sub": ANNA}):
        assert Person(openid).is_refused(VITO)["detail"] == "userinfo is about somebody else."


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"issuer": "https://another.example"}, "has https://another.example; `issuer` in oidc.yml must be the same"),
        ({"token_endpoint": "http://localhost/token"}, "token_endpoint: "),
        ({"jwks_uri": None}, "jwks_uri: "),
    ],
    ids=json.dumps,
)
def test_a_provider_that_makes_no_sense_is_not_gone_to(openid: OpenId, wrong: dict[str, Any], words: str) -> None:
    with openid.spoilt(discovery=wrong):
        assert words in Person(openid).asked("POST", "/api/oidc", 502)["detail"]


def test_a_session_of_the_provider_ends_sooner_and_by_signing_out(openid: OpenId) -> None:
    anna, vito, viktor = Person(openid), Person(openid), openid.dashboard.signed_in("viktor")
    anna.signs_in(ANNA)
    thief = Client(openid.dashboard)
    for cookie in anna.http.cookies.jar:
        thief.http.cookies.jar.set_cookie(cookie)
    assert thief.asked("GET", "/api/session")["name"] == "oidc:anna"
    anna.asked("DELETE", "/api/session", 204)
    for one in (anna, thief):
        one.asked("GET", "/api/session", 401)

    vito.signs_in(VITO)
    for seconds, status in ((3500, 200), (200, 401)):
        with sqlite3.connect(openid.dashboard.state / "dashboard.sqlite") as store:
            store.execute("UPDATE visits SET began = began - ?", (seconds,))
        vito.asked("GET", "/api/rack", status)
        viktor.asked("GET", "/api/rack")


def test_a_sign_in_that_takes_too_long_is_over(own_openid: OpenId) -> None:
    oidc = Oidc.read(own_openid.dashboard.config / "oidc.yml")
    assert oidc is not None and SECRET not in repr(oidc)
    own_openid.begin()
    time_now = [0.0]
    provider = Provider(oidc, clock=lambda: time_now[0])
    person = Person(own_openid)

    async def after(seconds: float) -> str:
        back = person.there(await provider.begin("browser", "127.0.0.1"), ANNA)
        time_now[0] += seconds
        query = {name: value for name, (value,) in parse_qs(urlsplit(back).query).items()}
        return (await provider.finish(query, "browser")).name

    assert asyncio.run(after(BEGUN_SECONDS - 1)) == "oidc:anna"
    with pytest.raises(ProblemError, match="It is good once, for 10 minutes"):
        asyncio.run(after(BEGUN_SECONDS + 1))


def test_a_provider_that_is_away_is_said_and_the_users_file_opens_nevertheless(
    own_openid: OpenId, own: Dashboard
) -> None:
    own.begin()
    anna = Person(own_openid)
    problem = anna.asked("POST", "/api/oidc", 503)
    assert problem["title"] == "Test ID does not answer"
    assert "sign in with name and password" in problem["detail"]
    assert own.signed_in("olga").asked("GET", "/api/session")["role"] == "operator"
    own_openid.begin()
    back = anna.there(anna.begun(), ANNA)
    own_openid.end()
    assert anna.back(back, 503).json()["title"] == "Test ID does not answer"
    anna.asked("GET", "/api/session", 401)
    own_openid.begin()
    anna.signs_in(ANNA)
    # Who has signed in needs it no more.
    own_openid.end()
    anna.asked("GET", "/api/rack")


def test_its_certificate_is_verified(own_openid: OpenId, own: Dashboard, certificates: Path) -> None:
    own_openid.begin()
    for changed in ({"ca_file": str(certificates / "ca.crt")}, {"ca_file": None}):
        own_openid.configure(**changed)
        own.begin()
        assert "certificate" in Person(own_openid).asked("POST", "/api/oidc", 503)["detail"].lower()
        own.end()


def test_a_wrong_secret_is_said_to_be_one(own_openid: OpenId, own: Dashboard) -> None:
    (own.config / "oidc_client_secret").write_text("another")
    own_openid.begin()
    own.begin()
    assert "invalid_client" in Person(own_openid).is_refused(ANNA, 502)["detail"]
    assert "another" not in own.log.read_text()


def test_another_configuration_ends_the_sessions_of_the_old_one(own_openid: OpenId, own: Dashboard) -> None:
    own_openid.begin()
    own.begin()
    anna, olga = Person(own_openid), own.signed_in("olga")
    anna.signs_in(ANNA)
    own.end()
    own.begin()
    anna.asked("GET", "/api/session")
    own.end()
    own_openid.configure(operator_groups=[], viewer_groups=["rack-viewers"])
    own.begin()
    anna.asked("GET", "/api/session", 401)
    anna.signs_in(ANNA)
    assert anna.asked("GET", "/api/session")["role"] == "viewer"
    own.end()
    (own.config / "oidc.yml").unlink()
    own.begin()
    anna.asked("GET", "/api/session", 401)
    olga.asked("GET", "/api/session")
    stranger = Client(own)
    assert stranger.asked("GET", "/api/oidc") == {"provider": None}
    stranger.asked("POST", "/api/oidc", 404)
    stranger.asked("GET", "/api/oidc/callback?code=x&state=y", 404)


def test_an_address_is_a_name_where_the_provider_has_verified_it(own_openid: OpenId, own: Dashboard) -> None:
    own_openid.configure(name_claim="email", scopes=["openid", "email"])
    own_openid.begin()
    own.begin()
    emma = Person(own_openid)
    emma.signs_in(EMMA)
    assert emma.asked("GET", "/api/session")["name"] == "oidc:emma@example.com"
    assert Person(own_openid).is_refused(ERIC)["title"] == "The address is not verified"


def test_sign_ins_that_are_begun_without_end_are_refused(own_openid: OpenId, own: Dashboard) -> None:
    own_openid.begin()
    own.begin()
    person = Person(own_openid)
    last = [person.begun() for _each in range(20)][-1]
    assert int(person.http.post("/api/oidc").headers["retry-after"]) > 0
    person.asked("POST", "/api/oidc", 429)
    person.back(person.there(last, ANNA))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "http://sso.example.com"}, "issuer: "),
    ({"issuer": None}, "issuer: "),
    ({"client_id": ""}, "client_id: "),
    ({"address": "https://control.example.com:8443/"}, "address: "),
    ({"scopes": ["profile"]}, "scopes: Value error, openid must be among them"),
    ({"operator_groups": [], "viewer_groups": []}, "operator_groups or viewer_groups must name a group"),
    ({"operator_groups": "rack-operators"}, "operator_groups: "),
    ({"session_seconds": 5}, "session_seconds: "),
    ({"client_secret": "written-here"}, "client_secret: "),
    ({"client_secret_file": "nowhere"}, "client_secret_file: "),
    ({"ca_file": "oidc_client_secret"}, "ca_file: "),
    ({"ca_file": "nowhere"}, "ca_file: "),
]


@pytest.mark.parametrize(("changed", "words"), WRONG, ids=json.dumps)
def test_a_configuration_that_makes_no_sense_ends_the_start_by_its_field(
    own_openid: OpenId, own: Dashboard, changed: dict[str, Any], words: str
) -> None:
    own_openid.configure(**changed)
    with pytest.raises(SystemExit) as ended:
        Oidc.read(own.config / "oidc.yml")
    said = str(ended.value)
    assert f"oidc.yml: {words}" in said.replace("file: Value error, ", "")
    assert "written-here" not in said and SECRET not in said


def test_the_dashboard_does_not_begin_with_it(own_openid: OpenId, own: Dashboard) -> None:
    (own.config / "oidc_client_secret").write_text("\n")
    argv = [sys.executable, "-m", "edge_training.dashboard"]
    done = subprocess.run(argv, env=own.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("oidc_client_secret is empty; write the client's secret there")
    assert "oidc.yml: client_secret_file: " in done.stderr
