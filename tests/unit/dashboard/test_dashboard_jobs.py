# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: real ansible-runner, with playbooks of the test's."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import sys
import uuid
from typing import Any

import pytest

from tests.unit.dashboard.served import CHECKOUT, Dashboard, processes, row, until
from tests.unit.playbook_runs import INVENTORIES

TELLS_ITS_RUN = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "run {{ run }}, url {{ push_reports_url | default('none') }}"
      vars:
        run: "{{ lookup('ansible.builtin.env', 'EDGE_PUSH_REPORTS_RUN_ID') }}"
"""


@pytest.fixture
def begun(own: Dashboard) -> Dashboard:
    own.begin()
    return own


def test_a_job_runs_a_playbook_and_says_what_it_says(dashboard: Dashboard) -> None:
    olga = dashboard.signed_in()
    job = olga.job(action="train", task="digits", epochs=3)
    assert (job["state"], job["who"], job["parameters"]) == ("running", "olga", {"task": "digits", "epochs": 3})
    ended = olga.ended(job["id"])
    assert (ended["state"], ended["rc"]) == ("succeeded", 0)
    assert '"msg": "epochs 3"' in olga.said(job["id"])


def test_a_job_links_to_its_run_in_ara_where_runs_are_reported(own: Dashboard, dashboard: Dashboard) -> None:
    own.environment["EDGE_DASHBOARD_REPORTS_URL"] = "https://control.example.com:8444/"
    (own.project / "train.yml").write_text(TELLS_ITS_RUN)
    own.begin()
    olga = own.signed_in()
    job = olga.job(action="train", task="digits")
    said = olga.said(olga.ended(job["id"])["id"])
    given = job["report"].removeprefix("https://control.example.com:8444/?label=run:")
    assert f"run {uuid.UUID(given)}, url none" in said
    # The same each time, another one for another job, and in the audit.
    assert olga.asked("GET", f"/api/jobs/{job['id']}")["report"] == job["report"]
    assert olga.job(action="train", task="digits", epochs=2)["report"] != job["report"]
    lines = [json.loads(line) for line in (own.state / "audit.jsonl").read_text().splitlines()]
    assert {line["report"] for line in lines if line["job"] == job["id"]} == {job["report"]}
    # The status, which it asks for each minute, is not reported.
    asked = json.loads((own.state / "watch/run.json").read_text())
    assert (asked["extra_vars"], asked["run_id"]) == ({"push_reports_url": ""}, None)
    other = dashboard.signed_in()
    assert other.ended(other.job(action="train", task="digits")["id"])["report"] is None


def test_a_playbook_that_fails_is_a_job_that_failed(dashboard: Dashboard) -> None:
    olga = dashboard.signed_in()
    ended = olga.ended(olga.job(action="train", task="broken")["id"])
    assert (ended["state"], ended["rc"]) == ("failed", 2)
    assert "no such thing" in olga.said(ended["id"])


def test_two_who_press_the_same_button_get_one_job(begun: Dashboard) -> None:
    clients = [begun.signed_in() for _one in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(
                one.http.post,
                "/api/jobs",
                json={"action": "release", "name": "2026.12"},
                headers={"X-CSRF-Token": one.csrf},
            )
            for one in clients
        ]
    answers = [one.result() for one in asked]
    assert sorted(one.status_code for one in answers) == [200] * 5 + [201]
    (number,) = {one.json()["id"] for one in answers}
    assert len(begun.signed_in().asked("GET", "/api/jobs")) == 1
    begun.go()
    assert clients[0].ended(number)["state"] == "succeeded"
    another = clients[0].job(action="release", name="2026.12")["id"]
    assert another != number
    begun.go()
    clients[0].ended(another)


def test_another_release_or_a_rollback_waits_for_the_one_that_runs(begun: Dashboard) -> None:
    olga = begun.signed_in()
    number = olga.job(action="release", name="2026.12")["id"]
    for other in ({"action": "release", "name": "2027.01"}, {"action": "rollback", "name": "2026.11"}):
        problem = olga.job(409, **other)
        assert problem["job"] == number
        assert "olga" in problem["detail"]
    olga.ended(olga.job(action="doctor")["id"])  # of another lane
    begun.go()
    olga.ended(number)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"action": "shell"}, "action"),
        ({"action": "train", "vault_password": "hunter2"}, "vault_password"),
        ({"action": "train", "extra_vars": {"ansible_password": "hunter2"}}, "extra_vars"),
        ({"action": "train", "task": "/etc/hunter2"}, "task"),
        ({"action": "train", "task": "{{ lookup('file', 'hunter2') }}"}, "task"),
        ({"action": "train", "epochs": 0}, "epochs"),
        ({"action": "train", "learning_rate": 1e9}, "learning_rate"),
        ({"action": "release"}, "name"),
        ({"action": "release", "name": "../hunter2"}, "name"),
        ({"action": "release", "name": "1", "tags": {"evil": "hunter2"}}, "tags"),
        ({"action": "retire", "device": "--hunter2"}, "device"),
        ({"action": "power", "device": "nuc-001", "power": "hunter2"}, "power"),
        ({"action": "converge_now", "devices": ["nuc-001", "all:!hunter2"]}, "devices"),
        ("hunter2", "body"),
    ],
)
def test_parameters_that_no_playbook_takes_are_refused_by_name_and_never_kept(
    dashboard: Dashboard, wanted: Any, field: str
) -> None:
    olga = dashboard.signed_in()
    problem = olga.asked("POST", "/api/jobs", 422, wanted)
    assert field in problem["detail"]
    assert "hunter2" not in json.dumps(problem)
    left = subprocess.run(["grep", "-rl", "hunter2", dashboard.state], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    assert "hunter2" not in dashboard.log.read_text()


@pytest.mark.parametrize("name", ["all", "localhost", "nuc-777"])
def test_a_device_that_the_status_does_not_know_is_refused(dashboard: Dashboard, name: str) -> None:
    olga = dashboard.signed_in()
    assert name in olga.job(422, action="retire", device=name)["detail"]
    assert name in olga.job(422, action="converge_now", devices=["nuc-001", name])["detail"]


def test_the_playbook_gets_fixed_variables_and_a_limit_and_no_secret_of_the_dashboard(begun: Dashboard) -> None:
    (begun.project / "converge_now.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.debug: {msg: \"{{ ansible_limit }} {{ lookup('env', 'EDGE_DASHBOARD_STATE') }}.\"}\n"
        "    - ansible.builtin.debug: {msg: \"keys {{ lookup('config', 'HOST_KEY_CHECKING') }}\"}\n"
    )
    hosts = begun.project / "hosts"
    hosts.write_text(hosts.read_text() + "nuc-001 ansible_connection=local\nnuc-002 ansible_connection=local\n")
    olga = begun.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["devices"], "the status")
    job = olga.job(action="converge_now", devices=["nuc-002"])
    assert olga.ended(job["id"])["state"] == "succeeded", olga.said(job["id"])
    said = olga.said(job["id"])
    assert '"msg": "nuc-002 ."' in said
    # ansible-runner's own choice is not to look at host keys.
    assert '"msg": "keys True"' in said
    assert "nuc-001" not in said
    # Where ansible-runner would have written down its whole environment.
    assert not (begun.state / f"jobs/{job['id']}/artifacts/run/command").exists()


def test_each_job_is_in_the_audit_with_who_what_when_and_outcome(begun: Dashboard) -> None:
    olga = begun.signed_in()
    number = olga.job(action="train", task="broken")["id"]
    olga.ended(number)
    begin, end = until(lambda: len(lines := begun.audit()) == 2 and lines, "the audit")
    assert (begin["event"], begin["who"], begin["address"], begin["action"], begin["parameters"]) == (
        "begin",
        "olga",
        "127.0.0.1",
        "train",
        {"task": "broken"},
    )
    assert (end["event"], end["job"], end["outcome"], end["rc"]) == ("end", number, "failed", 2)
    assert begin["time"] <= end["time"]
    assert (begun.state / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_a_job_can_be_cancelled_by_who_may_begin_it(begun: Dashboard) -> None:
    olga = begun.signed_in()
    number = olga.job(action="release", name="2026.12")["id"]
    until(lambda: "began with" in olga.said(number), "its first word")
    olga.asked("POST", f"/api/jobs/{number}/cancel", 202)
    assert olga.ended(number)["state"] == "cancelled"
    until(lambda: not processes(str(begun.project)), "the end of its processes")
    until(lambda: [line["event"] for line in begun.audit()] == ["begin", "cancel", "end"], "the audit")
    olga.asked("POST", "/api/jobs/999/cancel", 404)


def test_a_job_outlives_the_dashboard_and_is_found_again(begun: Dashboard) -> None:
    olga = begun.signed_in()
    ended = olga.ended(olga.job(action="train", epochs=3)["id"])
    number = olga.job(action="release", name="2026.12")["id"]
    until(lambda: "began with 2026.12" in olga.said(number), "its first word")
    last = olga.asked("GET", "/api/rack")["last"]
    begun.end()
    begun.begin()
    # The session, too, outlives it.
    assert [one["state"] for one in olga.asked("GET", "/api/jobs")] == ["running", "succeeded"]
    assert olga.asked("GET", f"/api/jobs/{ended['id']}") == ended
    assert olga.job(200, action="release", name="2026.12")["id"] == number
    with olga.listening(last=last) as told:
        begun.go()
        job = next(one.data for one in told if one.kind == "job" and one.data["state"] != "running")
    assert (job["id"], job["state"], job["rc"]) == (number, "succeeded", 0)
    assert "failed=0" in olga.said(number)


def test_a_job_that_ended_while_the_dashboard_was_away_is_told_with_its_outcome(begun: Dashboard) -> None:
    olga = begun.signed_in()
    number = olga.job(action="release", name="2026.12")["id"]
    until(lambda: "began with 2026.12" in olga.said(number), "its first word")
    last = olga.asked("GET", "/api/rack")["last"]
    begun.end()
    begun.go()
    until((begun.state / f"jobs/{number}/artifacts/run/rc").exists, "its end")
    begun.begin()
    assert olga.ended(number)["state"] == "succeeded"
    with olga.listening(last=last) as told:
        said = next(one.data["text"] for one in told if one.kind == "output" and "PLAY RECAP" in one.data["text"])
    assert "failed=0" in said


def test_a_job_whose_process_is_gone_is_said_to_be_lost(begun: Dashboard) -> None:
    olga = begun.signed_in()
    number = olga.job(action="release", name="2026.12")["id"]
    # Until it waits: what it begins later would outlive the kill, and take the word that the second one waits for.
    until(lambda: processes(f"cat {begun.project}/go"), "its wait")
    begun.end()
    # The machine went down: all of it is gone.
    begun.kill(f"dashboard.runner {begun.state}/jobs/{number} |{begun.project}")
    begun.begin()
    lost = olga.ended(number)
    assert (lost["state"], lost["rc"]) == ("lost", None)
    assert "without a word" in lost["reason"]
    # And it is in nobody's way.
    again = olga.job(action="release", name="2026.12")["id"]
    begun.go()
    assert olga.ended(again)["state"] == "succeeded"


def test_the_status_button_reads_the_report_at_once(begun: Dashboard) -> None:
    olga = begun.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["devices"], "the status")
    begun.rows([row("nuc-002"), row("nuc-003")])
    olga.ended(olga.job(action="status")["id"])
    until(lambda: [one["device"] for one in olga.asked("GET", "/api/rack")["devices"]] == ["nuc-002", "nuc-003"])


def test_after_power_was_switched_the_rack_is_asked_at_once(begun: Dashboard) -> None:
    olga = begun.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    begun.rows([row("nuc-001", power="off", outcome="silent", fault="no route"), row("nuc-002")], "rows_after.json")
    job = olga.job(action="power", device="nuc-001", power="off")
    assert job["parameters"] == {"device": "nuc-001", "power": "off"}
    assert olga.ended(job["id"])["state"] == "succeeded"
    assert "nuc-001 off False" in olga.said(job["id"])

    def off() -> bool:
        (one,) = (one for one in olga.asked("GET", "/api/rack")["devices"] if one["device"] == "nuc-001")
        return (one["power"], one["state"]) == ("off", "away")

    until(off, "the device that is off")
    assert olga.job(422, action="power", device="nuc-017", power="on")["title"] == "No such device"


def test_a_rack_that_cannot_be_asked_is_said_with_the_reason_and_what_was_known_stays(own: Dashboard) -> None:
    own.environment["EDGE_DASHBOARD_STATUS_SECONDS"] = "1"
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["devices"], "the status")
    (own.project / "status.yml").write_text("- hosts: localhost\n  tasks: [{ansible.builtin.fail: {msg: no MAAS}}]\n")
    watch = until(lambda: (now := olga.asked("GET", "/api/rack")["watch"])["fault"] and now, "the fault")
    assert "was not asked" in watch["fault"] and "no MAAS" in watch["fault"]
    assert len(olga.asked("GET", "/api/rack")["devices"]) == 2


def test_a_report_that_makes_no_sense_is_said_and_taken_by_nobody(own: Dashboard) -> None:
    own.begin()
    olga = own.signed_in()
    before = until(lambda: olga.asked("GET", "/api/rack")["devices"], "the status")
    for text, words in {'[{"device": ""}]': "0.device", "[{": "JSON", '{"device": "nuc-001"}': "valid array"}.items():
        (own.project / "rows.json").write_text(text)
        olga.job(action="status")
        fault = until(lambda words=words: words in (now := olga.asked("GET", "/api/rack")["watch"]["fault"]) and now)
        assert "status.json" in fault and "edge.rack.status" in fault
        until(lambda: olga.asked("GET", "/api/jobs")[0]["state"] != "running", "its end")
    assert olga.asked("GET", "/api/rack")["devices"] == before


def test_a_training_that_a_job_runs_is_drawn_from_what_it_tells(begun: Dashboard) -> None:
    # As edge.rack.horovod_job writes it; a note is for people, and the last line is not whole yet.
    lines = [
        {"event": "start", "job": "digits-1", "task": "digits", "ranks": 2, "hosts": ["nuc-001", "nuc-002"]},
        {"event": "note", "job": "digits-1", "text": "nuc-002: has no images of red"},
        {"event": "epoch", "job": "digits-1", "epoch": 1, "epochs": 2, "loss": 0.5, "accuracy": 0.8},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (begun.project / "told").write_text(text + '{"event": "epoch", "job": "digits-1", "ep')
    (begun.project / "train.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.command: cp {{ playbook_dir }}/told {{ lookup('env', 'EDGE_PROGRESS_FILE') }}\n"
    )
    olga = begun.signed_in()
    number = olga.job(action="train")["id"]
    assert olga.ended(number)["state"] == "succeeded", olga.said(number)
    training = olga.asked("GET", "/api/training")
    assert (training["job"], training["start"]["ranks"]) == ("digits-1", 2)
    assert [one["loss"] for one in training["epochs"]] == [0.5]


def test_doctor_that_found_warnings_alone_did_not_fail(begun: Dashboard) -> None:
    (begun.project / "callback_plugins").symlink_to(CHECKOUT / "playbooks/callback_plugins")
    (begun.project / "doctor.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.set_stats: {data: {doctor_exit_code: 1}, per_host: false}\n"
    )
    olga = begun.signed_in()
    ended = olga.ended(olga.job(action="doctor")["id"])
    assert (ended["state"], ended["rc"]) == ("warnings", 1)


def test_the_racks_own_status_is_understood(own: Dashboard) -> None:
    devices = {
        "nuc-001": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "maas_status": "Deployed",
        },
        "nuc-002": {"maas_status": "Ready"},
    }
    about = {"edge_controller_dir": str(own.project), "ansible_become": False}
    inventory = {"all": {"vars": about, "children": {"devices": {"hosts": devices}}}}
    (own.project / "rack.yml").write_text(json.dumps(inventory))
    own.environment |= {
        "EDGE_DASHBOARD_PROJECT": str(CHECKOUT),
        "EDGE_DASHBOARD_INVENTORY": str(own.project / "rack.yml"),
        "EDGE_DASHBOARD_PLAYBOOKS": "edge.rack.{}",
        # Nobody asks MAAS here, and ARA hears of nothing.
        "ANSIBLE_INVENTORY_ENABLED": INVENTORIES,
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.default",
    }
    own.begin()
    olga = own.signed_in()
    first, second = until(lambda: olga.asked("GET", "/api/rack")["devices"], "the status")
    # This machine is no device: it has no edge-converge.
    assert (first["device"], first["state"]) == ("nuc-001", "silent")
    assert first["fault"]
    assert (second["device"], second["state"], second["maas_status"]) == ("nuc-002", "away", "Ready")
