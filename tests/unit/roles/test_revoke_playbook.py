# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge.rack.revoke refuses before it takes anything away; molecule/registry runs the rest of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("device", "message"),
    [("nuc-001,nuc-009", "has no account of nuc-001, nuc-009; nothing was changed"), ("", "No device is named")],
)
def test_a_wrong_name_stops_it_before_cache_and_control_node_lose_anything(
    tmp_path: Path, device: str, message: str
) -> None:
    known = [tmp_path / folder / "device-nuc-001" for folder in ("accounts.d", "keys.d")]
    for path in known:
        path.parent.mkdir()
        path.write_text("known\n")
    hosts = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "control_node_accounts": [],
            },
            "children": {
                "registry": {"hosts": {"registry.example.com": {}}},
                "registry_caches": {"hosts": {"cache.example.com": {}}},
                "control": {"hosts": {"control.example.com": {}}},
            },
        }
    }
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    told = {
        "device": device,
        "ansible_become": False,
        "control_node_git_dir": str(tmp_path),
        "docker_engine_accounts_dir": str(tmp_path),
    }
    done = ansible_playbook("-i", tmp_path / "hosts.json", "playbooks/revoke.yml", "-e", json.dumps(told))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert message in said
    assert "TASK" in said and "taken away" not in said
    assert [path.exists() for path in known] == [True, True]
