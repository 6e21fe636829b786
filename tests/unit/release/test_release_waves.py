# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plays of a rollout, with real git and signatures; devices are folders with an edge-converge of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbook_runs import CHECKOUT, ansible_playbook

DEVICES = [f"nuc-{number}" for number in range(1, 5)]
# As `edge-converge now` and `status`: what the remote says is taken, unless this device cannot run that release.
CONVERGE = """\
import json, os, pathlib, subprocess, sys, time
import yaml
from ansible_collections.edge.rack.plugins.filter.release_place import release_place

folder, device = pathlib.Path({folder!r}), os.environ["DEVICE"]
path = folder / f"{{device}}.json"
state = json.loads(path.read_text())
if sys.argv[1] == "now":
    def read(name, key):
        done = subprocess.run(["git", "-C", folder / "site.git", "show", f"main:{{name}}.yml"], capture_output=True)
        return (yaml.safe_load(done.stdout) or {{}}).get(key) or {{}}
    if state.get("dark"):
        dark = folder / f"dark-{{device}}"
        dark.touch()
        while dark.exists():
            time.sleep(1)
        sys.exit("too late")
    release, rollout = read("group_vars/all/release", "edge_release"), read("group_vars/all/rollout", "edge_rollout")
    if release_place(rollout, device, release)["held"]:
        release = rollout["before"]
    if release["name"] in state["cannot"]:
        state["last"] = {{"outcome": "failed", "error": "not healthy {{{{ 1 / 0 }}}}"}}
    else:
        state |= {{"release": release["name"], "last": {{"outcome": "changed"}}}}
    state["runs"] += 1
    path.write_text(json.dumps(state))
print(json.dumps(state))
"""
PLAYS = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: edge.rack.rollout, tasks_from: site}}
    - ansible.builtin.set_fact: {{rollout_to: "{{{{ edge_release | combine({{'name': edge_release_name}}) }}}}"}}
    - ansible.builtin.include_role: {{name: edge.rack.rollout, tasks_from: plan}}
