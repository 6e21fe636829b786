"""Devices converge themselves: from a signed commit, with the control VM or without, and tell ARA what came of it."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

import pytest

from lab import engine, release
from lab.settings import from_environment
from tests.e2e.rack import DEVICES, Lab, reports, until

RELEASE = "inventory/lab/group_vars/all/release.yml"


def answers(lab: Lab) -> bool:
    try:
        return bool(reports(lab))
    except OSError:
        return False


def labels(report: dict[str, Any]) -> set[str]:
    return {label["name"] for label in report["labels"]}


def status(lab: Lab, device: str = "nuc-001") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.inside(device, "edge-converge", "status", "--json"))
    return found


def operator(lab: Lab, *argv: str) -> subprocess.CompletedProcess[str]:
    """Git as the lab's operator has it, in the site's repository."""
    command, environment = release.git_command(from_environment(lab.environment), *argv)
    return subprocess.run(
        command, cwd=lab.state / "site", env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def control(verb: str) -> None:
    url = engine.answering()
    assert url is not None
    with engine.connect(url) as client:
        getattr(client.containers.get("edge-e2e-control"), verb)()


@pytest.fixture(scope="module", autouse=True)
def lab_site(lab: Lab, first: dict[str, Any]) -> None:
    """The devices follow the lab's own site, whatever other tests gave them."""
    assert lab.playbook("playbooks/converge_now.yml").returncode == 0


def test_every_device_converged_itself_and_told_ara(lab: Lab, first: dict[str, Any]) -> None:
    assert [row["device"] for row in first["status"]] == ["nuc-001", "nuc-002"]
    for row in first["status"]:
        assert (row["outcome"], row["by"], row["fault"]) == ("ok", "pull", "")
        assert (row["pinned"], row["running"], row["containers"]) == (
            "2026.11",
            "2026.11",
            {"edge-predictor": "healthy", "edge-manager": "healthy"},
        )
        told = [one for one in reports(lab, controller=row["device"]) if "outcome:ok" in labels(one)]
        assert {"pull", "release:2026.11"} <= labels(told[0])
        assert {report["status"] for report in told} == {"completed"}


def test_the_doctor_finds_nothing_in_a_rack_that_is_well_and_of_a_broken_one_what_is_broken(lab: Lab) -> None:
    def findings() -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads((lab.state / "report/doctor.json").read_text())["findings"]
        return found

    # How much room this machine has is not what is tested.
    doctor = ("playbooks/doctor.yml", "-e", "doctor_disk_free_percent=0", "-e", "doctor_memory_free_percent=0")
    done = lab.playbook(*doctor)
    # Warnings may be true: on a loaded machine a clock or a device is late.
    assert done.returncode in (0, 1)
    assert [found for found in findings() if found["severity"] == "error"] == []
    # The socket would start it again.
    lab.inside("nuc-002", "systemctl", "stop", "docker.socket", "docker.service")
    try:
        done = lab.playbook(*doctor)
        assert done.returncode == 2
        found = next(one for one in findings() if (one["host"], one["check"]) == ("nuc-002", "docker"))
        assert found["severity"] == "error"
        assert found["fix"].endswith("systemctl restart docker")
        assert f"fix: {found['fix']}" in done.stdout
    finally:
        lab.inside("nuc-002", "systemctl", "start", "docker.socket", "docker.service")
    assert until(lambda: status(lab, "nuc-002")["containers"].get("edge-predictor") == "healthy")


def test_a_release_is_one_changed_line_that_every_device_takes_by_itself(lab: Lab) -> None:
    path = lab.state / "site" / RELEASE
    before = path.read_text()
    path.write_text(before.replace('name: "2026.11"', 'name: "2026.12"').replace("name: 2026.11", 'name: "2026.12"'))
    assert operator(lab, "commit", "--quiet", "--all", "--message=Release 2026.12").returncode == 0
    assert operator(lab, "push", "--quiet", "origin", "main").returncode == 0
    done = lab.playbook("playbooks/converge_now.yml")
    assert done.returncode == 0
    for number in range(DEVICES):
        found = status(lab, f"nuc-00{number + 1}")
        assert found["release"] == "2026.12"
        assert found["last"]["subject"] == "Release 2026.12"


