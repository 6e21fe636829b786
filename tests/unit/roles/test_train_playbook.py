# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/train.yml: where a trainer does not answer, and what a task of the user's own makes of a job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]


LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
TRAIN = CHECKOUT / "playbooks/train.yml"
ATTEMPT = CHECKOUT / "playbooks/train_attempt.yml"


def job_of(training: dict[str, Any]) -> dict[str, Any]:
    """The task with the module."""
    (block,) = (task for task in training["tasks"] if task["name"] == "Training is done")
    (job,) = (task for task in block["block"] if "edge.rack.horovod_job" in task)
    found: dict[str, Any] = job
    return found


def asked_of_the_module(training: dict[str, Any]) -> dict[str, Any]:
    options = job_of(training)["edge.rack.horovod_job"]
    return {name: options[name] for name in ("workers", "unreachable", "reasons", "unfit")}


def release(*images: str) -> dict[str, Any]:
    named = {name: {"tag": "1", "digest": "sha256:" + "0" * 64} for name in images}
    return {"name": "test", "images": named, "model": {"task": "digits"}}


def up_to_the_module(folder: Path) -> Path:
    """A playbook that writes to `told` in this folder what the module would be told; nobody trains."""
    answering, second = yaml.safe_load(ATTEMPT.read_text())
    told = {"launcher": "{{ training_worker_launcher }}", **asked_of_the_module(second)}
    second = {**second, "become": False, "vars": {**second["vars"], "told": told}}
    second["tasks"] = [{"ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(folder / "told")}}]
    (folder / "site.yml").write_text(json.dumps([answering, second]))
    return folder / "site.yml"


def inventory_of(folder: Path, **trainers: Any) -> dict[str, str]:
    """The environment in which `trainers` are those of the inventory."""
    inventory = {
        "all": {
            "hosts": {"localhost": LOCAL, **trainers},
            "vars": {
                "edge_controller_dir": str(folder),
                "edge_registry": "registry.invalid:5000",
                "edge_subnet": "127.0.0.0/8",
                "release_registry_account": {"name": "rack", "password": "-"},
                "edge_release": release("worker", "predictor"),
            },
            "children": {name: {"hosts": {key: {} for key in trainers}} for name in ("trainers", "status_deployed")},
        }
    }
    (folder / "inventory.json").write_text(json.dumps(inventory))
    return {"ANSIBLE_INVENTORY": str(folder / "inventory.json"), "ANSIBLE_SSH_RETRIES": "0"}


def test_where_a_trainer_does_not_answer_nothing_comes_after(tmp_path: Path) -> None:
    off = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_become": False}
    given = inventory_of(tmp_path, **{"nuc-off": off, "nuc-on": {**LOCAL, "ansible_host": "127.0.0.1"}})
    after = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "came after"}}]}
    site = [{"import_playbook": str(TRAIN)}, after]
    (tmp_path / "site.yml").write_text(json.dumps(site))
    done = ansible_playbook(tmp_path / "site.yml", stderr=subprocess.STDOUT, **given)
    print(done.stdout)
    assert done.returncode != 0
    assert "did not go to its end on nuc-off, nuc-on" in done.stdout
    assert "came after" not in done.stdout


def test_a_device_that_lacks_its_device_manager_ends_a_training_before_it_begins(tmp_path: Path) -> None:
    device = {
        **LOCAL,
        "ansible_host": "127.0.0.1",
        "device_manager_config_dir": str(tmp_path / "none"),
        "edge_release": release("worker", "predictor", "manager"),
        "training_worker_keys_dir": str(tmp_path / "keys"),
    }
    done = ansible_playbook(TRAIN, stderr=subprocess.STDOUT, **inventory_of(tmp_path, nuc=device))
    print(done.stdout)
    assert done.returncode != 0
    assert f"{tmp_path / 'none'}/token cannot be read on nuc" in " ".join(done.stdout.split())
    assert "Earlier workers" not in done.stdout
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("least", [1, 2])
def test_a_trainer_that_does_not_answer_is_left_out(tmp_path: Path, least: int) -> None:
    """Up to what the module is told; nobody trains."""
    off = {"ansible_host": "127.0.0.2", "ansible_port": 1, "ansible_become": False}
    given = inventory_of(tmp_path, **{"nuc-a": off, "nuc-b": {**LOCAL, "ansible_host": "127.0.0.1"}})
    asked = ("-e", "train_unfit=leave_out", "-e", f"train_min_workers={least}")
    done = ansible_playbook(up_to_the_module(tmp_path), *asked, stderr=subprocess.STDOUT, **given)
    print(done.stdout)
    if least == 2:
        assert done.returncode != 0
        said = " ".join(done.stdout.split())
        assert "nuc-a do not answer, or are unfit; left are 1 of 2 trainers, fewer than train_min_workers (2)" in said
        assert not (tmp_path / "told").exists()
        return
    assert done.returncode == 0
    assert json.loads((tmp_path / "told").read_text()) == {
        "launcher": "nuc-b",
        "workers": [{"name": "nuc-a", "address": "127.0.0.2"}, {"name": "nuc-b", "address": "127.0.0.1"}],
        "unreachable": ["nuc-a"],
        "reasons": {},
        "unfit": "leave_out",
    }


