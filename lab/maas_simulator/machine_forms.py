"""The forms behind creating and changing a machine: the same errors as a real region's."""

from __future__ import annotations

import json
import re
import secrets
from collections import defaultdict

from lab.maas_simulator.errors import form_errors, not_simulated
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.model import Interface, Machine
from lab.maas_simulator.power import POWER_TYPES, WEBHOOK_DEFAULTS, WEBHOOK_REQUIRED
from lab.maas_simulator.region import Region

Errors = defaultdict[str, list[str]]
_ARCHITECTURES = ("amd64/generic",)
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_NO_CHOICE = "Select a valid choice. That choice is not one of the available choices."
_ADJECTIVES = [
    "bold",
    "calm",
    "eager",
    "fair",
    "fine",
    "gentle",
    "keen",
    "lucky",
    "noble",
    "quick",
    "sharp",
    "sound",
    "swift",
    "warm",
    "wise",
]
_ANIMALS = [
    "ant",
    "bear",
    "crab",
    "deer",
    "eel",
    "finch",
    "gnu",
    "hare",
    "ibex",
    "koala",
    "lynx",
    "mole",
    "newt",
    "otter",
    "puma",
    "quail",
    "seal",
    "wren",
]
# Fields of the real forms that would change the machine and are not kept here.
_UNSIMULATED = ("cpu_count", "memory", "swap_size", "deployed", "is_dpu", "disable_ipv4", "pool_token")


def normalized_mac(value: str) -> str | None:
    """aa:bb:cc:dd:ee:ff, or None if it is no MAC."""
    return value.lower().replace("-", ":") if _MAC.fullmatch(value) else None


def read_create(region: Region, data: Fields) -> Machine:
    """A new machine from the fields of `POST machines/`."""
    errors: Errors = defaultdict(list)
    machine = Machine(region.store.new_system_id(), 0, "", "")
    for name in ("architecture", "mac_addresses"):
        if not any(data.all(name)):
            errors[name].append("This field is required.")
    macs = _read_macs(region, data.all("mac_addresses"), errors)
    _read_common(region, machine, data, errors)
    if errors["mac_addresses"] and data.get("power_type"):
        text = f"Can't set power type to {data.get('power_type')} without network interfaces"
        errors["power_type"] = [text]
    if not machine.hostname:
        machine.hostname = _free_name(region)
    _refuse(errors, ("architecture", "mac_addresses", "power_type", "power_parameters", "hostname"))
    machine.node_id = region.store.next_id("node")
    machine.interfaces = [
        Interface(region.store.next_id("interface"), mac, f"eth{number}") for number, mac in enumerate(macs)
    ]
    return machine


def read_update(region: Region, machine: Machine, data: Fields) -> None:
    """The fields of `PUT machines/ID/` into the machine."""
    errors: Errors = defaultdict(list)
    _read_common(region, machine, data, errors)
    _refuse(errors, ())


def _refuse(errors: Errors, order: tuple[str, ...]) -> None:
    names = [*order, *(name for name in errors if name not in order)]
    if any(errors[name] for name in names):
        raise form_errors({name: errors[name] for name in names if errors[name]})


def _read_common(region: Region, machine: Machine, data: Fields, errors: Errors) -> None:
    for name in _UNSIMULATED:
        if data.get(name):
            raise not_simulated(f"Machine field {name}")
    if data.get("architecture"):
        machine.architecture = _architecture(data.get("architecture"), errors)
    if "description" in data:
        machine.description = data.get("description")
    if "min_hwe_kernel" in data:
        machine.min_hwe_kernel = data.get("min_hwe_kernel")
    if data.get("domain", "maas") not in ("", "maas", "0"):
        errors["domain"].append(_NO_CHOICE)
    if data.get("hostname"):
        _read_hostname(region, machine, data.get("hostname"), errors)
    _read_place(region, machine, data, errors)
    _read_power(machine, data, errors)


def _read_hostname(region: Region, machine: Machine, name: str, errors: Errors) -> None:
    name = name.removesuffix(".maas")
    other = region.store.find_machine("hostname", name)
    if not _LABEL.fullmatch(name):
        # Not recorded: MAAS has a text for each way a DNS label can be wrong.
        errors["hostname"].append("Invalid hostname.")
    elif other is not None and other.system_id != machine.system_id:
        errors["hostname"].append("Node with this Hostname already exists.")
    machine.hostname = name


def _read_place(region: Region, machine: Machine, data: Fields, errors: Errors) -> None:
    for name in ("pool", "zone"):
        if not data.get(name):
            continue
        sql = f"SELECT id FROM {name} WHERE name = ? OR CAST(id AS TEXT) = ?"  # noqa: S608 - two fixed names
        row = region.store.row(sql, data.get(name), data.get(name))
        if row is None:
            errors[name].append(_NO_CHOICE)
        else:
            setattr(machine, name, row["id"])


def _read_macs(region: Region, values: list[str], errors: Errors) -> list[str]:
    macs = []
    for value in filter(None, values):
        mac = normalized_mac(value)
        if mac is None:
            errors["mac_addresses"].append(f"'{value}' is not a valid MAC address.")
            continue
        other = region.store.machine_by_mac(mac)
        if other is not None:
            errors["mac_addresses"].append(f"MAC address {mac} already in use on {other.hostname}.")
        macs.append(mac)
    return list(dict.fromkeys(macs))


def _architecture(value: str, errors: Errors) -> str:
    # `amd64` alone is what a machine that enlists knows of itself.
    full = value if "/" in value else f"{value}/generic"
    if full not in _ARCHITECTURES:
        listed = ", ".join(f"'{name}'" for name in _ARCHITECTURES)
        errors["architecture"].append(f"'{value}' is not a valid architecture.  It should be one of: {listed}.")
    return full


def _read_power(machine: Machine, data: Fields, errors: Errors) -> None:
    given = {
        key.removeprefix("power_parameters_"): value
        for key, value in data.pairs
        if key.startswith("power_parameters_") and key != "power_parameters_skip_check"
    }
    if data.get("power_parameters"):
        try:
            document = json.loads(data.get("power_parameters"))
            given |= {key: "" if value is None else str(value) for key, value in document.items()}
        except (ValueError, AttributeError):
            errors["power_parameters"].append("Failed to parse JSON power_parameters")
    kind = data.get("power_type", machine.power_type)
    if kind and kind not in POWER_TYPES:
        errors["power_type"].append(f"Select a valid choice. {kind} is not one of the available choices.")
        return
    if kind != machine.power_type:
        machine.power_parameters = dict(WEBHOOK_DEFAULTS) if kind == "webhook" else {}
        machine.power_state = "unknown"
    machine.power_type = kind
    if kind in ("", "manual"):
        return
    known = WEBHOOK_DEFAULTS if kind == "webhook" else given
    machine.power_parameters |= {key: value for key, value in given.items() if key in known}
    if kind == "webhook" and not data.flag("power_parameters_skip_check"):
        for name, label in WEBHOOK_REQUIRED.items():
            if not machine.power_parameters[name]:
                # Not recorded; the wording is that of MAAS's DictCharField.
                errors["power_parameters"].append(f"{label}: This field is required.")


def _free_name(region: Region) -> str:
    while True:
        name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}"
        if region.store.find_machine("hostname", name) is None:
            return name
        name = f"{name}-{secrets.randbelow(1000)}"
        if region.store.find_machine("hostname", name) is None:
            return name
