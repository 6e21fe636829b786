"""An image from the role, and a machine that was installed with it over the network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine import Machine, machine
from network import own_network
from rack import CHECKOUT, Maas, boot_files, boot_server, maas

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "cpio": "cpio",
    "ip": "iproute2",
    "ssh": "openssh-client",
}
USER_DATA = """\
#cloud-config
ssh_pwauth: false
ssh_authorized_keys:
  - {key}
write_files:
  - path: /etc/edge-boot-test
    content: from user data
runcmd:
  - [touch, /run/edge-boot-test]
"""
_begin = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _begin:6.0f} s] {text}", flush=True)


@dataclass
class Image:
    """What the role built."""

    archive: Path
    work: Path

    def build(self, *more: str, archive: Path | None = None) -> str:
        """Run the role; what it printed."""
        target = archive or self.archive
        done = subprocess.run(
            [
                str(CHECKOUT / ".venv/bin/ansible-playbook"), "-i", "localhost,", "tests/boot/image.yml",
                "-e", json.dumps({"nuc_image_archive": str(target), "nuc_image_work_dir": str(self.work / "build")}),
                *more,
            ],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{self._log()}"
        return done.stdout

    def _log(self) -> str:
        log = self.work / "build" / "build.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""


@dataclass
class Device:
    """The deployed machine, reached over SSH with the host key that it reported to MAAS."""

    machine: Machine
    region: Maas
    address: str
    identity: Path
    known_hosts: Path

    def reported_keys(self) -> set[str]:
        """`TYPE BASE64` of the host keys that MAAS has from the machine."""
        return reported_keys(self.region)

    def ssh(self, command: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        options = [f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes"]
        return subprocess.run(
            ["ssh", "-F", "none", "-i", self.identity, *(f"-o{option}" for option in options),
             "-oConnectTimeout=30", f"debian@{self.address}", command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def playbook(self, name: str, *more: str, **variables: Any) -> str:
        """Run a playbook of this folder on the machine; what it printed."""
        options = f"-F none -o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes"
        variables |= {"ansible_user": "debian", "ansible_ssh_private_key_file": str(self.identity)}
        done = subprocess.run(
            [
                str(CHECKOUT / ".venv/bin/ansible-playbook"), "-i", f"{self.address},", f"tests/boot/{name}", *more,
                "-e", json.dumps({**variables, "ansible_ssh_common_args": options}),
            ],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "60"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def run(self, command: str, seconds: float = 600) -> str:
        done = self.ssh(command, seconds)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


def reported_keys(region: Maas) -> set[str]:
    """The host keys among MAAS's events of the machine."""
    prefix = "'cloudinit' edge-ssh-host-key "
    return {event.removeprefix(prefix) for event in region.events() if event.startswith(prefix)}


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """The folder of the run; what a failed run's machine said is kept beside it."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists():
        missing.append("ovmf")
    if missing:
        say(f"installing {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    # A run that is told to end tidies up as one that is interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="edge-boot-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def image(work: Path) -> Image:
    """The image, built once; EDGE_BOOT_IMAGE=/path/to/edge-nuc.tar.gz takes one that is there."""
    given = os.environ.get("EDGE_BOOT_IMAGE")
    image = Image(Path(given) if given else work / "images" / "edge-nuc.tar.gz", work)
    if not given:
        say(f"building the image (see it live: tail -f {work}/build/build.log)")
        image.build()
        say(f"image is built: {image.archive.stat().st_size >> 20} MiB")
    return image


@pytest.fixture(scope="module")
def device(image: Image, work: Path, request: pytest.FixtureRequest) -> Iterator[Device]:
    """Network boot, installation, network boot again, and then the disk."""
    identity = work / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boot-test", "-f", identity], check=True)
    failed_before = request.session.testsfailed
    ready = False
    with ExitStack() as stack:
        stack.enter_context(own_network())
        region = stack.enter_context(maas(work))
        say("MAAS answers; the image goes there")
        region.upload(image.archive)
        region.deploy(USER_DATA.format(key=identity.with_suffix(".pub").read_text().strip()))
        boot_files(image.archive, work / "boot")
        stack.enter_context(boot_server(region, image.archive, work / "boot", work))
        say("power on")
        qemu = stack.enter_context(machine(work))
        try:
            device = _deployed(qemu, region, identity, work)
            ready = True
            yield device
        finally:
            if not ready or request.session.testsfailed > failed_before:
                _keep_what_it_said(qemu, work)
    say("power off; the machine, its network and MAAS are gone")


def _deployed(qemu: Machine, region: Maas, identity: Path, work: Path) -> Device:
    def shows(text: str) -> Any:
        return lambda: text in qemu.console()

    qemu.wait(shows("edge-install: root file system comes from"), 600, "the firmware boots the kernel from the network")
    say("the kernel runs, loaded over the network")
    qemu.wait(shows("edge-install: disk is partitioned"), 1200, "the installer runs, its root file system in memory")
    say("the installer runs")
    qemu.wait(shows("edge-install: disk is finished"), 2400, "the image is on the disk")
    say("the image is on the disk; the machine starts again")
    address = region.boot_document()["address"].split("/")[0]
    qemu.wait(lambda: region.status() == "Deployed", 1200, "the disk's cloud-init asks MAAS for its user data")
    say("MAAS says Deployed")
    qemu.wait(
        lambda: any(key.startswith("ssh-ed25519 ") for key in reported_keys(region)),
        900,
        "the machine reports its SSH host keys to MAAS",
    )
    say("the machine reported its SSH host keys")
    known_hosts = work / "known_hosts"
    known_hosts.write_text("".join(f"{address} {key}\n" for key in sorted(reported_keys(region))))
    device = Device(qemu, region, address, identity, known_hosts)
    qemu.wait(lambda: device.ssh("true").returncode == 0, 600, f"SSH answers at {address} with a reported key")
    say("SSH answers")
    done = device.ssh("sudo cloud-init status --wait", 1200)
    last = (done.stdout or done.stderr).split()[-1:]
    say(f"cloud-init has finished: {' '.join(last)}")
    return device


def _keep_what_it_said(qemu: Machine, work: Path) -> None:
    kept = Path(tempfile.mkdtemp(prefix="edge-boot-failed-", dir="/var/tmp"))
    for name in ("console.log", "qemu.log", "dnsmasq.log", "maas.log"):
        if (work / name).exists():
            shutil.copy(work / name, kept)
    lines = qemu.console().splitlines()
    print(f"\nthe machine's console ended with (all of it: {kept}/console.log):", *lines[-60:], sep="\n    ")