def test_one_whose_device_manager_cannot_start_a_worker_is_left_out_with_the_reason(tmp_path: Path) -> None:
    device = {**LOCAL, "ansible_host": "127.0.0.1", "edge_release": release("worker", "predictor", "manager")}
    without = {**device, "device_manager_config_dir": str(tmp_path / "none")}
    fit = {**device, "training_worker_manager_enabled": False}
    given = inventory_of(tmp_path, **{"nuc-a": without, "nuc-b": fit})
    done = ansible_playbook(
        up_to_the_module(tmp_path), "-e", "train_unfit=leave_out", stderr=subprocess.STDOUT, **given
    )
    print(done.stdout)
    assert done.returncode == 0
    found = json.loads((tmp_path / "told").read_text())
    assert (found["launcher"], found["unreachable"]) == ("nuc-b", ["nuc-a"])
    assert f"{tmp_path / 'none'}/token cannot be read on nuc-a" in found["reasons"]["nuc-a"]


STAND_IN = """
import json, sys
from pathlib import Path
told = json.loads(Path(sys.argv[1]).read_text())["told"]
finding = told["launcher"] + ": 1 MiB of memory available"
unfit = {"failed": True, "msg": "unfit", "launcher_unfit": True, "findings": [finding]}
print(json.dumps(unfit if told["launcher"] == "nuc-a" else {"changed": True, "told": told}))
"""


