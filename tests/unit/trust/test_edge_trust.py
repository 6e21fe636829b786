# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each link of the chain of trust altered in turn: the program names that one, and ends with 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from released_device import SITE, Device

LINKS = ["commit", "files", "release", "image", "containers", "model"]


def broken(device: Device, link: str, *options: str) -> str:
    """What was found wrong with the link, the only one that is broken."""
    code, links = device.found(*options)
    assert code == 1, links
    assert list(links) == LINKS
    assert [name for name, (state, _) in links.items() if state == "broken"] == [link], links
    return links[link][1]


def test_a_device_that_runs_the_release_is_trusted_and_says_by_whom(device: Device) -> None:
    done = device.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "ok"] for name in LINKS]
    assert "signed by alice (ED25519 key SHA256:" in lines[0]
    assert "4 files" in lines[1]
    assert "edge/predictor@sha256:03dec150a683" in lines[3]
    assert device.model[:19] in lines[5]


def test_a_checkout_with_a_packed_head_is_read_as_well(device: Device) -> None:
    device.git("pack-refs", "--all")
    device.git("gc", "--quiet")
    assert not (device.checkout / ".git/refs/heads/main").exists()
    assert device.found()[0] == 0
    device.git("checkout", "--quiet", "--detach")
    assert device.found()[0] == 0


def test_a_registry_of_another_name_is_the_same_image(device: Device) -> None:
    for image in device.images:
        image["RepoDigests"] = [text.replace("registry.edge.lab:5000", "cache:5002") for text in image["RepoDigests"]]
    assert device.found()[0] == 0


# commit


def test_an_unsigned_commit_is_refused(device: Device) -> None:
    device.commit("--amend", "--no-gpg-sign")
    assert "is not signed" in broken(device, "commit")


def test_nothing_is_held_against_a_commit_that_is_not_trusted(device: Device) -> None:
    device.commit("--amend", "--no-gpg-sign")
    links = device.found()[1]
    assert [links[name] for name in LINKS[1:]] == [("unchecked", "hangs on the link commit")] * 5


def test_a_foreign_signer_is_refused_by_the_fingerprint_of_the_key(device: Device) -> None:
    device.new_key("mallory")
    device.git("config", "user.signingkey", str(device.folder / "mallory"))
    device.commit("--amend")
    found = broken(device, "commit")
    assert "SHA256:" in found
    assert f"is no signer of {device.signers}" in found


def test_a_revoked_key_is_refused(device: Device) -> None:
    device.revoked.write_text((device.folder / "alice.pub").read_text())
    assert "signed with a revoked key" in broken(device, "commit")


@pytest.mark.parametrize(
    ("options", "said"),
    [('valid-before="20200101Z"', "key has expired"), ('valid-after="29990101Z"', "key is not yet valid")],
)
def test_a_key_counts_only_within_its_dates(device: Device, options: str, said: str) -> None:
    device.allow("alice", f'namespaces="git",{options}')
    assert said in broken(device, "commit")


def test_a_key_for_another_purpose_is_refused(device: Device) -> None:
    device.allow("alice", 'namespaces="file"')
    assert "does not allow for git" in broken(device, "commit")


def test_a_commit_that_carries_the_signature_of_another_is_refused(device: Device) -> None:
    signed = device.git("cat-file", "commit", "HEAD").encode()
    altered = signed.replace(b"\n\nrelease", b"\n\naltered")
    name = device.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=altered).strip()
    device.git("update-ref", "HEAD", name)
    assert "its signature was not made for its content" in broken(device, "commit")


def test_a_signature_of_another_kind_runs_no_program(device: Device) -> None:
    ran = hostile_program(device)
    for kind in ("", "openpgp.", "x509."):
        device.git("config", f"gpg.{kind}program", str(device.folder / "hostile"))
    signed = device.git("cat-file", "commit", "HEAD").encode().replace(b"SSH SIGNATURE", b"PGP SIGNATURE")
    name = device.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=signed).strip()
    device.git("update-ref", "HEAD", name)
    assert "is not signed with an SSH key" in broken(device, "commit")
    assert not ran.exists()


