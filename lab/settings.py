"""What the person who types `make lab` may choose, checked before anything is started."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENGINE_DIR = Path("/var/lib/edge-lab")
ENGINE_RUN_DIR = Path("/run/edge-lab")

FIRST_DEVICE_HOST = 20
LAST_DEVICE_HOST = 239
MARKER = ".edge-lab"
MAX_DEVICES = LAST_DEVICE_HOST - FIRST_DEVICE_HOST + 1


class LabError(Exception):
    """Something the person at the keyboard can mend; the text says what and how."""


@dataclass(frozen=True)
class Settings:
    """One lab: its size, its network and where it keeps what."""

    devices: int
    name: str
    subnet: ipaddress.IPv4Network
    state: Path
    cache: Path
    esxi_edition: str = "free"
    light: bool = False  # devices' disks share the layers of the rack's images

    @property
    def network(self) -> str:
        return f"edge-{self.name}"

    @property
    def bridge(self) -> str:
        return f"br-{self.network}"  # Linux takes 15 characters: "br-edge-" and a name of up to seven

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def device_names(self) -> list[str]:
        return [f"nuc-{number:03d}" for number in range(1, self.devices + 1)]

    def address(self, host: int) -> str:
        return str(self.subnet.network_address + host)

    @property
    def gateway(self) -> str:
        return self.address(1)

    @property
    def metal_url(self) -> str:
        """The baseboard controllers of all devices, one path per MAC address."""
        return f"http://{self.address(5)}:8400"

    @property
    def esxi_address(self) -> str:
        return self.address(4)

    @property
    def maas_url(self) -> str:
        return f"http://{self.address(10)}:5240/MAAS"

    def container(self, machine: str) -> str:
        return f"{self.network}-{machine}"

    def mac(self, number: int) -> str:
        """A locally administered address; two bytes of it are the lab's, so that two labs are unlikely to share one."""
        site = hashlib.sha256(self.name.encode()).digest()
        return f"52:54:00:{site[0]:02x}:{site[1]:02x}:{number:02x}"


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read LAB_DEVICES, LAB_NAME, LAB_SUBNET, LAB_ESXI_EDITION, LAB_LIGHT, LAB_STATE and EDGE_CACHE.

    Raises LabError that names the variable, the value and what is accepted.
    """
    text = environ.get("LAB_DEVICES", "4")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DEVICES:
        raise LabError(
            f"LAB_DEVICES={text!r} is not a number of devices: give a whole number from 1 to {MAX_DEVICES}, "
            "for example: make lab LAB_DEVICES=4"
        )
    name = environ.get("LAB_NAME", "lab")
    if not re.fullmatch(r"[a-z][a-z0-9]{0,6}", name):
        raise LabError(f"LAB_NAME={name!r}: give one to seven lower-case letters and digits, a letter first")
    if name == "cache":
        raise LabError("LAB_NAME='cache' is how the images that all labs share are labelled: give another name")
    subnet_text = environ.get("LAB_SUBNET", "10.77.0.0/24")
    try:
        subnet = ipaddress.IPv4Network(subnet_text)
    except ValueError as error:
        raise LabError(f"LAB_SUBNET={subnet_text!r} is not an IPv4 network: {error}") from error
    if subnet.prefixlen != 24 or not subnet.is_private:
        raise LabError(f"LAB_SUBNET={subnet_text!r}: give a private /24, for example 10.78.0.0/24")
    edition = environ.get("LAB_ESXI_EDITION", "free")
    if edition not in ("free", "paid"):
        raise LabError(f"LAB_ESXI_EDITION={edition!r}: the lab's ESXi host has the edition free or paid")
    light = environ.get("LAB_LIGHT", "no")
    if light not in ("yes", "no"):
        raise LabError(f"LAB_LIGHT={light!r}: give yes, for devices that share what images are made of on disk, or no")
    state = Path(environ.get("LAB_STATE", CHECKOUT / ".lab")).resolve()
    cache = Path(environ.get("EDGE_CACHE", "/var/cache/edge-rack")).resolve()
    return Settings(int(text), name, subnet, state, cache, edition, light == "yes")


def own(folder: Path) -> None:
    """Make the folder, or take it over if it is empty, and mark it as a lab's.

    Raises LabError when something else is in it: what is marked here is deleted later.
    """
    marker = folder / MARKER
    if marker.exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise LabError(
            f"{folder} holds something that is not a lab's: name an empty or new folder (LAB_STATE, EDGE_CACHE)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("A lab of edge.rack keeps its things here and removes this folder when it goes.\n")


def disown(folder: Path) -> None:
    """Delete a folder that own() made.

    Raises LabError when it is not one of these.
    """
    if not folder.exists():
        return
    if not (folder / MARKER).exists():
        raise LabError(f"{folder} was not made by a lab and stays; look at LAB_STATE and EDGE_CACHE")
    shutil.rmtree(folder)
