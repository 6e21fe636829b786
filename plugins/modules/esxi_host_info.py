#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_host_info
short_description: Read an ESXi host
version_added: "0.1.0"
description:
  - Reads the version, licence, hardware, datastores, networks and virtual machines of one ESXi host.
  - By the API it is one batched read, whatever the number of virtual machines; by SSH it is two exchanges.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.esxi
  - edge.rack.attributes.info
  - edge.rack.attributes.actiongroup_esxi
seealso:
  - module: edge.rack.esxi_vm
  - module: edge.rack.esxi_network
  - module: edge.rack.esxi_datastore_file
"""

EXAMPLES = r"""
- name: The host is known
  edge.rack.esxi_host_info:
    hostname: esxi.example.com
    username: root
    password: "{{ esxi_password }}"
    ca_path: /etc/edge/esxi.pem
  register: esxi

- name: The datastore has room for the registry
  ansible.builtin.assert:
    that: (esxi.datastores | selectattr('name', 'eq', 'datastore1') | first).free_bytes > 200 * 1024 ** 3
"""

RETURN = r"""
host:
  description: The host itself.
  type: dict
  returned: always
  contains:
    name:
      description: Its name.
      type: str
      sample: esxi.example.com
    version:
      description: Version of ESXi.
      type: str
      sample: 7.0.3
    build:
      description: Build of ESXi.
      type: str
      sample: "21930508"
    vendor:
      description: Who made the machine.
      type: str
      sample: Dell Inc.
    model:
      description: Its model.
      type: str
      sample: PowerEdge T430
    cpu_model:
      description: Its processors.
      type: str
      sample: Intel(R) Xeon(R) CPU E5-2630 v3 @ 2.40GHz
    cpu_packages:
      description: Number of processors.
      type: int
      sample: 2
    cpu_cores:
      description: Number of their cores.
      type: int
      sample: 16
    cpu_threads:
      description: Number of their threads.
      type: int
      sample: 32
    memory_mib:
      description: Memory in MiB.
      type: int
      sample: 131072
    autostart_enabled:
      description: Whether the host starts virtual machines when it starts.
      type: bool
licence:
  description: The host's licence; its key is left out.
  type: dict
  returned: always
  contains:
    edition:
      description: The key of the edition, such as V(esxBasic) for the free one.
      type: str
      sample: esxBasic
    name:
      description: Its name.
      type: str
      sample: VMware vSphere Hypervisor
    api_writes:
      description: Whether the API may change the host. If not, the modules of this collection change it by SSH.
      type: bool
datastores:
  description: The datastores, sorted by name.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name.
      type: str
      sample: datastore1
    type:
      description: File system.
      type: str
      sample: VMFS
    mount:
      description: Where the host's shell finds it.
      type: str
      sample: /vmfs/volumes/5f3a2c1e-0d8c0b2e-77e4-44a842345678
    capacity_bytes:
      description: Size.
      type: int
    free_bytes:
      description: Free space.
      type: int
vswitches:
  description: The standard switches, sorted by name.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name.
      type: str
      sample: vSwitch0
    mtu:
      description: Largest frame.
      type: int
      sample: 1500
    ports:
      description: Number of ports it is set to have.
      type: int
      sample: 128
    uplinks:
      description: The physical adapters it uses.
      type: list
      elements: str
      sample: [vmnic0]
port_groups:
  description: The port groups, sorted by name.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name.
      type: str
      sample: VM Network
    vswitch:
      description: Its switch.
      type: str
      sample: vSwitch0
    vlan_id:
      description: Its VLAN, 0 for none, 4095 for all.
      type: int
    adapters:
      description: The host's own adapters on it.
      type: list
      elements: str
      sample: [vmk0]
nics:
  description: The physical network adapters.
  type: list
  elements: str
  returned: always
  sample: [vmnic0, vmnic1]
vms:
  description: The virtual machines, sorted by name.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name.
      type: str
      sample: maas
    id:
      description: Its id on the host, as C(vim-cmd) takes it.
      type: str
      sample: "11"
    power_state:
      description: Power state.
      type: str
      choices: [poweredon, poweredoff, suspended]
    address:
      description: The address VMware Tools tell, empty without.
      type: str
      sample: 10.77.0.10
    path:
      description: Its configuration file.
      type: str
      sample: "[datastore1] maas/maas.vmx"
transport:
  description: By which way the host was read, V(api) or V(ssh).
  type: str
  returned: always
