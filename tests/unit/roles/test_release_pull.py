# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How images get on devices: roles/release/tasks/pull.yml with a `docker` and a `sleep` that write down their calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "a" * 64
CONTENT = f"edge/worker@{DIGEST}"
IMAGE = f"registry.rack:5000/{CONTENT}"
CACHED = f"cache.shelf:5000/{CONTENT}"
REFUSED = "Error response from daemon: unauthorized: authentication required"
MISSING = "Error response from daemon: received unexpected HTTP status: 500 Internal Server Error"
# An engine per device. Its pulls are answered by the lines of `answers`, and then well.
DOCKER = r"""#!/bin/sh
cd "$RACK/$DEVICE" || exit 1
[ "$1" = pull ] || { cat images 2>/dev/null; exit 0; }
echo "pull $3" >>calls
echo begins >>../order
PATH=$PLAIN_PATH sleep "$SECONDS_OF_A_PULL"
echo ends >>../order
answer=$(head -n 1 answers 2>/dev/null)
if [ -n "$answer" ]; then
  sed -i 1d answers
  echo "$answer" >&2
  exit 1
fi
echo "$3" >>images
"""
SLEEP = '#!/bin/sh\necho "sleep $*" >>"$RACK/$DEVICE/calls"\n'


@dataclass
class Rack:
    """Devices that are all this machine, each with an engine of its own."""

    folder: Path
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: str = ""

    def device(self, name: str, images: tuple[str, ...] = (), answers: tuple[str, ...] = (), **variables: Any) -> None:
        (self.folder / name).mkdir()
        (self.folder / name / "images").write_text("".join(f"{image}\n" for image in images))
        (self.folder / name / "answers").write_text("".join(f"{answer}\n" for answer in answers))
        self.devices[name] = {"seconds": 0, "release_pull_image": IMAGE, **variables}

    def calls(self, name: str) -> list[str]:
        path = self.folder / name / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def pull(self, *options: str, **variables: Any) -> int:
        """Exit status of ansible-playbook; what it printed is `said`, in one line."""
        local = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_async_dir": str(self.folder / "bin"),
            "release_pull_jitter_seconds": 0,
            **variables,
        }
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": self.devices, "vars": local}}))
        play = {
            "hosts": "all",
            "gather_facts": False,
            "environment": {
                "RACK": str(self.folder),
                "DEVICE": "{{ inventory_hostname }}",
                "SECONDS_OF_A_PULL": "{{ seconds }}",
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "PLAIN_PATH": os.environ["PATH"],
            },
            "tasks": [
                {"ansible.builtin.include_role": {"name": "edge.rack.release", "tasks_from": "pull"}},
                {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} runs {{ release_pull_reference }}"}},
            ],
        }
        (self.folder / "pull.yml").write_text(json.dumps([play]))
        argv = (self.folder / "pull.yml", *options)
        done = ansible_playbook(*argv, stderr=subprocess.STDOUT, ANSIBLE_INVENTORY=str(self.folder / "inventory.json"))
        print(done.stdout)
        self.said = " ".join(done.stdout.split())
        return done.returncode


def _rack(folder: Path) -> Rack:
    for name, text in (("docker", DOCKER), ("sleep", SLEEP)):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return Rack(folder)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Rack:
    """One run in which every device gets the image."""
    rack = _rack(tmp_path_factory.mktemp("well"))
    rack.device("nuc-has-it", images=(IMAGE,))
    rack.device("nuc-has-it-of-a-cache", images=(f"old.cache:5000/{CONTENT}", f"registry.rack:5000/other@{DIGEST}"))
    rack.device("nuc-patient", answers=("dial tcp: i/o timeout", "connection reset by peer"), seconds=0.3)
    rack.device("nuc-of-a-shelf", edge_registry_cache="cache.shelf:5000", seconds=0.3)
    assert rack.pull(release_pull_jitter_seconds=30, release_pull_backoff_seconds=4, release_pull_limit=1) == 0
    return rack


