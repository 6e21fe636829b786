# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what at ARA's API: ARA's own server with the rack's rights in front of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from ara_server import FILES, PLAYBOOK, Ara


def test_a_device_reports_a_whole_run_and_finds_it_again(ara: Ara) -> None:
    ids = ara.report("nuc-010", "run:whole")
    status, found = ara.device("nuc-010", "GET", "/api/v1/playbooks?label=run:whole")
    assert status == 200
    (run,) = found["results"]
    assert run["id"] == ids["playbooks"]
    assert run["status"] == "completed"
    assert run["items"] == {"plays": 1, "tasks": 1, "results": 1, "hosts": 1, "files": 1, "records": 0}
    assert {"pull", "release:2026.11", "outcome:changed"} < {label["name"] for label in run["labels"]}


@pytest.mark.parametrize("path", ["/", "/hosts", "/api/v1/hosts", "/api/v1/labels", "/api/v1/playbooks", "/admin/"])
def test_a_device_reads_nothing_but_its_own(ara: Ara, path: str) -> None:
    status, said = ara.device("nuc-011", "GET", path)
    assert status == 403
    assert "detail" in said


def test_a_device_finds_no_report_of_another_by_a_label_of_both(ara: Ara) -> None:
    ara.report("nuc-012")
    for label in ("pull", "PULL"):
        status, said = ara.device("nuc-013", "GET", f"/api/v1/playbooks?label=run:mine&label={label}")
        assert status == 403
        assert f"the label {label} is on reports of others" in said["detail"]


@pytest.mark.parametrize("kind", ["playbooks", "plays", "tasks", "hosts", "results", "files"])
def test_a_device_neither_reads_nor_alters_a_part_of_anothers_report(ara: Ara, kind: str) -> None:
    place = f"/api/v1/{kind}/{ara.report('nuc-014')[kind]}"
    assert ara.device("nuc-014", "GET", place)[0] == 200
    for method in ("GET", "PATCH", "PUT"):
        status, said = ara.device("nuc-01", method, place, {"status": "failed"})
        assert status == 403
        assert said["detail"] == f"{place} is not a report of nuc-01"


def test_a_device_reports_under_its_own_name_alone(ara: Ara) -> None:
    for content in (PLAYBOOK, {**PLAYBOOK, "controller": "nuc-016"}, {**PLAYBOOK, "controller": None}):
        status, said = ara.device("nuc-015", "POST", "/api/v1/playbooks", content)
        assert status == 403
        assert said["detail"] == 'a report of nuc-015 has "controller": "nuc-015"'


def test_a_device_does_not_give_its_report_another_name(ara: Ara) -> None:
    number = ara.report("nuc-017")["playbooks"]
    assert ara.device("nuc-017", "PATCH", f"/api/v1/playbooks/{number}", {"controller": "nuc-016"})[0] == 403


def test_a_device_reports_on_no_other_host(ara: Ara) -> None:
    ids = ara.report("nuc-018")
    new = {"playbook": ids["playbooks"], "name": "nuc-016", "failed": 1}
    assert ara.device("nuc-018", "POST", "/api/v1/hosts", new)[0] == 403
    assert ara.device("nuc-018", "PATCH", f"/api/v1/hosts/{ids['hosts']}", {"name": "nuc-016"})[0] == 403


@pytest.mark.parametrize("field", ["playbook", "play", "task", "host", "delegated_to"])
def test_a_device_adds_nothing_to_anothers_report(ara: Ara, field: str) -> None:
    own, other = ara.report("nuc-019"), ara.report("nuc-020")
    content: dict[str, Any] = {name: own[f"{name}s"] for name in ("playbook", "play", "task", "host")}
    content |= {"status": "ok", field: [other["hosts"]] if field == "delegated_to" else other[f"{field}s"]}
    status, said = ara.device("nuc-019", "POST", "/api/v1/results", content)
    assert status == 403
    assert field in said["detail"]


def test_a_form_does_not_pass_for_json(ara: Ara) -> None:
    own, other = ara.report("nuc-021"), ara.report("nuc-022")
    body = f'{{"playbook": {own["playbooks"]}, "x": "&playbook={other["playbooks"]}&name=nuc-021&"}}'
    status, said = ara.ask("nuc-021", "device", "POST", "/api/v1/hosts", body, kind="application/x-www-form-urlencoded")
    assert status == 403
    assert "reports are JSON" in said["detail"]