transport_reason:
  description: Why that way.
  type: str
  returned: always
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import (
    ApiSession,
    Licence,
    Objects,
    licence_in_text,
    vim,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
    Session,
    connection_argument_spec,
    run_with_session,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    FILESYSTEMS,
    SUMMARY,
    Datastore,
    datastores_from_csv,
    datastores_of,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import parse_dump
from ansible_collections.edge.rack.plugins.module_utils.esxi.inventory import GET_ALL_VMS, vms_in
from ansible_collections.edge.rack.plugins.module_utils.esxi.network import (
    PROPERTIES,
    TABLES,
    Network,
    network_from_csv,
    network_of,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import Output, ShellSession

Facts = t.Dict[str, t.Any]

VM_PROPERTIES = ("name", "summary.config.vmPathName", "runtime.powerState", "guest.ipAddress")


def read_by_api(session: ApiSession) -> Facts:
    rows = session.read_all(
        "the host",
        Objects(vim.HostSystem, ("summary", "config.autoStart.defaults.enabled", *PROPERTIES)),
        Objects(vim.Datastore, SUMMARY),
        Objects(vim.VirtualMachine, VM_PROPERTIES),
        beside=session.licence_objects(),
    )
    host = next(row for obj, row in rows.items() if isinstance(obj, vim.HostSystem))
    config, hardware = host["summary"].config, host["summary"].hardware
    vms = [
        vm_facts(
            obj._GetMoId(),
            row.get("name"),
            row.get("runtime.powerState"),
            row.get("guest.ipAddress"),
            row.get("summary.config.vmPathName"),
        )
        for obj, row in rows.items()
        if isinstance(obj, vim.VirtualMachine)
    ]
    return facts(
        host=host_facts(
            _as_dict(config, "name"),
            _as_dict(config.product, "version", "build"),
            _as_dict(hardware, *HARDWARE),
            bool(host.get("config.autoStart.defaults.enabled")),
        ),
        licence=session.licence_in(rows),
        datastores=datastores_of(rows),
        network=network_of(rows),
        vms=vms,
    )


def read_by_ssh(session: ShellSession) -> Facts:
    outputs = session.run_all(
        ("vim-cmd", "hostsvc/hostsummary"),
        ("vim-cmd", "vimsvc/license", "--show"),
        ("vim-cmd", "hostsvc/autostartmanager/get_defaults"),
        FILESYSTEMS,
        *TABLES,
        GET_ALL_VMS,
    )
    summary, licence, autostart, filesystems, *tables = (output.checked() for output in outputs[:-1])
    host = parse_dump(summary) or {}
    return facts(
        host=host_facts(
            host.get("config") or {},
            (host.get("config") or {}).get("product") or {},
            host.get("hardware") or {},
            bool((parse_dump(autostart) or {}).get("enabled")),
        ),
        licence=licence_in_text(licence),
        datastores=datastores_from_csv(filesystems),
        network=network_from_csv(*tables),
        vms=_vms_by_ssh(session, outputs[-1]),
    )


def _vms_by_ssh(session: ShellSession, listing: Output) -> t.List[Facts]:
    """The list is free text, in which an annotation may look like a machine: it gives the ids, and no more."""
    ids = list(dict.fromkeys(vm.id for vm in vms_in(listing)))
    if not ids:
        return []
    found = []
    outputs = session.run_all(*(("vim-cmd", "vmsvc/get.summary", vmid) for vmid in ids))
    for vmid, output in ((vmid, outputs[i]) for i, vmid in enumerate(ids)):
        # It has the notes, too, which may read like errors.
        summary = parse_dump(output.text) if output.code == 0 else None
        if summary and summary.get("config"):
            config, runtime, guest = (summary.get(part) or {} for part in ("config", "runtime", "guest"))
            found.append(
                vm_facts(
                    vmid,
                    config.get("name"),
                    runtime.get("powerState"),
                    guest.get("ipAddress"),
                    config.get("vmPathName"),
                )
            )
    return found


HARDWARE = ("vendor", "model", "cpuModel", "numCpuPkgs", "numCpuCores", "numCpuThreads", "memorySize")


def _as_dict(obj: t.Any, *names: str) -> Facts:
    return {name: getattr(obj, name) for name in names}


def host_facts(config: Facts, product: Facts, hardware: Facts, autostart_enabled: bool) -> Facts:
    """From a host's summary, whichever way it came: names are the API's."""
    return {
        "name": config.get("name") or "",
        "version": str(product.get("version") or ""),
        "build": str(product.get("build") or ""),
        "vendor": hardware.get("vendor") or "",
        "model": hardware.get("model") or "",
        "cpu_model": hardware.get("cpuModel") or "",
        "cpu_packages": hardware.get("numCpuPkgs") or 0,
        "cpu_cores": hardware.get("numCpuCores") or 0,
        "cpu_threads": hardware.get("numCpuThreads") or 0,
        "memory_mib": (hardware.get("memorySize") or 0) // 2**20,
        "autostart_enabled": autostart_enabled,
    }


def vm_facts(
    vmid: str, name: t.Optional[str], power_state: t.Optional[str], address: t.Optional[str], path: t.Optional[str]
) -> Facts:
    return {
        "id": vmid,
        "name": name or "",
        "power_state": str(power_state or "").lower(),
        "address": address or "",
        "path": path or "",
    }


def facts(
    host: Facts, licence: Licence, datastores: t.Dict[str, Datastore], network: Network, vms: t.List[Facts]
) -> Facts:
    return {
        "host": host,
        "licence": {"edition": licence.edition_key, "name": licence.name, "api_writes": licence.api_writes},
        "datastores": [
            {
                "name": d.name,
                "type": d.kind,
                "mount": d.mount,
                "capacity_bytes": d.capacity_bytes,
                "free_bytes": d.free_bytes,
            }
            for _name, d in sorted(datastores.items())
        ],
        "vswitches": [
            dict(dataclasses.asdict(switch), uplinks=list(switch.uplinks))
            for _name, switch in sorted(network.switches.items())
        ],
        "port_groups": [
            dict(dataclasses.asdict(group), adapters=network.adapters_on(name))
            for name, group in sorted(network.port_groups.items())
        ],
        "nics": list(network.nics),
        "vms": sorted(vms, key=lambda vm: (vm["name"], vm["id"])),
    }


def work(module: AnsibleModule, session: Session) -> Facts:
    found = read_by_api(session) if isinstance(session, ApiSession) else read_by_ssh(session)
    return {"changed": False, **found}


def main() -> None:
    module = AnsibleModule(argument_spec=connection_argument_spec(), supports_check_mode=True)
    run_with_session(module, work, writes=False)


if __name__ == "__main__":
    main()
