# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup program on folders: what it refuses, and what is left of a restore that was killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.registry.distribution import CHECKOUT, digest_of

PROGRAM = CHECKOUT / "roles" / "registry" / "files" / "edge-registry-backup"
TREE = Path("docker") / "registry" / "v2"
NAME = Path("registry") / "v2" / "repositories" / "name"
"""Of what a tree holds, for the tests."""

# The program with folders of its own; its renames are counted, and it is killed before one of them. The registry that
# it restarts answers.
STARTED = """
import os, runpy, shutil, signal, sys
from pathlib import Path
checkout, program, folder, killed_at, *arguments = sys.argv[1:]
sys.path.insert(0, checkout + "/plugins/module_utils")
from registry import service, settings
settings.Settings.load.__func__.__defaults__ = (folder + "/clean.json",)
class Answering:
    def __enter__(self): return self
    def __exit__(self, *_error): pass
    def check(self): pass
service.client_of = lambda _settings: Answering()
names = runpy.run_path(program, run_name="program")
started = names["main"].__globals__
started["BACKUP_SETTINGS"], started["ACCOUNTS"] = Path(folder, "backup.json"), Path(folder, "etc")
rename, renames = Path.rename, []
def renaming(path, target):
    if "storage" in Path(path).parts[-2:-1]:
        renames.append(path)
        if len(renames) == int(killed_at): os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = renaming
free = Path(folder, "free")
if free.exists(): shutil.disk_usage = lambda _path: shutil._ntuple_diskusage(0, 0, int(free.read_text()))
sys.argv = ["edge-registry-backup", *arguments]
sys.exit(names["main"]())
"""
# What the program asks of rsync and systemctl; the latter notes it. A copy fails half-way if there is a file `broken`.
RSYNC = """#!/bin/sh
set -eu
for one in "$@"; do
  case $one in --link-dest=*) echo "$one" >> "${0%/*}/../linked" ;; -*) ;;
  *) from=${to:-} to=$one ;; esac
done
mkdir -p "$to"
cp --archive "$from/." "$to"
if [ -e "${0%/*}/../broken" ]; then echo "No space left on device" >&2; exit 11; fi
"""
SYSTEMCTL = """#!/bin/sh
exec 2>/dev/null
echo "$* read-only=$(ls {folder}/units/*/*.conf | wc -l) docker=$(cat {folder}/storage/docker/{name})" >> {folder}/asked
"""


