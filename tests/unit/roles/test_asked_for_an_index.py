# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tag that names an index, as the roles ask for it: who takes no index is answered 404, or with a child."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbook_runs import ansible_playbook
from tests.unit.registry.front import Answer, Request, serving

CHECKOUT = Path(__file__).resolve().parents[3]
OCI_INDEX, OCI_MANIFEST = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
DOCKER_LIST, DOCKER_MANIFEST = (
    f"application/vnd.docker.distribution.{kind}.v2+json" for kind in ("manifest.list", "manifest")
)
CHILD, CONFIG = ("sha256:" + letter * 64 for letter in "ac")


@pytest.mark.parametrize(
    ("tasks", "name"),
    [
        ("registry/tasks/records.yml", "Images of the releases in force are asked for"),
        ("release/tasks/main.yml", "Registry is asked for the digests of the release"),
        ("images/tasks/inspect.yml", "Manifest is read"),
    ],
)
def test_whoever_asks_what_a_tag_names_takes_indexes_too(tasks: str, name: str) -> None:
    (asked,) = (task for task in yaml.safe_load((CHECKOUT / "roles" / tasks).read_text()) if task["name"] == name)
    accepted = asked["ansible.builtin.uri"]["headers"]["Accept"].split(", ")
    assert accepted == [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST]


def test_the_sources_of_an_image_are_found_behind_an_index_too(tmp_path: Path) -> None:
    index, manifest = {"manifests": [{"digest": CHILD}]}, {"config": {"digest": CONFIG}}
    images: dict[str, dict[str, Answer]] = {
        "index": {"manifests/1": answer(index), f"manifests/{CHILD}": answer(manifest), **configured("here")},
        "of-other-sources": {"manifests/1": answer(index), f"manifests/{CHILD}": answer(manifest), **configured("x")},
        "without-its-child": {"manifests/1": answer(index)},
        "manifest": {"manifests/1": answer(manifest), **configured("here")},
        "nothing": {},
    }

    def answering(request: Request) -> Answer:
        _edge, image, path = request.path.lstrip("/").split("/", 2)
        return images[image].get(path, answer({"errors": []}, 404))

    tasks: list[dict[str, Any]] = []
    for name in images:
        item = {"images_item": {"key": name, "value": {"tag": "1"}}}
        tasks.append(
            {"ansible.builtin.include_role": {"name": "edge.rack.images", "tasks_from": "inspect"}, "vars": item}
        )
        found = "{{ found | default({}) | combine({'" + name + "': [images_exists, images_fresh]}) }}"
        tasks.append({"ansible.builtin.set_fact": {"found": found}})
    tasks.append({"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(tmp_path / "found")}})
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    with serving(answering) as front:
        given = {
            "ansible_python_interpreter": sys.executable,
            "images_api": f"{front.url}/edge",
            "images_ca_path": "/etc/ssl/certs/ca-certificates.crt",
            "images_registry_account": {"name": "pull", "password": "secret"},
            "images_source": "here",
        }
        argv = ("-i", "localhost,", "-c", "local", "-e", json.dumps(given), tmp_path / "play.json")
        done = ansible_playbook(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "found").read_text()) == {
        "index": [True, True],
        "of-other-sources": [True, False],
        "without-its-child": [True, False],
        "manifest": [True, True],
        "nothing": [False, False],
    }


def configured(source: str) -> dict[str, Answer]:
    return {f"blobs/{CONFIG}": answer({"config": {"Labels": {"edge.source": source}}})}


def answer(content: dict[str, Any], status: int = 200) -> Answer:
    return status, {}, json.dumps(content).encode()
