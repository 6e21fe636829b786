# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device for tests: a Docker Engine with nothing else in it.

It has a process namespace, so its power can be cut, and a network of its own, with a registry in it: an engine without
a bridge removes docker0, which may be another engine's.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import docker
import requests

from lab import host
from tests import debian
from tests.registries import distribution
from tests.unit.health_gate import steps

from edge_commit import cli, swap  # isort: skip - its folder is known by now
from edge_commit.journal import Folder  # isort: skip
from edge_commit.wanted import Wanted  # isort: skip

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = "edge-predictor"
WORKER = "edge-worker"
REGISTRY = "127.0.0.1:5000"
LOOP = "trap exit TERM; while :; do sleep 60 & wait $!; done"
HEALTHCHECK = {"test": ["CMD-SHELL", 'test "$HEALTH" = good'], "interval_seconds": 0.1, "retries": 2}
OPTIONS = {"network_mode": "host", "healthcheck": HEALTHCHECK, "restart_policy": "unless-stopped"}
# As the Predictor's: it serves what the device's file names, until `activate` has it serve another. A model with the
# mark `broken` beside it is not answered rightly; one with the mark `lost` ends the program that is to activate it.
SERVES = r"""told='s/.*"digest": "sha256:\([0-9a-f]*\)".*/\1/'
serves() { cat /tmp/model 2>/dev/null || sed "$told" /serving/model.json; }"""
READY = f'{SERVES}\ntest "$HEALTH" = good && ! test -e "/models/$(serves).tar.broken"'
ACTIVATE = """model=${1#sha256:}
test -e "/models/$model.tar.lost" && exit 2
if test -e "/models/$model.tar.broken"; then echo "$1: sample 0 is class 1 here"; exit 3; fi
echo "$model" > /tmp/model"""
# What the images are made of; one never becomes healthy.
IMAGES = {"old": "good", "new": "good", "bad": "bad"}


