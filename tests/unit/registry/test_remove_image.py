# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry whose image was taken out of the settings: remove_image.yml of the role, beside a stand-in systemctl."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.playbook_runs import ansible_playbook
from tests.unit.registry.distribution import CHECKOUT

# It notes what it is told, and whether the unit is there then.
SYSTEMCTL = """#!/bin/sh
case $1 in
  show) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;
  stop | disable | daemon-reload) echo "$1 $(ls {folder} | grep -c [.]service)" >> {folder}/asked ;;
esac
"""


def remove(folder: Path, *options: str) -> str:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "systemctl").write_text(SYSTEMCTL.format(folder=folder))
    (folder / "bin" / "systemctl").chmod(0o755)
    told = {
        "ansible_python_interpreter": sys.executable,
        "registry_image_program": str(folder / "docker-registry"),
        "registry_image_unit": str(folder / "docker-registry.service"),
    }
    task = {"ansible.builtin.include_role": {"name": "edge.rack.registry", "tasks_from": "remove_image"}}
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    argv = ("-i", "localhost,", "-c", "local", "-e", json.dumps(told), *options, folder / "play.json")
    done = ansible_playbook(*argv, PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("cut", [False, True])
def test_the_image_is_stopped_before_its_unit_and_program_go_and_a_cut_run_is_repeated(
    tmp_path: Path, cut: bool
) -> None:
    (tmp_path / "docker-registry").touch()
    if not cut:
        (tmp_path / "docker-registry.service").touch()
        assert "changed=0" not in remove(tmp_path, "--check")
        assert not (tmp_path / "asked").exists()

    remove(tmp_path)

    assert list(tmp_path.glob("docker-registry*")) == []
    asked = (tmp_path / "asked").read_text().split("\n")[:-1]
    assert asked == ["daemon-reload 0"] if cut else sorted(asked[:2]) == ["disable 1", "stop 1"]
    assert asked[-1] == "daemon-reload 0"
    if not cut:  # which leaves the same behind
        assert "changed=0" in remove(tmp_path)


def test_it_is_removed_before_the_package_is_installed_and_where_no_image_is_set_alone() -> None:
    tasks = yaml.safe_load((CHECKOUT / "roles" / "registry" / "tasks" / "install.yml").read_text())
    included = {task.get("ansible.builtin.import_tasks"): task for task in tasks}
    assert included["remove_image.yml"]["when"] == "registry_image | length == 0"
    assert tasks.index(included["remove_image.yml"]) < [("ansible.builtin.apt" in task) for task in tasks].index(True)