@pytest.mark.parametrize("name", ["signers", "revoked"])
def test_without_its_lists_of_keys_nothing_can_be_said(device: Device, name: str) -> None:
    getattr(device, name).unlink()
    code, links = device.found()
    assert code == 2
    assert links["commit"][0] == "unchecked"


def test_what_is_no_checkout_cannot_be_checked(device: Device) -> None:
    device.checkout = device.folder
    code, links = device.found()
    assert code == 2
    assert "is no checkout" in links["commit"][1]


# objects


def test_a_replaced_commit_counts_for_nothing(device: Device) -> None:
    """refs/replace would show a signed commit in the place of this one."""
    signed = device.git("rev-parse", "HEAD").strip()
    altered = device.commit("--amend", "--no-gpg-sign", "--message=altered")
    device.git("replace", altered, signed)
    assert "is not signed" in broken(device, "commit")


@pytest.mark.parametrize(("kind", "revision", "link"), [("commit", "HEAD", "commit"), ("tree", "HEAD^{tree}", "files")])
def test_an_object_whose_content_was_replaced_is_refused(device: Device, kind: str, revision: str, link: str) -> None:
    name = device.git("rev-parse", revision).strip()
    content = b"tree 0\n\n" if kind == "commit" else b""
    overwrite(device, name, f"{kind} {len(content)}\0".encode() + content)
    code, links = device.found()
    assert (code, links[link][0]) == (1, "broken")
    assert f"{kind} {name} of {device.checkout} was replaced" in links[link][1]


def test_a_replaced_release_file_is_not_believed(device: Device) -> None:
    text = device.release(worker=f"sha256:{'a' * 64}").encode()
    overwrite(device, device.git("rev-parse", f"HEAD:{SITE}").strip(), f"blob {len(text)}\0".encode() + text)
    assert "was replaced" in broken(device, "release")


def overwrite(device: Device, name: str, content: bytes) -> None:
    file = device.checkout / ".git/objects" / name[:2] / name[2:]
    file.chmod(0o644)
    file.write_bytes(zlib.compress(content))


# hostile repository


def hostile_program(device: Device) -> Path:
    ran = device.folder / "ran"
    program = device.folder / "hostile"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    return ran


def test_nothing_that_the_repository_names_is_run(device: Device) -> None:
    ran, program = hostile_program(device), str(device.folder / "hostile")
    for name in (
        *("core.fsmonitor", "core.pager", "pager.verify-commit", "core.sshCommand", "diff.external"),
        *("gpg.program", "gpg.ssh.program", "filter.x.clean", "filter.x.smudge", "gpg.ssh.defaultKeyCommand"),
    ):
        device.git("config", name, program)
    (device.checkout / ".git/info/attributes").write_text("* filter=x diff=x\n")
    for hook in ("post-index-change", "post-checkout", "reference-transaction", "fsmonitor-watchman"):
        (device.checkout / ".git/hooks").mkdir(exist_ok=True)
        (device.checkout / ".git/hooks" / hook).symlink_to(program)
    # An object that is missing would be fetched, by a program.
    device.git("config", "core.repositoryFormatVersion", "1")
    device.git("config", "extensions.partialClone", "origin")
    device.git("config", "remote.origin.promisor", "true")
    device.git("config", "remote.origin.url", f"ext::{program}")
    device.git("config", "protocol.ext.allow", "always")
    assert device.found()[0] == 0
    name = device.git("rev-parse", f"HEAD:{SITE}").strip()
    (device.checkout / ".git/objects" / name[:2] / name[2:]).unlink()
    assert "cannot be read" in broken(device, "release")
    assert not ran.exists()


def test_the_repository_cannot_name_its_own_signers(device: Device) -> None:
    device.new_key("mallory")
    own = device.folder / "own_signers"
    own.write_text(f"mallory {(device.folder / 'mallory.pub').read_text()}")
    device.git("config", "gpg.ssh.allowedSignersFile", str(own))
    device.git("config", "user.signingkey", str(device.folder / "mallory"))
    device.commit("--amend")
    assert "is no signer of" in broken(device, "commit")


# files


def alter(device: Device) -> None:
    device.write("inventory/rack/hosts.yml", "all: []\n")


