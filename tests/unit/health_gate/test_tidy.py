# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a device keeps: roles/release/tasks/tidy.yml with a real Docker Engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.health_gate.device import NAME, Device
from tests.unit.playbook_runs import ansible_playbook


@pytest.fixture
def full(device: Device) -> Iterator[Device]:
    """A device that has more images than it needs, and has them again afterwards."""
    yield device
    device.empty()
    for name, reference in device.images.items():
        repository = reference.partition("@")[0]
        device.api.pull(repository, tag=name)
        assert device.api.inspect_image(reference)


def tidy(device: Device, program: Path, *options: str, keep: tuple[str, ...] = ()) -> str:
    """What ansible-playbook says."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "health_gate_program": str(program),
        "release_tidy_keep": [device.images[name].partition("@")[2] for name in keep],
    }
    role = {"name": "edge.rack.release", "tasks_from": "tidy"}
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    (device.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"nuc-001": variables}}}))
    (device.folder / "tidy.json").write_text(json.dumps([play]))
    done = ansible_playbook("-i", device.folder / "inventory.json", device.folder / "tidy.json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def there(device: Device) -> set[str]:
    digests = {digest for image in device.api.images() for digest in image["RepoDigests"] or []}
    return {name for name, reference in device.images.items() if reference in digests}


def test_what_nothing_needs_is_removed_and_named(full: Device, program: Path) -> None:
    full.apply("old")
    full.apply("new")
    checked = tidy(full, program, "--check")
    assert full.images["bad"] in checked
    assert "changed=1" in checked
    assert there(full) == {"old", "new", "bad"}
    said = tidy(full, program)
    assert f"(item={full.images['bad']})" in said
    assert there(full) == {"old", "new"}, "what runs, and what it replaced"
    assert "changed=0" in tidy(full, program)


def test_what_the_release_names_or_a_container_is_made_of_is_kept(full: Device, program: Path) -> None:
    full.apply("old")
    full.api.create_container(full.images["new"], name="stopped")
    full.api.commit("stopped", "registry.invalid/edge/made-here", "1")
    full.api.import_image_from_data(b"\0" * 1024, "registry.invalid/other/image", "1")
    assert "changed=0" in tidy(full, program, keep=("bad",))
    assert there(full) == {"old", "new", "bad"}
    for image in ("edge/made-here", "other/image"):
        full.api.remove_image(f"registry.invalid/{image}:1")  # which raises where it is not there


def test_nothing_is_removed_while_the_last_replacement_is_one_that_failed(full: Device, program: Path) -> None:
    full.apply("old")
    full.apply("bad")
    assert full.journal()["state"] == "rolled back"
    assert "changed=0" in tidy(full, program)
    assert there(full) == {"old", "new", "bad"}
    assert full.containers() == {NAME: "old"}