class Machine:
    """The registry's machine: storage, records, accounts and backups in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage, self.backups = folder / "storage", folder / "backups"
        for name in ("storage", "backups", "records", "run", "bin", "etc/accounts.d", "etc/revoked.d"):
            (folder / name).mkdir(parents=True)
        (folder / "clean.json").write_text(
            json.dumps(
                {
                    "records": str(folder / "records"),
                    "storage": str(self.storage),
                    "lock": str(folder / "clean.lock"),
                    "state": str(folder),
                    "switch": str(folder / "run" / "cleaning"),
                    "units": str(folder / "units"),
                }
            )
        )
        (folder / "backup.json").write_text(json.dumps({"folder": str(self.backups), "keep": 2}))
        for name, text in (("rsync", RSYNC), ("systemctl", SYSTEMCTL.format(folder=folder, name=NAME))):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def run(self, *arguments: str, killed_at: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", STARTED, CHECKOUT, PROGRAM, self.folder, str(killed_at), *arguments]
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            [str(one) for one in command], capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    def done(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def hold(self, name: str) -> None:
        """Let the registry hold this image, and no other."""
        shutil.rmtree(self.storage / "docker", ignore_errors=True)
        manifest = json.dumps({"annotations": {"name": name}}).encode()
        digest = digest_of(manifest)
        hexadecimal = digest.removeprefix("sha256:")
        write(self.storage / TREE / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data", manifest)
        revisions = self.storage / TREE / "repositories" / "edge" / "worker" / "_manifests" / "revisions"
        write(revisions / "sha256" / hexadecimal / "link", digest.encode())
        write(self.storage / "docker" / NAME, name.encode())

    def held(self) -> str:
        return (self.storage / "docker" / NAME).read_text()

    def named(self) -> list[str]:
        return sorted(one.name for one in self.backups.iterdir())


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -- What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["nothing", "an empty tree"])
def test_a_storage_without_images_is_not_backed_up_over_good_backups(machine: Machine, left: str) -> None:
    machine.hold("one")
    for name in ("20260101T000000Z", "20260102T000000Z"):
        assert "1 images" in machine.done("make", name)
    shutil.rmtree(machine.storage / "docker")
    if left == "an empty tree":
        (machine.storage / TREE / "repositories").mkdir(parents=True)

    refused = machine.run("make")

    assert refused.returncode == 1
    assert f"{machine.storage} holds no image, and the backup 20260102T000000Z does" in refused.stderr
    assert "edge-registry-backup restore 20260102T000000Z" in refused.stderr
    assert machine.named() == ["20260101T000000Z", "20260102T000000Z"]


def test_a_registry_that_is_new_is_backed_up(machine: Machine) -> None:
    for name in ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z"):
        assert "0 images" in machine.done("make", name)
    machine.hold("one")
    assert "1 images" in machine.done("make", "20260104T000000Z")
    assert machine.named() == ["20260103T000000Z", "20260104T000000Z"]


@pytest.mark.parametrize("device", ["", "/dev/sdb"])
def test_the_unit_of_backups_wants_the_disks_of_storage_and_backups(device: str, render: Any) -> None:
    unit = render(
        "edge-registry-backup.service.j2",
        registry_storage_dir="/srv/images",
        registry_backup_dir="/srv/backups",
        registry_storage_device=device,
    )
    head = unit.partition("[Service]")[0].splitlines()
    assert "RequiresMountsFor=/srv/images /srv/backups" in head
    assert ("AssertPathIsMountPoint=/srv/images" in head) == bool(device)


def test_a_folder_that_is_no_backup_is_neither_listed_nor_verified_nor_restored(machine: Machine) -> None:
    (machine.backups / "lost+found").mkdir()
    assert machine.done("list") == ""
    machine.hold("one")
    machine.done("make", "first")

    assert machine.done("list") == "first\n"
    for verb in ("verify", "restore"):
        refused = machine.run(verb, "lost+found")
        assert refused.returncode == 1
        assert "has no backup lost+found; it has first" in refused.stderr
    assert machine.held() == "one"


def test_a_folder_beside_the_backups_costs_no_backup_and_is_not_lost(machine: Machine) -> None:
    (machine.backups / "20000101T000000Z").mkdir()
    for name in ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z"):
        machine.done("make", name)
    assert machine.named() == ["20000101T000000Z", "20260102T000000Z", "20260103T000000Z"]


# -- Which is the newest ------------------------------------------------------------------------------


def test_the_newest_backup_is_the_one_that_was_made_last_whatever_its_name(machine: Machine) -> None:
    for name in ("before-upgrade", "20260101T000000Z", "Another"):
        machine.hold(name)
        machine.done("make", name)
    assert machine.done("list").split() == ["before-upgrade", "20260101T000000Z", "Another"]

    # What it is alike, and shares its space with, is the newest.
    machine.done("make", "alike")
    (data,) = (machine.backups / "alike" / "storage" / TREE / "blobs").rglob("data")
    assert data.read_bytes() == b'{"annotations": {"name": "Another"}}'
    assert f"/Another/storage/{TREE}/blobs" in (machine.folder / "linked").read_text().splitlines()[-1]


def test_backups_keep_their_order_when_they_are_copied_and_when_they_have_no_stamp(machine: Machine) -> None:
    for name in ("b", "a"):
        machine.done("make", name)
    for name in ("a", "b"):  # as a copy to another disk leaves them
        os.utime(machine.backups / name)
    assert machine.done("list").split() == ["b", "a"]
    for at, name in enumerate(("a", "b")):
        (machine.backups / name / "made").unlink()
        os.utime(machine.backups / name, (at, at))
    assert machine.done("list").split() == ["a", "b"]


# -- Restored, and killed meanwhile ---------------------------------------------------------------------


def beside(machine: Machine) -> list[str]:
    """Names of the trees that lie beside the registry's."""
    return sorted((one / NAME).read_text() for one in machine.storage.glob("docker.before-*"))


@pytest.fixture
def backed_up(machine: Machine) -> Machine:
    """A machine with the backup `old`, and a registry that went on since."""
    machine.hold("old")
    machine.done("make", "old")
    machine.hold("live")
    return machine


def test_what_was_there_before_a_restore_stays_until_the_next_has_ended(backed_up: Machine) -> None:
    assert "old is restored: 1 images" in backed_up.done("restore", "old")
    assert (backed_up.held(), beside(backed_up)) == ("old", ["live"])
    backed_up.hold("later")

    assert backed_up.run("restore", "old", killed_at=1).returncode == -9
    assert (backed_up.held(), beside(backed_up)) == ("later", ["live"])

    backed_up.done("restore", "old")
    backed_up.done("restore", "old")
    assert (backed_up.held(), beside(backed_up)) == ("old", ["old"])


