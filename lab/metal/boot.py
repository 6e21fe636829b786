"""What a machine does when it boots from the network: the part of MAAS's ephemeral images.

MAAS answers by MAC address with a purpose (the names are MAAS's own): `enlist`, `commissioning`, `xinstall`
(install to disk), `local` (boot the disk), `poweroff`.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from lab.metal import scripts
from lab.metal.machines import Machine, Rack
from lab.oauth import authorization

logger = logging.getLogger("metal")


@dataclass(frozen=True)
class Firmware:
    """Where the network boot finds MAAS, in seconds of patience as a real PXE ROM has it."""

    maas_url: str
    tries: int = 30
    pause_seconds: float = 2.0


def boot(firmware: Firmware, rack: Rack, machine: Machine) -> bool:
    """Boot once from the network; True when the machine stays on afterwards."""
    answer = _network_boot(firmware, machine, has_disk=rack.container(machine) is not None)
    purpose = answer["purpose"]
    logger.info("%s boots: %s", machine.name, purpose)
    if purpose == "enlist":
        _enlist(firmware, machine)
        return False
    if purpose == "commissioning":
        if answer.get("status_name") == "Disk erasing":
            _erase(answer, rack, machine)
        else:
            _commission(answer, rack, machine)
        return False
    if purpose == "xinstall":
        _install(answer, rack, machine)
        # The installer has asked MAAS to leave the disk first in the boot order and restarts the machine.
        return boot(firmware, rack, machine)
    if purpose == "local":
        return rack.start(machine)
    return False


def _network_boot(firmware: Firmware, machine: Machine, *, has_disk: bool) -> dict[str, Any]:
    # Nothing on the disk and nobody on the network: a NUC tries again ("Unlimited Network Boot Attempts" of its setup).
    for attempt in range(firmware.tries) if has_disk else itertools.count():
        try:
            answer = httpx.get(f"{firmware.maas_url}/boot/{machine.mac}", timeout=30)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            logger.warning("%s: no network boot (%s), try %d", machine.name, error, attempt + 1)
            time.sleep(firmware.pause_seconds)
        else:
            result: dict[str, Any] = answer.json()
            return result
    return {"purpose": "local"}  # as a PXE ROM that times out falls through to the next boot device


def _enlist(firmware: Firmware, machine: Machine) -> None:
    answer = httpx.post(
        f"{firmware.maas_url}/api/2.0/machines/",
        data={
            "hostname": machine.name,
            "architecture": "amd64/generic",
            "mac_addresses": machine.mac,
            "power_type": "manual",
        },
        timeout=60,
    )
    if answer.is_error:
        logger.error("%s: MAAS refused the enlistment: %d %s", machine.name, answer.status_code, answer.text)


def _commission(answer: dict[str, Any], rack: Rack, machine: Machine) -> None:
    """Report the hardware, then run the scripts that people uploaded: commissioning, and with that passed, testing."""
    _signal(answer, status="WORKING", hardware=json.dumps(hardware(machine)))
    found = scripts.fetch(answer)
    signal = partial(_signal, answer)
    for kind in ("commissioning_scripts", "testing_scripts"):
        todo = found.get(kind, [])
        if kind == "testing_scripts" and todo:
            signal(status="TESTING")
        failed = scripts.run_all(todo, partial(rack.run_script, machine), signal)
        if failed:
            signal(status="FAILED", error=f"{failed} scripts failed to run")
            return
    signal(status="OK", error="All scripts successfully ran")


def _erase(answer: dict[str, Any], rack: Rack, machine: Machine) -> None:
    """What the ephemeral environment does with `erase`: nothing of the disk is left."""
    rack.wipe(machine)
    _signal(answer, status="OK", error="All disks have been successfully wiped.")


def hardware(machine: Machine) -> dict[str, Any]:
    """What the commissioning scripts would find on this machine; sizes in MiB of memory and bytes of disk."""
    return {
        "cpu_count": machine.cores,
        "memory": machine.memory_mib,
        "hardware_uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, machine.mac)),
        "system_vendor": "Intel(R) Client Systems",
        "system_product": "NUC7i5BNH",
        "system_serial": f"G6BN{machine.mac.replace(':', '')[-6:].upper()}",
        "cpu_model": "Intel(R) Core(TM) i5-7260U CPU",
        "disks": [{"name": "sda", "size": machine.disk_bytes, "model": "SSD", "serial": f"S{machine.mac[-5:]}"}],
        "nics": [{"name": "eth0", "mac": machine.mac}],
    }


def _install(answer: dict[str, Any], rack: Rack, machine: Machine) -> None:
    """What curtin does: write the image, leave cloud-init its data source, take the network out of the boot."""
    image = rack.image(answer["image"]["sha256"], answer["image"]["url"])
    address = answer["address"].split("/")[0]
    rack.install(machine, image, answer["hostname"], address, {"/etc/cloud/cloud.cfg.d/90_maas.cfg": _seed(answer)})
    _signal(answer, op="netboot_off")


def _seed(answer: dict[str, Any]) -> str:
    """cloud-init's configuration as MAAS writes it on an installed disk; ds-identify reads it line by line."""
    return f"""\
datasource_list: [ MAAS ]
datasource:
  MAAS:
    metadata_url: {answer["metadata_url"]}
    consumer_key: {answer["consumer_key"]}
    token_key: {answer["token_key"]}
    token_secret: {answer["token_secret"]}
reporting:
  maas:
    type: webhook
    endpoint: {answer["metadata_url"].rstrip("/")}/status/{answer["system_id"]}
    consumer_key: {answer["consumer_key"]}
    token_key: {answer["token_key"]}
    token_secret: {answer["token_secret"]}
"""


def _signal(answer: dict[str, Any], op: str = "signal", files: dict[str, bytes] | None = None, **fields: str) -> None:
    reply = httpx.post(
        f"{answer['metadata_url'].rstrip('/')}/2012-03-01/",
        data={"op": op, **fields},
        files={name: (name, content) for name, content in (files or {}).items()} or None,
        headers=authorization(answer["consumer_key"], answer["token_key"], answer["token_secret"]),
        timeout=60,
    )
    reply.raise_for_status()
