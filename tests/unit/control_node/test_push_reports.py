# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller sends of its pushes (callback push_reports): real runs of Ansible, ARA's own server behind TLS."""

from __future__ import annotations

import getpass
import json
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ara_server import Ara, served

from tests.unit.playbook_runs import CHECKOUT, PROGRAM, ansible_playbook, playbook_environment

sys.path[:0] = [str(CHECKOUT / "roles/pull_agent/files"), str(CHECKOUT / "roles/trust/files")]

from edge_converge import files, reports  # noqa: E402 - the program of devices and controllers lies in its role

NAMES = count()
PASSWORD = "xyzzy-of-the-controller"
ACCOUNTS = {"controller": (PASSWORD, "write"), "reader": ("xyzzy-of-the-reader", "read")}
PLAYBOOK = """\
- name: Push
  hosts: devices
  gather_facts: false
  tasks:
    - name: Secret is used
      ansible.builtin.command:
        argv: [cat]
        stdin: "{{ inventory_secret }} {{ command_line_secret }}"
      no_log: true
      changed_when: true
    - name: Message is there
      ansible.builtin.copy:
        content: "{{ inventory_secret }}"
        dest: "{{ folder }}/{{ inventory_hostname }}"
        mode: "0600"
    - name: Nothing is to be done
      ansible.builtin.set_fact: {nothing: done}
    - name: Device is fit
      ansible.builtin.assert: {that: inventory_hostname != unfit | default(''), fail_msg: It is not.}
    - name: It takes its time
      ansible.builtin.wait_for: {path: "{{ folder }}/goes-on"}
      when: waits | default(false) | bool
"""


class Controller:
    """A controller with two devices of its own names, for all tests share one ARA."""

    def __init__(self, folder: Path, url: str, ca: Path) -> None:
        self.folder, self.waiting = folder, folder / "reports"
        self.run_id = ""
        self.playbook = folder / f"configure-{next(NAMES)}.yml"
        self.playbook.write_text(PLAYBOOK)
        self.devices = [f"nuc-{next(NAMES):03}-p" for _ in range(2)]
        (folder / "extra.json").write_text(json.dumps({"command_line_secret": "xyzzy-of-the-command-line"}))
        variables = {
            "push_reports_url": url,
            "push_reports_ca_path": str(ca),
            "push_reports_password": "{{ 'xyzzy-of-the' ~ '-controller' }}",
            "push_reports_folder": "{{ folder }}/reports",
            "folder": str(folder),
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "inventory_secret": "xyzzy-of-the-inventory",
            "edge_release": {"name": "2026.12"},
        }
        hosts = {name: {} for name in self.devices}
        inventory = {"all": {"vars": variables, "children": {"devices": {"hosts": hosts}}}}
        (folder / "hosts.yml").write_text(json.dumps(inventory))

    def arguments(self, *more: str) -> list[str]:
        inventory, extra = self.folder / "hosts.yml", self.folder / "extra.json"
        return ["-i", str(inventory), str(self.playbook), "-e", f"@{extra}", *more]

    def push(self, *more: str) -> subprocess.CompletedProcess[str]:
        return ansible_playbook(
            *self.arguments(*more),
            stderr=subprocess.STDOUT,
            ANSIBLE_CALLBACKS_ENABLED="edge.rack.push_reports",
            EDGE_PUSH_REPORTS_RUN_ID=self.run_id,
        )

    def there(self, ara: Ara) -> list[dict[str, Any]]:
        """Its reports at ARA, oldest first."""
        status, found = ara.ask("reader", "read", "GET", "/api/v1/playbooks?label=push&order=started&limit=1000")
        assert status == 200
        return [run for run in found["results"] if run["name"] == self.playbook.stem]


def run_ids(run: dict[str, Any]) -> list[str]:
    return [label["name"] for label in run["labels"] if label["name"].startswith("run:")]


def labels(run: dict[str, Any]) -> set[str]:
    return {label["name"] for label in run["labels"] if not label["name"].startswith("run:")}


