# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what machines answered to what is wrong with them: each finding where it belongs, and none where all is well."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.filter.doctor_device_findings import doctor_device_findings
from ansible_collections.edge.rack.plugins.filter.doctor_machine_findings import doctor_machine_findings
from ansible_collections.edge.rack.plugins.filter.doctor_pull_findings import doctor_pull_findings
from ansible_collections.edge.rack.plugins.filter.doctor_rack_findings import doctor_rack_findings
from ansible_collections.edge.rack.plugins.filter.doctor_server_findings import doctor_server_findings
from ansible_collections.edge.rack.plugins.filter.doctor_table import doctor_table

NOW = 1796000000.0
LIMITS = {
    # As -e gives them.
    "certificate_days": "21",
    "clock_seconds": "5",
    "disk_free_percent": "10",
    "memory_free_percent": "5",
}
REGISTRY = "registry.example.com:5000"
CONVERGE: dict[str, Any] = {
    "last": {"outcome": "ok", "ended": NOW - 600, "error": "", "offline": ""},
    "release": "2026.12",
    "paused": {},
    "running": False,
    "reports_waiting": 0,
    "deferred": [],
}
TOLD: dict[str, Any] = {
    "clock": {"sent": NOW, "begun": NOW + 0.4, "ended": NOW + 1.0},
    "uptime": 90000.0,
    "disks": [{"folder": "/", "free_percent": 44.0, "free_bytes": 44e9}],
    "memory": {"total_mib": 16000, "available_mib": 9000},
    "names": {
        "registry.example.com": {"addresses": ["10.0.0.11"]},
        "nuc-001.maas": {"error": "Name or service not known"},
    },
    "services": {REGISTRY: {"status": 200}, "ARA": {"status": 200}},
    "programs": {
        "failed_units": {"rc": 0, "stdout": ""},
        "docker": {"rc": 0, "stdout": "20.10.24+dfsg1"},
        "containers": {
            "rc": 0,
            "stdout": '{"Names": "edge-predictor", "State": "running", "Status": "Up 3 hours (healthy)"}',
        },
        "converge": {"rc": 0, "stdout": json.dumps(CONVERGE)},
        "timer": {"rc": 0, "stdout": "ActiveState=active\nUnitFileState=enabled"},
        "timer_file": {"rc": 0, "stdout": "[Timer]\nOnBootSec=120\nOnUnitInactiveSec=1800"},
        "commits": {"rc": 0, "stdout": '{"edge-predictor": {"state": "done", "began": "2026-11-29T00:00:00Z"}}'},
        "certificate": {"rc": 0, "stdout": "notAfter=Dec 31 00:00:00 2027 GMT"},
        "registry": {"rc": 0, "stdout": '{"well": true, "wrong": {}}'},
        "repository": {"rc": 0, "stdout": "793d1f0943ef"},
    },
}
RACK: dict[str, Any] = {
    "controller": {
        "stdout": json.dumps(
            {
                "python": "3.11.2",
                "python_fits": True,
                "libraries": [{"name": "docker", "wanted": ">=7.2.0", "installed": "7.2.0", "fits": True}],
                "collections": [
                    {"name": "community.docker", "wanted": ">=4.0.0", "installed": "4.8.5", "fits": True},
                ],
                "disk": {"folder": "/var/lib/edge-controller", "free_percent": 50.0},
            }
        )
    },
    "release": {"name": "2026.12", "images": {"worker": {"tag": "0.1.0"}, "predictor": {"digest": "sha256:1"}}},
    "maas": {"machines": []},
    "devices": ["nuc-001"],
    "certificates": [
        {
            "item": {"server": "registry.example.com", "port": 5000, "renewed_by": "services"},
            "not_after": "20271231000000Z",
            "failed": False,
        },
        {
            "item": {"server": "shelf-1.example.com", "port": 5000, "renewed_by": "configure"},
            "not_after": "20271231000000Z",
            "failed": False,
        },
    ],
}


