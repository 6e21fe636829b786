# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role trust on this machine, in folders of the test's own: what it installs, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from released_device import CHECKOUT, PREDICTOR, SITE, WORKER, Device

from tests.unit.playbook_runs import ansible_playbook

RELEASED = [image["RepoDigests"][0] for image in (WORKER, PREDICTOR)]
OTHER = f"registry.edge.lab:5000/edge/worker@sha256:{'e' * 64}"
Tasks = list[dict[str, Any]]


def role(part: str, name: str = "trust", **variables: Any) -> dict[str, Any]:
    """A task that runs a part of a role, by the name of its file of tasks."""
    return {
        "name": part,
        "ansible.builtin.import_role": {"name": f"edge.rack.{name}", "tasks_from": part},
        "vars": variables,
    }


def refused(part: str, name: str = "trust", **variables: Any) -> dict[str, Any]:
    """The same, which has to fail."""
    unexpected = {"name": "Nothing was refused", "ansible.builtin.command": "false", "ignore_errors": True}
    task = {"name": "refused", "ansible.builtin.debug": {"msg": f"refused: {part}"}}
    return {"block": [role(part, name, **variables), unexpected], "rescue": [task]}


def settings(device: Device) -> dict[str, Any]:
    return {
        "ansible_python_interpreter": sys.executable,
        "edge_controller_dir": str(device.folder / "controller"),
        "trust_signers": [{"name": "alice", "key": (device.folder / "alice.pub").read_text()}],
        "trust_packages": ["bash"],
        "trust_config_dir": str(device.folder / "etc"),
        "trust_library_dir": str(device.folder / "lib"),
        "trust_program": str(device.folder / "edge-trust"),
        "trust_site_dir": str(device.checkout),
        "trust_checkout": str(device.folder / "checkout"),
    }


def run(device: Device, book: Path, *options: str, groups: tuple[str, ...] = (), **variables: Any) -> tuple[int, str]:
    """Run a playbook on this machine; its exit code, and what it said in one line."""
    host = {"ansible_connection": "local"}
    inventory = device.folder / "hosts.json"
    hosts = {"localhost": host, "nuc-001": {**host, "ansible_host": "127.0.0.1"}}
    children = {group: {"hosts": {"nuc-001": None}} for group in groups}
    inventory.write_text(
        json.dumps({"all": {"hosts": hosts, "vars": {**settings(device), **variables}, "children": children}})
    )
    done = ansible_playbook("-i", inventory, book, *options, **device.environment)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def play(
    device: Device, *tasks: dict[str, Any], options: tuple[str, ...] = (), hosts: str = "localhost", **variables: Any
) -> tuple[int, str]:
    book = device.folder / "play.yml"
    book.write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
    return run(device, book, *options, **variables)


def test_the_role_installs_once_what_proves_the_release_and_refuses_another(device: Device) -> None:
    # Models lie elsewhere on this machine, so none is on this device.
    device.containers = []
    device.verify()
    beside = {"ansible.builtin.copy": {"content": "", "dest": "{{ trust_checkout }}/ansible.cfg", "mode": "0644"}}
    code, said = play(
        device,
        role("main"),
        role("verify"),
        role("release", trust_images=RELEASED, trust_model_digest=device.model),
        refused("release", trust_images=[OTHER]),
        refused("release", trust_images=RELEASED, trust_model_digest=f"sha256:{'f' * 64}"),
        beside,
        refused("verify"),
    )
    assert code == 0, said
    assert "rescued=3 ignored=0" in said
    # A mirror is asked only for what is missing.
    assert re.search(r"What the program works with is installed\] \** skipping", said)
    assert f"{OTHER} is about to run, but the signed release on localhost" in said
    assert f"The model sha256:{'f' * 64} is not the one that the signed release on localhost" in said
    assert "files broken: ansible.cfg is not in the commit. To do: look at them" in said

    code, said = play(device, role("main"))
    assert code == 0, said
    assert re.search(r"localhost : ok=\d+ changed=0 ", said), said


def test_a_new_commit_reaches_the_device_that_lacks_it_though_the_first_has_it(device: Device) -> None:
    checkouts = device.folder / "checkouts"
    device.git("clone", "--quiet", str(device.checkout), str(checkouts / "localhost"), at=device.folder)
    code, said = play(
        device,
        role("checkout"),
        hosts="all",
        trust_checkout=f"{checkouts}/{{{{ inventory_hostname }}}}",
    )
    assert code == 0, said
    there = (device.git("rev-parse", "HEAD", at=checkouts / name) for name in ("localhost", "nuc-001"))
    assert set(there) == {device.git("rev-parse", "HEAD")}


def test_check_mode_says_that_the_site_would_be_bundled_and_bundles_nothing(device: Device) -> None:
    code, said = play(device, role("checkout"), options=("--check",))
    assert code == 0, said
    assert re.search(r"Site is bundled\] \**\s?changed", said)
    assert not (device.folder / "controller").exists()


