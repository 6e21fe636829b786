"""What a machine of the rack is made of, in the lab engine's terms."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import docker
import httpx
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from lab.containers import LABEL, Spec, create
from lab.metal import layers
from lab.metal.guests import UUID_LABEL
from lab.metal.scripts import TIMED_OUT, Outcome, Script

MAC_LABEL = "edge.lab.mac"


@dataclass(frozen=True)
class Machine:
    """One device as it stands in the rack."""

    mac: str
    name: str
    cores: int = 4
    memory_mib: int = 16384
    disk_bytes: int = 256_060_514_304


class Rack:
    """The machines' containers in the lab's engine."""

    def __init__(
        self, client: docker.DockerClient, lab: str, ephemeral_image: str = "", *, light: bool = False
    ) -> None:
        self.client = client
        self.lab = lab
        self.ephemeral_image = ephemeral_image  # what MAAS boots over the network to commission a machine
        self.light = light  # disks share the layers of the rack's images
        self.network = f"edge-{lab}"
        self._importing = threading.Lock()

    def container(self, machine: Machine) -> Container | None:
        """The machine's installed disk, running or not; None while nothing is installed on it."""
        try:
            return self.client.containers.get(f"{self.network}-{machine.name}")
        except NotFound:
            return None

    def start(self, machine: Machine) -> bool:
        """Boot the disk; False when nothing is installed on it."""
        container = self.container(machine)
        if container is None:
            return False
        container.start()
        return True

    def stop(self, machine: Machine) -> None:
        """Cut the power, as MAAS does: no shutdown."""
        container = self.container(machine)
        if container is not None and container.status == "running":
            container.kill()
            container.wait(timeout=60)
        with suppress(NotFound):
            self.client.containers.get(self._ephemeral(machine)).remove(force=True)

    def run_script(self, machine: Machine, script: Script) -> Outcome:
        """Run a script of MAAS's on the machine while nothing of its disk runs.

        It has the engine's default network, where the interface carries the machine's MAC address. When the power is
        cut meanwhile, the container is gone and NotFound is raised: a machine without power reports nothing.
        """
        with suppress(NotFound):
            self.client.containers.get(self._ephemeral(machine)).remove(force=True)
        container = self.client.containers.create(
            self.ephemeral_image,
            entrypoint=["/bin/sh", "-c", "exec /run/maas-script"],
            name=self._ephemeral(machine),
            hostname="maas-enlist",
            mac_address=machine.mac,
            labels={LABEL: self.lab},
        )
        try:
            container.put_archive("/", _executable("run/maas-script", script.content))
            container.start()
            status = self._wait(container, script.timeout_seconds)
            stdout, stderr = container.logs(stderr=False), container.logs(stdout=False)
            return Outcome(status, stdout, stderr)
        finally:
            with suppress(NotFound):
                container.remove(force=True)

    def _wait(self, container: Container, timeout_seconds: float) -> int:
        """The exit status, 124 for a script that was stopped after its time."""
        deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
        while True:
            container.reload()
            if container.status in ("exited", "dead"):
                return int(container.attrs["State"]["ExitCode"])
            if deadline is not None and time.monotonic() > deadline:
                container.kill()
                return TIMED_OUT
            time.sleep(0.2)

    def _ephemeral(self, machine: Machine) -> str:
        return f"{self.network}-{machine.name}-ephemeral"

    def wipe(self, machine: Machine) -> None:
        container = self.container(machine)
        if container is not None:
            container.remove(force=True, v=True)
        try:
            self.client.volumes.get(self._volume(machine)).remove(force=True)
        except NotFound:
            return

    def image(self, sha256: str, url: str) -> str:
        """The disk image MAAS serves at `url`, imported once into the engine."""
        tag = f"edge-{self.lab}/disk:{sha256[:12]}"
        with self._importing:
            try:
                self.client.images.get(tag)
            except ImageNotFound:
                with httpx.stream("GET", url, timeout=120) as answer:
                    answer.raise_for_status()
                    self.client.api.import_image_from_stream(
                        answer.iter_bytes(1 << 20),
                        repository=tag.split(":")[0],
                        tag=tag.split(":")[1],
                        changes=['ENTRYPOINT ["/lib/systemd/systemd"]', f"LABEL {LABEL}={self.lab}"],
                    )
        return tag

    def install(self, machine: Machine, image: str, hostname: str, address: str, files: dict[str, str]) -> None:
        """Put a fresh disk into the machine: the image, and `files` (path -> content) as the installer leaves them."""
        self.wipe(machine)
        spec = Spec(
            name=f"{self.network}-{machine.name}",
            image=image,
            hostname=hostname,
            network=self.network,
            address=address,
            mac=machine.mac,
            labels={LABEL: self.lab, MAC_LABEL: machine.mac},
            volumes={self._volume(machine): "/var/lib/docker"},
        )
        create(self.client, spec, files)
        if self.light:
            layers.link(self.client, self.ephemeral_image, self.lab, self._engines(), self._volume(machine))

    def _engines(self) -> list[str]:
        """The volumes of the VMs' engines: where the rack's images are built, their layers lie."""
        vms = self.client.containers.list(all=True, filters={"label": [UUID_LABEL, f"{LABEL}={self.lab}"]})
        mounts = [mount for vm in vms for mount in vm.attrs["Mounts"]]
        return sorted(mount["Name"] for mount in mounts if mount["Destination"] == "/var/lib/docker")

    def _volume(self, machine: Machine) -> str:
        return f"{self.network}-{machine.name}-docker"


def _executable(path: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(content), 0o755
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
