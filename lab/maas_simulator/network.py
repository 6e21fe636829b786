"""The one subnet of the lab, as MAAS shows it, and the addresses of its machines."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.errors import RefusedError, form_errors, missing
from lab.maas_simulator.model import Interface, Link, Machine
from lab.maas_simulator.region import API, Call, Region

SUBNET_ID = 1


def vlan(region: Region) -> dict[str, Any]:
    """The untagged VLAN; 3.6 counts VLANs from 5001."""
    number = 5001 if region.release >= (3, 6) else 1
    return {
        "vid": 0,
        "mtu": 1500,
        "dhcp_on": False,
        "external_dhcp": None,
        "relay_vlan": None,
        "primary_rack": None,
        "fabric_id": 0,
        "id": number,
        "fabric": "fabric-0",
        "secondary_rack": None,
        "space": "undefined",
        "name": "untagged",
        "resource_uri": f"{API}vlans/{number}/",
    }


def subnet(region: Region) -> dict[str, Any]:
    """The subnet of the settings."""
    return {
        "name": str(region.settings.subnet),
        "description": "",
        "vlan": vlan(region),
        "cidr": str(region.settings.subnet),
        "rdns_mode": 2,
        "gateway_ip": str(region.settings.gateway),
        "dns_servers": [],
        "allow_dns": True,
        "allow_proxy": True,
        "active_discovery": False,
        "managed": True,
        "disabled_boot_architectures": [],
        "id": SUBNET_ID,
        "space": "undefined",
        "resource_uri": f"{API}subnets/{SUBNET_ID}/",
    }


def list_subnets(call: Call) -> Answer:
    """`subnets/`"""
    return Answer.json([subnet(call.region)])


def read_subnet(call: Call) -> Answer:
    """`subnets/ID/`; a subnet answers to its number, its name and its CIDR specifier."""
    wanted = call.params["id"]
    if wanted not in (str(SUBNET_ID), str(call.region.settings.subnet), f"cidr:{call.region.settings.subnet}"):
        raise missing("Subnet")
    return Answer.json(subnet(call.region))


def list_fabrics(call: Call) -> Answer:
    """`fabrics/`"""
    fabric = {
        "class_type": None,
        "vlans": [vlan(call.region)],
        "id": 0,
        "name": "fabric-0",
        "resource_uri": f"{API}fabrics/0/",
    }
    return Answer.json([fabric])


def interface(region: Region, machine: Machine, nic: Interface) -> dict[str, Any]:
    """An interface as a machine and `nodes/ID/interfaces/` show it."""
    links: list[dict[str, Any]] = []
    for link in nic.links:
        shown: dict[str, Any] = {"id": link.id, "mode": link.mode}
        if link.ip:
            shown["ip_address"] = link.ip
        links.append({**shown, "subnet": subnet(region)})
    discovered = None
    if nic.discovered_ip:
        discovered = [{"subnet": subnet(region), "ip_address": nic.discovered_ip}]
    return {
        "numa_node": 0,
        "params": {},
        "id": nic.id,
        "tags": [],
        "link_connected": True,
        "vlan": vlan(region) if nic.on_vlan else None,
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


def addresses(machine: Machine) -> list[str]:
    """`ip_addresses`: what is configured, else what was last discovered (rows "release after failed
    deployment" show that a discovered address outlives a release)."""
    configured = [link.ip for nic in machine.interfaces for link in nic.links if link.ip]
    if configured:
        return configured
    return [nic.discovered_ip for nic in machine.interfaces if nic.discovered_ip]


def link_auto(region: Region, nic: Interface) -> None:
    """Link an interface to the subnet in mode AUTO: its address comes with the deployment."""
    nic.on_vlan = True
    if not nic.links:
        nic.links.append(Link(region.store.next_id("link"), "auto", SUBNET_ID))


def claim_addresses(region: Region, machine: Machine) -> None:
    """Give every AUTO link an address of the range that no other machine has.

    A real region takes AUTO addresses from outside its dynamic ranges; the lab has one range for both, and
    no DHCP server hands out leases beside it.
    """
    settings = region.settings
    taken = {row["ip"] for row in region.store.rows("SELECT ip FROM address")}
    for other in region.store.machines():
        if other.system_id != machine.system_id:
            taken |= {nic.discovered_ip for nic in other.interfaces if nic.discovered_ip}
    own = machine.boot_interface.discovered_ip
    free = (
        str(IPv4Address(number))
        for number in range(int(settings.range_start), int(settings.range_end) + 1)
        if str(IPv4Address(number)) not in taken
    )
    for nic in machine.interfaces:
        for link in nic.links:
            if link.mode != "auto" or link.ip:
                continue
            in_range = own and settings.range_start <= IPv4Address(own) <= settings.range_end
            link.ip = own if in_range and own not in taken else next(free, None)
            if link.ip is None:
                # StaticIPAddressExhaustion of MAAS is a 503; its text names the subnet.
                raise RefusedError(Answer(503, f"No more IPs available in subnet: {settings.subnet}."))
            taken.add(link.ip)


def free_addresses(machine: Machine) -> None:
    """Give the AUTO addresses back; the links stay."""
    for nic in machine.interfaces:
        for link in nic.links:
            if link.mode == "auto":
                link.ip = None


def on_network(machine: Machine) -> bool:
    """Whether any interface is configured on a subnet; a deployment needs one."""
    return any(nic.links for nic in machine.interfaces)


def parse_subnet_id(value: str) -> None:
    """Refuse a subnet that is not there."""
    if value != str(SUBNET_ID):
        raise form_errors({"subnet": ["Select a valid choice. That choice is not one of the available choices."]})