def test_what_would_admit_others_or_names_no_digest_is_refused(device: Device) -> None:
    release = {"images": {"worker": {"tag": "0.1.0"}}, "model": {"digest": "sha256:released"}}
    code, said = play(
        device,
        refused("signers", trust_signers=[{"name": "al*", "key": "ssh-ed25519 AAAA"}]),
        refused(
            "main",
            "release",
            edge_registry="registry.invalid:5000",
            release_registry_account={"name": "rack", "password": "hidden"},
            edge_release=release,
        ),
        refused("model", "predictor", predictor_model_digest="sha256:other", edge_release=release),
    )
    assert code == 0, said
    assert "rescued=3 ignored=0" in said
    assert "al* is no signer" in said
    assert "edge_release.images.worker.digest is not set for localhost" in said
    assert (
        "predictor_model_digest is sha256:other for localhost, but edge_release.model.digest is sha256:released" in said
    )


@pytest.mark.parametrize(
    ("playbook", "groups", "variable"),
    [
        ("serve", ("devices", "status_deployed"), "predictor_image"),
        ("train", ("trainers", "status_deployed"), "training_worker_image"),
    ],
)
def test_where_signers_are_named_what_they_did_not_sign_does_not_run(
    device: Device, playbook: str, groups: tuple[str, ...], variable: str
) -> None:
    """Nobody asks for it, and the image is given by hand: it is that reference which is held against the release."""
    device.verify()
    program = device.folder / "edge-trust"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_trust.cli "$@"\n')
    program.chmod(0o755)
    images = {
        name: {"tag": "0.1.0", "digest": text.partition("@")[2]}
        for name, text in zip(("worker", "predictor"), RELEASED, strict=True)
    }
    code, said = run(
        device,
        CHECKOUT / f"playbooks/{playbook}.yml",
        f"--extra-vars={json.dumps({variable: OTHER, 'ansible_become': False})}",
        groups=groups,
        trust_config_dir=str(device.folder),
        trust_checkout=str(device.checkout),
        edge_registry="registry.edge.lab:5000",
        release_registry_account={"name": "rack", "password": "hidden"},
        edge_release={"name": "2026.11", "images": images, "model": {"task": "digits", "digest": device.model}},
    )
    assert code != 0
    assert f"{OTHER} is about to run, but the signed release on nuc-001" in said
    assert not re.search(r"TASK \[edge.rack.(predictor|training_worker) ", said)


def test_a_release_that_was_committed_by_hand_waits_for_the_devices_wave(device: Device) -> None:
    """By the site's policy; unless the device is a canary, has a release of its own, or cannot read the policy."""
    before = yaml.safe_load(device.release())["edge_release"]
    device.write(SITE, device.release().replace("2026.11", "2026.12"))
    policy = {"canaries": "canaries", "wave_size": "100%", "pause_seconds": 9999}
    device.write(str(Path(SITE).with_name("release_waves.yml")), yaml.safe_dump({"edge_release_waves": policy}))
    device.commit()
    to = {**before, "name": "2026.12"}
    program = device.folder / "edge-trust"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_trust.cli "$@"\n')
    program.chmod(0o755)
    no_policy = device.folder / "elsewhere"
    device.git("clone", "--quiet", str(device.checkout), str(no_policy))
    device.git("checkout", "--quiet", "HEAD~1", at=no_policy)
    hosts: dict[str, dict[str, Any]] = {
        "waits": {},
        "canary": {},
        "pinned": {"edge_release": {**before, "name": "own"}},
        "blind": {"trust_checkout": str(no_policy)},
    }
    inventory = device.folder / "hosts.json"
    common = {**settings(device), "ansible_connection": "local", "trust_checkout": str(device.checkout)}
    common |= {"edge_release": to, "edge_release_waves": policy}
    children = {"devices": {"hosts": hosts}, "canaries": {"hosts": {"canary": {}}}}
    inventory.write_text(json.dumps({"all": {"vars": common, "children": children}}))
    told = {
        "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} takes {{ edge_release.name }}, {{ release_place }}"}
    }
    book = device.folder / "play.yml"
    # As a device converges: asked for twice.
    tasks = [role("wave", "release"), role("wave", "release"), told]
    book.write_text(json.dumps([{"hosts": "devices", "gather_facts": False, "tasks": tasks}]))
    done = ansible_playbook("-i", inventory, book, **device.environment)
    said = " ".join((done.stdout + done.stderr).split())
    assert "waits takes 2026.11, " in said
    assert "canary takes 2026.12, " in said
    assert "pinned takes own, " in said
    assert "edge_release_waves: blind does not know its wave, so its release stays: it stands in another file" in said
    assert "blind takes" not in said
