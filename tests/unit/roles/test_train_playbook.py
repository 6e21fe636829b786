# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/train.yml where a trainer does not answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def test_where_a_trainer_does_not_answer_nothing_comes_after(tmp_path: Path) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    images = {name: {"tag": "1", "digest": "sha256:" + "0" * 64} for name in ("worker", "predictor")}
    inventory = {
        "all": {
            "hosts": {
                "localhost": local,
                "nuc-off": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_become": False},
                "nuc-on": {**local, "ansible_host": "127.0.0.1"},
            },
            "vars": {
                "edge_controller_dir": str(tmp_path),
                "edge_registry": "registry.invalid:5000",
                "edge_subnet": "127.0.0.0/8",
                "release_registry_account": {"name": "rack", "password": "-"},
                "edge_release": {"name": "test", "images": images, "model": {"task": "digits"}},
            },
            "children": {name: {"hosts": {"nuc-off": {}, "nuc-on": {}}} for name in ("trainers", "status_deployed")},
        }
    }
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    after = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "came after"}}]}
    site = [{"import_playbook": str(CHECKOUT / "playbooks/train.yml")}, after]
    (tmp_path / "site.yml").write_text(json.dumps(site))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), str(tmp_path / "site.yml")],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "ANSIBLE_INVENTORY": str(tmp_path / "inventory.json"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_RETRIES": "0",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    print(done.stdout)
    assert done.returncode != 0
    assert "did not go to its end on nuc-off, nuc-on" in done.stdout
    assert "came after" not in done.stdout
