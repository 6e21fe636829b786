# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task of the user's own, from the controller to where a worker's container sees it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken

ROLE = {"name": "edge.rack.training_worker"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "none.py": ({}, "none.py on the controller is no Python file (my_task.py), nor a folder with an __init__.py"),
    "empty": ({}, "empty on the controller is no Python file"),
    "words.txt": ({}, "words.txt on the controller is no Python file"),
    "big.py": ({"training_worker_source_max_bytes": 9}, "has 10 bytes in 1 files, more than 9"),
}


def delivered(folder: Path, **sources: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Each source to a host of its name, which is this machine; what is known of it there is in a file."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        name: {**local, "training_worker_keys_dir": str(folder / name / "keys"), **given}
        for name, given in sources.items()
    }
    known = {"content": "{{ training_worker_task | to_json }}", "dest": f"{folder}/{{{{ inventory_hostname }}}}/known"}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"training_worker_job": "job"},
        "tasks": [
            {"ansible.builtin.include_role": {**ROLE, "tasks_from": "source"}},
            {"ansible.builtin.include_role": {**ROLE, "tasks_from": "task"}},
            {"ansible.builtin.copy": known},
        ],
    }
    (folder / "play.json").write_text(json.dumps([play]))
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    done = ansible_playbook("-i", folder / "hosts.json", folder / "play.json", stderr=subprocess.STDOUT)
    print(done.stdout)
    return done


def package(folder: Path) -> dict[str, Any]:
    source = folder / ".hidden" / "my_model"
    for name in (
        "__init__.py",
        "B.py",
        "a.py",
        "sub/words.txt",
        "__pycache__/a.pyc",
        "sub/x.pyc",
        ".git/config",
        ".env",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    return {"training_worker_source_path": str(source), "training_worker_source_class": "Mine"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def said(folder: Path) -> str:
    """What Ansible said of all of them, in one line."""
    (folder / "my_task.py").write_text("class Mine: ...\n")
    (folder / "empty").mkdir()
    (folder / "words.txt").write_text("words")
    (folder / "big.py").write_text("a = 12345\n")
    sources = {"package": package(folder), "file": {"training_worker_source_path": str(folder / "my_task.py")}}
    for name, (more, _message) in REFUSED.items():
        sources[f"refused-{name}"] = {"training_worker_source_path": str(folder / name), **more}
    return " ".join(delivered(folder, **sources).stdout.split())


def test_a_package_arrives_whole_and_under_its_digest(folder: Path, said: str) -> None:
    assert_refused_or_taken(said, "package", {})
    known = json.loads((folder / "package/known").read_text())
    expected = ["my_model/B.py", "my_model/__init__.py", "my_model/a.py", "my_model/sub/words.txt"]
    assert known["files"] == expected
    assert known["reference"] == "/run/edge-job/task/my_model:Mine"
    arrived = folder / "package/keys/job/task"
    assert sorted(str(path.relative_to(arrived)) for path in arrived.rglob("*") if path.is_file()) == expected
    assert {path.stat().st_mode & 0o777 for path in arrived.rglob("*") if path.is_file()} == {0o444}
    summed = subprocess.run(["sha256sum", *expected], cwd=arrived, capture_output=True, check=True)
    assert known["digest"] == "sha256:" + hashlib.sha256(summed.stdout).hexdigest()
    assert "changed=0" in delivered(folder, package=package(folder)).stdout


def test_a_file_arrives(folder: Path, said: str) -> None:
    assert_refused_or_taken(said, "file", {})
    assert json.loads((folder / "file/known").read_text())["reference"] == "/run/edge-job/task/my_task.py"
    assert (folder / "file/keys/job/task/my_task.py").read_text() == "class Mine: ...\n"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_task_is_refused_on_the_controller(folder: Path, said: str, name: str) -> None:
    host = f"refused-{name}"
    assert_refused_or_taken(said, host, {host: REFUSED[name][1]})
    assert not (folder / host).exists()