def alter_and_assume_unchanged(device: Device) -> None:
    device.git("update-index", "--assume-unchanged", "inventory/rack/hosts.yml")
    alter(device)
    assert device.git("status", "--porcelain") == ""


def alter_and_skip(device: Device) -> None:
    device.git("update-index", "--skip-worktree", "inventory/rack/hosts.yml")
    alter(device)
    assert device.git("status", "--porcelain") == ""


def alter_behind_a_filter(device: Device) -> None:
    device.git("config", "filter.x.clean", "printf 'all: {}\\n'")
    (device.checkout / ".git/info/attributes").write_text("hosts.yml filter=x\n")
    alter(device)
    assert device.git("status", "--porcelain") == ""


def remove(device: Device) -> None:
    (device.checkout / "inventory/rack/hosts.yml").unlink()


def make_executable(device: Device) -> None:
    (device.checkout / "inventory/rack/hosts.yml").chmod(0o755)


def make_a_link(device: Device) -> None:
    same = device.folder / "same"
    same.write_text("all: {}\n")
    remove(device)
    (device.checkout / "inventory/rack/hosts.yml").symlink_to(same)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (alter, "differs from the commit"),
        (alter_and_assume_unchanged, "differs from the commit"),
        (alter_and_skip, "differs from the commit"),
        (alter_behind_a_filter, "differs from the commit"),
        (remove, "is missing"),
        (make_executable, "has the mode 100755, in the commit 100644"),
        (make_a_link, "has the mode 120000, in the commit 100644"),
    ],
)
def test_an_altered_file_is_named(device: Device, change: Callable[[Device], None], said: str) -> None:
    change(device)
    assert broken(device, "files") == f"inventory/rack/hosts.yml {said}"


@pytest.mark.parametrize("path", ["inventory/rack/host_vars/nuc-001.yml", "library/.git/uri.py", "ansible.cfg"])
def test_a_file_beside_the_commit_is_named_though_git_ignores_it(device: Device, path: str) -> None:
    (device.checkout / ".git/info").mkdir(exist_ok=True)
    (device.checkout / ".git/info/exclude").write_text("*\n")
    device.write(path, "")
    assert device.git("status", "--porcelain") == ""
    assert broken(device, "files") == f"{path} is not in the commit"


@pytest.mark.parametrize("target", ["/etc/hosts", "../../elsewhere", ".git/config"])
def test_a_committed_link_to_what_no_signature_covers_is_refused(device: Device, target: str) -> None:
    (device.checkout / "vars").symlink_to(target)
    device.commit()
    assert f"vars is a link to {target}, which this commit's signature does not cover" in broken(device, "files")


def test_many_differences_are_counted(device: Device) -> None:
    for number in range(8):
        device.write(f"added-{number}", "")
    assert broken(device, "files").endswith("added-4 is not in the commit; and 3 more")


# release


def leave_out(device: Device, name: str) -> None:
    """Commit a release that names no digest for this image, or for the model."""
    device.write(SITE, device.release(**{name: "XXX"}).replace("digest: XXX", ""))
    device.commit()


def test_a_release_without_a_digest_is_refused_by_its_field(device: Device) -> None:
    leave_out(device, "predictor")
    assert broken(device, "release") == f"{SITE}: edge_release.images.predictor.digest is not set"


def test_before_the_first_model_is_pinned_the_rest_is_asked_for(device: Device) -> None:
    leave_out(device, "model")
    device.containers = []
    code, links = device.found()
    assert code == 0
    assert links["release"][1] == "2026.11: 2 images by digest, no model yet"


def test_a_release_without_a_model_lets_none_be_served(device: Device) -> None:
    leave_out(device, "model")
    assert "which the release does not name" in broken(device, "model")


def test_a_digest_that_is_none_is_refused(device: Device) -> None:
    device.write(SITE, device.release(worker="latest"))
    device.commit()
    assert "edge_release.images.worker.digest is 'latest'" in broken(device, "release")


@pytest.mark.parametrize(
    "text", ["", "edge_release: 1", "edge_release: {images: [a]}", "a: [", "edge_release: !vault x"]
)
def test_a_release_file_that_is_none_is_refused(device: Device, text: str) -> None:
    device.write(SITE, text)
    device.commit()
    assert f"{SITE} holds no edge_release with images" in broken(device, "release")


