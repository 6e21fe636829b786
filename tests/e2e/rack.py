"""A lab of the tests' own, and how to look into it."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import paramiko

from lab import engine
from lab.oauth import authorization

CHECKOUT = Path(__file__).resolve().parents[2]
DEVICES = 2
DEADLINE_SECONDS = 2400
BOOT_SECONDS = 120
REGISTRY_LOG = "/var/log/nginx/edge-registry.log"


@dataclass(frozen=True)
class Lab:
    """A lab of the test's own."""

    state: Path
    environment: dict[str, str]

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command as a person in this lab would type it; its output is shown and returned."""
        done = subprocess.run(
            argv,
            cwd=CHECKOUT,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        print(f"$ {' '.join(argv)}  (status {done.returncode})\n{done.stdout[-6000:]}")
        return done

    def up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "lab", "up", **environment)

    def playbook(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(CHECKOUT / ".venv/bin/ansible-playbook"), "-i", "inventory/lab", *argv, **environment)

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.state / "result.json").read_text())
        return value

    def inside(self, machine: str, *argv: str) -> str:
        """What a command prints in a machine of the rack."""
        url = engine.answering()
        assert url is not None
        with engine.connect(url) as client:
            return client.containers.get(f"edge-e2e-{machine}").exec_run(list(argv)).output.decode()

    @contextmanager
    def without_power(self, device: str) -> Iterator[None]:
        """Its plug is pulled; afterwards it boots, to the end of its start."""
        url = engine.answering()
        assert url is not None
        with engine.connect(url) as client:
            found = client.containers.get(f"edge-e2e-{device}")
            found.kill()
            try:
                yield
            finally:
                found.start()
        deadline = time.monotonic() + BOOT_SECONDS
        while self.inside(device, "systemctl", "is-system-running").strip() not in ("running", "degraded"):
            assert time.monotonic() < deadline, f"{device} does not come up"
            time.sleep(1)


def get(url: str, context: ssl.SSLContext | None = None) -> Any:
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return json.load(answer)


def reports(lab: Lab, **query: str) -> list[dict[str, Any]]:
    """What stands in ARA, newest first."""
    password = (lab.state / "secrets/control_node_reader_password").read_text().strip()
    token = base64.b64encode(f"reader:{password}".encode()).decode()
    words = "&".join(f"{name}={value}" for name, value in {**query, "order": "-started", "limit": "100"}.items())
    url = f"https://10.78.0.12:8444/api/v1/playbooks?{words}"
    context = ssl.create_default_context(cafile=str(lab.state / "ca/ca.crt"))
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        found: list[dict[str, Any]] = json.load(answer)["results"]
    return found


def until(true: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(1)
    return true()


def inventory(lab: Lab) -> Any:
    """What MAAS says now, through the inventory plugin, without Ansible's marks at strings that are no templates."""
    marked = "__ansible_unsafe"
    return json.loads(
        subprocess.run(
            [CHECKOUT / ".venv/bin/ansible-inventory", "-i", "inventory/lab", "--list"],
            cwd=CHECKOUT,
            env={**os.environ, **lab.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout,
        object_hook=lambda found: found[marked] if set(found) == {marked} else found,
    )


def scripts(lab: Lab, machine: str) -> dict[str, str]:
    """How each script went that the machine was commissioned with."""
    system_id = inventory(lab)["_meta"]["hostvars"][machine]["maas_system_id"]
    key = (lab.state / "secrets" / "maas_api_key").read_text().strip().split(":")
    url = f"http://10.78.0.10:5240/MAAS/api/2.0/nodes/{system_id}/results/?type=commissioning"
    with urllib.request.urlopen(urllib.request.Request(url, headers=authorization(*key)), timeout=30) as answer:
        (newest, *_) = json.load(answer)
    return {result["name"]: result["status_name"] for result in newest["results"]}


def on_esxi(lab: Lab, command: str) -> str:
    """What a command prints on the rack's server."""
    kind, key = (lab.state / "esxi_host_key.pub").read_text().split()
    client = paramiko.SSHClient()
    client.get_host_keys().add("10.78.0.4", kind, paramiko.Ed25519Key(data=base64.b64decode(key)))
    password = (lab.state / "secrets" / "esxi_password").read_text().strip()
    client.connect("10.78.0.4", username="root", password=password, look_for_keys=False, allow_agent=False)
    with client:
        return client.exec_command(command)[1].read().decode()


def in_image(lab: Lab, reference: str, *argv: str) -> str:
    """What a command prints as root in a new container of this image, on a device."""
    run = ("docker", "run", "--rm", "--network=none", "--user=root", f"--entrypoint={argv[0]}", reference)
    return lab.inside("nuc-001", *run, *argv[1:])


def bytes_out(lab: Lab, since: int) -> dict[str, int]:
    """What the registry has sent to each address since this line of its log."""
    sent: dict[str, int] = {}
    for line in lab.inside("registry", "tail", f"--lines=+{since + 1}", REGISTRY_LOG).splitlines():
        answer = json.loads(line)
        sent[answer["remote_addr"]] = sent.get(answer["remote_addr"], 0) + answer["bytes_sent"]
    return sent


def remains(client: docker.DockerClient) -> list[str]:
    """What a lab of this name has left in the engine."""
    mine = {"label": "edge.lab=e2e"}
    return [
        *(container.name for container in client.containers.list(all=True, filters=mine)),
        *(network.name for network in client.networks.list(filters=mine)),
        *(volume.name for volume in client.volumes.list() if volume.name.startswith("edge-e2e-")),
        *(tag for image in client.images.list(filters=mine) for tag in image.tags),
    ]
