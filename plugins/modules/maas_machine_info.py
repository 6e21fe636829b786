#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_machine_info
short_description: Read machines from MAAS
version_added: "0.1.0"
description:
  - Reads machines in one request. The region filters them, so that asking for few costs little.
  - Filters are combined with I(and); several values of one filter with I(or), of O(tags) with I(and).
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes.info
  - edge.rack.attributes.actiongroup_maas
options:
  hostname:
    description: Machines with these host names.
    type: list
    elements: str
  system_id:
    description: Machines with these system ids.
    type: list
    elements: str
  mac_address:
    description: Machines with these MAC addresses.
    type: list
    elements: str
  status:
    description: Machines in these statuses, such as V(deployed) or V(failed_deployment).
    type: list
    elements: str
  pool:
    description: Machines in these resource pools.
    type: list
    elements: str
  zone:
    description: Machines in these zones.
    type: list
    elements: str
  domain:
    description: Machines in these DNS domains.
    type: list
    elements: str
  tags:
    description: Machines which have all these tags.
    type: list
    elements: str
  full:
    description: Whether RV(machines_full) is returned, the machines as MAAS describes them, about 16 KB each.
    type: bool
    default: false
  power:
    description:
      - Whether each machine's power is asked for now, over its BMC, in place of what MAAS saw some minutes ago. One
        request for each machine, which MAAS may take half a minute for where a BMC does not answer.
    type: bool
    default: false
  ssh_host_keys:
    description:
      - Whether each deployed machine has C(ssh_host_keys), the public keys which its installed system reported to MAAS
        itself, signed with the machine's own token. They are read from MAAS's events, some requests for all machines.
      - Only keys that were reported since the machine's latest deployment began are returned. MAAS may take a minute to
        write down what a machine reports.
    type: bool
    default: false
  ssh_host_keys_wait_seconds:
    description:
      - How long to wait until each deployed machine that is listed has reported a key, and none reports more.
      - Who has not by then has none in the answer. V(0) takes what is there.
    type: int
    default: 0
seealso:
  - module: edge.rack.maas_machine
  - plugin: edge.rack.maas
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: The devices that failed are known
  edge.rack.maas_machine_info:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    status: [failed_commissioning, failed_deployment, failed_testing]
  register: failed

- name: The host keys of the deployed devices are read
  edge.rack.maas_machine_info:
    status: [deployed]
    ssh_host_keys: true
  register: deployed

- name: SSH knows the devices before it meets them
  ansible.builtin.known_hosts:
    name: "{{ item.0.ip_addresses[0] }}"
    key: "{{ item.0.ip_addresses[0] }} {{ item.1 }}"
  loop: "{{ deployed.machines | subelements('ssh_host_keys') }}"

- name: The devices that failed are named
  ansible.builtin.debug:
    msg: "{{ failed.machines | map(attribute='hostname') | join(', ') }}"
