"""A machine as the API shows it: all keys of a real region (rows "a whole machine")."""

from __future__ import annotations

from typing import Any

from lab.maas_simulator.events import latest_status_event, latest_status_events
from lab.maas_simulator.hardware import HARDWARE_INFO
from lab.maas_simulator.model import Disk, Machine
from lab.maas_simulator.network import addresses, interface
from lab.maas_simulator.region import API, Region

_BLOCK = 4 * 1024 * 1024
_SCRIPT_STATUS = {-1: "Unknown", 0: "Pending", 1: "Running", 2: "Passed", 3: "Failed"}


def machine_list(region: Region, machines: list[Machine]) -> list[dict[str, Any]]:
    """Several machines at the cost of three queries."""
    messages = latest_status_events(region.store)
    pools, zones = _pools(region), _zones(region)
    return [_machine(region, m, messages.get(m.system_id), pools, zones) for m in machines]


def machine_detail(region: Region, machine: Machine) -> dict[str, Any]:
    """One machine."""
    message = latest_status_event(region.store, machine.system_id)
    return _machine(region, machine, message, _pools(region), _zones(region))


def anonymous_machine(region: Region, machine: Machine) -> dict[str, Any]:
    """What a machine that enlists itself is told (row "anonymous enlistment")."""
    full = machine_detail(region, machine)
    kept = [
        "architecture",
        "hostname",
        "node_type",
        "fqdn",
        "power_state",
        "status",
        "power_type",
        "status_name",
        "status_message",
        "system_id",
        "status_action",
        "resource_uri",
    ]
    bare = {name: full[name] for name in kept}
    for name in ("domain", "zone"):
        bare[name] = {key: value for key, value in full[name].items() if key != "resource_uri"}
    return bare


def pool_dict(row: Any) -> dict[str, Any]:
    """A resource pool; note the singular in its address."""
    uri = f"{API}resourcepool/{row['id']}/"
    return {"name": row["name"], "description": row["description"], "id": row["id"], "resource_uri": uri}


def zone_dict(row: Any) -> dict[str, Any]:
    """A zone."""
    uri = f"{API}zones/{row['name']}/"
    return {"name": row["name"], "description": row["description"], "id": row["id"], "resource_uri": uri}


def _pools(region: Region) -> dict[int, dict[str, Any]]:
    return {row["id"]: pool_dict(row) for row in region.store.rows("SELECT * FROM pool")}


def _zones(region: Region) -> dict[int, dict[str, Any]]:
    return {row["id"]: zone_dict(row) for row in region.store.rows("SELECT * FROM zone")}