def parts(ara: Ara, kind: str, run: dict[str, Any]) -> list[dict[str, Any]]:
    status, found = ara.ask("reader", "read", "GET", f"/api/v1/{kind}?playbook={run['id']}&order=id&limit=1000")
    assert status == 200
    return list(found["results"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def url(ara: Ara, authority: Path) -> Iterator[str]:
    with served(ara, authority, ACCOUNTS) as address:
        yield address


@pytest.fixture
def controller(url: str, authority: Path, tmp_path: Path) -> Controller:
    return Controller(tmp_path, url, authority / "ca.crt")


def test_who_begins_a_push_may_say_under_which_name_it_is_found(ara: Ara, controller: Controller) -> None:
    controller.run_id = "2b7d1a2e-8f5c-5b0a-9f61-0d3f6c1f0a11"
    assert controller.push().returncode == 0
    (run,) = controller.there(ara)
    assert run_ids(run) == [f"run:{controller.run_id}"]
    # What is no UUID is said, and the push goes on without a report.
    controller.run_id = "../../etc"
    done = controller.push()
    assert done.returncode == 0
    assert "This push is not reported to ARA" in done.stdout
    assert len(controller.there(ara)) == 1


def test_a_push_stands_there_with_devices_release_outcome_and_who_pushed(ara: Ara, controller: Controller) -> None:
    good, bad = controller.devices
    done = controller.push("-e", f"unfit={bad}")
    assert done.returncode == 2
    assert "WARNING" not in done.stdout
    (run,) = controller.there(ara)
    assert len(run_ids(run)) == 1
    assert (run["status"], run["user"], run["controller"]) == ("failed", getpass.getuser(), socket.gethostname())
    assert labels(run) == {"push", "release:2026.12", "outcome:failed"}
    counts = {
        host["name"]: [host[kind] for kind in ("ok", "changed", "failed", "skipped", "unreachable")]
        for host in parts(ara, "hosts", run)
    }
    assert counts == {good: [4, 2, 0, 1, 0], bad: [3, 2, 1, 0, 0]}
    assert [task["name"] for task in parts(ara, "tasks", run)] == [
        "Secret is used",
        "Message is there",
        "Device is fit",
    ]
    assert [play["name"] for play in parts(ara, "plays", run)] == ["Push"]
    results = parts(ara, "results", run)
    assert sorted(result["status"] for result in results) == [*["changed"] * 4, "failed"]
    _status, failed = ara.ask("reader", "read", "GET", f"/api/v1/results/{results[-1]['id']}")
    assert failed["content"]["msg"] == "It is not."
    (file,) = parts(ara, "files", run)
    _status, text = ara.ask("reader", "read", "GET", f"/api/v1/files/{file['id']}")
    assert f"{good}: changed, release 2026.12 (4 ok, 2 changed, 1 skipped)" in text["content"]
    # Nothing waits, and nothing is left behind.
    assert [path.name for path in controller.waiting.iterdir()] == [".sending"]


def test_a_run_of_the_doctor_that_ends_with_1_is_reported_as_what_it_was(ara: Ara, controller: Controller) -> None:
    (controller.folder / "callback_plugins").symlink_to(CHECKOUT / "playbooks/callback_plugins")
    stats = {"ansible.builtin.set_stats": {"data": {"doctor_exit_code": 1}, "aggregate": False}}
    controller.playbook.write_text(json.dumps([{"hosts": "devices", "gather_facts": False, "tasks": [stats]}]))
    assert controller.push().returncode == 1
    (run,) = controller.there(ara)
    assert (run["status"], labels(run)) == ("completed", {"push", "release:2026.12", "outcome:ok"})


def test_without_ara_a_push_goes_on_and_its_report_is_sent_by_the_next_one_with_no_secret_in_it(
    ara: Ara, controller: Controller
) -> None:
    from ara.api import models

    done = controller.push("-e", "push_reports_url=https://localhost:9")
    assert done.returncode == 0
    assert done.stdout.count("WARNING") == 1
    assert f"1 reports of pushes wait in {controller.waiting}" in " ".join(done.stdout.split())
    assert controller.there(ara) == []
    (waits,) = controller.waiting.glob("*.json")
    assert "Secret is used" in waits.read_text()
    assert "xyzzy" not in waits.read_text()
    assert [path.stat().st_mode & 0o777 for path in (controller.waiting, waits)] == [0o700, 0o600]

    assert controller.push().returncode == 0
    first, second = controller.there(ara)
    assert first["id"] != second["id"]
    assert [labels(run) - {"push", "release:2026.12"} for run in (first, second)] == [{"outcome:changed"}] * 2
    assert list(controller.waiting.glob("*.json")) == []
    held = [row for table in (models.Playbook, models.Task, models.Result) for row in table.objects.values_list()]
    plain = [zlib.decompress(field) if isinstance(field, bytes) else field for row in held for field in row]
    plain += [zlib.decompress(row.contents) for row in models.FileContent.objects.all()]
    assert "xyzzy" not in str(plain)


def test_a_push_that_was_killed_is_reported_by_the_next_one(ara: Ara, controller: Controller) -> None:
    environment = playbook_environment(ANSIBLE_CALLBACKS_ENABLED="edge.rack.push_reports", PYTHONUNBUFFERED="1")
    with subprocess.Popen(
        [PROGRAM, *controller.arguments("-e", "waits=true")],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as cut:
        assert cut.stdout
        for line in cut.stdout:
            if "TASK [It takes its time]" in line:
                break
        # As long as it lives it is nobody else's to report.
        assert controller.push().returncode == 0
        assert [labels(run) & {"outcome:interrupted"} for run in controller.there(ara)] == [set()]
        cut.send_signal(signal.SIGKILL)
        cut.wait()
        assert controller.push().returncode == 0
        (controller.folder / "goes-on").touch()
    first, _second, _third = controller.there(ara)
    assert labels(first) == {"push", "release:2026.12", "outcome:interrupted"}
    assert {host["name"]: host["changed"] for host in parts(ara, "hosts", first)} == dict.fromkeys(
        controller.devices, 2
    )


def test_a_push_of_which_something_cannot_be_noted_is_reported_with_its_outcome(
    ara: Ara, controller: Controller
) -> None:
    done = controller.push("-e", "edge_release=no-mapping")
    assert done.returncode == 0
    assert "This push is reported to ARA without what follows" in " ".join(done.stdout.split())
    (run,) = controller.there(ara)
    assert labels(run) == {"push", "outcome:changed"}
    assert {host["name"]: host["changed"] for host in parts(ara, "hosts", run)} == dict.fromkeys(controller.devices, 2)


def test_a_run_in_check_mode_or_without_an_address_is_not_reported(ara: Ara, controller: Controller) -> None:
    assert controller.push("--check").returncode == 0
    assert "WARNING" not in controller.push("-e", "push_reports_url=").stdout
    assert controller.there(ara) == []
    assert not controller.waiting.exists()


def test_what_is_missing_is_named_and_the_push_goes_on(controller: Controller) -> None:
    done = controller.push("-e", "push_reports_password=")
    assert done.returncode == 0
    assert "push_reports_url is set, but not push_reports_password" in " ".join(done.stdout.split())


def link(url: str, authority: Path, account: str = "controller", **more: Any) -> reports.Ara:
    return reports.Ara(url, account, ACCOUNTS[account][0], authority / "ca.crt", "mend it", **more)


@pytest.fixture
def spooled(tmp_path: Path) -> Path:
    about = {
        "id": f"5c1f0001-0000-4000-8000-{next(NAMES):012}",
        "device": f"nuc-{next(NAMES):03}-s",
        "mode": "pull",
        "started": 1796000000.25,
        "ended": 1796000012.5,
        "outcome": "changed",
        "tasks": [{"name": "File is there", "action": "copy", "status": "changed", "message": ""}],
    }
    files.write(tmp_path / "report.json", about)
    return tmp_path


def test_an_account_that_may_not_report_leaves_reports_where_they_are(url: str, authority: Path, spooled: Path) -> None:
    with pytest.raises(reports.RefusedError, match=r"reader may only read.*mend it"):
        reports.send_all(link(url, authority, "reader", for_good=(400,)), spooled)
    assert len(reports.waiting(spooled)) == 1
    assert reports.send_all(link(url, authority), spooled) == 1


def test_what_the_server_lost_of_a_report_is_sent_anew(ara: Ara, url: str, authority: Path, spooled: Path) -> None:
    (spooled / "report.sent").write_text("999999 playbook;\n999999 file;\n99")
    assert reports.send_all(link(url, authority), spooled) == 1
    assert list(spooled.iterdir()) == []


def test_a_report_that_is_never_taken_is_set_aside(url: str, authority: Path, spooled: Path) -> None:
    path = spooled / "report.json"
    files.write(path, {**files.read(path), "tasks": [{"name": "x", "action": "y", "status": "no such status"}]})
    reports.send_all(link(url, authority), spooled)
    assert [found.name for found in spooled.rglob("*.json")] == ["report.json"]
    assert (spooled / "refused/report.json").exists()


def test_what_the_server_has_of_a_refused_report_is_not_sent_twice(
    ara: Ara, url: str, authority: Path, spooled: Path
) -> None:
    path = spooled / "report.json"
    about = files.read(path)
    tasks = [*about["tasks"], {"name": "x", "action": "y", "status": "no such status"}]
    files.write(path, {**about, "tasks": tasks})
    with pytest.raises(reports.RefusedError):
        reports.send(link(url, authority), path)
    with pytest.raises(reports.RefusedError, match="reader may only read"):
        reports.send_all(link(url, authority, "reader", for_good=(400,)), spooled)
    reports.send_all(link(url, authority), spooled)
    assert (spooled / "refused/report.json").exists()
    _status, found = ara.ask("reader", "read", "GET", f"/api/v1/playbooks?label=run:{about['id']}")
    (run,) = found["results"]
    assert (run["items"]["plays"], run["items"]["tasks"], run["items"]["results"]) == (1, 2, 1)


def test_sending_ends_at_its_time(url: str, authority: Path, spooled: Path) -> None:
    with pytest.raises(reports.SendError, match="the rest is sent later"):
        reports.send_all(link(url, authority, seconds=-1), spooled)
    assert len(reports.waiting(spooled)) == 1