def changed(value: Any, path: str, new: Any) -> Any:
    """A copy in which one leaf, named by its path, is another; a leaf may be JSON in which the path goes on."""
    name, *rest = path.split("/", 1)
    if isinstance(value, str):
        return json.dumps(changed(json.loads(value), path, new))
    copy = deepcopy(value)
    key: Any = int(name) if isinstance(value, list) else name
    copy[key] = changed(copy[key], rest[0], new) if rest else new
    return copy


def host(told: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "doctor_answer": {"rc": 0, "stdout": json.dumps(told or TOLD)},
        "doctor_received": str(NOW + 1.4),
        "ansible_host": "10.0.0.21",
        "maas_fqdn": "nuc-001.maas",
        "edge_release": {"name": "2026.12"},
        "maas_status": "Deployed",
        **more,
    }


def of_device(about: dict[str, Any]) -> list[dict[str, str]]:
    hosts = {"nuc-001": about, "registry.example.com": {"ansible_host": "10.0.0.11"}}
    return [
        *doctor_machine_findings(["nuc-001"], hosts, ["nuc-001"], LIMITS),
        *doctor_device_findings(["nuc-001"], hosts, LIMITS),
        *doctor_pull_findings(["nuc-001"], hosts),
    ]


def test_nothing_is_found_where_all_is_well() -> None:
    server = host(
        doctor_images={"results": [{"item": "worker/manifests/1", "status": 200}]}, doctor_ara={"status": 200}
    )
    assert of_device(host()) == []
    assert doctor_server_findings(["server"], {"server": server}) == []
    assert doctor_rack_findings(RACK, LIMITS, NOW) == []
    assert doctor_table([]) == ["0 errors, 0 warnings"]