"""

RETURN = r"""
machines:
  description: The machines, sorted by host name.
  type: list
  elements: dict
  returned: always
  contains:
    system_id:
      description: The id that MAAS gave it.
      type: str
      sample: ax7cfn
    hostname:
      description: Host name.
      type: str
      sample: nuc-001
    fqdn:
      description: Host name and domain.
      type: str
      sample: nuc-001.maas
    status:
      description: Status, as MAAS names it.
      type: str
      sample: Failed deployment
    status_message:
      description: What MAAS adds to the status.
      type: str
    owner:
      description: The user it is allocated to.
      type: str
    locked:
      description: Whether it is locked against changes.
      type: bool
    image:
      description: What it runs or is about to run, empty if nothing.
      type: str
      sample: custom/edge-nuc
    osystem:
      description: The first part of C(image).
      type: str
      sample: custom
    distro_series:
      description: The second part of C(image).
      type: str
      sample: edge-nuc
    kernel:
      description: The kernel MAAS booted it with.
      type: str
      sample: ga-22.04
    power_state:
      description:
        - Power state at MAAS's last look, or now with O(power=true), out of V(on), V(off), V(unknown) and V(error).
        - V(unknown) is what MAAS cannot ask, such as the power type V(manual), or what it does not understand.
      type: str
      sample: "on"
    power_fault:
      description: Why MAAS could not ask for its power, empty if it could; with O(power=true).
      type: str
      sample: "Failed to query node's BMC: Failed talking to node's BMC: All connection attempts failed"
    power_type:
      description: How MAAS switches it.
      type: str
      sample: webhook
    architecture:
      description: Architecture.
      type: str
      sample: amd64/generic
    cpu_count:
      description: Number of CPU threads.
      type: int
      sample: 8
    memory_mib:
      description: Memory in MiB.
      type: int
      sample: 16384
    storage_mb:
      description: Size of all disks in MB.
      type: float
      sample: 500000.0
    vendor:
      description: Who made it, empty if it did not tell.
      type: str
      sample: Intel(R) Client Systems
    product:
      description: Its product name, empty if it did not tell.
      type: str
      sample: NUC7i5BNH
    serial:
      description: Its serial number, empty if it did not tell.
      type: str
    cpu_model:
      description: The model of its CPU, empty if it did not tell.
      type: str
    fabric:
      description: The fabric its boot interface is on, empty if it is on none.
      type: str
      sample: fabric-0
    subnets:
      description: The networks its interfaces are on.
      type: list
      elements: str
      sample: [10.77.0.0/16]
    ip_addresses:
      description: IP addresses.
      type: list
      elements: str
      sample: [10.77.0.20]
    mac_addresses:
      description: MAC addresses, that of the boot interface first.
      type: list
      elements: str
      sample: ["52:54:00:10:00:01"]
    tags:
      description: Tags.
      type: list
      elements: str
      sample: [trainer]
    pool:
      description: Resource pool.
      type: str
      sample: default
    zone:
      description: Zone.
      type: str
      sample: default
    domain:
      description: DNS domain.
      type: str
      sample: maas
    description:
      description: The description people gave it.
      type: str
    owner_data:
      description: The annotations of its owner.
      type: dict
    hardware_uuid:
      description: The UUID of the hardware.
      type: str
    ssh_host_keys:
      description:
        - The SSH host keys as C(TYPE BASE64), as the installed system reported them to MAAS. Empty if it has not yet.
        - Of deployed machines, with O(ssh_host_keys=true).
      type: list
      elements: str
      sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f]
    ssh_host_keys_known:
      description:
        - Whether MAAS still knows when the machine's deployment began. If not, it has no C(ssh_host_keys), for
          none could be told from those of an earlier system.
        - Of deployed machines, with O(ssh_host_keys=true).
      type: bool
machines_full:
  description: The same machines as MAAS describes them.
  type: list
  elements: dict
  returned: if O(full=true)
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    Rounds,
    connection_argument_spec,
    machine_summary,
    run_with_client,
    status_filter,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines import power
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.host_keys import await_host_keys

# Our name of a filter -> the region's.
FILTERS = {
    "hostname": "hostname",
    "system_id": "id",
    "mac_address": "mac_address",
    "status": "status",
    "pool": "pool",
    "zone": "zone",
    "domain": "domain",
    "tags": "tags",
}


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    filters = {FILTERS[name]: module.params[name] for name in FILTERS}
    if filters["status"] is not None:
        filters["status"] = [status_filter(status) for status in filters["status"]]
    rows = sorted(client.read_machines(**filters), key=lambda row: row["hostname"])
    result = {"changed": False, "machines": [machine_summary(row) for row in rows]}  # type: t.Dict[str, t.Any]
    if module.params["power"]:
        reasons = power.ask(client, rows)
        result["machines"] = [
            {**machine_summary(row), "power_fault": reasons.get(row["system_id"], "")} for row in rows
        ]
    if module.params["ssh_host_keys"]:
        found = await_host_keys(client, rows, Rounds(module.params["ssh_host_keys_wait_seconds"]))
        for machine in result["machines"]:
            reported = found.get(machine["system_id"])
            if reported is not None:
                machine["ssh_host_keys"] = reported.keys
                machine["ssh_host_keys_known"] = reported.known
                for warning in reported.warnings:
                    module.warn(warning)
    if module.params["full"]:
        result["machines_full"] = rows
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "list", "elements": "str"} for name in FILTERS},
            "full": {"type": "bool", "default": False},
            "power": {"type": "bool", "default": False},
            "ssh_host_keys": {"type": "bool", "default": False, "no_log": False},
            "ssh_host_keys_wait_seconds": {"type": "int", "default": 0, "no_log": False},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