def install() -> None:
    """Docker's engine and command, from the distribution's packages where they are missing."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    for name, package in {"dockerd": "docker.io", "docker": "docker-cli"}.items():
        if not shutil.which(name, path=path):
            host.install({package}, CHECKOUT / "tests/output/logs")


class Device:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder / 'docker.sock'}"
        self.state = folder / "commits"
        self.api: docker.APIClient
        self._engine: subprocess.Popen[bytes] | None = None
        self._registry = self._start_registry()
        self.start()
        self.images = {name: self._image(name, health) for name, health in IMAGES.items()}

    def start(self) -> None:
        """Power on. What a real device keeps in /run is gone."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        command = [
            *("nsenter", f"--net=/proc/{self._registry.pid}/ns/net"),
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"),
            *("dockerd", f"--host={self.host}", f"--data-root={self.folder / 'docker'}"),
            *(f"--exec-root={self.folder / 'run'}", f"--pidfile={self.folder / 'run/docker.pid'}"),
            # Its own, where the machine runs a containerd that it would share.
            *("--containerd-namespace=edge-test", "--containerd-plugins-namespace=edge-test-plugins"),
            *("--storage-driver=vfs", "--bridge=none", "--iptables=false"),
        ]
        (self.folder / "run").mkdir()
        with (self.folder / "dockerd.log").open("ab") as log:
            self._engine = subprocess.Popen(
                command,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.api = docker.APIClient(self.host, version="auto", timeout=60)
                return
            except (docker.errors.DockerException, requests.RequestException):
                assert self._engine.poll() is None, (self.folder / "dockerd.log").read_text()
                assert time.monotonic() < deadline, (self.folder / "dockerd.log").read_text()
                time.sleep(0.05)

    def cut_power(self) -> None:
        """Nothing gets a chance to end well."""
        assert self._engine
        first = Path(f"/proc/{self._engine_process()}")
        self._engine.kill()
        self._engine.wait()
        self.api.close()
        # The kernel ends the others after it.
        deadline = time.monotonic() + 60
        while first.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def restart_engine(self) -> None:
        self._signal_engine(signal.SIGTERM)
        assert self._engine
        self._engine.wait(60)
        self.start()

    def end(self) -> None:
        self.cut_power()
        self._registry.kill()
        self._registry.wait()

    def _signal_engine(self, number: signal.Signals) -> None:
        os.kill(self._engine_process(), number)

    def _engine_process(self) -> int:
        assert self._engine
        children = Path(f"/proc/{self._engine.pid}/task/{self._engine.pid}/children").read_text().split()
        return int(children[0])

    def _start_registry(self) -> subprocess.Popen[bytes]:
        """The device's network lives as long as this: what was pushed to a registry is known by its digest."""
        storage = {"filesystem": {"rootdirectory": str(self.folder / "registry")}}
        config = self.folder / "registry.yml"
        config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": REGISTRY}}))
        begin = 'ip link set lo up; exec "$@"'
        command = ["unshare", "--net", "sh", "-euc", begin, "sh", str(distribution()), "serve", str(config)]
        with (self.folder / "registry.log").open("wb") as log:
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        # Until `unshare` has done its work the network is still the machine's.
        deadline = time.monotonic() + 30
        while Path(f"/proc/{started.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            assert time.monotonic() < deadline, (self.folder / "registry.log").read_text()
            time.sleep(0.01)
        return started

    def empty(self) -> None:
        for container in self.api.containers(all=True):
            self.api.remove_container(container["Id"], force=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def _image(self, name: str, health: str) -> str:
        """The image's reference by digest, pushed and here."""
        root = self.folder / "root.tar"
        with tarfile.open(root, "w") as archive:
            folder = tarfile.TarInfo("bin")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            archive.add(debian.program("busybox-static", "bin/busybox"), "bin/busybox")
            for applet in ("sh", "sleep", "test", "cat", "sed"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
            # The process of the one is called mpirun.
            for path, text in {"bin/mpirun": LOOP, "bin/ready": READY, "bin/activate": ACTIVATE}.items():
                program = tarfile.TarInfo(path)
                script = f"#!/bin/sh\n{text}\n".encode()
                program.size, program.mode = len(script), 0o755
                archive.addfile(program, io.BytesIO(script))
        repository = f"{REGISTRY}/edge/predictor"
        changes = [f"ENV HEALTH={health}", f"ENV IMAGE={name}", f"CMD {json.dumps(['sh', '-c', LOOP])}"]
        self.api.import_image_from_file(str(root), repository, name, changes=changes)
        deadline = time.monotonic() + 60
        while True:  # it may have just begun
            pushed = self.api.push(repository, name)
            digests = self.api.inspect_image(f"{repository}:{name}")["RepoDigests"]
            if digests:
                return str(digests[0])
            assert time.monotonic() < deadline, pushed
            time.sleep(0.1)

    def wanted(self, image: str, **more: Any) -> dict[str, Any]:
        options = {**OPTIONS, **more.pop("options", {})}
        reference = self.images.get(image, image)
        return {"name": NAME, "image": reference, "options": options, "stop_seconds": 5, **more}

    def cut(self, step: int, image: str, **more: Any) -> None:
        """edge-commit begins to replace, and is killed when its n-th step is done."""
        done = subprocess.run(
            [sys.executable, "-m", steps.__name__, str(step), "--state", self.state, "apply"],
            input=json.dumps(self.wanted(image, **more)),
            cwd=CHECKOUT,
            env={**os.environ, "DOCKER_HOST": self.host},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

    def apply(self, image: str, **more: Any) -> swap.Result:
        return swap.apply(Wanted.read(json.dumps(self.wanted(image, **more))), Folder(self.state))

    def program(self, path: Path) -> Path:
        """edge-commit as the role installs it."""
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(steps.PACKAGE)!r})\n"
            f"from edge_commit.cli import main\nsys.exit(main(['--state', {str(self.state)!r}, *sys.argv[1:]]))\n"
        )
        path.chmod(0o755)
        return path

    def recover(self) -> None:
        assert cli.main(["--state", str(self.state), "recover"]) == 0

    def train(self, command: str = "mpirun") -> None:
        """The worker, with a training in it."""
        host = self.api.create_host_config(network_mode="host")
        worker = self.api.create_container(self.images["new"], [command], name=WORKER, host_config=host)
        self.api.start(worker)
        # Until the engine has begun the program, another stands in its place.
        deadline = time.monotonic() + 60
        while command == "mpirun" and not any(
            command in " ".join(process) for process in self.api.top(worker)["Processes"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def journal(self) -> dict[str, Any]:
        return dict(json.loads((self.state / f"{NAME}.json").read_text()))

    def containers(self) -> dict[str, str]:
        """Names of all containers, and which image each is of."""
        names = {reference.partition("@")[2]: name for name, reference in self.images.items()}
        found = self.api.containers(all=True)
        return {one["Names"][0].strip("/"): names[one["Image"].partition("@")[2]] for one in found}

    def inspect(self, name: str = NAME) -> dict[str, Any]:
        return dict(self.api.inspect_container(name))

    def is_healthy(self) -> bool:
        deadline = time.monotonic() + 30
        while (health := self.inspect()["State"]["Health"]["Status"]) == "starting" and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(health == "healthy")
