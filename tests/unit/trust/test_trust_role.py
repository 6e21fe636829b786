# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role trust on this machine, in folders of the test's own: what it installs, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from released_device import CHECKOUT, PREDICTOR, WORKER, Device

IMAGES = {
    name: {"digest": image["RepoDigests"][0].partition("@")[2]}
    for name, image in (("worker", WORKER), ("predictor", PREDICTOR))
}


def play(device: Device, *parts: str, role: str = "trust", **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run parts of a role, each by the name of its file of tasks."""
    tasks = [
        {"name": part, "ansible.builtin.import_role": {"name": f"edge.rack.{role}", "tasks_from": part}}
        for part in parts
    ]
    book = device.folder / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "edge_controller_dir": str(device.folder / "controller"),
        "trust_signers": [{"name": "alice", "key": (device.folder / "alice.pub").read_text()}],
        "trust_packages": [],
        "trust_config_dir": str(device.folder / "etc"),
        "trust_library_dir": str(device.folder / "lib"),
        "trust_program": str(device.folder / "edge-trust"),
        "trust_site_dir": str(device.checkout),
        "trust_checkout": str(device.folder / "checkout"),
        "release_images": IMAGES,
        **variables,
    }
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", book, "-e", json.dumps(given)],
        cwd=CHECKOUT,
        env={**os.environ, **device.environment, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_role_installs_what_proves_the_release_and_refuses_another(device: Device) -> None:
    # Models lie elsewhere on this machine, so none is on this device.
    device.containers = []
    device.verify()
    done = play(device, "main", "verify", "release", trust_model_digest=device.model)
    assert done.returncode == 0, done.stdout + done.stderr
    other = {**IMAGES, "worker": {"digest": f"sha256:{'e' * 64}"}}
    done = play(device, "main", "release", release_images=other)
    said = " ".join(done.stdout.split())
    assert "changed=0 " in said
    assert "failed=1 " in said
    assert f"edge_release.images.worker is sha256:{'e' * 64} in this run, but the signed release on localhost" in said
    (device.folder / "checkout/ansible.cfg").write_text("")
    done = play(device, "verify")
    assert done.returncode != 0
    assert "files broken: ansible.cfg is not in the commit. To do: look at them" in " ".join(done.stdout.split())


def test_a_signer_that_would_admit_others_is_refused(device: Device) -> None:
    done = play(device, "signers", trust_signers=[{"name": "al*", "key": "ssh-ed25519 AAAA"}])
    assert done.returncode != 0
    assert "al* is no signer" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("role", "part", "variables", "message"),
    [
        (
            "release",
            "main",
            {
                "edge_registry": "registry.invalid:5000",
                "release_registry_account": {"name": "rack", "password": "hidden"},
                "edge_release": {"images": {"worker": {"tag": "0.1.0"}}},
            },
            "edge_release.images.worker.digest is not set for localhost",
        ),
        (
            "predictor",
            "model",
            {
                "predictor_model_digest": "sha256:other",
                "edge_release": {"images": {}, "model": {"digest": "sha256:released"}},
            },
            "predictor_model_digest is sha256:other for localhost, but edge_release.model.digest is sha256:released",
        ),
    ],
)
def test_what_the_release_does_not_name_by_digest_is_not_deployed(
    device: Device, role: str, part: str, variables: dict[str, Any], message: str
) -> None:
    done = play(device, part, role=role, **variables)
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split())
