# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of the rack, of machines that are folders here: what counts as one, and which a restore refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab import host
from tests.unit.playbook_runs import ansible_playbook

PASSPHRASE = "passphrase-of-the-rack-01"
# What systemd does with the units of backups: a folder more, named by a second that has not been yet.
SYSTEMCTL = """#!/bin/sh
set -eu
case $1 in
  show) echo LoadState=loaded; echo ActiveState=inactive ;;
  start | restart)
    part=$(echo "$2" | cut -d- -f2)
    test ! -e {folder}/broken-$part
    made=$(printf '20991231T%06dZ' "$(ls {folder}/$part | wc -l)")
    mkdir {folder}/$part/$made && cd {folder}/$part/$made
    cp --preserve=timestamps {folder}/blob . && echo "$made" > database && echo 1.2 > version ;;
esac
"""


class Site:
    """A controller and its three machines, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if shutil.which("rsync") is None:
            host.install({"rsync"}, folder)
        for name in ("bin", "ca", "maas", "registry", "control"):
            (folder / name).mkdir()
        (folder / "blob").write_text("the same each night\n")
        (folder / "bin/systemctl").write_text(SYSTEMCTL.format(folder=folder))
        (folder / "bin/systemctl").chmod(0o755)
        make_authority(folder / "ca")
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "edge_controller_dir": str(folder),
            "rack_ca_dir": str(folder / "ca"),
            "rack_backup_passphrase": PASSPHRASE,
            "rack_backup_keep": 1,
            "maas_server_backup_dir": str(folder / "maas"),
            "registry_backup_dir": str(folder / "registry"),
            "control_node_backup_dir": str(folder / "control"),
            "control_node_accounts": [],
        }
        groups = {name: {"hosts": {f"{name}.example.com": {}}} for name in ("maas", "registry", "control")}
        hosts = {"all": {"vars": variables, "hosts": {"localhost": {}}, "children": groups}}
        (folder / "hosts.json").write_text(json.dumps(hosts))

    def playbook(self, playbook: Path | str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A playbook's run; sudo is not there, and not needed."""
        given = json.dumps({"ansible_become": False, **variables})
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_CALLBACK_FORMAT_PRETTY": "0",
        }
        return ansible_playbook("-i", self.folder / "hosts.json", playbook, "-e", given, **environment)

    @property
    def backups(self) -> list[Path]:
        return sorted((self.folder / "backups").glob("[!.]*"))


def make_authority(folder: Path) -> None:
    openssl = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    subprocess.run([*openssl, "-subj", "/CN=edge.rack", "-days", "2", *files], check=True, capture_output=True)


def test_a_backup_counts_when_all_of_it_is_there_and_takes_what_is_new(tmp_path: Path) -> None:
    site = Site(tmp_path)
    # As a night before left it; one is kept (rack_backup_keep).
    earlier = tmp_path / "backups/20250101T000000Z"
    (earlier / "registry").mkdir(parents=True)
    shutil.copy2(tmp_path / "blob", earlier / "registry")
    sent = (earlier / "registry/blob").stat().st_ino
    (tmp_path / "broken-control").touch()
    failed = site.playbook("playbooks/backup.yml")
    assert failed.returncode != 0
    assert site.backups == [earlier]
    (partial,) = (tmp_path / "backups").glob(".partial-*")

    (tmp_path / "broken-control").unlink()
    done = site.playbook("playbooks/backup.yml")
    assert done.returncode == 0, done.stdout
    assert PASSPHRASE not in failed.stdout + done.stdout
    assert not partial.exists()
    (first,) = site.backups
    manifest = json.loads((first / "manifest.json").read_text())
    assert (manifest["format"], manifest["name"]) == (1, first.name)
    assert {(one["part"], one["host"], one["version"]) for one in manifest["parts"]} == {
        (name, f"{name}.example.com", "1.2") for name in ("maas", "registry", "control")
    }
    assert set(manifest["sums"]) == {"ca", "maas", "registry", "control"}
    assert (first / "ca/ca.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert (tmp_path / "backups").stat().st_mode & 0o077 == 0

    assert first != earlier
    assert (first / "registry/blob").stat().st_ino == sent
    assert (first / "registry/database").read_text().strip() == max((tmp_path / "registry").iterdir()).name


@pytest.mark.long
def test_a_restore_refuses_what_is_not_whole_or_not_this_rack_s(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.playbook("playbooks/backup.yml").returncode == 0
    (good,) = site.backups

    cases: dict[str, dict[str, Any]] = {}
    for name in ("good", "altered", "resealed", "partial", "absent", "moved", "lost", "locked", "foreign"):
        shutil.copytree(tmp_path / "backups", tmp_path / name)
        cases[name] = {"rack_backup_dir": str(tmp_path / name)}
    for name in ("altered", "resealed"):
        (tmp_path / name / good.name / "registry/blob").unlink()
        (tmp_path / name / good.name / "registry/blob").write_text("other\n")
    digest = subprocess.check_output(["sha256sum", tmp_path / "resealed" / good.name / "registry/blob"], text=True)
    sums = tmp_path / "resealed" / good.name / "registry.sha256"
    sums.write_text("\n".join(f"{digest[:64]}{line[64:]}" for line in sums.read_text().splitlines()) + "\n")
    (tmp_path / "partial" / good.name / "manifest.json").unlink()
    cases["absent"]["backup"] = "20250101T000000Z"
    moved = tmp_path / "moved" / good.name / "manifest.json"
    moved.write_text(moved.read_text().replace("maas.example.com", "maas.example.org"))
    cases["lost"] |= {"rack_ca_dir": str(tmp_path / "none")}
    cases["locked"] |= {"rack_ca_dir": str(tmp_path / "none"), "rack_backup_passphrase": "another-" + PASSPHRASE}
    (tmp_path / "other-ca").mkdir()
    make_authority(tmp_path / "other-ca")
    cases["foreign"] |= {"rack_ca_dir": str(tmp_path / "other-ca")}

    hosts = json.loads((tmp_path / "hosts.json").read_text())
    hosts["all"]["children"]["cases"] = {"hosts": cases}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    role = {"ansible.builtin.include_role": {"name": "edge.rack.rack_backup", "tasks_from": "choose"}}
    (tmp_path / "choose.yml").write_text(json.dumps([{"hosts": "cases", "gather_facts": False, "tasks": [role]}]))
    done = site.playbook(tmp_path / "choose.yml")
    said = {name: [line for line in done.stdout.splitlines() if f"[{name}]" in line] for name in cases}
    refused = {
        name: " ".join(line for line in lines if "fatal" in line or "failed" in line) for name, lines in said.items()
    }
    assert not refused["good"] and not refused["lost"], done.stdout
    assert "is damaged: ./blob: FAILED" in refused["altered"]
    assert "registry" in refused["resealed"]
    assert "no whole backup at all; it has none" in refused["partial"]
    assert f"no whole backup 20250101T000000Z; it has {good.name}" in refused["absent"]
    assert "part maas of the backup" in refused["moved"] and "maas.example.org" in refused["moved"]
    assert "cannot be opened with rack_backup_passphrase" in refused["locked"]
    assert "of a rack with another authority" in refused["foreign"]
    assert PASSPHRASE not in done.stdout

    done = site.playbook("playbooks/restore.yml", rack_backup_dir=str(tmp_path / "altered"))
    assert done.returncode != 0
    assert "is damaged" in done.stdout and "Hypervisor |" not in done.stdout
