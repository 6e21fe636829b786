# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that runs what was released: a real checkout with real keys, and an engine that answers as one did."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGE = CHECKOUT / "roles/trust/files"
# What `docker image inspect` and `docker container inspect` of Docker Engine 20.10.24 showed on a device of the lab,
# shortened to what is read.
WORKER = {
    "Id": "sha256:1e687e3f36ea732533848ebb27a87670b8dbafc62da03d0b322f540760d1fa73",
    "RepoTags": [],
    "RepoDigests": [
        "registry.edge.lab:5000/edge/worker@sha256:6e45c266611d22d56422d66277fc34b475248e51d7e15dc5ae8a75b0f917f85e"
    ],
}
PREDICTOR: dict[str, Any] = {
    "Id": "sha256:36f8cee1a7793e6c45676cef4d0ab62f4d9f93b85d792e20e81c7d3ac8ffab9f",
    "RepoTags": [],
    "RepoDigests": [
        "registry.edge.lab:5000/edge/predictor@sha256:03dec150a683ff60f78f928096abdda9524909968d95fa916530d7fead37ed29"
    ],
    "Config": {
        "User": "edge",
        "Env": ["PATH=/opt/edge/bin:/usr/local/bin:/usr/bin:/bin"],
        "Cmd": None,
        "WorkingDir": "",
        "Entrypoint": ["python", "-m", "edge_training.predictor"],
    },
}
CONTAINER = {
    "Id": "5d4af25b92a2eb4a5c96ca53775f9f4021070bc71d0274417eec996d06f55f33",
    "Image": PREDICTOR["Id"],
    "Name": "/edge-predictor",
    "Config": {
        **copy.deepcopy(PREDICTOR["Config"]),
        "Image": PREDICTOR["RepoDigests"][0],
        "Healthcheck": {"Test": ["CMD", "ready"], "Interval": 10000000000},
    },
    "HostConfig": {"Privileged": False, "CapAdd": None, "CapDrop": ["ALL"], "Devices": []},
    "Mounts": [
        {"Type": "bind", "Source": "", "Destination": "/models", "Mode": "ro", "RW": False},
        {"Type": "bind", "Source": "", "Destination": "/serving", "Mode": "ro", "RW": False},
    ],
}
DOCKER = """\
#!{python} -IS
import json, sys
state = json.load(open({state!r}))
if state is None:
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
kind, verb, *names = sys.argv[1:]
items = state[kind]
if verb == "ls":
    print(*(item["Id"] for item in items), sep="\\n")
else:
    print(json.dumps([item for item in items if item["Id"] in names]))
"""
SITE = "inventory/rack/group_vars/all/release.yml"
RELEASE = """\
# What every device of this site runs. A release is one change of this file.
edge_release:
  name: "2026.11"
  images:
    worker:
      tag: "0.1.0"
      digest: {worker}
    predictor:
      tag: "0.1.0"
      digest: {predictor}
  model:
    task: digits
    digest: {model}
"""


class Device:
    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout, self.models = folder, folder / "site", folder / "models"
        self.signers, self.revoked = folder / "allowed_signers", folder / "revoked_keys"
        (folder / "bin").mkdir()
        self.models.mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PYTHONPATH": str(PACKAGE),
            # Kept, or each run of the program compiles it anew; and beside the checkout, parts of which are packed.
            "PYTHONPYCACHEPREFIX": sys.pycache_prefix or str(CHECKOUT / "tests/output/pycache"),
        }
        docker = folder / "bin/docker"
        docker.write_text(DOCKER.format(python=sys.executable, state=str(folder / "docker.json")))
        docker.chmod(0o755)
        bundle = self.models / "bundle"
        bundle.write_bytes(b"model")
        self.model = f"sha256:{hashlib.sha256(b'model').hexdigest()}"
        self.bundle = bundle.rename(self.models / f"{self.model[7:]}.tar")
        self.images: list[dict[str, Any]] = [copy.deepcopy(WORKER), copy.deepcopy(PREDICTOR)]
        self.container: dict[str, Any] = copy.deepcopy(CONTAINER)
        self.serving = folder / "serving/model.json"
        self.serving.parent.mkdir()
        self.serving.write_text(json.dumps({"digest": self.model}))
        for mount, source in zip(self.container["Mounts"], (self.models, self.serving.parent), strict=True):
            mount["Source"] = str(source)
        self.containers = [self.container]
        self.engine_runs = True
        self.new_key("alice")
        self.allow("alice")
        self.revoked.write_text("# none\n")
        self.git("init", "--quiet", "--initial-branch=main", str(self.checkout), at=folder)
        for name, value in {
            "user.name": "Alice",
            "user.email": "alice@example.com",
            "gpg.format": "ssh",
            "user.signingkey": str(folder / "alice"),
        }.items():
            self.git("config", name, value)
        self.write(SITE, self.release())
        self.write("inventory/rack/hosts.yml", "all: {}\n")
        self.write("hooks/run.sh", "#!/bin/sh\n")
        (self.checkout / "hooks/run.sh").chmod(0o755)
        (self.checkout / "inventory/latest").symlink_to("rack")
        self.commit()

    def release(self, **digests: str) -> str:
        """Text of a release file."""
        worker, predictor = (image["RepoDigests"][0].partition("@")[2] for image in (WORKER, PREDICTOR))
        return RELEASE.format(**{"worker": worker, "predictor": predictor, "model": self.model, **digests})

    def write(self, path: str, text: str) -> Path:
        file = self.checkout / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit(self, *options: str) -> str:
        """Commit the work tree, signed unless the options say otherwise; its name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--gpg-sign", "--message=release", *options)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str, at: Path | None = None, stdin: bytes = b"", **environment: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(at or self.checkout), *arguments],
            env={**self.environment, **environment},
            input=stdin,
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        return done.stdout.decode()

    def new_key(self, name: str) -> str:
        """Make a key pair; its public half."""
        options = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)]
        subprocess.run(["ssh-keygen", *options], check=True, timeout=60)
        return (self.folder / f"{name}.pub").read_text()

    def allow(self, name: str, options: str = 'namespaces="git"') -> None:
        self.signers.write_text(f"{name} {options} {(self.folder / f'{name}.pub').read_text()}")

    def verify(self, *options: str) -> subprocess.CompletedProcess[str]:
        state = {"image": self.images, "container": self.containers} if self.engine_runs else None
        (self.folder / "docker.json").write_text(json.dumps(state))
        return subprocess.run(
            [
                *(sys.executable, "-m", "edge_trust.cli", "verify", str(self.checkout), *options),
                *("--signers", str(self.signers), "--revoked", str(self.revoked), "--models", str(self.models)),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def found(self, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code, and each link's state and finding."""
        done = self.verify("--json", *options)
        assert done.stdout, done.stderr
        return done.returncode, {
            link["name"]: (link["state"], link["found"]) for link in json.loads(done.stdout)["links"]
        }