@pytest.mark.parametrize(
    ("launcher", "left", "lost"), [("off", 1, 0), ("off", 1, 1), ("off", 0, 0), ("unfit", 1, 0), ("unfit", 0, 0)]
)
def test_where_the_launcher_is_lost_a_survivor_starts_it_again(
    tmp_path: Path, launcher: str, left: int, lost: int
) -> None:
    """In the module's place stands one that finds nuc-a unfit; a ping in that of what removes workers.

    Where another one is `lost` with the launcher, it does not answer either.
    """
    off = {"ansible_port": 1, "ansible_become": False} if launcher == "off" else LOCAL
    on = {"nuc-b": {**LOCAL, "ansible_host": "127.0.0.1"}} if left else {}
    gone = {"nuc-c": {"ansible_port": 1, "ansible_become": False, "ansible_host": "127.0.0.3"}} if lost else {}
    given = inventory_of(tmp_path, **{"nuc-a": {**off, "ansible_host": "127.0.0.2"}}, **on, **gone)
    (tmp_path / "library").mkdir()
    (tmp_path / "library/stand_in.py").write_text("#!/usr/bin/python\n# WANT_JSON\n" + STAND_IN)
    answering, second = yaml.safe_load(ATTEMPT.read_text())
    job = job_of(second)
    told = {
        "attempt": "{{ train_attempt }}",
        "launcher": "{{ training_worker_launcher }}",
        **asked_of_the_module(second),
    }
    job["stand_in"] = {"told": "{{ told }}"}
    del job["edge.rack.horovod_job"]
    (block,) = (task for task in second["tasks"] if task["name"] == "Training is done")
    block["block"] = block["block"][-2:]  # the job, and what becomes of the others where it fails
    assert block["block"][0] is job
    look, remove, *_ = block["always"]
    assert remove["ansible.builtin.include_role"]["tasks_from"] == "remove"
    block["always"] = [look, {"ansible.builtin.ping": {}, "when": remove["when"]}]
    kept = [task for task in second["tasks"] if "ansible.builtin.set_fact" in task]
    write = {
        "ansible.builtin.copy": {
            "content": "{{ train_answer | to_json }}",
            "dest": f"{tmp_path}/{{{{ train_attempt }}}}",
        },
        "delegate_to": "localhost",
        "run_once": True,
    }
    second = {**second, "become": False, "tasks": [kept[0], block, write, *kept[1:]]}
    known = {"train_job": "test", "train_record": {"stat": {"exists": False}}, "told": told}
    second["vars"] = {**second["vars"], **known}
    (tmp_path / "train_attempt.yml").write_text(json.dumps([answering, second]))
    after = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "came after"}}]}
    *plays, publish = yaml.safe_load(TRAIN.read_text())
    assert publish["ansible.builtin.import_playbook"] == "publish_model.yml"
    (tmp_path / "site.yml").write_text(json.dumps([*plays, after]))
    done = ansible_playbook(tmp_path / "site.yml", stderr=subprocess.STDOUT, **given)
    print(done.stdout)
    if not left:
        assert done.returncode != 0
        assert "The training did not go to its end on nuc-a;" in " ".join(done.stdout.split())
        assert ("nuc-a: 1 MiB of memory available" in done.stdout) is (launcher == "unfit")
        assert "came after" not in done.stdout
        return
    why = {"off": "it does not answer any more", "unfit": "nuc-a: 1 MiB of memory available"}[launcher]
    survivors = "nuc-b, nuc-c" if lost else "nuc-b"
    assert f"nuc-a cannot start the training: {why}. With those of {survivors} that are fit" in " ".join(
        done.stdout.split()
    )
    assert json.loads((tmp_path / "2").read_text())["told"] == {
        "attempt": 2,
        "launcher": "nuc-b",
        "workers": [
            {"name": "nuc-a", "address": "127.0.0.2"},
            {"name": "nuc-b", "address": "127.0.0.1"},
            *([{"name": "nuc-c", "address": "127.0.0.3"}] if lost else []),
        ],
        "unreachable": ["nuc-a", "nuc-c"] if lost else ["nuc-a"],
        "reasons": {},
        "unfit": "leave_out",
    }
    assert "came after" in done.stdout
    assert done.returncode == 0


def test_where_a_training_fails_every_device_removes_its_worker(tmp_path: Path) -> None:
    """A failing command stands in the module's place, a file for each device in that of what removes workers."""
    trainers = {f"nuc-{name}": {**LOCAL, "ansible_host": f"127.0.0.{number}"} for number, name in enumerate("abc", 2)}
    given = inventory_of(tmp_path, **trainers)
    answering, second = yaml.safe_load(ATTEMPT.read_text())
    job = job_of(second)
    del job["edge.rack.horovod_job"]
    job["ansible.builtin.command"] = "false"
    (block,) = (task for task in second["tasks"] if task["name"] == "Training is done")
    block["block"] = block["block"][-2:]
    look, remove, *_ = block["always"]
    removed = {"dest": f"{tmp_path}/removed-{{{{ inventory_hostname }}}}", "content": ""}
    block["always"] = [look, {"ansible.builtin.copy": removed, "when": remove["when"]}]
    known = {"train_job": "test", "train_record": {"stat": {"exists": False}}}
    second = {**second, "become": False, "tasks": [block], "vars": {**second["vars"], **known}}
    after = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "came after"}}]}
    (tmp_path / "site.yml").write_text(json.dumps([answering, second, after]))
    done = ansible_playbook(tmp_path / "site.yml", stderr=subprocess.STDOUT, **given)
    print(done.stdout)
    assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.glob("removed-*")) == [f"removed-{name}" for name in trainers]
    assert "came after" not in done.stdout


