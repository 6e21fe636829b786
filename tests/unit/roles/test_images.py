"""How the role images puts our code on its dependencies: with the role's own command, on a base of one file.

The real images are looked at in tests/e2e.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import host
from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]
DOCKERFILE = """
ARG DEPS_IMAGE
FROM ${DEPS_IMAGE}
COPY edge_training /opt/edge/package/edge_training
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
"""


class Builder:
    """buildah with a storage of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        storage = folder / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/storage"\n')
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}
        base = folder / "base"
        base.mkdir()
        (base / "library").write_bytes(os.urandom(5_000_000))
        (base / "Dockerfile").write_text("FROM scratch\nCOPY library /library\n")
        self.run("buildah", "build", "--quiet", "--isolation=chroot", "--tag=localhost/edge/worker-deps:k", str(base))
        (listed,) = json.loads(self.run("buildah", "images", "--json"))
        self.deps = f"localhost/edge/worker-deps@{listed['digest']}"

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            argv, cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def images(self, places: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The manifest of each place's image, by the role's commands; Ansible tells all of them in one run."""
        tasks: list[dict[str, Any]] = []
        for place, given in places.items():
            context = self.folder / place / "worker"
            (context / "images" / "worker").mkdir(parents=True)
            (context / "images" / "worker" / "Dockerfile").write_text(DOCKERFILE)
            (context / "edge_training").mkdir()
            (context / "edge_training" / "code.py").write_text(given.get("code", "print(1)\n"))
            known = {
                "edge_registry": "localhost",
                "images_build_dir": str(self.folder / place),
                "images_created": 1700000000,
                "images_deps_key": "k",
                "images_deps_reference": self.deps,
                "images_item": {"key": "worker", "value": {"tag": "0.1.0"}},
                "images_revision": "abc",
                "images_source": "def",
                "images_reference": f"localhost/{place}:0.1.0",
                **{name: value for name, value in given.items() if name != "code"},
            }
            told = "{{ commands | default({}) | combine({'" + place + "': images_build_command}) }}"
            tasks.append({"ansible.builtin.set_fact": {"commands": told}, "vars": known})
        commands = self.folder / "commands.json"
        write = {"content": "{{ commands | to_json }}", "dest": str(commands), "mode": "0600"}
        tasks.append({"ansible.builtin.copy": write})
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        play["vars_files"] = [str(CHECKOUT / "roles/images/vars/main.yml")]
        playbook = self.folder / "commands.yml"
        playbook.write_text(json.dumps([play]))
        done = ansible_playbook("-i", "localhost,", playbook)
        assert done.returncode == 0, done.stdout + done.stderr
        return {place: self.image(place, command) for place, command in json.loads(commands.read_text()).items()}

    def image(self, place: str, command: list[str]) -> dict[str, Any]:
        self.run(*command)
        layout = self.folder / f"{place}-layout"
        self.run("buildah", "push", "--quiet", f"localhost/{place}:0.1.0", f"oci:{layout}")
        (described,) = json.loads((layout / "index.json").read_text())["manifests"]
        manifest = json.loads((layout / "blobs" / described["digest"].replace(":", "/")).read_text())
        return {"digest": described["digest"], **manifest}


OTHERS = {
    "other-created": {"images_created": 1700000001},
    "other-revision": {"images_revision": "abd"},
    "other-source": {"images_source": "deg"},
}


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    if not shutil.which("buildah"):
        host.install({"buildah"}, tmp_path_factory.mktemp("logs"))
    return Builder(tmp_path_factory.mktemp("builder"))


@pytest.fixture(scope="module")
def images(builder: Builder) -> dict[str, dict[str, Any]]:
    return builder.images({"first": {}, "second": {}, "changed": {"code": "print(2)\n"}, **OTHERS})


def test_the_same_inputs_give_the_same_digest(images: dict[str, dict[str, Any]]) -> None:
    assert images["second"]["digest"] == images["first"]["digest"]


@pytest.mark.parametrize("other", OTHERS)
def test_another_input_gives_another_digest(images: dict[str, dict[str, Any]], other: str) -> None:
    assert images[other]["digest"] != images["first"]["digest"]


def test_a_changed_line_is_a_small_layer_on_the_same_dependencies(images: dict[str, dict[str, Any]]) -> None:
    changed = images["changed"]
    below, ours = changed["layers"]
    assert below == images["first"]["layers"][0]
    assert below["size"] > 4_000_000
    assert ours != images["first"]["layers"][1]
    assert ours["size"] + changed["config"]["size"] < 4_000


def test_an_image_names_what_it_stands_on(builder: Builder, images: dict[str, dict[str, Any]]) -> None:
    name, digest = builder.deps.split("@")
    assert images["first"]["annotations"] == {
        "org.opencontainers.image.base.name": f"{name}:k",
        "org.opencontainers.image.base.digest": digest,
    }