@pytest.mark.parametrize(
    ("path", "value", "severity", "check", "seen", "fix"),
    [
        ("clock/begun", NOW - 42, "warning", "clock", "42 s behind", "timedatectl"),
        ("clock/ended", NOW + 60, "warning", "clock", "59 s ahead", "timedatectl"),
        ("disks/0/free_percent", 7.0, "warning", "disk", "/ has 7.0 % free, 44.0 GB", "du -xhd2 /"),
        ("disks/0/free_percent", 1.0, "error", "disk", "/ has 1.0 % free", "du -xhd2 /"),
        ("memory/available_mib", 100, "warning", "memory", "100 of 16000 MiB", "docker stats"),
        ("names/registry.example.com", {"error": "no such name"},
         "error", "dns", "does not resolve", "edge.rack.services"),
        ("names/registry.example.com/addresses", ["10.0.0.99"],
         "warning", "dns", "10.0.0.11 in the inv", "ansible_host"),
        ("names/nuc-001.maas", {"addresses": ["10.0.0.99"]}, "warning", "dns", "10.0.0.21 in the inv", "ansible_host"),
        ("programs/failed_units/stdout", "ssh.service loaded failed",
         "warning", "units", "ssh.service has failed", "journalctl"),
        ("programs/failed_units/stdout", "docker.service x",
         "error", "units", "docker.service", "systemctl restart docker"),
        ("programs/docker", {"rc": 1, "stdout": "", "stderr": "Cannot connect"},
         "error", "docker", "Cannot connect", "restart docker"),
        ("programs/docker", {"error": "missing"}, "error", "docker", "it is not installed", "edge.rack.configure"),
        ("programs/docker/stdout", "19.03.1", "warning", "docker", "Docker Engine is 19.03.1", "deploy it anew"),
        ("programs/certificate/stdout", "notAfter=Dec 10 00:00:00 2026 GMT",
         "warning", "certificate", "Device Manager's certificate ends in 9 days", "configure --limit nuc-001"),
        ("programs/certificate/stdout", "notAfter=Nov 10 00:00:00 2026 GMT",
         "error", "certificate", "Device Manager's certificate ended 20 days ago", "configure --limit nuc-001"),
        ("services/" + REGISTRY, {"status": 401},
         "error", "registry", "refuses the account", "docker_engine_password_renew"),
        ("services/ARA", {"status": 401}, "error", "reports", "ARA refuses", "control_node_renew_enabled=true"),
        ("services/ARA", {"error": "refused", "kind": "connection"},
         "error", "reports", "ARA: refused", "route, firewall"),
        ("services/ARA", {"status": 503}, "error", "reports", "it answers 503", "findings"),
        ("services/ARA", {"error": "No such file", "kind": "credential"},
         "error", "reports", "no account", "configure --limit nuc-001"),
        ("services/ARA", {"error": "self-signed", "kind": "certificate"},
         "error", "reports", "does not trust", "edge.rack.services"),
        ("programs/timer/stdout", "ActiveState=inactive\nUnitFileState=enabled",
         "error", "pull", "timer is inactive", "enable --now"),
        ("programs/converge", {"error": "missing"},
         "error", "pull", "it is not installed", "configure --limit nuc-001"),
        ("programs/converge/stdout/last", None,
         "warning", "pull", "has not converged yet", "converge_now --limit nuc-001"),
        ("programs/converge/stdout/last/ended", NOW - 4000,
         "error", "pull", "66 min ago, though one is due every 30", "converge_now"),
        ("programs/converge/stdout/last/outcome", "refused", "error", "pull", "last run was refused", "converge_now"),
        ("programs/converge/stdout/last/outcome", "interrupted", "warning", "pull", "was interrupted", "converge_now"),
        ("programs/converge/stdout/last/offline", "no route",
         "warning", "pull", "did not reach the site", "control node"),
        ("programs/converge/stdout/paused", {"by": "alice", "until": NOW, "reason": "disk"},
         "warning", "pull", "by alice", "resume"),
        ("programs/converge/stdout/release", "2026.11",
         "warning", "release", "pins release 2026.12, and it runs 2026.11", "converge_now"),
        ("programs/converge/stdout/reports_waiting", 9, "warning", "reports", "9 reports wait", "edge-converge send"),
        ("programs/commits/stdout/edge-predictor/state", "open",
         "error", "replacement", "2026-11-29T00:00:00Z", "edge-commit recover"),
        ("programs/commits/stdout/edge-predictor", {"state": "unreadable", "reason": "x.json is cut"},
         "error", "replacement", "x.json is cut", "docs/health-gate.md"),
        ("programs/containers/stdout/Status", "Up 1 hour (unhealthy)",
         "error", "containers", "edge-predictor is unhealthy", "docker logs"),
        ("programs/containers/stdout/State", "exited",
         "error", "containers", "edge-predictor is exited", "docker logs"),
    ],
)  # fmt: skip
def test_a_device_has_exactly_what_is_wrong_with_it(
    path: str, value: Any, severity: str, check: str, seen: str, fix: str
) -> None:
    (found,) = of_device(host(changed(TOLD, path, value)))
    assert (found["severity"], found["host"], found["check"]) == (severity, "nuc-001", check)
    assert seen in found["seen"]
    assert fix in found["fix"]


@pytest.mark.parametrize(
    ("message", "seen", "fix"),
    [
        (
            "Task failed: Failed to connect to the host via ssh: @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n"
            "the key sent by the remote host is SHA256:kiGpzD06oWtf.\nHost key verification failed.",
            "has changed; it shows SHA256:kiGpzD06oWtf",
            "edge.rack.enroll",
        ),
        ("No ED25519 host key is known for 10.0.0.21\nHost key verification failed.", "is not known", "find out who"),
        (
            "Make sure this host can be reached over ssh: connect to host: No route to host",
            "connect to host",
            "is it on?",
        ),
        ("Failed to connect to the host via ssh: Connection timed out", "Connection timed out", "is it on?"),
        ("ssh: connect to host 10.0.0.21 port 22: Connection refused", "refused", "systemctl status ssh"),
        ("debian@10.0.0.21: Permission denied (publickey).", "publickey", "ansible_ssh_private_key_file"),
        ("Timeout (12s) waiting for privilege escalation prompt:", "Timeout", "it hangs"),
        ("Missing sudo password", "sudo", "--ask-become-pass"),
    ],
)
def test_a_device_that_does_not_let_in_is_one_finding_that_tells_the_causes_apart(
    message: str, seen: str, fix: str
) -> None:
    (found,) = of_device({"doctor_answer": {"unreachable": True, "msg": message}, "edge_release": {"name": "1"}})
    assert (found["severity"], found["check"]) == ("error", "ssh")
    assert seen in found["seen"]
    assert "via ssh" not in found["seen"]
    assert fix in found["fix"]