def test_a_job_is_named_after_its_task_and_its_source(tmp_path: Path) -> None:
    """The first play and the second one's variables are the playbook's own, once for each task; nobody trains."""
    given = inventory_of(tmp_path, nuc={**LOCAL, "ansible_host": "127.0.0.1"})
    given["PWD"] = str(tmp_path)
    source = tmp_path / "my_tasks" / "My_Task.py"
    source.parent.mkdir()
    first, *_ = yaml.safe_load(TRAIN.read_text())
    answering, second = yaml.safe_load(ATTEMPT.read_text())
    images = {"worker": {"digest": "sha256:0", "reference": "registry.invalid:5000/edge/worker@sha256:0"}}
    asked = ("train_job", "train_packages", "train_data_dirs", "train_workers", "training_worker_task")
    told = {variable: "{{ " + variable + " }}" for variable in asked}
    # What one of them makes known stays so for the next: the one with files comes last.
    names = ("digits", "fashion_mnist", "digits", "my_tasks/My_Task.py:Mine")
    more: dict[int, dict[str, str]] = {2: {"train_slots": "3"}}
    plays = []
    for number, name in enumerate(names):
        write = {"content": "{{ told | to_json }}", "dest": str(tmp_path / f"told-{number}")}
        known = {**second["vars"], **more.get(number, {}), "release_images": images, "told": told, "task": name}
        job = {**second, "become": False, "vars": known, "tasks": [{"ansible.builtin.copy": write}]}
        plays += [{**first, "vars": {"task": name}}, answering, job]
    (tmp_path / "site.yml").write_text(json.dumps(plays))

    def named(text: str) -> list[dict[str, Any]]:
        source.write_text(text)
        done = ansible_playbook(tmp_path / "site.yml", stderr=subprocess.STDOUT, **given)
        print(done.stdout)
        assert done.returncode == 0
        return [json.loads((tmp_path / f"told-{number}").read_text()) for number in range(len(names))]

    (digits, mnist, three, mine), again = named("a = 1\n"), named("a = 2\n")
    assert [digits, mnist, three] == again[:3]
    assert digits["train_workers"] == [{"name": "nuc", "address": "127.0.0.1"}]
    assert three["train_workers"] == [{"name": "nuc", "address": "127.0.0.1", "slots": 3}]
    assert three["train_job"].startswith("test-digits-")
    assert three["train_job"] != digits["train_job"]
    assert digits["train_job"].startswith("test-digits-")
    assert mnist["train_job"].startswith("test-fashion_mnist-")
    assert digits["training_worker_task"] == mnist["training_worker_task"] == {}
    assert (digits["train_packages"], digits["train_data_dirs"]) == ([], [])
    assert mnist["train_packages"] == ["dataset-fashion-mnist"]
    assert mnist["train_data_dirs"] == ["/usr/share/datasets/fashion-mnist"]
    assert mine["train_job"].startswith("test-my_task-mine-")
    assert mine["train_job"] != again[3]["train_job"]
    assert mine["training_worker_task"]["reference"] == "/run/edge-job/task/My_Task.py:Mine"
    assert mine["training_worker_task"]["files"] == ["My_Task.py"]
    assert (mine["train_packages"], mine["train_data_dirs"]) == ([], [])


# What is asked for, as text, as it comes from the command line; and whether it makes another job.
RECIPES = {
    ("train_accumulate", "1"): False,
    ("train_accumulate", "4"): True,
    ("train_local_steps", "8"): True,
    ("train_compression", "fp16"): True,
    ("train_powersgd_rank", "4"): False,
    ("train_powersgd_rank", "8"): True,
}


def test_what_spares_bytes_on_the_wire_makes_another_job(tmp_path: Path) -> None:
    """Where it is asked for: all others keep their names."""
    variables = yaml.safe_load(ATTEMPT.read_text())[1]["vars"]
    images = {"worker": {"digest": "sha256:0"}}
    known = {"release_images": images, "train_workers": [], "train_source": {}, "recipes": {}}
    plays = []
    for name, value in RECIPES:
        told = "{{ recipes | combine({'" + f"{name}={value}" + "': train_recipe}) }}"
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        play["vars"] = {**variables, **known, name: value}
        play["tasks"] = [{"ansible.builtin.set_fact": {"recipes": told}}]
        plays.append(play)
    write = {"ansible.builtin.copy": {"content": "{{ recipes | to_json }}", "dest": str(tmp_path / "told")}}
    plays[-1]["tasks"].append(write)
    (tmp_path / "site.yml").write_text(json.dumps(plays))
    done = ansible_playbook(tmp_path / "site.yml", stderr=subprocess.STDOUT, **inventory_of(tmp_path))
    print(done.stdout)
    assert done.returncode == 0
    recipes = json.loads((tmp_path / "told").read_text())
    assert all(recipe[:2] == ["sha256:0", []] for recipe in recipes.values())
    assert {given: recipe[2] != [12, 32, 0.002, 1] for given, recipe in recipes.items()} == {
        f"{name}={value}": renamed for (name, value), renamed in RECIPES.items()
    }
