"""What the region remembers of a machine. Stored as one JSON document per machine."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.maas_simulator.statuses import Status


@dataclass
class Link:
    """A configured link of an interface to the subnet."""

    id: int
    mode: str
    subnet: int
    ip: str | None = None


@dataclass
class Interface:
    """A physical network interface."""

    id: int
    mac: str
    name: str = "eth0"
    links: list[Link] = field(default_factory=list)
    on_vlan: bool = False
    discovered_ip: str | None = None
    commissioned: bool = False
    vendor: str | None = None
    product: str | None = None
    speed: int = 0


@dataclass
class Disk:
    """A physical block device; the first one is the boot disk and carries the flat layout."""

    id: int
    name: str
    size: int
    model: str = ""
    serial: str = ""
    partition_id: int = 0
    partition_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    filesystem_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Token:
    """The credentials of one machine for its metadata; of no use anywhere else."""

    consumer: str = field(default_factory=lambda: secrets.token_hex(9))
    key: str = field(default_factory=lambda: secrets.token_hex(9))
    secret: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass
class Machine:
    """One machine."""

    system_id: str
    node_id: int
    hostname: str
    architecture: str
    power_type: str = ""
    power_parameters: dict[str, str] = field(default_factory=dict)
    interfaces: list[Interface] = field(default_factory=list)
    status: Status = Status.NEW
    previous_status: Status = Status.NEW
    status_expires: float | None = None
    owner: str | None = None
    agent_name: str = ""
    locked: bool = False
    power_state: str = "unknown"
    description: str = ""
    error_description: str = ""
    osystem: str = ""
    distro_series: str = ""
    hwe_kernel: str | None = None
    min_hwe_kernel: str = ""
    netboot: bool = True
    tags: list[str] = field(default_factory=list)
    owner_data: dict[str, str] = field(default_factory=dict)
    pool: int = 0
    zone: int = 1
    cpu_count: int = 0
    memory: int = 0
    disks: list[Disk] = field(default_factory=list)
    hardware_uuid: str | None = None
    hardware_info: dict[str, str] = field(default_factory=dict)
    commissioning_result: int | None = None
    testing_result: int | None = None
    installation_result: int | None = None
    commissioning_status: int = -1
    testing_status: int = -1
    failed_scripts: bool = False
    skip_networking: bool = False
    enable_ssh: bool = False
    run_tests: bool = True
    user_data: str | None = None
    image_sha256: str | None = None
    token: Token | None = None

    @property
    def boot_interface(self) -> Interface:
        """MAAS refuses a machine with no MAC, so there is always one."""
        return self.interfaces[0]

    def document(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Machine:
        """From the store."""
        # What an older region kept besides is no more.
        machine = cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})
        machine.status = Status(machine.status)
        machine.previous_status = Status(machine.previous_status)
        machine.interfaces = [
            Interface(**{**nic, "links": [Link(**link) for link in nic["links"]]}) for nic in document["interfaces"]
        ]
        machine.disks = [Disk(**disk) for disk in document["disks"]]
        machine.token = Token(**document["token"]) if document["token"] else None
        return machine