@pytest.mark.parametrize("charset", ["utf-7", "UTF-16", "latin-1", "nothing"])
def test_a_charset_that_hides_what_is_written_is_refused(ara: Ara, charset: str) -> None:
    own, other = ara.report("nuc-027"), ara.report("nuc-028")
    # Read as UTF-7 the last key is "playbook", too.
    body = f'{{"playbook": {own["playbooks"]}, "name": "nuc-027", "+AHA-laybook": {other["playbooks"]}}}'
    status, said = ara.ask("nuc-027", "device", "POST", "/api/v1/hosts", body, f"application/json; charset={charset}")
    assert status == 403
    assert "reports are UTF-8" in said["detail"]
    assert ara.ask("eve", "read", "GET", f"/api/v1/hosts?playbook={other['playbooks']}")[1]["count"] == 1


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8"])
def test_a_report_that_says_it_is_utf_8_is_taken(ara: Ara, charset: str) -> None:
    body = json.dumps({**PLAYBOOK, "controller": "nuc-029"})
    status, _run = ara.ask(
        "nuc-029", "device", "POST", "/api/v1/playbooks", body, f"application/json; charset={charset}"
    )
    assert status == 201


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_body_that_is_not_utf_8_is_refused(ara: Ara, encoding: str) -> None:
    body = json.dumps({**PLAYBOOK, "controller": "nuc-030"}).encode(encoding)
    status, said = ara.ask("nuc-030", "device", "POST", "/api/v1/playbooks", body)
    assert status == 403
    assert "the body is no JSON" in said["detail"]


@pytest.mark.parametrize("body", ["", "[]", "{", "null"])
def test_a_body_that_is_no_object_is_refused(ara: Ara, body: str) -> None:
    assert ara.device("nuc-023", "POST", "/api/v1/playbooks", body)[0] == 403


def test_a_reader_reads_all_and_writes_nothing(ara: Ara) -> None:
    number = ara.report("nuc-024")["playbooks"]
    assert ara.ask("eve", "read", "GET", f"/api/v1/playbooks/{number}")[0] == 200
    assert ara.ask("eve", "read", "GET", "/")[0] == 200
    status, said = ara.ask("eve", "read", "PATCH", f"/api/v1/playbooks/{number}", {"status": "failed"})
    assert status == 403
    assert "the account eve may only read" in said["detail"]


def test_a_writer_reports_on_every_device(ara: Ara) -> None:
    status, run = ara.ask("controller", "write", "POST", "/api/v1/playbooks", {**PLAYBOOK, "controller": "laptop"})
    assert status == 201
    assert ara.ask("controller", "write", "POST", "/api/v1/hosts", {"playbook": run["id"], "name": "nuc-001"})[0] == 201


@pytest.mark.parametrize("rights", ["device", "read", "write"])
def test_nobody_deletes(ara: Ara, rights: str) -> None:
    number = ara.report("nuc-025")["playbooks"]
    status, said = ara.ask("nuc-025", rights, "DELETE", f"/api/v1/playbooks/{number}")
    assert status == 403
    assert "control_node_retention_days" in said["detail"]


@pytest.mark.parametrize(("user", "rights"), [("", ""), ("", "write"), ("eve", ""), ("", "nobody"), ("eve", "admin")])
def test_who_does_not_come_through_nginx_is_refused(ara: Ara, user: str, rights: str) -> None:
    assert ara.ask(user, rights, "GET", "/api/v1/playbooks")[0] == 403


def test_retention_removes_old_runs_with_all_that_only_they_have(ara: Ara) -> None:
    from ara.api import models
    from django.utils import timezone

    old, new = ara.report("nuc-026", "run:old"), ara.report("nuc-026", "run:new")
    long_ago = timezone.now() - timedelta(days=40)
    models.Playbook.objects.filter(pk=old["playbooks"]).update(started=long_ago)
    models.Playbook.objects.exclude(pk=old["playbooks"]).update(started=timezone.now())
    models.Label.objects.update(created=long_ago)
    command = [sys.executable, "-m", "edge_ara.prune", "--days", "30"]
    environment = {**os.environ, "PYTHONPATH": str(FILES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "edge-ara-prune: removed 1 runs" in done.stdout
    assert not models.Playbook.objects.filter(pk=old["playbooks"]).exists()
    assert models.Host.objects.filter(pk=new["hosts"]).exists()
    names = set(models.Label.objects.values_list("name", flat=True))
    assert "run:old" not in names
    assert {"run:new", "pull"} < names
