# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role `predictor` has devices fetch their model: roles/predictor/tasks/model.yml."""

from __future__ import annotations

import grp
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import registries
from tests.unit.playbook_runs import ansible_playbook
from tests.unit.roles.model_registry import CONTENT, DIGEST, Registry, serving, trust

CHECKOUT = Path(__file__).resolve().parents[3]
BUNDLE = f"{DIGEST[7:]}.tar"
HAVE = {"nuc-has-it": CONTENT, "nuc-lacks-it": None}


@dataclass
class Run:
    folder: Path
    status: int
    said: str
    """All that ansible-playbook printed, in one line."""

    def bundle(self, device: str) -> bytes | None:
        path = self.folder / device / BUNDLE
        return path.read_bytes() if path.exists() else None


def run(folder: Path, hosts: dict[str, str], *options: str) -> Run:
    """The tasks on devices that are all this machine; `hosts` are the registries of each."""
    devices = {name: {"edge_registry": host} for name, host in hosts.items()}
    for name in devices:
        (folder / name).mkdir()
        if HAVE.get(name):
            (folder / name / BUNDLE).write_bytes(HAVE[name] or b"")
    variables = {
        "ansible_async_dir": str(folder / "async"),
        "ansible_connection": "local",
        "ansible_host": "127.0.0.1",
        "ansible_python_interpreter": sys.executable,
        "edge_release": {"name": "test"},
        "predictor_image": "none",
        "predictor_model_digest": DIGEST,
        "predictor_models_dir": f"{folder}/{{{{ inventory_hostname }}}}",
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": devices, "vars": variables}}))
    here = {
        "predictor_bundle_owner": grp.getgrgid(os.getegid()).gr_name,
        "predictor_fetch_options": [
            f"--sign-ins={folder}/config.json",
            f"--authorities={folder}/certs.d",
            "--retries=0",
        ],
        "predictor_programs_dir": f"{folder}/{{{{ inventory_hostname }}}}/lib",
    }
    tasks = [{"ansible.builtin.include_role": {"name": "edge.rack.predictor", "tasks_from": "model"}}]
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    argv = (folder / "play.json", "-e", json.dumps(here), *options)
    done = ansible_playbook(*argv, stderr=subprocess.STDOUT, ANSIBLE_INVENTORY=str(folder / "inventory.json"))
    print(done.stdout)
    return Run(folder, done.returncode, " ".join(done.stdout.split()))


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("devices")
    registries.authority(folder / "certificates", "localhost")
    good, refusing = Registry(), Registry(status=404)
    servers = [serving(one, folder / "certificates") for one in (good, refusing)]
    try:
        for one in (good, refusing):
            trust(folder, one.host, folder / "certificates")
        done = run(folder, {**dict.fromkeys(HAVE, good.host), "nuc-refused": refusing.host})
        assert len(good.asked) == 1, "the device that has the model asks nobody"
        return done
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_devices_fetch_what_they_lack_and_have_it_for_their_containers_alone(fetched: Run) -> None:
    assert all(fetched.bundle(name) == CONTENT for name in HAVE)
    modes = {(fetched.folder / name / BUNDLE).stat().st_mode & 0o777 for name in HAVE}
    assert modes == {0o640}
    assert "nuc-lacks-it : ok=7 changed=3 unreachable=0 failed=0" in fetched.said


def test_a_device_that_gets_none_is_named_with_the_reason_and_the_fix(fetched: Run) -> None:
    assert fetched.status == 2
    assert f"nuc-refused did not get the model {DIGEST}: fetch-blob: localhost:" in fetched.said
    assert f"publish it (edge.rack.publish_model -e model_digest={DIGEST})" in fetched.said
    assert fetched.bundle("nuc-refused") is None


def test_check_mode_says_who_would_fetch_and_asks_nobody(tmp_path: Path) -> None:
    done = run(tmp_path, dict.fromkeys(HAVE, "registry.invalid:5000"), "--check")
    assert done.status == 0
    assert f"{DIGEST} from registry.invalid:5000" in done.said
    assert done.said.count("would be fetched") == 1
    assert [done.bundle(name) for name in HAVE] == list(HAVE.values())