def test_a_commit_that_nobody_signed_does_not_get_to_the_control_node(lab: Lab) -> None:
    head = operator(lab, "rev-parse", "HEAD").stdout.strip()
    try:
        operator(lab, "commit", "--allow-empty", "--no-gpg-sign", "--message=Nobody signed this")
        done = operator(lab, "push", "origin", "main")
        assert done.returncode != 0
        assert "is not signed" in done.stderr
    finally:
        operator(lab, "reset", "--quiet", "--hard", head)


def test_without_the_control_node_for_two_intervals_a_device_mends_itself_and_reports_later(lab: Lab) -> None:
    lab.inside("nuc-001", "rm", "-r", "/var/lib/edge/checkpoints")
    lab.inside("nuc-001", "docker", "rm", "--force", "edge-predictor")
    control("stop")
    try:
        done = lab.playbook("playbooks/converge_now.yml", "--limit=nuc-001")
        assert done.returncode == 0
        found = status(lab)
        assert found["last"]["outcome"] == "corrective"
        assert "control.edge.lab" in found["last"]["offline"]
        assert found["reports_waiting"] >= 1
        # The engine says so when its first interval is over.
        assert until(lambda: status(lab)["containers"]["edge-predictor"] == "healthy")
        # The next interval, with nobody there still; this is what the timer does.
        lab.inside("nuc-001", "systemctl", "start", "edge-converge.service")
        again = status(lab)
        assert (again["last"]["outcome"], again["reports_waiting"]) == ("ok", found["reports_waiting"] + 1)
        assert "control.edge.lab" in again["last"]["offline"]
    finally:
        control("start")
    assert until(lambda: answers(lab))
    assert until(lambda: "reports sent" in lab.inside("nuc-001", "edge-converge", "send"))
    assert status(lab)["reports_waiting"] == 0
    newest, before = reports(lab, controller="nuc-001")[:2]
    assert {"pull", "offline", "outcome:ok"} <= labels(newest)
    assert {"pull", "offline", "outcome:corrective"} <= labels(before)


def test_a_pause_keeps_the_timers_runs_away(lab: Lab) -> None:
    lab.inside("nuc-002", "edge-converge", "pause", "--hours=1", "--reason=new disk")
    try:
        before = status(lab, "nuc-002")["last"]["id"]
        lab.inside("nuc-002", "systemctl", "start", "edge-converge.service")
        found = status(lab, "nuc-002")
        assert (found["last"]["id"], found["paused"]["reason"]) == (before, "new disk")
    finally:
        lab.inside("nuc-002", "edge-converge", "resume")


def test_a_device_holds_no_secret_of_the_rack_or_of_another(lab: Lab) -> None:
    held = lab.inside(
        "nuc-001", "sh", "-c", "cat /etc/edge/*/* /var/lib/edge/pull/state/* /var/lib/edge/pull/state/*/* 2>/dev/null"
    )
    held += lab.inside("nuc-001", "sh", "-c", "grep -rah . /var/lib/edge/site --exclude-dir=.git")
    assert "edge-git@control.edge.lab" in held
    for secret in (lab.state / "secrets").iterdir():
        if secret.suffix != ".pub":
            lines = secret.read_text().strip().splitlines()
            # Of a private key, what stands between its marks.
            assert lines[len(lines) // 2] not in held, secret.name
    assert lab.inside("nuc-002", "cat", "/etc/edge/pull/ara_password").strip() not in held


def test_pushes_stand_beside_the_devices_own_runs(lab: Lab, first: dict[str, Any]) -> None:
    pushes = [one for one in reports(lab, label="push") if "push" in labels(one)]
    # Begun when there was no control node yet.
    site = next(one for one in reversed(pushes) if one["name"] == "site")
    assert site["controller"] == socket.gethostname()
    assert {"outcome:changed", "release:2026.11"} <= labels(site)
    listed = lab.inside("control", "edge-ara", "host", "list", "--format=json", f"--playbook={site['id']}")
    changed = {host["name"]: host["changed"] for host in json.loads(listed)}
    assert min(changed["nuc-001"], changed["nuc-002"]) > 0
    assert "converge_now" in {one["name"] for one in pushes}
    # What waited while the control node was away goes with the next push.
    waiting = lab.state / "push_reports"
    assert until(lambda: lab.playbook("playbooks/status.yml").returncode == 0 and not list(waiting.glob("*.json")))
