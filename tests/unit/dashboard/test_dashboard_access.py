# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign in, and what he may do then."""

from __future__ import annotations

import concurrent.futures
import threading

import httpx

from tests.unit.dashboard.served import PASSWORDS, SECONDS, Client, Dashboard


def test_nothing_is_told_to_who_has_not_signed_in(dashboard: Dashboard) -> None:
    stranger = Client(dashboard)
    for path in ("/api/rack", "/api/training", "/api/jobs", "/api/jobs/1", "/api/jobs/1/output", "/api/events"):
        assert stranger.asked("GET", path, 401)["title"] == "Not signed in"
    assert stranger.job(401, action="status")["title"] == "Not signed in"
    assert stranger.asked("GET", "/healthz") == {"status": "ready"}


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(dashboard: Dashboard) -> None:
    client = Client(dashboard)
    answer = client.http.post("/api/session", json={"name": "olga", "password": PASSWORDS["olga"]})
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("__host-edge=")
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert PASSWORDS["olga"] not in answer.text


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(dashboard: Dashboard) -> None:
    for name in ("olga", "nobody", "olga' OR 1=1"):
        wrong = Client(dashboard).asked("POST", "/api/session", 401, {"name": name, "password": "guess"})
        assert wrong["detail"] == "Name or password is wrong."


def test_who_guesses_has_to_wait_and_the_right_password_does_not_help_then(own: Dashboard) -> None:
    own.begin()
    guesser = Client(own)
    given = {"name": "olga", "password": "guess"}
    with concurrent.futures.ThreadPoolExecutor(15) as pool:
        asked = [pool.submit(guesser.http.post, "/api/session", json=given) for _guess in range(30)]
    # Those that come at the same time, too.
    answers = [one.result().status_code for one in asked]
    assert answers.count(401) >= 10 and answers.count(429) >= 1 and set(answers) == {401, 429}
    answer = guesser.http.post("/api/session", json={"name": "olga", "password": PASSWORDS["olga"]})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_a_cookie_that_was_altered_is_none(dashboard: Dashboard) -> None:
    client = dashboard.signed_in()
    (cookie,) = client.http.cookies.jar
    stranger = Client(dashboard)
    value = str(cookie.value)
    stranger.http.cookies.set(cookie.name, ("A" if value[0] != "A" else "B") + value[1:])
    stranger.asked("GET", "/api/rack", 401)


def test_a_session_that_was_signed_out_is_over_for_whoever_has_its_cookie(dashboard: Dashboard) -> None:
    client = dashboard.signed_in()
    thief = Client(dashboard)
    for cookie in client.http.cookies.jar:
        thief.http.cookies.jar.set_cookie(cookie)
    assert thief.asked("GET", "/api/session")["name"] == "olga"
    client.asked("DELETE", "/api/session", 204)
    client.asked("GET", "/api/session", 401)
    thief.asked("GET", "/api/session", 401)


def test_who_has_signed_out_hears_no_more_however_much_there_is_to_tell(dashboard: Dashboard) -> None:
    olga, stop = dashboard.signed_in(), threading.Event()

    def report() -> None:
        number = 0
        while not stop.wait(1):
            number += 1
            dashboard.report({"event": "device", "device": "nuc-001", "cpu_percent": number})

    with concurrent.futures.ThreadPoolExecutor(1) as pool, olga.listening() as heard:
        reporter = pool.submit(report)
        timer = threading.Timer(SECONDS, stop.set)
        timer.start()
        try:
            next(heard)
            olga.asked("DELETE", "/api/session", 204)
            assert len(list(heard)) < SECONDS // 2
            assert not reporter.done()
        finally:
            timer.cancel()
            stop.set()


def test_another_password_ends_the_sessions_of_the_old_one_and_who_is_not_listed_is_out(own: Dashboard) -> None:
    own.begin()
    olga, viktor = own.signed_in("olga"), own.signed_in("viktor")
    own.users({"olga": "another"})
    olga.asked("GET", "/api/rack", 401)
    viktor.asked("GET", "/api/rack", 401)
    olga.sign_in("olga", "another")
    olga.asked("GET", "/api/rack")


