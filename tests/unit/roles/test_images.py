"""How the role images puts our code on its dependencies: with the role's own command, on a base of one file.

The real images are looked at in tests/e2e.
"""

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
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "ANSIBLE_NOCOLOR": "1"}
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

    def image(self, place: str, code: str, **variables: Any) -> dict[str, Any]:
        """The manifest of an image of this code, built by the role's command in a folder of this name."""
        context = self.folder / place / "worker"
        (context / "images" / "worker").mkdir(parents=True)
        (context / "images" / "worker" / "Dockerfile").write_text(DOCKERFILE)
        (context / "edge_training").mkdir()
        (context / "edge_training" / "code.py").write_text(code)
        reference = f"localhost/{place}:0.1.0"
        given = {
            "edge_registry": "localhost",
            "images_build_dir": str(self.folder / place),
            "images_created": 1700000000,
            "images_deps_key": "k",
            "images_deps_reference": self.deps,
            "images_item": {"key": "worker", "value": {"tag": "0.1.0"}},
            "images_revision": "abc",
            "images_source": "def",
            "images_reference": reference,
            **variables,
        }
        build = {"ansible.builtin.command": {"argv": "{{ images_build_command }}"}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [build]}
        play["vars_files"] = [str(CHECKOUT / "roles/images/vars/main.yml")]
        playbook = self.folder / f"{place}.yml"
        playbook.write_text(json.dumps([play]))
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        self.run(ansible, "-i", "localhost,", str(playbook), "-e", json.dumps(given))
        layout = self.folder / f"{place}-layout"
        self.run("buildah", "push", "--quiet", reference, f"oci:{layout}")
        (described,) = json.loads((layout / "index.json").read_text())["manifests"]
        manifest = json.loads((layout / "blobs" / described["digest"].replace(":", "/")).read_text())
        return {"digest": described["digest"], **manifest}


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    if not shutil.which("buildah"):
        host.install({"buildah"}, tmp_path_factory.mktemp("logs"))
    return Builder(tmp_path_factory.mktemp("builder"))


@pytest.fixture(scope="module")
def image(builder: Builder) -> dict[str, Any]:
    return builder.image("first", "print(1)\n")


def test_the_same_inputs_give_the_same_digest(builder: Builder, image: dict[str, Any]) -> None:
    assert builder.image("second", "print(1)\n")["digest"] == image["digest"]


@pytest.mark.parametrize(
    "other", [{"images_created": 1700000001}, {"images_revision": "abd"}, {"images_source": "deg"}]
)
def test_another_input_gives_another_digest(builder: Builder, image: dict[str, Any], other: dict[str, Any]) -> None:
    (name,) = other
    assert builder.image(name.replace("_", "-"), "print(1)\n", **other)["digest"] != image["digest"]


def test_a_changed_line_is_a_small_layer_on_the_same_dependencies(builder: Builder, image: dict[str, Any]) -> None:
    changed = builder.image("changed", "print(2)\n")
    below, ours = changed["layers"]
    assert below == image["layers"][0]
    assert below["size"] > 4_000_000
    assert ours != image["layers"][1]
    assert ours["size"] + changed["config"]["size"] < 4_000


def test_an_image_names_what_it_stands_on(builder: Builder, image: dict[str, Any]) -> None:
    name, digest = builder.deps.split("@")
    assert image["annotations"] == {
        "org.opencontainers.image.base.name": f"{name}:k",
        "org.opencontainers.image.base.digest": digest,
    }
