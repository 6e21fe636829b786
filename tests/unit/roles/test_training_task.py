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

from tests.unit.playbook_runs import ansible_playbook

ROLE = {"name": "edge.rack.training_worker"}


def delivered(folder: Path, **given: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "training_worker_job": "job",
            "training_worker_keys_dir": str(folder / "keys"),
            **given,
        },
        "tasks": [
            {"ansible.builtin.include_role": {**ROLE, "tasks_from": "source"}},
            {"ansible.builtin.include_role": {**ROLE, "tasks_from": "task"}},
            {"ansible.builtin.copy": {"content": "{{ training_worker_task | to_json }}", "dest": f"{folder}/known"}},
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    done = ansible_playbook("-i", "localhost,", folder / "play.yml", stderr=subprocess.STDOUT)
    print(done.stdout)
    known = folder / "known"
    return done, json.loads(known.read_text()) if known.exists() else {}


def test_a_package_arrives_whole_and_under_its_digest(tmp_path: Path) -> None:
    package = tmp_path / ".hidden" / "my_model"
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
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    done, known = delivered(tmp_path, training_worker_source_path=str(package), training_worker_source_class="Mine")
    assert done.returncode == 0
    expected = ["my_model/B.py", "my_model/__init__.py", "my_model/a.py", "my_model/sub/words.txt"]
    assert known["files"] == expected
    assert known["reference"] == "/run/edge-job/task/my_model:Mine"
    arrived = tmp_path / "keys" / "job" / "task"
    assert sorted(str(path.relative_to(arrived)) for path in arrived.rglob("*") if path.is_file()) == expected
    assert {path.stat().st_mode & 0o777 for path in arrived.rglob("*") if path.is_file()} == {0o444}
    summed = subprocess.run(["sha256sum", *expected], cwd=arrived, capture_output=True, check=True)
    assert known["digest"] == "sha256:" + hashlib.sha256(summed.stdout).hexdigest()
    again, _ = delivered(tmp_path, training_worker_source_path=str(package), training_worker_source_class="Mine")
    assert "changed=0" in again.stdout


def test_a_file_arrives(tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text("class Mine: ...\n")
    done, known = delivered(tmp_path, training_worker_source_path=str(tmp_path / "my_task.py"))
    assert done.returncode == 0
    assert known["reference"] == "/run/edge-job/task/my_task.py"
    assert (tmp_path / "keys/job/task/my_task.py").read_text() == "class Mine: ...\n"


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("none.py", {}, "none.py on the controller is no Python file (my_task.py), nor a folder with an __init__.py"),
        ("empty", {}, "empty on the controller is no Python file"),
        ("words.txt", {}, "words.txt on the controller is no Python file"),
        ("big.py", {"training_worker_source_max_bytes": 9}, "has 10 bytes in 1 files, more than 9"),
    ],
)
def test_what_is_no_task_is_refused_on_the_controller(
    tmp_path: Path, name: str, more: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "big.py").write_text("a = 12345\n")
    done, known = delivered(tmp_path, training_worker_source_path=str(tmp_path / name), **more)
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split())
    assert known == {}
    assert not (tmp_path / "keys").exists()