- ansible.builtin.import_playbook: {playbooks}/release_waves.yml
"""


class Rack:
    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"
        group_vars = self.site / "group_vars/all"
        group_vars.mkdir(parents=True)
        self.release_file, self.rollout_file = group_vars / "release.yml", group_vars / "rollout.yml"
        program = folder / "edge-converge"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/converge.py "$@"\n')
        program.chmod(0o755)
        (folder / "converge.py").write_text(
            f"import sys\nsys.path.insert(0, {str(CHECKOUT / '.collections')!r})\n"
            + CONVERGE.format(folder=str(folder))
        )
        (folder / "plays.yml").write_text(PLAYS.format(playbooks=CHECKOUT / "playbooks"))
        hosts = {}
        for device in DEVICES:
            python = folder / f"python-{device}"
            # One that went dark answers nothing any more.
            dark = f"while [ -e {folder}/dark-{device} ]; do sleep 1; done"
            python.write_text(f'#!/bin/sh\n{dark}\nDEVICE={device} exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            hosts[device] = {"ansible_python_interpreter": str(python)}
            self.device(device, release="1", runs=0, cannot=[])
        common = {
            "ansible_connection": "local",
            "ansible_become": False,
            "edge_controller_dir": str(folder),
            "rollout_program": str(program),
            "rollout_pause_seconds": 0,
            "rollout_wave_size": 2,
        }
        groups = {"devices": {"hosts": hosts}, "status_deployed": {"hosts": dict.fromkeys(DEVICES)}}
        inventory = {"all": {"vars": common, "hosts": {"localhost": None}, "children": groups}}
        (self.site / "hosts.yml").write_text(yaml.safe_dump(inventory))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "site.git"), at=folder)
        self.git("init", "--quiet", "--initial-branch=main", str(self.site), at=folder)
        for name, value in {
            "user.name": "alice",
            "user.email": "alice@edge",
            "gpg.format": "ssh",
            "user.signingkey": str(folder / "key"),
        }.items():
            self.git("config", name, value)
        self.git("remote", "add", "origin", str(folder / "site.git"))
        self.write("1")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=Begin")
        self.git("push", "--quiet", "origin", "main")

    def git(self, *arguments: str, at: Path | None = None) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=at or self.site, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, name: str) -> None:
        digest = f"sha256:{name * 64}"
        images = {"predictor": {"tag": name, "digest": digest}}
        self.release_file.write_text(f"# by hand\n{yaml.safe_dump({'edge_release': {'name': name, 'images': images}})}")

    def device(self, device: str, **state: Any) -> dict[str, Any]:
        path = self.folder / f"{device}.json"
        found: dict[str, Any] = {**(json.loads(path.read_text()) if path.exists() else {}), **state}
        path.write_text(json.dumps(found))
        return found

    def release(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        self.write(name)
        plays = self.folder / "plays.yml"
        return ansible_playbook("-i", self.site, "-e", f"edge_release_name={name}", *options, plays)

    @property
    def running(self) -> list[str]:
        return [self.device(device)["release"] for device in DEVICES]

    @property
    def runs(self) -> list[int]:
        return [self.device(device)["runs"] for device in DEVICES]

    @property
    def subjects(self) -> list[str]:
        """Of the commits on the control VM, the oldest first."""
        return self.git("log", "--reverse", "--format=%s", "main", at=self.folder / "site.git").splitlines()[1:]

    def converge(self, device: str) -> str:
        """By its own timer; what it runs then."""
        command = [self.folder / f"python-{device}", self.folder / "converge.py", "now"]
        subprocess.run(command, check=True, capture_output=True)
        return str(self.device(device)["release"])


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Rack(tmp_path)


def test_a_release_goes_out_in_waves_and_one_that_fails_is_taken_back(rack: Rack) -> None:
    rack.device("nuc-2", cannot=["2"])
    done = rack.release("2", "-e", json.dumps({"rollout_canaries": ["nuc-3"]}))
    assert done.returncode == 2
    assert "2 stopped in wave 2 of 3: 1 of 2 devices failed, 0 may" in " ".join(done.stdout.split())
    assert rack.running == ["1"] * 4
    # The canary, and nuc-1: each took it, and went back.
    assert rack.runs == [2, 2, 2, 0]
    assert rack.subjects == [
        *(f"Release 2: wave {n} of 3, {many} devices" for n, many in ((1, 1), (2, 2))),
        "Back to 1: 2 stopped in wave 2",
    ]
    # What a device says is no template, and no variable.
    assert "not healthy" not in rack.rollout_file.read_text()
    assert "not healthy {{ 1 / 0 }}" in rack.git("log", "-1", "--format=%B")
    assert rack.release_file.read_text().startswith("# by hand\n")


def test_the_same_command_goes_on_where_it_stopped_without_those_that_were_pinned_since(rack: Rack) -> None:
    rack.device("nuc-2", cannot=["2"])
    assert rack.release("2", "-e", "rollout_back_enabled=false").returncode == 2
    assert rack.running == ["2", "1", "2", "1"]
    assert rack.converge("nuc-4") == "1"
    own = {"edge_release": {"name": "own", "images": {}}}
    (rack.site / "host_vars").mkdir()
    (rack.site / "host_vars/nuc-2.yml").write_text(yaml.safe_dump(own))
    done = rack.release("2", "-e", "rollout_back_enabled=false")
    assert "not committed: host_vars/nuc-2.yml" in " ".join(done.stdout.split())
    rack.git("add", "host_vars")
    rack.git("commit", "--quiet", "--message=Pin nuc-2")
    runs = rack.runs
    done = rack.release("2", "-e", "rollout_back_enabled=false")
    assert done.returncode == 0, done.stdout
    assert "pinned, and not touched: nuc-2 own" in done.stdout
    assert rack.running == ["2", "1", "2", "2"]
    assert [now - then for now, then in zip(rack.runs, runs, strict=True)] == [0, 0, 1, 1]
    assert rack.subjects[-1] == "Release 2: wave 3 of 3, 1 devices"
    assert rack.git("status", "--porcelain") == ""


def test_a_release_that_is_out_is_not_committed_again_whatever_the_order_of_its_fields(rack: Rack) -> None:
    assert rack.release("2").returncode == 0
    committed = rack.git("rev-parse", "HEAD")
    to = yaml.safe_load(rack.rollout_file.read_text())["edge_rollout"]["to"]
    image, version = next(iter(to["images"].items()))
    other = {"images": {image: dict(reversed(version.items()))}, "name": to["name"]}
    assert rack.release("2", "-e", json.dumps({"rollout_to": other})).returncode == 0
    assert rack.git("rev-parse", "HEAD") == committed
    assert rack.git("status", "--porcelain") == ""


@pytest.mark.long
def test_nobody_waits_with_a_release_that_is_itself_on_its_way(rack: Rack) -> None:
    assert (
        rack.release("2", "-e", "rollout_unattended_enabled=true", "-e", "rollout_pause_seconds=9999").returncode == 0
    )
    assert [rack.converge(device) for device in DEVICES] == ["2", "1", "1", "1"]
    assert (
        rack.release("3", "-e", "rollout_unattended_enabled=true", "-e", "rollout_pause_seconds=9999").returncode == 0
    )
    assert [rack.converge(device) for device in DEVICES] == ["3", "1", "1", "1"]


@pytest.mark.long
def test_nor_with_one_that_was_committed_by_hand_and_is_on_its_way_by_the_sites_policy(rack: Rack) -> None:
    policy = {"edge_release_waves": {"wave_size": "50%", "pause_seconds": 9999}}
    rack.release_file.with_name("release_waves.yml").write_text(yaml.safe_dump(policy))
    rack.write("2")
    rack.git("add", "--all")
    rack.git("commit", "--quiet", "--message=2 by hand")
    rack.git("push", "--quiet", "origin", "main")
    done = rack.release("3", "--check")
    assert "3 in place of 1: 3 waves" in " ".join(done.stdout.split())


@pytest.mark.long
def test_who_takes_over_waves_that_the_clock_opened_closes_none(rack: Rack) -> None:
    assert (
        rack.release("2", "-e", "rollout_unattended_enabled=true", "-e", "rollout_pause_seconds=9999").returncode == 0
    )
    rollout = yaml.safe_load(rack.rollout_file.read_text())
    rollout["edge_rollout"]["opens"][1] = rollout["edge_rollout"]["opens"][0]
    rack.rollout_file.write_text(yaml.safe_dump(rollout))
    rack.git("commit", "--quiet", "--all", "--message=Time passes")
    rack.git("push", "--quiet", "origin", "main")
    assert [rack.converge(device) for device in DEVICES] == ["2", "2", "2", "1"]
    assert rack.release("2").returncode == 0
    assert rack.subjects[-2:] == ["Release 2: wave 2 of 3, 2 devices", "Release 2: wave 3 of 3, 1 devices"]
    assert rack.running == ["2"] * 4


@pytest.mark.long
def test_a_device_that_goes_dark_holds_its_wave_up_no_longer_than_its_time_and_counts_as_failed(rack: Rack) -> None:
    rack.device("nuc-1", dark=True)
    times = {"rollout_converge_seconds": 6, "rollout_answer_seconds": 10, "rollout_back_enabled": False}
    try:
        done = rack.release("2", "-e", json.dumps(times))
    finally:
        (rack.folder / "dark-nuc-1").unlink(missing_ok=True)
    said = " ".join(done.stdout.split())
    assert "1 of 1 devices failed, 0 may (the first wave): nuc-1: it answered before, and not afterwards: " in said
    assert rack.runs == [0] * 4


@pytest.mark.long
def test_a_release_that_the_control_node_refuses_leaves_no_commit(rack: Rack) -> None:
    hook = rack.folder / "site.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho nobody signed this >&2\nexit 1\n")
    hook.chmod(0o755)
    head = rack.git("rev-parse", "HEAD")
    done = rack.release("2")
    assert done.returncode == 2
    assert "nobody signed this" in done.stdout
    assert rack.git("rev-parse", "HEAD") == head
    assert rack.running == ["1"] * 4
    hook.unlink()
    assert rack.release("2").returncode == 0
    assert rack.running == ["2"] * 4


def test_check_mode_tells_the_plan_and_changes_nothing(rack: Rack) -> None:
    done = rack.release("2", "--check")
    assert done.returncode == 0, done.stdout
    assert "2 in place of 1: 3 waves of 1, 2, 1 devices, first nuc-1" in " ".join(done.stdout.split())
    assert not rack.rollout_file.exists()
    assert rack.runs == [0] * 4