def test_a_change_needs_the_token_that_only_the_page_knows(dashboard: Dashboard) -> None:
    client = dashboard.signed_in()
    right, client.csrf = client.csrf, ""
    assert client.job(403, action="doctor")["title"] == "The request is not from the page"
    client.csrf = "guess"
    client.job(403, action="doctor")
    client.asked("DELETE", "/api/session", 403)
    client.csrf = dashboard.signed_in().csrf
    client.job(403, action="doctor")
    client.csrf = right
    client.asked("POST", "/api/jobs", 403, {"action": "doctor"}, Origin="https://elsewhere.example")
    client.asked("POST", "/api/jobs", 201, {"action": "doctor"}, Origin=dashboard.url)


def test_another_sites_page_signs_nobody_in(dashboard: Dashboard) -> None:
    given = {"name": "olga", "password": PASSWORDS["olga"]}
    Client(dashboard).asked("POST", "/api/session", 403, given, Origin="https://elsewhere.example")


def test_a_viewer_sees_all_and_changes_nothing(dashboard: Dashboard) -> None:
    viktor = dashboard.signed_in("viktor")
    assert viktor.asked("GET", "/api/rack")["user"] == {"name": "viktor", "role": "viewer"}
    before = viktor.asked("GET", "/api/jobs")
    assert "viktor is a viewer" in viktor.job(403, action="train")["detail"]
    viktor.asked("POST", "/api/jobs/1/cancel", 403)
    assert viktor.job(403, action="nonsense")["status"] == 403
    assert [one["id"] for one in viktor.asked("GET", "/api/jobs")] == [one["id"] for one in before]


def test_reports_are_taken_with_the_token_alone(dashboard: Dashboard) -> None:
    event = {"event": "device", "device": "nuc-001", "cpu_percent": 1}
    dashboard.report(event, status=401, token="guess")
    dashboard.report(event, status=401, token="x")
    olga = dashboard.signed_in()
    olga.asked("POST", "/api/events", 401, {"events": [event]})
    dashboard.report(event)


def test_a_users_file_that_makes_no_sense_lets_nobody_in_and_is_not_quoted(own: Dashboard) -> None:
    own.begin()
    wrong = {
        "- {name: olga, password_hash: letmein}": "0.password_hash",
        "- {name: olga, password_hash: $2b$04$" + "a" * 53 + ", role: king}": "0.role",
        "- {name: olga\n  secret": "line 2",
        "olga": "file: Input should be a valid list",
    }
    for text, words in wrong.items():
        (own.config / "users.yml").write_text(text)
        problem = Client(own).sign_in("olga", status=503)
        assert words in problem["detail"]
        assert "letmein" not in problem["detail"] and "secret" not in problem["detail"]
    (own.config / "users.yml").unlink()
    assert "users.yml" in Client(own).sign_in("olga", status=503)["detail"]


def test_every_answer_forbids_what_the_page_does_not_need(dashboard: Dashboard) -> None:
    for path, status in (("/", 200), ("/page/app.js", 200), ("/api/rack", 401), ("/nothing", 404)):
        answer = httpx.get(f"{dashboard.url}{path}", verify=dashboard.trust)
        assert answer.status_code == status
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
    assert httpx.get(f"{dashboard.url}/api/rack", verify=dashboard.trust).headers["cache-control"] == "no-store"


def test_the_page_has_nothing_from_elsewhere_and_no_script_in_it(dashboard: Dashboard) -> None:
    html = httpx.get(f"{dashboard.url}/", verify=dashboard.trust).text
    assert "://" not in html and "style=" not in html and " onclick" not in html
    assert html.count("<script") == html.count('<script type="module" src="/page/') == 1


def test_what_is_too_long_is_not_read(dashboard: Dashboard) -> None:
    client = dashboard.signed_in()
    client.asked("POST", "/api/jobs", 413, {"action": "x" * 2_000_000})
    client.asked("POST", "/api/session", 413, {"name": "x" * 5000, "password": ""})
    assert client.http.post("/api/jobs", content=iter([b"{}"])).status_code == 411
