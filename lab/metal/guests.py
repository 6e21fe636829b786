"""Virtual machines' insides: what runs when the lab's ESXi host powers one on, in the lab engine's terms.

The first line of the boot disk names the operating system on it: `edge-lab: vm` or `edge-lab: maas`.
"""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import dataclass
from typing import Any

import docker
import yaml
from docker.errors import NotFound
from docker.models.containers import Container

from lab.containers import LABEL, Spec, create, put

UUID_LABEL = "edge.lab.vm"
IMAGE_LABEL = "edge.lab.image"
HOSTNAME_LABEL = "edge.lab.hostname"
ADDRESS_LABEL = "edge.lab.address"

# What outlives a new version of the lab's images, as data on a disk outlives an upgrade.
DISKS = ("containers", "docker", "docker-registry", "maas-simulator")

# Where a virtual machine sees the machine's cache: its images are built from what lies there.
CACHE_IN_GUEST = "/var/cache/edge-rack"

# cloud-init's data source VMware reads guestinfo from its environment where there is no VMware (in a container).
CLOUD_INIT_UNITS = ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")


class GuestError(Exception):
    """The virtual machine does not start; the text says why."""


@dataclass(frozen=True)
class VirtualMachine:
    """What the ESXi host says about a virtual machine when it powers it on."""

    uuid: str
    name: str
    boot: str
    metadata: dict[str, Any]
    userdata: str

    @classmethod
    def from_json(cls, uuid: str, said: dict[str, Any]) -> VirtualMachine:
        guestinfo = said.get("guestinfo") or {}
        metadata = yaml.safe_load(guestinfo.get("metadata") or "{}")
        if not isinstance(metadata, dict):
            raise GuestError(f"{said['name']}: guestinfo.metadata is no mapping")
        return cls(uuid, said["name"], said.get("boot") or "", metadata, guestinfo.get("userdata") or "")

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9-]+", "-", self.name.lower()).strip("-") or self.uuid[:8]

    @property
    def hostname(self) -> str:
        return str(self.metadata.get("local-hostname") or self.slug).split(".")[0]

    @property
    def address(self) -> str | None:
        """The address which cloud-init would set: the first one of the network configuration, version 2."""
        ethernets = (self.metadata.get("network") or {}).get("ethernets") or {}
        addresses = [address for nic in ethernets.values() for address in nic.get("addresses") or []]
        return str(addresses[0]).split("/")[0] if addresses else None


class Guests:
    """The virtual machines' containers in the lab's engine."""

    def __init__(self, client: docker.DockerClient, lab: str, images: dict[str, str], cache: str) -> None:
        self.client = client
        self.lab = lab
        self.network = f"edge-{lab}"
        self.images = images
        self.cache = cache
        self._lock = threading.Lock()

    def list(self) -> dict[str, dict[str, str]]:
        """Every guest by its UUID: status, address and host name."""
        found = {}
        for container in self.client.containers.list(all=True, filters={"label": [UUID_LABEL, f"{LABEL}={self.lab}"]}):
            running = container.status == "running"
            endpoint = container.attrs["NetworkSettings"]["Networks"].get(self.network) or {}
            found[container.labels[UUID_LABEL]] = {
                "status": "running" if running else "stopped",
                "address": endpoint.get("IPAddress", "") if running else "",
                "hostname": container.labels.get(HOSTNAME_LABEL, ""),
            }
        return found

    def on(self, vm: VirtualMachine) -> None:
        """Boot the disk.

        Raises GuestError when there is no operating system on it.
        """
        with self._lock:
            container = self._find(vm.uuid)
            if container is not None and container.status == "running":
                return
            # A disk with nothing on it hangs in the firmware: on, without an address.
            if not vm.boot and container is None:
                return
            system = vm.boot.removeprefix("edge-lab:").strip()
            if system not in self.images:
                raise GuestError(f"{vm.name}: its disk begins with {vm.boot[:60]!r}, which does not boot in the lab")
            if container is not None and self._outdated(container, vm, self.images[system]):
                container.remove(force=True)
                container = None
            container = container or self._create(vm, self.images[system])
            put(container, _guestinfo(vm))
            container.start()

    def off(self, uuid: str) -> None:
        container = self._find(uuid)
        if container is not None and container.status == "running":
            container.kill()
            container.wait(timeout=60)

    def shutdown(self, uuid: str) -> None:
        """Ask the guest to end, as VMware Tools do; it takes its time."""
        container = self._find(uuid)
        if container is not None and container.status == "running":
            container.kill(signal="SIGRTMIN+4")  # systemd's word for poweroff

    def reset(self, uuid: str) -> None:
        container = self._find(uuid)
        if container is not None:
            container.kill()
            container.start()

    def remove(self, uuid: str) -> None:
        """The virtual machine is destroyed, its disks with it."""
        container = self._find(uuid)
        if container is not None:
            container.remove(force=True, v=True)
        for disk in DISKS:
            try:
                self.client.volumes.get(self._volume(uuid, disk)).remove(force=True)
            except NotFound:
                continue

    def _outdated(self, container: Container, vm: VirtualMachine, image: str) -> bool:
        """The lab's images are newer, or the machine has another name or address than the container was made with."""
        made = (container.labels.get(IMAGE_LABEL), container.labels.get(HOSTNAME_LABEL))
        address = container.labels.get(ADDRESS_LABEL, "")
        return made != (image, vm.hostname) or address != (vm.address or "")

    def _create(self, vm: VirtualMachine, image: str) -> Container:
        volumes = {self._volume(vm.uuid, disk): f"/var/lib/{disk}" for disk in DISKS}
        spec = Spec(
            name=f"{self.network}-{vm.slug}",
            image=image,
            hostname=vm.hostname,
            network=self.network,
            address=vm.address,
            # A name beside the address stands for what MAAS's DNS answers on a real rack.
            aliases=(vm.hostname, f"{vm.hostname}.edge.lab"),
            labels={
                LABEL: self.lab,
                UUID_LABEL: vm.uuid,
                IMAGE_LABEL: image,
                HOSTNAME_LABEL: vm.hostname,
                ADDRESS_LABEL: vm.address or "",
            },
            volumes={**volumes, self.cache: f"{CACHE_IN_GUEST}:ro"},
        )
        return create(self.client, spec, {})

    def _find(self, uuid: str) -> Container | None:
        mine = {"label": [f"{UUID_LABEL}={uuid}", f"{LABEL}={self.lab}"]}
        return next(iter(self.client.containers.list(all=True, filters=mine)), None)

    def _volume(self, uuid: str, disk: str) -> str:
        return f"{self.network}-vm-{uuid}-{disk}"


def _guestinfo(vm: VirtualMachine) -> dict[str, str]:
    """What the guest reads from its hypervisor, for cloud-init's services."""
    variables = {
        "VMX_GUESTINFO": "1",
        "VMX_GUESTINFO_METADATA": _encoded(yaml.safe_dump(vm.metadata)),
        "VMX_GUESTINFO_METADATA_ENCODING": "base64",
        "VMX_GUESTINFO_USERDATA": _encoded(vm.userdata),
        "VMX_GUESTINFO_USERDATA_ENCODING": "base64",
    }
    drop_in = "[Service]\n" + "".join(f"Environment={name}={value}\n" for name, value in variables.items())
    files = {f"/etc/systemd/system/{unit}.service.d/guestinfo.conf": drop_in for unit in CLOUD_INIT_UNITS}
    return {**files, "/etc/cloud/cloud.cfg.d/90_vmware.cfg": "datasource_list: [ VMware ]\n"}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
