"""`GET /MAAS/boot/MAC`: what a machine is told when it boots from the network.

It stands in for TFTP, grub.cfg and the kernel command line. The purposes are MAAS's (get_boot_purpose):
a machine nobody knows enlists, a commissioning, testing or erasing one boots the ephemeral environment, a
deploying one installs until it turned netboot off, a deployed one boots its disk. Any other - New, Ready,
Allocated, Broken, failed - is powered off again. As with real PXE, whoever claims a MAC gets that machine's
credentials, and no other's.
"""

from __future__ import annotations

from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.discoveries import see
from lab.maas_simulator.errors import bad_request
from lab.maas_simulator.events import EventType, record
from lab.maas_simulator.lifecycle import expect_report
from lab.maas_simulator.machine_forms import normalized_mac
from lab.maas_simulator.model import Machine
from lab.maas_simulator.region import Region
from lab.maas_simulator.statuses import BOOTS_EPHEMERAL, Status


def boot(region: Region, mac: str) -> Answer:
    """The boot document of a MAC."""
    normalized = normalized_mac(mac)
    if normalized is None:
        raise bad_request(f"'{mac}' is not a valid MAC address.")
    see(region, normalized)
    machine = region.store.machine_by_mac(normalized)
    if machine is None:
        return Answer.json({"purpose": "enlist", "metadata_url": _metadata_url(region)})
    purpose = boot_purpose(machine)
    if purpose != "local":
        # event_log_pxe_request of maasserver/rpc/boot.py; the second is what status_message shows.
        record(region.store, machine, EventType.PXE_REQUEST, purpose)
        if purpose != "poweroff":
            record(region.store, machine, EventType.PXE_BOOT)
    elif machine.status == Status.DEPLOYING:
        record(region.store, machine, EventType.REBOOTING)
    expect_report(region, machine)
    region.store.save(machine)
    return Answer.json(_document(region, machine, purpose))


def boot_purpose(machine: Machine) -> str:
    """What a machine boots for."""
    if machine.status in BOOTS_EPHEMERAL:
        return "commissioning"
    if machine.status == Status.DEPLOYING:
        return "xinstall" if machine.netboot else "local"
    if machine.status == Status.DEPLOYED:
        return "local"
    if machine.status == Status.EXITING_RESCUE_MODE and machine.previous_status == Status.DEPLOYED:
        return "local"
    return "poweroff"


def _metadata_url(region: Region) -> str:
    return f"{region.settings.external_url}/metadata/"


def _document(region: Region, machine: Machine, purpose: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "purpose": purpose,
        "system_id": machine.system_id,
        "hostname": machine.hostname,
        "status_name": machine.status.label,
        "metadata_url": _metadata_url(region),
    }
    if machine.token:
        document["consumer_key"] = machine.token.consumer
        document["token_key"] = machine.token.key
        document["token_secret"] = machine.token.secret
    if purpose not in ("xinstall", "local"):
        return document
    address = next((link.ip for nic in machine.interfaces for link in nic.links if link.ip), None)
    if address:
        document["address"] = f"{address}/{region.settings.subnet.prefixlen}"
        document["gateway"] = str(region.settings.gateway)
    if purpose == "xinstall":
        document["image"] = _image(region, machine)
    return document


def _image(region: Region, machine: Machine) -> dict[str, Any]:
    """The image as it was when the deployment began; Ubuntu's own images are not here, so no address."""
    name = f"{machine.osystem}/{machine.distro_series}"
    row = region.store.row(
        "SELECT filetype, size FROM resource_file JOIN blob USING (sha256) WHERE sha256 = ?",
        machine.image_sha256,
    )
    if row is None:
        return {"name": name, "sha256": None, "size": None, "filetype": None, "url": None}
    return {
        "name": name,
        "sha256": machine.image_sha256,
        "size": row["size"],
        "filetype": row["filetype"],
        "url": f"{region.settings.external_url}/images/{machine.image_sha256}",
    }