@pytest.mark.parametrize(
    ("status", "tags", "severities"),
    [("Failed deployment", [], ["error"]), ("Ready", [], ["warning"]), ("Ready", ["retired"], [])],
)
def test_a_device_that_is_not_deployed_was_not_asked(status: str, tags: list[str], severities: list[str]) -> None:
    found = of_device({"maas_status": status, "maas_tags": tags, "doctor_answer": {"skipped": True}})
    assert [one["severity"] for one in found] == severities


def test_a_device_that_was_off_or_runs_now_is_not_late() -> None:
    late = changed(TOLD, "programs/converge/stdout/last/ended", NOW - 40000)
    assert of_device(host({**late, "uptime": 300.0})) == []
    assert of_device(host(changed(late, "programs/converge/stdout/running", True))) == []


def test_a_site_without_signers_has_no_agents() -> None:
    told = changed(changed(TOLD, "programs/converge", {"error": "missing"}), "services", {})
    assert of_device(host(told)) == []


def test_a_timer_that_the_site_switched_off_is_off() -> None:
    told = changed(TOLD, "programs/timer/stdout", "ActiveState=inactive\nUnitFileState=disabled")
    assert of_device(host(told, pull_agent_enabled="false")) == []


def test_a_device_whose_wave_is_not_open_keeps_the_release_before() -> None:
    told = changed(TOLD, "programs/converge/stdout/release", "2026.11")
    new, before = {"name": "2026.12"}, {"name": "2026.11"}
    rollout = {"to": new, "before": before, "waves": [["nuc-002"], ["nuc-001"]], "open": 1}
    assert of_device(host(told, edge_rollout=rollout)) == []
    (found,) = of_device(host(told, edge_rollout={**rollout, "open": 2}))
    assert found["check"] == "release"


def test_what_a_training_defers_is_waited_for() -> None:
    told = changed(TOLD, "programs/converge/stdout/release", "2026.11")
    (found,) = of_device(host(changed(told, "programs/converge/stdout/deferred", ["edge-predictor"])))
    assert found["fix"] == "wait for the training's next checkpoint"


@pytest.mark.parametrize(
    ("more", "severity", "check", "seen", "fix"),
    [
        ({"doctor_images": {"results": [{"item": "worker/manifests/9", "status": 404}]}},
         "error", "images", "worker:9", "edge.rack.images"),
        ({"doctor_images": {"results": [{"item": "model/manifests/9", "status": 404}]}},
         "error", "images", "model:9", "publish_model"),
        ({"doctor_images": {"results": [{"item": "worker/manifests/9", "status": 401}]}},
         "error", "registry", "refuses", "registry_accounts"),
        ({"doctor_images": {"results": [{"item": "worker/manifests/9", "status": -1, "msg": "timed out"}]}},
         "error", "registry", "timed out", "health"),
        ({"doctor_ara": {"status": 401}}, "error", "reports", "refuses", "control_node_accounts"),
        ({"doctor_ara": {"status": -1, "msg": "refused"}}, "error", "reports", "refused", "edge-ara"),
        ({"registry": {"stdout": '{"wrong": {"disk": "3 % free"}}'}},
         "error", "registry", "3 % free", "edge.rack.prune_registry"),
        ({"registry": {"stdout": '{"wrong": {"clean_up": "failed"}}'}},
         "warning", "registry", "failed", "edge-registry-clean"),
        ({"registry": {"error": "missing"}}, "error", "registry", "it is not installed", "edge.rack.services"),
        ({"repository": {"rc": 1, "stdout": ""}}, "error", "site", "no commit", "git push"),
        ({"repository": {"rc": 128, "stderr": "not a git repository"}},
         "error", "site", "not a git", "edge.rack.services"),
    ],
)  # fmt: skip
def test_a_server_has_exactly_what_is_wrong_with_it(
    more: dict[str, Any], severity: str, check: str, seen: str, fix: str
) -> None:
    programs = {**TOLD["programs"], **{name: value for name, value in more.items() if name in TOLD["programs"]}}
    about = host({**TOLD, "programs": programs}, **more)
    (found,) = doctor_server_findings(["server"], {"server": about})
    assert (found["severity"], found["host"], found["check"]) == (severity, "server", check)
    assert seen in found["seen"]
    assert fix in found["fix"]


