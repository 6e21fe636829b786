"""The three VMs are lost with their disks, and the controller's authority: one command brings the rack back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab import engine
from tests.e2e.rack import Lab, inventory
from tests.e2e.test_4_pull import operator, reports, status

LOSE = """\
- hosts: hypervisors
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - edge.rack.esxi_vm:
        hostname: "{{ ansible_host }}"
        username: "{{ esxi_username }}"
        password: "{{ esxi_password }}"
        ca_path: "{{ esxi_ca_path }}"
        ssh_host_key: "{{ esxi_ssh_host_key }}"
        name: "{{ item }}"
        state: absent
        allow_power_cycle: true
      loop: [maas, registry, control]
"""
IMAGES = ("docker", "image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}")


def remains_of_vms(lab: Lab) -> list[str]:
    """Containers and disks of virtual machines."""
    url = engine.answering()
    assert url is not None
    name = f"edge-{lab.environment['LAB_NAME']}"
    with engine.connect(url) as client:
        machines = [f"{name}-{machine}" for machine in ("maas", "registry", "control")]
        return [one.name for one in client.containers.list(all=True) if one.name in machines] + [
            one.name for one in client.volumes.list() if one.name.startswith(f"{name}-vm-")
        ]


def machines(lab: Lab) -> dict[str, Any]:
    """What MAAS says of each device that stays as it is."""
    found = inventory(lab)
    fixed = ("maas_system_id", "maas_status", "maas_tags", "maas_pool", "maas_zone", "ansible_host")
    return {
        name: {variable: found["_meta"]["hostvars"][name].get(variable) for variable in fixed}
        for name in found["devices"]["hosts"]
    }


def stand(lab: Lab) -> list[dict[str, Any]]:
    """How each device stands, but for when that was."""
    assert lab.playbook("playbooks/status.yml").returncode == 0
    rows = json.loads((lab.state / "report/status.json").read_text())
    fixed = ("device", "maas_status", "pinned", "running", "containers")
    return [{key: row[key] for key in fixed} for row in rows]


@pytest.mark.long
def test_lost_vms_come_back_and_devices_go_on(lab: Lab, first: dict[str, Any], tmp_path: Path) -> None:
    known, stood, authority = machines(lab), stand(lab), (lab.state / "ca/ca.crt").read_text()
    in_use = lab.inside("nuc-001", "docker", "ps", "--format", "{{.Image}}").split()
    there = [one for one in lab.inside("nuc-001", *IMAGES).split() if "/edge/" in one and "@sha256:" in one]
    image = next(one for one in there if one not in in_use)
    pushed = operator(lab, "ls-remote", "origin").stdout
    told = {report["id"] for report in reports(lab)}
    assert lab.playbook("playbooks/backup.yml").returncode == 0

    (tmp_path / "lose.yml").write_text(LOSE)
    assert lab.playbook(str(tmp_path / "lose.yml")).returncode == 0
    assert remains_of_vms(lab) == []
    shutil.rmtree(lab.state / "ca")
    assert lab.playbook("playbooks/restore.yml").returncode == 0

    assert (lab.state / "ca/ca.crt").read_text() == authority
    assert machines(lab) == known
    assert operator(lab, "ls-remote", "origin").stdout == pushed != ""
    # With the keys, accounts and the authority that the device has had all along.
    lab.inside("nuc-001", "docker", "image", "rm", "--force", image)
    assert "Status: Downloaded newer image" in lab.inside("nuc-001", "docker", "pull", image)
    lab.inside("nuc-001", "edge-converge", "now")
    assert status(lab)["last"]["outcome"] in ("ok", "changed")
    after = reports(lab)
    assert told <= {report["id"] for report in after}
    assert [report for report in after if report["controller"] == "nuc-001" and report["id"] not in told]
    assert stand(lab) == stood
