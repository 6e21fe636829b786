"""A machine's interfaces as MAAS shows them, and its addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.errors import RefusedError, form_errors
from lab.maas_simulator.ip_ranges import ranges_of
from lab.maas_simulator.model import Interface, Link, Machine
from lab.maas_simulator.networks import FIRST_SUBNET, subnet_dict, subnet_of
from lab.maas_simulator.region import API, Region


def interface(region: Region, machine: Machine, nic: Interface) -> dict[str, Any]:
    """An interface as a machine and `nodes/ID/interfaces/` show it."""
    links: list[dict[str, Any]] = []
    for link in nic.links:
        shown: dict[str, Any] = {"id": link.id, "mode": link.mode}
        if link.ip:
            shown["ip_address"] = link.ip
        links.append({**shown, "subnet": subnet_dict(region, link.subnet)})
    discovered = None
    if nic.discovered_ip:
        number = subnet_of(region, nic.discovered_ip) or FIRST_SUBNET
        discovered = [{"subnet": subnet_dict(region, number), "ip_address": nic.discovered_ip}]
    return {
        "numa_node": 0,
        "params": {},
        "id": nic.id,
        "tags": [],
        "link_connected": True,
        "vlan": _vlan(region, nic),
        "enabled": True,
        "effective_mtu": 1500,
        "interface_speed": nic.speed,
        "parents": [],
        "mac_address": nic.mac,
        "type": "physical",
        "system_id": machine.system_id,
        "vendor": nic.vendor,
        "sriov_max_vf": 0,
        "link_speed": nic.speed,
        "product": nic.product,
        "links": links,
        "children": [],
        "discovered": discovered,
        "name": nic.name,
        "firmware_version": None,
        "resource_uri": f"{API}nodes/{machine.system_id}/interfaces/{nic.id}/",
    }


def _vlan(region: Region, nic: Interface) -> dict[str, Any] | None:
    if not nic.on_vlan:
        return None
    number = nic.links[0].subnet if nic.links else FIRST_SUBNET
    vlan: dict[str, Any] = subnet_dict(region, number)["vlan"]
    return vlan


def addresses(machine: Machine) -> list[str]:
    """`ip_addresses`: what is configured, else what was last discovered (rows "release after failed
    deployment" show that a discovered address outlives a release)."""
    configured = [link.ip for nic in machine.interfaces for link in nic.links if link.ip]
    if configured:
        return configured
    return [nic.discovered_ip for nic in machine.interfaces if nic.discovered_ip]


def link_auto(region: Region, nic: Interface, subnet: int = FIRST_SUBNET) -> None:
    """Link an interface to a subnet in mode AUTO: its address comes with the deployment."""
    nic.on_vlan = True
    if not nic.links:
        nic.links.append(Link(region.store.next_id("link"), "auto", subnet))


def claim_addresses(region: Region, machine: Machine) -> None:
    """Give every AUTO link an address of its subnet that nobody else has and no range holds.

    On the lab's own subnet the addresses come from the range of the settings: what else is there, MAAS's own host
    for one, is not known to this region.
    """
    taken = {row["ip"] for row in region.store.rows("SELECT ip FROM address UNION SELECT ip FROM dnsaddress")}
    for other in region.store.machines():
        if other.system_id != machine.system_id:
            taken |= {nic.discovered_ip for nic in other.interfaces if nic.discovered_ip}
    own = machine.boot_interface.discovered_ip
    for nic in machine.interfaces:
        for link in nic.links:
            if link.mode != "auto" or link.ip:
                continue
            candidates = _candidates(region, link.subnet)
            link.ip = own if own in candidates and own not in taken else None
            link.ip = link.ip or next((ip for ip in candidates if ip not in taken), None)
            if link.ip is None:
                # StaticIPAddressExhaustion of MAAS is a 503; its text names the subnet.
                cidr = subnet_dict(region, link.subnet)["cidr"]
                raise RefusedError(Answer(503, f"No more IPs available in subnet: {cidr}."))
            taken.add(link.ip)


def _candidates(region: Region, subnet_id: int) -> dict[str, None]:
    """The addresses for machines, in order."""
    settings, subnet = region.settings, subnet_dict(region, subnet_id)
    network = IPv4Network(subnet["cidr"])
    first, last = int(network.network_address) + 1, int(network.broadcast_address) - 1
    if subnet_id == FIRST_SUBNET:
        first, last = int(settings.range_start), int(settings.range_end)
    ranges = ranges_of(region, subnet_id)
    special = {subnet["gateway_ip"], *subnet["dns_servers"]}
    numbers = (n for n in range(first, last + 1) if not any(start <= n <= end for start, end in ranges))
    return dict.fromkeys(ip for ip in map(str, map(IPv4Address, numbers)) if ip not in special)


def free_addresses(machine: Machine) -> None:
    """Give the AUTO addresses back; the links stay."""
    for nic in machine.interfaces:
        for link in nic.links:
            if link.mode == "auto":
                link.ip = None


def on_network(machine: Machine) -> bool:
    """Whether any interface is configured on a subnet; a deployment needs one."""
    return any(nic.links for nic in machine.interfaces)


def parse_subnet_id(region: Region, value: str) -> int:
    """The number of a subnet, or the refusal of one that is not there."""
    row = region.store.row("SELECT id FROM subnet WHERE CAST(id AS TEXT) = ?", value)
    if row is None:
        raise form_errors({"subnet": ["Select a valid choice. That choice is not one of the available choices."]})
    return int(row["id"])