@pytest.mark.parametrize(
    ("path", "value", "severity", "check", "seen", "fix"),
    [
        ("controller", {"msg": "no such file"}, "error", "operator", "no such file", "requirements.txt"),
        ("controller/stdout/python_fits", False, "error", "operator", "Python 3.11.2", "3.11 or newer"),
        ("controller/stdout/libraries/0/fits", False,
         "warning", "operator", "docker is 7.2.0", "pip install 'docker>="),
        ("controller/stdout/disk/free_percent", 3, "warning", "disk", "3.0 % free", "edge_controller_dir"),
        ("release", {}, "error", "release", "edge_release is not set", "release.yml"),
        ("release/images/worker", {}, "error", "release", "images.worker has neither", "release.yml"),
        ("maas", {"failed": True, "msg": "401: wrong key"}, "error", "maas", "401: wrong key", "maas_api_key"),
        ("devices", [], "warning", "maas", "knows no devices", "edge.rack.enroll"),
        ("certificates/0/not_after", "20261210000000Z",
         "warning", "certificate", "ends in 9 days", "edge.rack.services"),
        ("certificates/0/not_after", "20261110000000Z",
         "error", "certificate", "ended 20 days ago", "edge.rack.services"),
        ("certificates/1/not_after", "20261210000000Z",
         "warning", "certificate", "ends in 9 days", "edge.rack.configure"),
        ("certificates/0/failed", True, "error", "certificate", "port 5000 shows no", "edge.rack.services"),
    ],
)  # fmt: skip
def test_the_rack_has_exactly_what_is_wrong_with_it(
    path: str, value: Any, severity: str, check: str, seen: str, fix: str
) -> None:
    (found,) = doctor_rack_findings(changed(RACK, path, value), LIMITS, NOW)
    assert (found["severity"], found["check"]) == (severity, check)
    assert seen in found["seen"]
    assert fix in found["fix"]


def test_what_is_not_installed_is_an_error() -> None:
    one = {"name": "community.docker", "wanted": ">=4.0.0", "installed": "", "fits": False}
    (found,) = doctor_rack_findings(changed(RACK, "controller/stdout/collections/0", one), LIMITS, NOW)
    assert (found["severity"], found["seen"]) == ("error", "community.docker is missing, wanted is >=4.0.0")
    assert found["fix"] == "ansible-galaxy collection install 'community.docker:>=4.0.0'"


def test_the_table_begins_with_errors_and_ends_with_a_count() -> None:
    def one(severity: str, host: str) -> dict[str, str]:
        return {"severity": severity, "host": host, "check": "disk", "seen": "it is full", "fix": "empty it"}

    lines = doctor_table([one("warning", "nuc-001"), one("error", "nuc-003"), one("error", "nuc-002")])
    assert lines == [
        "error    nuc-002  disk  it is full",
        "                        fix: empty it",
        "error    nuc-003  disk  it is full",
        "                        fix: empty it",
        "warning  nuc-001  disk  it is full",
        "                        fix: empty it",
        "2 errors, 1 warning",
    ]