def _block_device(machine: Machine, disk: Disk, boot: bool) -> dict[str, Any]:
    base = f"{API}nodes/{machine.system_id}/blockdevices/{disk.id}/"
    usable = (disk.size // _BLOCK - 2) * _BLOCK
    partition = {
        "uuid": disk.partition_uuid,
        "size": usable,
        "bootable": False,
        "tags": [],
        "id": disk.partition_id,
        "path": f"/dev/disk/by-dname/{disk.name}-part2",
        "type": "partition",
        "used_for": "ext4 formatted filesystem mounted at /",
        "system_id": machine.system_id,
        "filesystem": {
            "fstype": "ext4",
            "label": "root",
            "uuid": disk.filesystem_uuid,
            "mount_point": "/",
            "mount_options": None,
        },
        "device_id": disk.id,
        "resource_uri": f"{base}partition/{disk.partition_id}",
    }
    return {
        "firmware_version": "1",
        "available_size": 0 if boot else usable,
        "uuid": None,
        "numa_node": 0,
        "id": disk.id,
        "partition_table_type": "GPT" if boot else None,
        "tags": ["ssd"],
        "filesystem": None,
        "partitions": [partition] if boot else [],
        "serial": disk.serial,
        "model": disk.model,
        "path": f"/dev/disk/by-dname/{disk.name}",
        "type": "physical",
        "used_for": "GPT partitioned with 1 partition" if boot else "Unused",
        "system_id": machine.system_id,
        "id_path": f"/dev/{disk.name}",
        "size": disk.size,
        "used_size": usable + 6 * 1024 * 1024 if boot else 0,
        "storage_pool": None,
        "name": disk.name,
        "block_size": 512,
        "resource_uri": base,
    }


def _hardware(machine: Machine) -> dict[str, str]:
    return dict.fromkeys(HARDWARE_INFO, "Unknown") | machine.hardware_info


def _tests(machine: Machine) -> dict[str, Any]:
    # A default commissioning runs one test, smartctl, which counts as storage.
    values = {
        "commissioning_status": machine.commissioning_status,
        "testing_status": machine.testing_status,
        "storage_test_status": machine.testing_status,
        **{f"{kind}_test_status": -1 for kind in ("cpu", "memory", "network", "interface", "other")},
    }
    return values | {f"{name}_name": _SCRIPT_STATUS[value] for name, value in values.items()}


def _machine(
    region: Region,
    machine: Machine,
    message: tuple[str, str] | None,
    pools: dict[int, dict[str, Any]],
    zones: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    interfaces = [interface(region, machine, nic) for nic in machine.interfaces]
    disks = [_block_device(machine, disk, number == 0) for number, disk in enumerate(machine.disks)]
    configured = any(link.ip for nic in machine.interfaces for link in nic.links)
    gateway = str(region.settings.gateway) if configured else None
    shown: dict[str, Any] = {
        "system_id": machine.system_id,
        "hostname": machine.hostname,
        "fqdn": f"{machine.hostname}.maas",
        "description": machine.description,
        "architecture": machine.architecture,
        "node_type": 0,
        "node_type_name": "Machine",
        "status": int(machine.status),
        "status_name": machine.status.label,
        "status_message": message[0] if message else None,
        "status_action": message[1] if message else None,
        "power_state": machine.power_state,
        "power_type": machine.power_type,
        "owner": machine.owner,
        "owner_data": machine.owner_data,
        "workload_annotations": machine.owner_data,
        "locked": machine.locked,
        "osystem": machine.osystem,
        "distro_series": machine.distro_series,
        "hwe_kernel": machine.hwe_kernel,
        "min_hwe_kernel": machine.min_hwe_kernel,
        "netboot": machine.netboot,
        "ephemeral_deploy": False,
        "tag_names": sorted(machine.tags),
        "pool": pools[machine.pool],
        "zone": zones[machine.zone],
        "domain": {
            "authoritative": True,
            "ttl": None,
            "resource_record_count": 0,
            "id": 0,
            "is_default": True,
            "name": "maas",
            "resource_uri": f"{API}domains/0/",
        },
        "ip_addresses": addresses(machine),
        "interface_set": interfaces,
        "boot_interface": interfaces[0],
        "default_gateways": {
            "ipv4": {"gateway_ip": gateway, "link_id": None},
            "ipv6": {"gateway_ip": None, "link_id": None},
        },
        "blockdevice_set": disks,
        "physicalblockdevice_set": disks,
        "virtualblockdevice_set": [],
        "boot_disk": disks[0] if disks else None,
        "storage": sum(disk.size for disk in machine.disks) / 1_000_000,
        "cpu_count": machine.cpu_count,
        "cpu_speed": 0,
        "memory": machine.memory,
        "swap_size": None,
        "numanode_set": [
            {
                "index": 0,
                "memory": machine.memory,
                "cores": list(range(machine.cpu_count)),
                "hugepages_set": [],
            }
        ],
        "hardware_uuid": machine.hardware_uuid,
        "hardware_info": _hardware(machine),
        "current_commissioning_result_id": machine.commissioning_result,
        "current_testing_result_id": machine.testing_result,
        "current_installation_result_id": machine.installation_result,
        **_tests(machine),
        **{key: [] for key in ("volume_groups", "raids", "cache_sets", "bcaches", "special_filesystems")},
        **dict.fromkeys(("pod", "parent", "bios_boot_method", "sync_interval", "last_sync", "next_sync")),
        "virtualmachine_id": None,
        "address_ttl": None,
        "disable_ipv4": False,
        "enable_hw_sync": False,
        "resource_uri": f"{API}machines/{machine.system_id}/",
    }
    if region.release >= (3, 6):
        shown["enable_kernel_crash_dump"] = False
        shown["error_description"] = machine.error_description
    return shown
