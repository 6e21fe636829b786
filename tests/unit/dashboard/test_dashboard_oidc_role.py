# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the dashboard mean the same by a provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from edge_training.dashboard.oidc import About, Oidc

from tests import registries
from tests.unit.playbook_runs import CHECKOUT, ansible_playbook

OIDC = {"issuer": "https://sso.example.com/realms/rack", "client_id": "edge-dashboard", "viewer_groups": ["rack"]}


def test_what_the_role_writes_of_a_provider_the_dashboard_reads_and_takes_it_away_again(tmp_path: Path) -> None:
    """As root alone, whose the files are."""
    registries.authority(tmp_path / "authority", "sso.example.com")
    where = {
        "dashboard_dir": str(tmp_path),
        "dashboard_user": "root",
        "dashboard_host_name": "Control",
        "dashboard_port": 8443,
    }
    given = {
        "dashboard_oidc": OIDC,
        "dashboard_oidc_client_secret": "the-secret-of-the-client",
        "dashboard_oidc_ca_file": str(tmp_path / "authority/ca.crt"),
    }
    tasks = [
        {"ansible.builtin.include_vars": str(CHECKOUT / "roles/dashboard/vars/main.yml")},
        {"ansible.builtin.import_tasks": str(CHECKOUT / "roles/dashboard/tasks/oidc.yml")},
    ]
    handlers = [{"name": "Restart the dashboard", "ansible.builtin.debug": {"msg": "begins anew"}}]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks, "handlers": handlers}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    inventory = {"localhost": {"ansible_connection": "local"}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": inventory}}))

    def run(**variables: Any) -> str:
        extra = json.dumps({**where, **variables})
        done = ansible_playbook("-i", tmp_path / "hosts.yml", "-e", extra, "--diff", tmp_path / "play.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the-secret-of-the-client" not in done.stdout + done.stderr
        return done.stdout

    assert "begins anew" in run(**given)
    oidc = Oidc.read(tmp_path / "oidc.yml")
    assert oidc is not None
    assert (oidc.secret, oidc.about.address) == ("the-secret-of-the-client", "https://control:8443")
    assert oidc.about == About(address="https://control:8443", ca_file=tmp_path / "oidc_ca.crt", **OIDC)
    assert oidc.trust.cert_store_stats()["x509_ca"] == 1
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("oidc.yml", "oidc_client_secret")} == {0o640}
    assert "changed=0" in run(**given)
    assert "begins anew" in run()
    assert list(tmp_path.glob("oidc*")) == []
    assert "changed=0" in run()


def test_a_provider_is_described_to_the_role_as_the_dashboard_takes_it() -> None:
    spec = yaml.safe_load((CHECKOUT / "roles/dashboard/meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]["dashboard_oidc"]["options"]
    fields = {
        name: field for name, field in About.model_fields.items() if name not in ("client_secret_file", "ca_file")
    }
    assert options.keys() == fields.keys()
    for name, option in options.items():
        if "default" in option:
            default = fields[name].default
            assert option["default"] == (list(default) if isinstance(default, tuple) else default)
