# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `dashboard` refuses before anything is changed, and what it installs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.playbook_runs import CHECKOUT, ansible_playbook, assert_refused_or_taken

HASH = "$2b$04$K7ejHD9HcPZCwrt29jE1Ye9tZkiKnQlj70ds6mZG0JowPiFMy35xu"
OIDC = {"issuer": "https://sso.example.com/realms/rack", "client_id": "edge-dashboard", "viewer_groups": ["rack"]}
SETTINGS: dict[str, dict[str, Any]] = {
    "good": {},
    "plain": {"dashboard_users": [{"name": "alice", "password_hash": "the-password-of-alice"}]},
    "twice": {"dashboard_users": [{"name": "alice", "password_hash": HASH}] * 2},
    "lonely": {},
    "outside": {"dashboard_secrets": {"../../etc/shadow": "x"}},
    "authority": {"dashboard_secrets": {"ca/ca.key": "x"}},
    "environment": {"dashboard_playbook_environment": {"LAB_STATE": "/x", "LD_PRELOAD": "/x.so"}},
    "nogroup": {"dashboard_oidc": {**OIDC, "viewer_groups": []}},
    "http": {"dashboard_oidc": {**OIDC, "issuer": "http://sso.example.com"}},
    "nosecret": {"dashboard_oidc": OIDC, "dashboard_oidc_client_secret": ""},
    "nofile": {"dashboard_oidc": OIDC, "dashboard_oidc_ca_file": "/nowhere/ca.crt"},
}
MESSAGES = {
    "plain": "dashboard_users on plain, alice: ",
    "twice": "dashboard_users on twice, alice: ",
    "lonely": "dashboard_users is set on lonely, but control_node_accounts is not",
    "outside": "dashboard_secrets on outside, ../../etc/shadow: give a path below dashboard_controller_dir",
    "environment": "dashboard_playbook_environment on environment names LAB_STATE, LD_PRELOAD: names begin with",
    "nogroup": "dashboard_oidc on nogroup: issuer and address begin with https://",
    "http": "dashboard_oidc on http: issuer and address begin with https://",
    "nosecret": "dashboard_oidc is set on nosecret, but dashboard_oidc_client_secret is not",
    "nofile": "dashboard_oidc_ca_file on nofile: there is no file /nowhere/ca.crt on the controller.",
    "authority": "dashboard_secrets on authority, ca/ca.key: give a path below dashboard_controller_dir",
}


def test_what_makes_no_sense_is_refused_by_field_and_host_and_without_the_secret(tmp_path: Path) -> None:
    good = {
        "ansible_connection": "local",
        "dashboard_users": [{"name": "alice", "role": "operator", "password_hash": HASH}],
        "dashboard_secrets": {"maas_api_key": "x", "tokens/power": "x"},
        "dashboard_oidc": OIDC,
        "dashboard_oidc_client_secret": "the-secret-of-the-client",
        "dashboard_oidc_ca_file": "",
        "control_node_accounts": [],
        "dashboard_playbook_environment": {"MAAS_URL": "http://maas.example.com:5240/MAAS"},
    }
    hosts = {host: {**good, **changed} for host, changed in SETTINGS.items()}
    del hosts["lonely"]["control_node_accounts"]
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {
        "ansible.builtin.import_tasks": str(CHECKOUT / "roles/dashboard/tasks/refuse.yml"),
    }
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    done = ansible_playbook("-i", tmp_path / "hosts.yml", tmp_path / "play.yml", ANSIBLE_FORKS="6")
    said = " ".join((done.stdout + done.stderr).split())
    for host in SETTINGS:
        assert_refused_or_taken(said, host, MESSAGES)
    assert "the-password-of-alice" not in said and "the-secret-of-the-client" not in said


def test_playbooks_run_there_on_the_versions_of_the_controller() -> None:
    def pins(file: str) -> set[str]:
        lines = [line.split("#")[0].strip() for line in (CHECKOUT / file).read_text().splitlines()]
        return {line for line in lines if line}

    assert pins("roles/dashboard/files/requirements.txt") <= pins("requirements.txt")