def test_the_sites_release_file_is_named_where_there_are_several(device: Device) -> None:
    other = "inventory/other/group_vars/all/release.yml"
    device.write(other, device.release(worker=f"sha256:{'a' * 64}"))
    device.commit()
    code, links = device.found()
    assert (code, links["release"][0]) == (2, "unchecked")
    assert f"has 2 files group_vars/all/release.yml, {other}, {SITE}" in links["release"][1]
    assert device.found("--site", SITE)[0] == 0


ROLLOUT = str(Path(SITE).with_name("rollout.yml"))


def go_out_in_waves(device: Device, wave: int, **more: Any) -> None:
    """The site releases something else, in two waves of which so many are open; the device runs what was before."""
    before = yaml.safe_load(device.release())["edge_release"]
    device.write(SITE, device.release(predictor=f"sha256:{'a' * 64}").replace("2026.11", "2026.12"))
    to = yaml.safe_load((device.checkout / SITE).read_text())["edge_release"]
    rollout = {"to": to, "open": wave, "waves": [["nuc-001"], ["nuc-002"]], "before": before, **more}
    device.write(ROLLOUT, yaml.safe_dump({"edge_rollout": rollout}))
    device.commit()


def test_while_waves_are_closed_the_release_before_is_a_released_one(device: Device) -> None:
    go_out_in_waves(device, wave=1)
    code, links = device.found()
    assert (code, links["release"][1]) == (0, "2026.12, 2026.11: 3 images and 1 model by digest")


