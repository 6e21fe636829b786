# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's image called as a program (registry_image): its garbage collection ends before it serves again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# One container may be left; what is run is a container too, and everything that is asked is noted.
DOCKER = """#!/bin/sh
set -eu
echo "$*" >> {folder}/asked
case $1 in
  ps) cat {folder}/left ;;
  rm) : > {folder}/left ;;
esac
exit "$(cat {folder}/"$1".status 2>/dev/null || echo 0)"
"""


class Image:
    def __init__(self, folder: Path, wrapper: str) -> None:
        self.folder = folder
        (folder / "left").touch()
        for name, text in (
            ("docker", DOCKER.format(folder=folder)),
            ("id", "#!/bin/sh\necho 123\n"),
            ("docker-registry", wrapper),
        ):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, *arguments: str) -> int:
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        command = [str(self.folder / "docker-registry"), *arguments]
        return subprocess.run(command, env=environment, timeout=60, check=False).returncode

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def image(tmp_path: Path, render: Callable[..., str]) -> Image:
    variables = {"registry_storage_dir": "/srv/the images", "registry_image": "registry:2.8.3"}
    return Image(tmp_path, render("docker-registry.j2", **variables))


@pytest.mark.parametrize("verb", ["serve", "garbage-collect"])
def test_garbage_collection_that_outlived_its_clean_up_ends_first(image: Image, verb: str) -> None:
    (image.folder / "left").write_text("0123456789ab\n")

    assert image.run(verb, "config.yml") == 0

    looked, removed, ran = image.asked()
    assert looked == "ps --all --quiet --filter name=^edge-registry-collect$"
    assert removed == "rm --force 0123456789ab"
    assert ran.startswith("run ")
    assert ran.endswith(
        f"--volume /srv/the images:/srv/the images --entrypoint registry registry:2.8.3 {verb} config.yml"
    )


def test_garbage_is_collected_under_the_name_by_which_it_is_ended(image: Image) -> None:
    assert image.run("garbage-collect", "config.yml") == 0
    assert image.run("serve", "config.yml") == 0
    collecting, serving = (line for line in image.asked() if line.startswith("run "))
    assert " --name edge-registry-collect " in collecting
    assert " --name " not in serving


@pytest.mark.parametrize("failing", ["ps", "rm"])
def test_the_registry_does_not_serve_while_the_collection_cannot_be_ended(image: Image, failing: str) -> None:
    (image.folder / "left").write_text("0123456789ab\n")
    (image.folder / f"{failing}.status").write_text("1")

    assert image.run("serve", "config.yml") != 0

    assert not [line for line in image.asked() if line.startswith("run ")]
