# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role control_node refuses before it touches anything, once for a host of each setting.

molecule/control_node runs the rest of it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "a" * 43
HASH = "$2y$05$" + "a" * 53
SECRET = "hidden-hidden-hidden-hidden"
GOOD = {
    "ansible_connection": "local",
    "control_node_accounts": [{"name": "controller", "password": SECRET, "rights": "write"}],
    "control_node_operators": [{"name": "alice", "key": f"{KEY} alice@laptop\n"}],
    "control_node_hosts": [],
    "control_node_public_key": f"{KEY} somebody\n",
    "control_node_account": f"{{{{ inventory_hostname }}}}:{HASH}\n",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "good": {},
    "of-a-device": {"control_node_accounts": [{"name": "nuc-001", "password": SECRET}]},
    "short": {"control_node_accounts": [{"name": "eve", "password": "hidden"}]},
    "with-options": {"control_node_operators": [{"name": "eve", "key": f'command="sh" {KEY}'}]},
    "of-no-days": {"control_node_retention_days": 0},
}
CREDENTIALS: dict[str, dict[str, Any]] = {
    "good-device": {},
    # As `-e control_node_renew_enabled=true` on the command line gives it.
    "good-renewed": {"control_node_renew_enabled": "true"},
    "a-command": {"control_node_public_key": f'command="sh" {KEY} a-command\n'},
    "two-keys": {"control_node_public_key": f"{KEY} two-keys\n{KEY} another\n"},
    "of-another": {"control_node_account": f"controller:{HASH}\n"},
    "two-accounts": {"control_node_account": f"two-accounts:{HASH}\ncontroller:{HASH}\n"},
}
NOT_ITS_OWN = (
    "ara_account on {} is not the one line that this role makes: somebody changed it. The control node was told nothing"
)
MESSAGES = {
    "of-a-device": "control_node_accounts on of-a-device, nuc-001: a name has small letters",
    "short": "control_node_accounts on short, eve: a name has small letters",
    "with-options": "control_node_operators on with-options, eve: a name has letters, digits, dots, dashes and @;",
    "of-no-days": "control_node_retention_days on of-no-days is 0; give 1 or more",
    **{name: NOT_ITS_OWN.format(name) for name in CREDENTIALS if not name.startswith("good")},
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("refuses")
    children: dict[str, Any] = {"devices": {"hosts": {"nuc-001": {}}}}
    plays = []
    for tasks_from, given in (("refuse", SETTINGS), ("admit", CREDENTIALS)):
        children[tasks_from] = {"hosts": {name: {**GOOD, **variables} for name, variables in given.items()}}
        role = {"ansible.builtin.import_role": {"name": "edge.rack.control_node", "tasks_from": tasks_from}}
        plays.append({"hosts": tasks_from, "gather_facts": False, "tasks": [role]})
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": children}}))
    (folder / "refuse.json").write_text(json.dumps(plays))
    return " ".join(ansible_playbook("-i", folder / "hosts.json", folder / "refuse.json").stdout.split())


@pytest.mark.parametrize("host", [*SETTINGS, *CREDENTIALS])
def test_what_cannot_be_is_refused_by_name_and_what_can_is_taken(said: str, host: str) -> None:
    assert_refused_or_taken(said, host, MESSAGES)


def test_no_password_is_shown(said: str) -> None:
    assert "PLAY RECAP" in said
    assert "hidden" not in said