@pytest.fixture(scope="module")
def badly(tmp_path_factory: pytest.TempPathFactory) -> Rack:
    """One run in which no device gets it."""
    rack = _rack(tmp_path_factory.mktemp("badly"))
    rack.device("nuc-far", answers=("dial tcp: no route to host",) * 3, edge_registry_cache="cache.shelf:5000")
    rack.device("nuc-revoked", answers=(REFUSED,))
    rack.device("nuc-too-early", answers=(MISSING,) * 3, edge_registry_cache="cache.shelf:5000")
    rack.device("nuc-slow", seconds=60, release_pull_deadline_seconds=1)
    rack.device("nuc-by-tag", release_pull_image="registry.rack:5000/edge/worker:1.0")
    assert rack.pull(release_pull_retries=2) == 2
    return rack


def test_a_device_that_has_the_image_under_any_name_neither_pulls_nor_waits(well: Rack) -> None:
    assert well.calls("nuc-has-it") == well.calls("nuc-has-it-of-a-cache") == []
    assert f"nuc-has-it-of-a-cache runs old.cache:5000/{CONTENT}" in well.said


def test_a_device_pulls_after_a_jitter_of_its_own_and_tries_again_later_and_later(well: Rack) -> None:
    jitter = well.calls("nuc-patient")[0].removeprefix("sleep ")
    assert 0 <= float(jitter) <= 30
    assert jitter != well.calls("nuc-of-a-shelf")[0].removeprefix("sleep "), "both of 30,001 numbers"
    assert well.calls("nuc-patient") == [
        f"sleep {jitter}", f"pull {IMAGE}", f"sleep 4 {jitter}", f"pull {IMAGE}", f"sleep 8 {jitter}", f"pull {IMAGE}",
    ]  # fmt: skip


def test_no_more_devices_pull_at_once_than_the_limit(well: Rack) -> None:
    at_once, most = 0, 0
    for line in (well.folder / "order").read_text().splitlines():
        at_once += 1 if line == "begins" else -1
        most = max(most, at_once)
    assert most == 1


def test_a_device_of_a_shelf_with_a_cache_pulls_there(well: Rack) -> None:
    assert well.calls("nuc-of-a-shelf")[1:] == [f"pull {CACHED}"]
    assert f"nuc-of-a-shelf runs {CACHED}" in well.said


def test_check_mode_says_what_would_be_pulled_and_pulls_nothing(tmp_path: Path) -> None:
    rack = _rack(tmp_path)
    rack.device("nuc-has-it", images=(CACHED,))
    rack.device("nuc-new", edge_registry_cache="cache.shelf:5000")
    assert rack.pull("--check") == 0
    assert f"{CONTENT} from cache.shelf:5000" in rack.said
    assert "nuc-has-it : ok=6 changed=0" in rack.said
    assert "nuc-new : ok=9 changed=1" in rack.said
    assert rack.calls("nuc-new") == []


def test_who_gives_up_names_device_image_registry_and_the_fix(badly: Rack) -> None:
    assert (
        f"nuc-far did not get {CONTENT} from cache.shelf:5000 (edge_registry_cache): dial tcp: no route" in badly.said
    )
    assert "Look at the link between them" in badly.said
    assert "Without edge_registry_cache it pulls from registry.rack:5000." in badly.said
    assert badly.calls("nuc-far").count(f"pull {CACHED}") == 3
    assert (
        f"cache.shelf:5000 (edge_registry_cache): {MISSING}. A cache says so of an image that its registry"
        in badly.said
    )


def test_an_answer_that_is_final_ends_the_attempts(badly: Rack) -> None:
    assert f"nuc-revoked did not get {CONTENT} from registry.rack:5000: {REFUSED}." in badly.said
    assert "run edge.rack.configure" in badly.said
    assert badly.calls("nuc-revoked").count(f"pull {IMAGE}") == 1


def test_a_pull_without_end_is_ended(badly: Rack) -> None:
    assert f"nuc-slow did not get {CONTENT} from registry.rack:5000: no end within 1 seconds" in badly.said


def test_an_image_by_tag_is_refused(badly: Rack) -> None:
    assert (
        "release_pull_image of nuc-by-tag is registry.rack:5000/edge/worker:1.0: not REGISTRY/NAME@sha256:"
        in badly.said
    )
    assert badly.calls("nuc-by-tag") == []