def test_by_the_clock_it_is_one_until_the_last_waves_time(device: Device) -> None:
    go_out_in_waves(device, wave=1, opens=["2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
    assert device.found()[0] == 0
    go_out_in_waves(device, wave=1, opens=["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
    assert "which is no image of the release" in broken(device, "containers")


@pytest.mark.parametrize("wave", [2, 0])
def test_once_all_waves_are_open_or_the_rollout_was_taken_back_it_is_none(device: Device, wave: int) -> None:
    go_out_in_waves(device, wave)
    assert "which is no image of the release" in broken(device, "containers")


def test_a_rollout_that_is_none_is_refused(device: Device) -> None:
    device.write(ROLLOUT, "edge_rollout: {open: 1}")
    device.commit()
    assert f"{ROLLOUT} holds no edge_rollout (KeyError: 'waves')" in broken(device, "release")


POLICY = str(Path(SITE).with_name("release_waves.yml"))


def commit_by_hand(device: Device, policy: dict[str, Any], ago: int) -> None:
    """The site releases something else without a rollout, so long ago; the device runs what was before."""
    device.write(POLICY, yaml.safe_dump({"edge_release_waves": policy}))
    device.write(SITE, device.release(predictor=f"sha256:{'a' * 64}").replace("2026.11", "2026.12"))
    device.git("add", "--all")
    device.git(
        "commit", "--quiet", "--gpg-sign", "--message=2026.12", GIT_COMMITTER_DATE=f"{int(time.time()) - ago} +0100"
    )


def wave(device: Device, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_trust.cli", "wave", str(device.checkout), "--device=nuc-001", *options]
    return subprocess.run(command, env=device.environment, capture_output=True, text=True, timeout=60, check=False)


def test_by_the_sites_policy_the_release_before_is_one_until_the_last_waves_time_and_no_longer(device: Device) -> None:
    policy = {"canaries": "canaries", "wave_size": "100%", "pause_seconds": 1000}
    commit_by_hand(device, policy, ago=500)
    code, links = device.found()
    assert (code, links["release"][1]) == (0, "2026.12, 2026.11: 3 images and 1 model by digest")
    found = json.loads(wave(device).stdout)
    assert (found["wave"], found["of"], found["held"]) == (2, 2, True)
    assert (found["to"]["name"], found["before"]["name"]) == ("2026.12", "2026.11")
    found = json.loads(wave(device, "--group=devices", "--group=canaries", f"--site={SITE}").stdout)
    assert (found["wave"], found["held"]) == (1, False)
    # The policy is the newest commit's: of a shorter pause the time is over.
    device.write(POLICY, yaml.safe_dump({"edge_release_waves": {**policy, "pause_seconds": 400}}))
    device.commit()
    assert json.loads(wave(device).stdout) == {"policy": True, "held": False, "wave": 2, "of": 2}
    assert "which is no image of the release" in broken(device, "containers")


def test_a_rollout_of_the_playbook_wins_over_the_policy(device: Device) -> None:
    commit_by_hand(device, {"wave_size": "50%", "pause_seconds": 9999}, ago=0)
    assert device.found()[0] == 0
    go_out_in_waves(device, wave=2)
    assert "which is no image of the release" in broken(device, "containers")


def test_without_a_policy_a_commit_by_hand_allows_nothing_else(device: Device) -> None:
    device.write(SITE, device.release(predictor=f"sha256:{'a' * 64}").replace("2026.11", "2026.12"))
    device.commit()
    assert "which is no image of the release" in broken(device, "containers")
    assert json.loads(wave(device).stdout) == {"policy": False, "held": False}


def test_a_policy_that_makes_no_sense_is_named(device: Device) -> None:
    commit_by_hand(device, {"pause_seconds": "soon"}, ago=0)
    said = f"{POLICY}: edge_release_waves: pause_seconds is 'soon', not a number of seconds"
    assert said in broken(device, "release")
    done = wave(device)
    assert (done.returncode, said in done.stderr) == (1, True)


def test_a_history_that_was_cut_off_before_the_release_says_nothing_of_the_one_before(device: Device) -> None:
    commit_by_hand(device, {"wave_size": "50%", "pause_seconds": 1000}, ago=500)
    (device.checkout / ".git/shallow").write_text(device.git("rev-parse", "HEAD"))
    state, said = device.found()[1]["release"]
    assert (state, "so the release before is not known" in said) == ("unchecked", True)
    assert wave(device).returncode == 1


def test_what_a_merge_brought_counts_from_the_merge(device: Device) -> None:
    device.git("checkout", "--quiet", "-b", "next")
    commit_by_hand(device, {"wave_size": "50%", "pause_seconds": 1000}, ago=5000)
    device.git("checkout", "--quiet", "main")
    device.git("merge", "--quiet", "--no-ff", "--gpg-sign", "--message=merged", "next")
    found = json.loads(wave(device).stdout)
    assert (found["of"], found["before"]["name"]) == (2, "2026.11")


# image, containers, model


def test_an_image_altered_under_the_releases_tag_is_refused(device: Device) -> None:
    device.images.append(
        {"Id": f"sha256:{'b' * 64}", "RepoTags": ["registry.edge.lab:5000/edge/predictor:0.1.0"], "RepoDigests": []}
    )
    found = broken(device, "image")
    assert f"edge/predictor:0.1.0 is sha256:{'b' * 64} with the digest none: it was not pulled" in found


def test_an_image_of_another_release_may_lie_there_for_a_rollback(device: Device) -> None:
    digest = f"registry.edge.lab:5000/edge/predictor@sha256:{'c' * 64}"
    device.images.append({"Id": f"sha256:{'b' * 64}", "RepoTags": [], "RepoDigests": [digest]})
    assert device.found()[0] == 0


def test_a_container_of_another_image_is_refused(device: Device) -> None:
    digest = f"registry.edge.lab:5000/edge/predictor@sha256:{'c' * 64}"
    device.images.append({"Id": f"sha256:{'b' * 64}", "RepoTags": [], "RepoDigests": [digest]})
    device.container["Image"] = f"sha256:{'b' * 64}"
    # What it was asked for does not say what it runs.
    assert "edge-predictor runs registry.edge.lab:5000/edge/predictor@sha256:03dec" in broken(device, "containers")


def test_a_container_started_by_a_tag_is_refused(device: Device) -> None:
    device.container["Config"]["Image"] = "registry.edge.lab:5000/edge/predictor:0.1.0"
    assert "not started by its digest" in broken(device, "containers")


def test_a_container_of_whatever_name_is_refused_unless_the_site_allows_it(device: Device) -> None:
    miner = {"Id": "1", "Image": f"sha256:{'b' * 64}", "Name": "/miner", "Mounts": []}
    device.containers.append({**miner, "Config": {"Image": "miner:latest", "Env": None}})
    assert "miner runs miner:latest" in broken(device, "containers")
    assert device.found("--other-container", "miner")[0] == 0


@pytest.mark.parametrize(
    ("part", "field", "value", "said"),
    [
        (
            "Config",
            "Entrypoint",
            ["sh"],
            "Entrypoint is ['sh'], the image's is ['python', '-m', 'edge_training.predictor']",
        ),
        ("Config", "Cmd", ["--help"], "Cmd is ['--help'], the image's is None"),
        ("Config", "User", "root", "User is root, the image's is edge"),
        ("Config", "WorkingDir", "/models", "WorkingDir is /models"),
        ("Config", "Healthcheck", {"Test": ["CMD-SHELL", "sh /models/x"]}, "the health check runs ['CMD-SHELL',"),
        ("HostConfig", "Privileged", True, "it is privileged"),
        ("HostConfig", "CapAdd", ["SYS_ADMIN"], "it has the capabilities SYS_ADMIN"),
        ("HostConfig", "Devices", [{"PathOnHost": "/dev/sda"}], "it has the devices /dev/sda"),
    ],
)
def test_a_released_image_that_is_told_to_do_otherwise_is_refused(
    device: Device, part: str, field: str, value: object, said: str
) -> None:
    device.container[part][field] = value
    found = broken(device, "containers")
    assert f"was not started as it is: {said}" in found


@pytest.mark.parametrize("variable", ["PATH=/models", "LD_PRELOAD=/models/x.so", "PYTHONPATH=/models"])
def test_a_variable_that_changes_what_the_program_is_is_refused(device: Device, variable: str) -> None:
    device.container["Config"]["Env"].append(variable)
    assert f"the variable {variable.partition('=')[0]} is not the image's" in broken(device, "containers")


def test_a_folder_over_the_images_own_programs_is_refused(device: Device) -> None:
    mount = {"Type": "bind", "Source": "/evil", "Destination": "/opt/edge", "Mode": "ro", "RW": False}
    device.container["Mounts"].append(mount)
    assert "/evil is mounted over its /opt/edge" in broken(device, "containers")


def test_the_engines_socket_is_the_device_managers_alone(device: Device) -> None:
    mount = {"Type": "bind", "Source": "/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": True}
    device.container["Mounts"].append(mount)
    assert "/run/docker.sock is mounted over its /var/run/docker.sock" in broken(device, "containers")


def started(device: Device, kind: str, env: list[str], folders: list[str]) -> dict[str, Any]:
    """A second container of the release; its image is the one that the release names as worker."""
    image = device.images[0]
    image["RepoDigests"] = [name.replace("edge/worker", f"edge/{kind}") for name in image["RepoDigests"]]
    image["Config"] = {"User": "", "Env": ["PATH=/opt/edge/bin"], "Entrypoint": ["entrypoint"], "WorkingDir": ""}
    container = {
        "Id": "2",
        "Image": image["Id"],
        "Name": f"/edge-{kind}",
        "Config": {**image["Config"], "Image": image["RepoDigests"][0], "Env": [*env, "PATH=/opt/edge/bin"], "Cmd": []},
        "HostConfig": {"Privileged": False, "CapAdd": None, "Devices": []},
        "Mounts": [
            {"Type": "bind", "Source": f"/device{folder}", "Destination": folder, "RW": True} for folder in folders
        ],
    }
    device.containers.append(container)
    return container


def worker(device: Device) -> dict[str, Any]:
    """As the role training_worker starts it."""
    folders = ["/run/edge-job", *(f"/var/lib/edge/{name}" for name in ("data", "models", "checkpoints", "state"))]
    digest = device.images[0]["RepoDigests"][0]
    return started(
        device, "worker", ["EDGE_SSH_ADDRESS=192.0.2.11", "EDGE_SSH_PORT=2222", f"EDGE_IMAGE_DIGEST={digest}"], folders
    )


def test_a_worker_started_as_its_role_does_is_trusted(device: Device) -> None:
    worker(device)
    code, links = device.found()
    assert code == 0, links


def test_a_workers_data_may_be_read_and_no_more(device: Device) -> None:
    data = {"Type": "bind", "Source": "/usr/share/x", "Destination": "/usr/share/x", "RW": False}
    worker(device)["Mounts"].append(data)
    code, links = device.found()
    assert code == 0, links
    data["RW"] = True
    assert "/usr/share/x is mounted over its /usr/share/x" in broken(device, "containers")


def test_a_device_manager_started_as_its_role_does_is_trusted(device: Device) -> None:
    device.write(SITE, device.release().replace("    worker:", "    manager:"))
    device.commit()
    env = ["EDGE_DEVICE_ADDRESS=192.0.2.11", "EDGE_ROOT=/var/lib/edge", "EDGE_WORKER_MEMORY=1g", "EDGE_WORKER_PIDS=512"]
    folders = ["/var/run/docker.sock", "/etc/edge-manager", "/var/lib/edge", "/run/edge-jobs"]
    started(device, "manager", env, folders)
    code, links = device.found()
    assert code == 0, links


def test_the_model_is_read_through_the_innermost_mount(device: Device) -> None:
    inner = device.folder / "inner.tar"
    inner.write_bytes(b"altered")
    outer, file = device.container["Mounts"][0], f"/models/{device.bundle.name}"
    device.container["Mounts"].append({**outer, "Source": str(inner), "Destination": file})
    code, links = device.found()
    assert (code, links["model"][0]) == (1, "broken")
    assert f"{inner} has the digest" in links["model"][1]


@pytest.mark.parametrize("text", [None, "", "[]", "{}"])
def test_a_container_of_which_nothing_says_what_it_serves_is_refused(device: Device, text: str | None) -> None:
    device.serving.unlink()
    if text is not None:
        device.serving.write_text(text)
    assert f"edge-predictor serves a model that {device.serving} does not name" in broken(device, "model")


def test_a_container_that_is_told_of_another_model_is_refused(device: Device) -> None:
    device.serving.write_text(json.dumps({"digest": f"sha256:{'e' * 64}"}))
    assert f"serves the model sha256:{'e' * 64}, which the release does not name" in broken(device, "model")


def test_an_image_of_the_release_by_another_images_digest_is_refused(device: Device) -> None:
    """The worker's digest is no digest of the predictor."""
    device.write(SITE, device.release(predictor=device.images[0]["RepoDigests"][0].partition("@")[2]))
    device.commit()
    assert "edge-predictor runs" in broken(device, "containers")


def test_an_altered_model_is_refused(device: Device) -> None:
    device.bundle.write_bytes(b"altered")
    assert f"{device.bundle} has the digest sha256:" in broken(device, "model")


def test_a_model_that_is_no_file_is_refused_without_waiting_for_it(device: Device) -> None:
    device.bundle.unlink()
    os.mkfifo(device.bundle)
    assert f"{device.bundle} is not there, or no file" in broken(device, "model")


def test_a_container_that_serves_another_model_is_refused(device: Device) -> None:
    device.write(SITE, device.release(model=f"sha256:{'d' * 64}"))
    device.commit()
    assert f"edge-predictor serves the model {device.model}, which the release does not name" in broken(device, "model")


def test_a_model_from_another_folder_is_read_where_it_lies(device: Device) -> None:
    elsewhere = device.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / device.bundle.name).write_bytes(b"altered")
    device.container["Mounts"][0]["Source"] = str(elsewhere)
    assert str(elsewhere) in broken(device, "model")


def test_two_broken_links_are_both_named(device: Device) -> None:
    alter(device)
    device.bundle.write_bytes(b"altered")
    links = device.found()[1]
    assert [name for name, (state, _) in links.items() if state == "broken"] == ["files", "model"]


def test_without_an_engine_what_runs_cannot_be_checked(device: Device) -> None:
    device.engine_runs = False
    code, links = device.found()
    assert code == 2
    assert [name for name, (state, _) in links.items() if state == "unchecked"] == ["image", "containers", "model"]
    assert "Is the docker daemon running?" in links["image"][1]


def test_a_broken_link_says_what_to_do(device: Device) -> None:
    device.revoked.write_text((device.folder / "alice.pub").read_text())
    lines = device.verify().stdout.splitlines()
    assert lines[0].startswith("commit     BROKEN")
    assert lines[1].strip().startswith("-> check out a commit that one of trust_signers signed")
