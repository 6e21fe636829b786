"""Devices of a site with signers run what was released and nothing else: each link of the chain is altered in turn."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rack import CHECKOUT, DEVICES, Lab

# Each link alone is in tests/unit/trust.
pytestmark = pytest.mark.long

CHECKED_OUT = "/var/lib/edge/site"
RELEASE = "inventory/lab/group_vars/all/release.yml"
LINKS = ("commit", "files", "release", "image", "containers", "model")


@dataclass(frozen=True)
class Site:
    """A site's repository, and the operator who signs its releases."""

    lab: Lab
    folder: Path

    def git(self, *argv: str) -> str:
        return subprocess.run(
            ["git", "-C", self.folder, *argv],
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()

    def commit(self, message: str, *options: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}", *options)
        return self.git("rev-parse", "HEAD")

    def playbook(self, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        inventory = str(self.folder / "inventory/lab")
        program = str(CHECKOUT / ".venv/bin/ansible-playbook")
        return self.lab.run(program, "-i", inventory, f"playbooks/{name}.yml", *argv)

    def links(self, device: str = "nuc-001") -> dict[str, dict[str, Any]]:
        """What the device's own program finds, by the name of the link."""
        report = json.loads(self.lab.inside(device, "edge-trust", "verify", CHECKED_OUT, "--json"))
        return {link["name"]: link for link in report["links"]}

    def broken(self) -> dict[str, str]:
        return {name: link["found"] for name, link in self.links().items() if link["state"] == "broken"}


@pytest.fixture(scope="module")
def site(lab: Lab, first: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that releases by signed commits, as docs/trust.md says, with the lab's inventory."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(CHECKOUT / "inventory/lab", folder / "inventory/lab")
    key = tmp_path_factory.mktemp("operator") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=60)
    site = Site(lab, folder)
    site.git("init", "--quiet", "--initial-branch=main")
    for name, value in {
        "user.name": "operator",
        "user.email": "operator@example.com",
        "gpg.format": "ssh",
        "user.signingkey": f"{key}.pub",
        "commit.gpgsign": "true",
    }.items():
        site.git("config", name, value)
    signers = {
        # The lab's own operator stays one: devices take his commits in other tests.
        "trust_signers": [
            {"name": name, "key": public.read_text().strip()}
            for name, public in {
                "operator@example.com": key.with_suffix(".pub"),
                "operator@edge.lab": lab.state / "secrets/release_key.pub",
            }.items()
        ],
        "trust_site_dir": str(folder),
        "trust_release_files": [RELEASE],
        "trust_required": True,
        "release_digests_required": True,
    }
    # Read after the lab's own, whose signer and agent it stands in for: this site brings its commit by push.
    (folder / "inventory/lab/group_vars/all/zz-trust.yml").write_text(json.dumps(signers))
    site.commit("The rack as it was racked")
    return site


@pytest.fixture(scope="module")
def released(site: Site, first: dict[str, Any]) -> str:
    """The commit that the devices hold: what the lab runs, by digest and signed."""
    pinned = site.playbook("pin_release", "--diff")
    assert pinned.returncode == 0
    for image in first["images"].values():
        assert f"+      digest: {image['digest']}" in pinned.stdout
    commit = site.commit("Release 2026.11 by digest")
    assert site.playbook("configure").returncode == 0
    return commit


@contextmanager
def inside(lab: Lab, alter: str, mend: str, machine: str = "nuc-001") -> Iterator[None]:
    """Something altered in a machine by a shell command, and mended by another whatever happens."""
    lab.inside(machine, "sh", "-euc", alter)
    try:
        yield
    finally:
        print(lab.inside(machine, "sh", "-euc", mend))


def test_a_release_without_digests_is_refused(site: Site) -> None:
    done = site.playbook("serve")
    assert done.returncode != 0
    assert "edge_release.images.worker.digest is not set" in done.stdout
    assert "edge.rack.pin_release" in done.stdout


def test_a_signed_release_runs_and_every_link_holds(site: Site, released: str, first: dict[str, Any]) -> None:
    for verb in ("train", "serve", "verify_trust"):
        assert site.playbook(verb).returncode == 0
    for device in first["devices"]:
        links = site.links(device["name"])
        assert {name: link["state"] for name, link in links.items()} == dict.fromkeys(LINKS, "ok")
        assert released[:12] in links["commit"]["found"]
        assert first["model_digest"][:19] in links["model"]["found"]


def test_a_commit_of_somebody_else_is_refused(site: Site, released: str) -> None:
    try:
        foreign = site.commit("Nobody signed this", "--no-gpg-sign")
        # The first brings the commit; neither deploys anything on its word.
        for verb in ("configure", "serve"):
            done = site.playbook(verb)
            assert done.returncode != 0
            assert "Chain of trust of nuc-001 does not hold, so nothing is deployed to it: commit: " in done.stdout
        assert foreign[:12] in site.broken()["commit"]
    finally:
        site.git("reset", "--quiet", "--hard", released)
        for device in ("nuc-001", "nuc-002"):
            site.lab.inside(device, "git", "-C", CHECKED_OUT, "checkout", "--quiet", "--force", released)
    assert site.broken() == {}


def test_an_altered_file_is_refused(site: Site, released: str) -> None:
    release = f"{CHECKED_OUT}/{RELEASE}"
    with inside(site.lab, f"echo '# altered' >> {release}", f"git -C {CHECKED_OUT} reset --quiet --hard"):
        assert site.broken() == {"files": f"{RELEASE} differs from the commit"}
        done = site.playbook("verify_trust")
        assert done.returncode != 0
        assert f"files broken: {RELEASE} differs from the commit" in done.stdout
    assert site.broken() == {}


def test_an_image_under_a_released_name_is_told_from_the_released_one(
    site: Site, released: str, first: dict[str, Any]
) -> None:
    image = first["images"]["predictor"]
    name = image["reference"].split("@")[0] + ":" + image["tag"]
    other = f"docker create --name=altered {image['reference']} && docker commit altered {name} && docker rm altered"
    with inside(site.lab, other, f"docker image rm {name}"):
        assert "not the released one" in site.broken()["image"]
    assert site.broken() == {}


def test_a_container_of_another_image_is_found(site: Site, released: str, first: dict[str, Any]) -> None:
    reference = first["images"]["predictor"]["reference"]
    other = (
        f"docker create --name=made {reference} && docker commit made stray:1 && docker rm made"
        " && docker run --detach --name=stray --entrypoint=sleep stray:1 600"
    )
    with inside(site.lab, other, "docker rm --force stray; docker image rm stray:1"):
        assert re.fullmatch(r"stray runs stray:1 \(.*\), which is no image of the release", site.broken()["containers"])
    assert site.broken() == {}


def test_a_released_image_with_another_command_is_found(site: Site, released: str, first: dict[str, Any]) -> None:
    reference = first["images"]["predictor"]["reference"]
    other = f"docker run --detach --name=stray --privileged --entrypoint=sleep {reference} 600"
    with inside(site.lab, other, "docker rm --force stray"):
        found = site.broken()["containers"]
        assert "Entrypoint is ['sleep']" in found
        assert "it is privileged" in found
    assert site.broken() == {}


def test_an_altered_model_is_found(site: Site, released: str, first: dict[str, Any]) -> None:
    bundle = f"/var/lib/edge/models/{first['model_digest'].removeprefix('sha256:')}.tar"
    with inside(site.lab, f"cp {bundle} /root/kept; echo altered >> {bundle}", f"mv /root/kept {bundle}"):
        assert set(site.broken()) == {"model"}
    assert site.broken() == {}


def test_a_layer_that_was_altered_in_the_registry_never_runs(site: Site, released: str, first: dict[str, Any]) -> None:
    """The registry hands out what is on its disk; the digest is what the device believes."""
    reference = first["images"]["predictor"]["reference"]
    manifest = json.loads(site.lab.inside("nuc-001", "docker", "image", "inspect", reference))
    config = manifest[0]["Id"].removeprefix("sha256:")
    blob = f"/var/lib/docker-registry/docker/registry/v2/blobs/sha256/{config[:2]}/{config}/data"
    alter = f"cp -p {blob} /root/kept; sed -i s/8470/8471/ {blob}; ! cmp --quiet {blob} /root/kept"
    with inside(site.lab, alter, f"mv /root/kept {blob}; systemctl restart docker-registry", "registry"):
        site.lab.inside("nuc-001", "sh", "-c", f"docker rm --force edge-predictor; docker image rm {reference}")
        done = site.playbook("serve", "-e", "release_pull_retries=0")
        assert done.returncode != 0
        assert f"nuc-001 did not get edge/predictor@{first['images']['predictor']['digest']}" in done.stdout
        assert "edge-predictor" not in site.lab.inside("nuc-001", "docker", "ps", "--all")
    assert site.playbook("serve").returncode == 0
    assert site.broken() == {}


def test_a_second_configuration_changes_nothing(site: Site, released: str) -> None:
    done = site.playbook("configure")
    assert done.returncode == 0
    assert len(re.findall(r"changed=0 ", done.stdout)) == len(re.findall(r" changed=", done.stdout)) > DEVICES
