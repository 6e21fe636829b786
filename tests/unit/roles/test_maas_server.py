"""What the role maas_server refuses before it touches anything; molecule/maas_server runs the rest of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]
GIVEN = {
    "maas_url": "http://maas.invalid:5240/MAAS",
    "maas_api_key": "a:b:c",
    "maas_server_admin_password": "hidden",
    "maas_server_api_key_file": "/nowhere/key",
    "maas_server_database_password": "hidden",
    "rack_ca_dir": "/nowhere/ca",
}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"maas_server_database_password": ""}, "maas_server_database_password is not set for localhost"),
        ({"maas_server_backup_keep": 0}, "maas_server_backup_keep is 0 for localhost: each backup would be deleted"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, variables: dict[str, Any], message: str) -> None:
    role = {"ansible.builtin.import_role": {"name": "edge.rack.maas_server", "tasks_from": "refuse"}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [role]}
    (tmp_path / "refuse.yml").write_text(json.dumps([play]))
    done = ansible_playbook("-i", "localhost,", tmp_path / "refuse.yml", "-e", json.dumps({**GIVEN, **variables}))
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split())
    assert "hidden" not in done.stdout
