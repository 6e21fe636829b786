"""The lab's ESXi host: its simulator, built from Debian's packages, and what it is told."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import time
from pathlib import Path
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from lab import cache, host, secrets
from lab.command import run
from lab.settings import CHECKOUT, LabError, Settings, from_environment, own

SOURCES = CHECKOUT / "lab" / "esxi_simulator"
GOPATH = Path("/usr/share/gocode")

STATE_IN_CONTAINER = "/var/lib/esxi"
READY_DEADLINE_SECONDS = 60

# The systems a VM's disk can hold; the first line of the disk says which (lab/metal/guests.py boots it).
SYSTEMS = ("vm", "maas")
DISK_BYTES = 4 << 30

# what must be there -> Debian package that brings it
PARTS = {
    Path("/usr/bin/go"): "golang-go",
    GOPATH / "src/github.com/vmware/govmomi/simulator": "golang-github-vmware-govmomi-dev",
    GOPATH / "src/golang.org/x/crypto/ssh": "golang-golang-x-crypto-dev",
    # The shell of ESXi is busybox, so that what a host would not understand fails in the lab too.
    Path("/usr/bin/busybox"): "busybox-static",
}


def binary(settings: Settings | None = None) -> Path:
    """The simulator's program, built once for its sources.

    Raises LabError with the compiler's words when it does not build.
    """
    settings = settings or from_environment()
    own(settings.cache)
    sources = sorted(SOURCES.glob("*.go"))
    target = settings.cache / "esxi" / f"esxi-simulator-{cache.key(*(part for s in sources for part in (s.name, s)))}"
    cache.made(target, lambda out: _build(settings, out))
    return target


def _build(settings: Settings, out: Path) -> None:
    host.install({package for path, package in PARTS.items() if not path.exists()}, settings.cache / "logs")
    run(
        "/usr/bin/go",
        "build",
        "-trimpath",
        "-o",
        out,
        ".",
        env={"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(settings.cache / "go-build")},
        log=settings.cache / "logs" / "esxi-simulator.log",
        cwd=SOURCES,
    )


def disk_image(settings: Settings, system: str) -> Path:
    """A cloud image as vendors publish them, a streamOptimized VMDK; in place of a system it holds the name of one."""
    text = f"edge-lab: {system}\n"
    target = settings.cache / "esxi" / f"{system}-{cache.key(text, str(DISK_BYTES))}.vmdk"

    def make(out: Path) -> None:
        raw = out.with_suffix(".raw")
        with raw.open("wb") as disk:
            disk.write(text.encode())
            disk.truncate(DISK_BYTES)
        run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, out)
        raw.unlink()

    cache.made(target, make)
    return target


def files(settings: Settings) -> dict[str, str]:
    """The configuration of the host (path -> content)."""
    configuration: dict[str, Any] = {
        "state": STATE_IN_CONTAINER,
        "https": "0.0.0.0:443",
        "ssh": "0.0.0.0:22",
        "control": "",
        "hostname": "esxi.edge.lab",
        "address": settings.esxi_address,
        "edition": settings.esxi_edition,
        "version": "7.0.3",
        "accounts_file": "/etc/esxi/accounts.json",
        "datastores": [{"name": "datastore1", "capacity_gib": 3600}, {"name": "backup", "capacity_gib": 1800}],
        "cpus": 16,
        "memory_gib": 128,
        "task_milliseconds": 200,
        "guest": {"url": settings.metal_url, "user": "bmc", "password_file": "/etc/esxi/guest_password"},
    }
    return {
        "/etc/esxi/config.json": json.dumps(configuration, indent=2) + "\n",
        "/etc/esxi/accounts.json": json.dumps({"root": secrets.read(settings, "esxi_password")}) + "\n",
        "/etc/esxi/guest_password": secrets.read(settings, "bmc_password") + "\n",
    }


def trust(settings: Settings, container: Container) -> None:
    """Note the host's certificate and SSH key, as its owner reads them off its console, when it answers.

    Raises LabError when it does not.
    """
    deadline = time.monotonic() + READY_DEADLINE_SECONDS
    while not _answers(settings.esxi_address):
        if time.monotonic() > deadline:
            raise LabError(
                f"the lab's ESXi host does not answer at {settings.esxi_address} after {READY_DEADLINE_SECONDS} s: "
                f"look at it with `docker logs {container.name}`"
            )
        time.sleep(0.2)
    ready = _ready(container)
    (settings.state / "esxi.crt").write_text(ready["certificate_pem"])
    (settings.state / "esxi_host_key.pub").write_text(ready["ssh_host_key"] + "\n")


def _answers(address: str) -> bool:
    try:
        for port in (443, 22):
            socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def _ready(container: Container) -> dict[str, str]:
    try:
        stream, _ = container.get_archive(f"{STATE_IN_CONTAINER}/ready.json")
    except NotFound as error:
        raise LabError(f"the lab's ESXi host does not come up: look at `docker logs {container.name}`") from error
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        member = tar.extractfile("ready.json")
        content: dict[str, str] = json.loads(member.read()) if member else {}
        return content