def test_a_restore_killed_between_its_renames_is_repeated_and_loses_nothing(backed_up: Machine) -> None:
    assert backed_up.run("restore", "old", killed_at=2).returncode == -9
    assert not (backed_up.storage / "docker").exists()

    backed_up.done("restore", "old")

    assert (backed_up.held(), beside(backed_up)) == ("old", ["live"])
    assert not (backed_up.storage / ".restoring").exists()
    assert not (backed_up.folder / "run" / "cleaning").exists()


def test_a_registry_that_began_empty_after_a_kill_costs_no_image(backed_up: Machine) -> None:
    assert backed_up.run("restore", "old", killed_at=2).returncode == -9
    write(backed_up.storage / "docker" / NAME, b"empty")

    backed_up.done("restore", "old")

    assert (backed_up.held(), beside(backed_up)) == ("old", ["empty", "live"])


def test_garbage_collection_that_a_killed_clean_up_left_ends_before_the_images_change(backed_up: Machine) -> None:
    write(backed_up.folder / "units" / "docker-registry.service.d" / "edge-read-only.conf", b"")

    backed_up.done("restore", "old")

    asked = [line for line in (backed_up.folder / "asked").read_text().splitlines() if not line.startswith("reset")]
    assert asked == [
        "daemon-reload read-only=0 docker=live",
        "restart docker-registry read-only=0 docker=live",
        "stop docker-registry read-only=0 docker=live",
        "daemon-reload read-only=0 docker=old",
        "restart docker-registry read-only=0 docker=old",
    ]


@pytest.mark.parametrize("fails", ["free", "broken"])
def test_a_restore_that_does_not_fit_changes_nothing_and_leaves_nothing_behind(backed_up: Machine, fails: str) -> None:
    (backed_up.folder / fails).write_text("100")

    refused = backed_up.run("restore", "old")

    assert refused.returncode == 1
    assert "No space left" in refused.stderr or "has 0.0 MB free, and the backup takes" in refused.stderr
    assert [one.name for one in backed_up.storage.iterdir()] == ["docker"]
    assert (backed_up.held(), (backed_up.folder / "asked").exists()) == ("live", False)


def test_what_a_cut_restore_left_stays_though_the_next_one_does_not_fit(backed_up: Machine) -> None:
    assert backed_up.run("restore", "old", killed_at=2).returncode == -9
    write(backed_up.storage / "docker" / NAME, b"empty")
    (backed_up.folder / "broken").touch()
    assert backed_up.run("restore", "old").returncode == 1
    (backed_up.folder / "broken").unlink()

    backed_up.done("restore", "old")

    assert (backed_up.held(), beside(backed_up)) == ("old", ["empty", "live"])


# -- Accounts and records -----------------------------------------------------------------------------


def test_what_the_site_took_away_since_does_not_come_back_with_a_restore(machine: Machine) -> None:
    accounts, revoked = machine.folder / "etc" / "accounts.d", machine.folder / "etc" / "revoked.d"
    releases, reports = machine.folder / "records" / "releases", machine.folder / "records" / "devices"
    for name in ("device-lost", "device-kept", "device-revoked", "device-again", "someone"):
        write(accounts / name, b"before")
        write(reports / f"{name}.json", b"before")
    write(releases / "2026.11.json", b"before")
    write(revoked / "device-earlier", b"before")
    machine.hold("old")
    machine.done("make", "old")

    for name in ("device-lost", "someone"):
        (accounts / name).unlink()
    for name in ("lost", "revoked", "again"):
        (reports / f"device-{name}.json").unlink()
    (accounts / "device-revoked").rename(revoked / "device-revoked")
    for path in (accounts / "device-again", revoked / "device-again", accounts / "device-kept"):
        write(path, b"since")
    (revoked / "device-earlier").unlink()
    shutil.rmtree(releases)

    machine.done("restore", "old")

    found = {one.name: one.read_text() for one in accounts.iterdir()}
    assert found == {"device-lost": "before", "device-kept": "since", "device-again": "since"}
    assert sorted(one.name for one in revoked.iterdir()) == ["device-again", "device-earlier", "device-revoked"]
    assert "device-revoked.json" not in [one.name for one in reports.iterdir()]
    assert {"device-lost.json", "device-again.json"} < {one.name for one in reports.iterdir()}
    assert (releases / "2026.11.json").read_text() == "before"
