#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_vm
short_description: Make, change, power and remove a virtual machine of an ESXi host
version_added: "0.1.0"
description:
  - Makes a virtual machine of one standalone ESXi host be as its options say, on the paid and on the free edition.
  - Settings that are not given are left alone. A new machine has defaults for them.
  - What cannot or may not be done is refused before anything is changed. A machine is made whole or not at all; what is
    left of a creation that was cut off (its marker tells) is removed by the next run.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.esxi
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_esxi
attributes:
  idempotent:
    support: partial
    details: O(state=restarted) restarts the machine each time.
options:
  name:
    description:
      - The name of the machine, unique on the host. It is also the name of its folder.
      - It has no C(/), C(\\) and C(%), and 80 characters at most.
    type: str
    required: true
  state:
    description:
      - V(present) leaves the power state as it is; a new machine is off.
      - V(poweredon), V(poweredoff) and V(restarted) make the machine too where it is missing.
      - V(poweredoff) and V(restarted) let the guest shut down first if its tools run, and switch the machine off after
        O(shutdown_timeout_seconds). They give the occasion for changes that need the machine off.
      - V(absent) removes the machine and its disks.
    type: str
    choices: [present, absent, poweredon, poweredoff, restarted]
    default: present
  cpus:
    description:
      - Virtual CPUs. The free edition allows 8 of them.
      - A new machine has 1.
    type: int
  memory_mib:
    description:
      - Memory, a multiple of 4. A new machine has 1024.
    type: int
  firmware:
    description:
      - The firmware. A new machine has V(efi).
    type: str
    choices: [bios, efi]
  guest_id:
    description:
      - The guest's operating system, by the host's identifier, such as V(ubuntu64Guest) or V(debian11_64Guest).
      - A new machine has V(otherLinux64Guest).
    type: str
  annotation:
    description: The notes that the host shows.
    type: str
  datastore:
    description:
      - Where a new machine lies. It may be left out where the host has one datastore only.
      - A machine is not moved.
    type: str
  disks:
    description:
      - All disks, in the order of a PVSCSI controller, 0:0, 0:1 and so on.
      - A disk grows and never shrinks; further disks are added. One that is missing here is never removed, but refused.
      - What a disk is called in the guest is the guest's matter; the order of the controller is the host's.
    type: list
    elements: dict
    suboptions:
      size_gib:
        description: The size.
        type: int
        required: true
      type:
        description: How space is taken. It counts when the disk is made.
        type: str
        choices: [thin, thick, eagerzeroedthick]
        default: thin
  source:
    description:
      - A file on the machine where the module runs, whose first disk becomes the first disk of a new machine. It is an
        OVA, an OVF with its files beside it, or a VMDK (streamOptimized), as clouds' images come.
      - A manifest in or beside it is checked. The rest of its descriptor (CPUs, networks, ...) does not count.
      - A machine that exists does not read it.
    type: path
  networks:
    description:
      - All network adapters, in their order. Adapters beyond these are removed.
    type: list
    elements: dict
    suboptions:
      network:
        description: The port group.
        type: str
        required: true
      mac:
        description:
          - A fixed MAC address, quoted. Without it the host makes one; an adapter that has one keeps it.
          - By SSH a generated address exists only after the first start.
        type: str
      type:
        description:
          - The kind of adapter. A new one is V(vmxnet3).
          - Another kind is another adapter, and has another MAC address unless it is fixed.
        type: str
        choices: [vmxnet3, e1000e]
  iso:
    description:
      - The image in the CD-ROM drive, C([datastore1] folder/file.iso). It must be there; an empty string is an empty
        drive.
    type: str
  boot_order:
    description: The devices to boot from, in their order.
    type: list
    elements: str
    choices: [disk, cdrom, network]
  cloud_init:
    description:
      - Data for cloud-init in the guest, which reads them at its first start (data source VMware).
    type: dict
    suboptions:
      user_data:
        description:
          - The user data, mostly C(#cloud-config) and so on. An empty string takes them away.
          - They are a secret. Results and diffs show a checksum.
        type: str
      meta_data:
        description:
          - The metadata, as C(network) or C(instance-id).
          - Where they are not given, C(instance-id) and C(local-hostname) are the machine's name.
        type: dict
  guestinfo:
    description:
      - Other keys for the guest, with or without C(guestinfo.) in front. An empty string removes a key; keys that are
        not named stay.
      - Results and diffs show checksums of the values. Secrets belong into O(cloud_init.user_data) all the same, for
        Ansible shows with C(-vvv) what else a task was given.
    type: dict
  autostart:
    description: Whether the host starts the machine when it starts itself.
    type: dict
    suboptions:
      enabled:
        description: Start it. This also switches on the autostart of the host.
        type: bool
        default: true
      order:
        description: Its place in the order of starts, from 1; V(-1) is after all that have one.
        type: int
      start_delay_seconds:
        description: How long the host waits after it before the next one; V(-1) is the host's default.
        type: int
      stop_delay_seconds:
        description: How long the host waits for it when it stops itself; V(-1) is the host's default.
        type: int
      stop_action:
        description: What the host does with it when it stops itself.
        type: str
        choices: [guestShutdown, powerOff, suspend, systemDefault]
  allow_power_cycle:
    description:
      - Whether a machine that is on may be shut down for a change that needs it off, and be started again afterwards.
        Without it such a change is refused.
      - By SSH every change needs it but O(autostart). The host reads a C(.vmx) only while the machine is off.
      - O(state=absent) of a machine that is on needs it too.
    type: bool
    default: false
  wait_for_address:
    description: Wait until the guest tells an address, if the machine is on at the end.
    type: bool
    default: false
  address_timeout_seconds:
    description: How long to wait for the address.
    type: int
    default: 300
  shutdown_timeout_seconds:
    description: How long the guest may take to shut down before it is switched off.
    type: int
    default: 180
  timeout_seconds:
    description: How long one task of the host may take, a copy of a disk for example.
    type: int
    default: 1800
notes:
  - A run that changes nothing costs at most 6 calls of the API or 4 commands over SSH, however many machines the host
    has. With O(transport=auto) a free host is asked for its licence by the API first, 4 calls beside.
  - A run that finds another one's creation of the same name refuses for as long as that one may be at it, which is at
    least O(timeout_seconds) after its last step.
  - A run that is killed while it adds a disk by SSH leaves C(NAME_1.vmdk) or the like in the machine's folder, which no
    C(.vmx) names; it is removed by hand, or with the machine's folder.
seealso:
  - module: edge.rack.esxi_host_info
  - module: edge.rack.esxi_network
  - module: edge.rack.esxi_datastore_file
"""

EXAMPLES = r"""
- name: The registry's machine runs, from Ubuntu's cloud image
  edge.rack.esxi_vm:
    hostname: esxi.example.com
    username: root
    password: "{{ vault_esxi_password }}"
    name: registry
    state: poweredon
    source: /var/lib/edge/images/ubuntu-24.04-server-cloudimg-amd64.ova
    guest_id: ubuntu64Guest
    cpus: 2
    memory_mib: 4096
    disks:
      - {size_gib: 20}
      - {size_gib: 200, type: thick}
    networks:
      - {network: rack}
    cloud_init:
      user_data: "{{ lookup('ansible.builtin.template', 'registry.cloud-config.j2') }}"
      meta_data:
        local-hostname: registry
    autostart: {order: 2, start_delay_seconds: 30, stop_action: guestShutdown}
    wait_for_address: true
  register: registry

- name: An empty machine boots from the network first
  edge.rack.esxi_vm:
    name: node
    state: poweredon
    disks: [{size_gib: 16}]
    networks: [{network: rack, mac: "00:50:56:10:00:01"}]
    boot_order: [network, disk]

- name: The machine has more memory, and may be shut down for it
  edge.rack.esxi_vm:
    name: registry
    memory_mib: 8192
    allow_power_cycle: true

- name: The machine is gone
  edge.rack.esxi_vm:
    name: node
    state: absent
    allow_power_cycle: true
"""

RETURN = r"""
vm:
  description: The machine as the host has it; null when it is absent, or new in check mode.
  type: dict
  returned: always
  contains:
    name:
      description: The name.
      type: str
    id:
      description: The id, for C(vim-cmd) and in the API.
      type: str
      sample: "11"
    uuid:
      description: The BIOS UUID; by SSH empty until the first start.
      type: str
    power_state:
      description: V(poweredon), V(poweredoff) or V(suspended).
      type: str
    path:
      description: The C(.vmx).
      type: str
      sample: "[datastore1] maas/maas.vmx"
    cpus:
      description: Virtual CPUs.
      type: int
    memory_mib:
      description: Memory.
      type: int
    firmware:
      description: The firmware.
      type: str
    guest_id:
      description: The guest's operating system.
      type: str
    annotation:
      description: The notes.
      type: str
    disks:
      description: The disks with C(size_gib), C(type) and C(path). By SSH an eagerly zeroed disk is shown as V(thick).
      type: list
      elements: dict
    networks:
      description: The adapters with C(network), C(mac) and C(type).
      type: list
      elements: dict
    iso:
      description: The image in the CD-ROM drive.
      type: str
    boot_order:
      description: The devices to boot from; empty where the firmware decides.
      type: list
      elements: str
    autostart:
      description: The options of O(autostart).
      type: dict
    address:
      description: An address of the guest, IPv4 first; empty while it tells none.
      type: str
    hostname:
      description: The host name that the guest tells.
      type: str
    tools:
      description: Whether the guest's tools run, V(running) or V(not_running).
      type: str
changes:
  description: Each setting with the value C(old) and C(new), and whether it needs the machine off (C(power_cycle)).
  type: list
  elements: dict
  returned: always
  sample:
    - {setting: memory_mib, old: 4096, new: 8192, power_cycle: true}
actions:
  description:
    - What was done, or would be done in check mode, in its order.
    - V(remove_remains), V(upload), V(create), V(shut_down), V(power_off), V(reconfigure), V(set_autostart), V(power_on)
      and V(destroy).
  type: list
  elements: str
  returned: always
transport:
  description: The way to the host, V(api) or V(ssh).
  type: str
  returned: always
transport_reason:
  description: Why this way.
  type: str
  returned: always
"""

import contextlib
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Licence
from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
    Session,
    connection_argument_spec,
    run_with_session,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiSettingsError,
    EsxiTimeout,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image, open_image, verify
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import (
    BOOT_DEVICES,
    DISK_TYPES,
    FREE_LICENCE_CPUS,
    NIC_TYPES,
    STOP_ACTIONS,
    Plan,
    VmState,
    Wanted,
    plan,
    with_defaults,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm_api import ApiVms
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm_ssh import ShellVms

Vms = t.Union[ApiVms, ShellVms]


def work(module: AnsibleModule, session: Session) -> t.Dict[str, t.Any]:
    """Read, compute the changes, apply them unless in check mode, read back."""
    params = module.params
    wanted = Wanted.from_options(params)
    seconds = params["timeout_seconds"]
    vms = ApiVms(session, seconds) if isinstance(session, ApiSession) else ShellVms(session, seconds)
    host = vms.host()
    state = vms.find(wanted.name)
    remains = vms.remains(wanted.name) if state is None else False
    image = None  # type: t.Optional[Image]
    is_new = state is None or state.unfinished
    if is_new and wanted.state != "absent":
        image = open_image(params["source"]) if params["source"] else None
        wanted = with_defaults(wanted, host, image)
    planned = plan(state, wanted, host, session.transport, remains=remains, autostart_enabled=vms.autostart_enabled)
    actions = []  # type: t.List[str]
    if planned.steps:
        require_possible(session, vms, wanted, planned, state)
        if image is not None:
            verify(params["source"])
        if module.check_mode:
            actions = told(planned, state, image)
        else:
            state = Apply(vms, wanted, image, params, actions).steps(planned, state)
    if not module.check_mode and wanted.state != "absent":
        state = wait_for_address(params, vms, state)
    shown = state is not None and not state.unfinished and (wanted.state != "absent" or module.check_mode)
    return {
        "changed": bool(planned.steps),
        "vm": state.as_result() if state is not None and shown else None,
        "changes": [change.as_result() for change in planned.changes],
        "actions": actions,
        "diff": planned.diff,
    }


def require_possible(session: Session, vms: Vms, wanted: Wanted, planned: Plan, state: t.Optional[VmState]) -> None:
    """What can be told before anything is changed, and only the host knows.

    Raises EsxiError.
    """
    session.require_writes()
    changing = {change.setting for change in planned.changes}
    if "remove_remains" in planned.steps:
        vms.require_remains(state, wanted.name)
    if "reconfigure" in planned.steps and state is not None:
        vms.require_changeable(state, planned.changes)
    if "create" in planned.steps:
        vms.require_place(wanted)
    if "cpus" in changing and wanted.cpus is not None and wanted.cpus > FREE_LICENCE_CPUS:
        licence = licence_of(session, vms)
        if not licence.api_writes:
            raise EsxiSettingsError(
                "VM %s: setting `cpus` to %d" % (wanted.name, wanted.cpus),
                "the licence %s allows %d virtual CPUs per machine" % (licence.edition_key, FREE_LICENCE_CPUS),
                remedy="Set `cpus` to %d or less." % FREE_LICENCE_CPUS,
            )
    if "iso" in changing and wanted.iso:
        vms.require_file(wanted.iso, "VM %s: inserting `iso`" % wanted.name)


def told(planned: Plan, state: t.Optional[VmState], image: t.Optional[Image]) -> t.List[str]:
    """The actions that the steps come to, as far as a guest does not refuse to shut down."""
    actions = []  # type: t.List[str]
    for step in planned.steps:
        if step == "create" and image is not None:
            actions.append("upload")
        deaf = step == "shut_down" and state is not None and state.tools != "running"
        actions.append("power_off" if deaf else step)
    return actions


def licence_of(session: Session, vms: Vms) -> Licence:
    return session.licence() if isinstance(session, ApiSession) else t.cast(ShellVms, vms).licence


class Apply:
    """The steps of a plan, each in its own few lines."""

    def __init__(
        self,
        vms: Vms,
        wanted: Wanted,
        image: t.Optional[Image],
        params: t.Mapping[str, t.Any],
        actions: t.List[str],
    ) -> None:
        self.vms = vms
        self.wanted = wanted
        self.image = image
        self.params = params
        self.actions = actions

    def steps(self, planned: Plan, state: t.Optional[VmState]) -> t.Optional[VmState]:
        """Returns the machine as it is afterwards."""
        for step in planned.steps:
            if step == "remove_remains":
                self.vms.remove_remains(state, self.wanted.name)
                state = None
            elif step == "create":
                state = self.vms.create(self.wanted, self.image, self.actions)
                continue
            elif step == "destroy":
                self.vms.destroy(self.wanted.name)
            elif state is None:
                raise EsxiError("VM %s: %s" % (self.wanted.name, step), "it is not there any more")
            elif step == "shut_down":
                self.shut_down(state)
                continue
            elif step == "power_off":
                self.vms.power_off(state)
            elif step == "reconfigure":
                self.reconfigure(planned, state)
            elif step == "set_autostart":
                self.vms.set_autostart(state, self.wanted)
            elif step == "power_on":
                self.vms.power_on(state)
            self.actions.append(step)
        return self.read_back(planned)

    def reconfigure(self, planned: Plan, state: VmState) -> None:
        try:
            self.vms.reconfigure(state, self.wanted, planned.changes)
        except EsxiError:
            if {"shut_down", "power_on"} <= set(planned.steps):
                # It was on, and the change is not made: it shall not stay off for that.
                with contextlib.suppress(EsxiError):
                    self.vms.power_on(state)
            raise

    def shut_down(self, state: VmState) -> None:
        """By its guest where it can, else, or after the deadline, hard."""
        if state.tools == "running":
            with contextlib.suppress(EsxiWrongState):
                self.vms.ask_to_shut_down(state)
                self.actions.append("shut_down")
                deadline = time.monotonic() + self.params["shutdown_timeout_seconds"]
                while time.monotonic() < deadline:
                    if self.vms.is_off(state):
                        return
                    time.sleep(min(self.vms.poll_seconds, max(0.0, deadline - time.monotonic())))
        try:
            self.vms.power_off(state)
        except EsxiError:
            if not self.vms.is_off(state):
                raise
        self.actions.append("power_off")

    def read_back(self, planned: Plan) -> t.Optional[VmState]:
        state = self.vms.again(self.wanted.name)
        if self.wanted.state == "absent":
            if state is not None:
                raise EsxiError("VM %s: removing it" % self.wanted.name, "the host still has it")
        elif state is None:
            raise EsxiError("VM %s: %s" % (self.wanted.name, ", ".join(planned.steps)), "the host has it no more")
        return state


def wait_for_address(params: t.Mapping[str, t.Any], vms: Vms, state: t.Optional[VmState]) -> t.Optional[VmState]:
    if not params["wait_for_address"] or state is None or state.power_state != "poweredon":
        return state
    seconds = params["address_timeout_seconds"]
    deadline = time.monotonic() + seconds
    while not state.address:
        left = deadline - time.monotonic()
        if left <= 0 or state.is_off:
            raise EsxiTimeout(
                "VM %s: waiting for its address" % state.name,
                "it is %s, its tools are %s, and it told none within %d s" % (state.power_state, state.tools, seconds),
                remedy="See its console; its tools (open-vm-tools) must run, and its network must give it an address.",
            )
        time.sleep(min(vms.poll_seconds, left))
        state = vms.addresses(state)
    return state


def argument_spec() -> t.Dict[str, t.Any]:
    return {
        "name": {"type": "str", "required": True},
        "state": {
            "type": "str",
            "choices": ["present", "absent", "poweredon", "poweredoff", "restarted"],
            "default": "present",
        },
        "cpus": {"type": "int"},
        "memory_mib": {"type": "int"},
        "firmware": {"type": "str", "choices": ["bios", "efi"]},
        "guest_id": {"type": "str"},
        "annotation": {"type": "str"},
        "datastore": {"type": "str"},
        "disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "size_gib": {"type": "int", "required": True},
                "type": {"type": "str", "choices": list(DISK_TYPES), "default": "thin"},
            },
        },
        "source": {"type": "path"},
        "networks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "network": {"type": "str", "required": True},
                "mac": {"type": "str"},
                "type": {"type": "str", "choices": list(NIC_TYPES)},
            },
        },
        "iso": {"type": "str"},
        "boot_order": {"type": "list", "elements": "str", "choices": list(BOOT_DEVICES)},
        "cloud_init": {
            "type": "dict",
            "options": {
                "user_data": {"type": "str", "no_log": True},
                "meta_data": {"type": "dict"},
            },
        },
        "guestinfo": {"type": "dict"},
        "autostart": {
            "type": "dict",
            "options": {
                "enabled": {"type": "bool", "default": True},
                "order": {"type": "int"},
                "start_delay_seconds": {"type": "int"},
                "stop_delay_seconds": {"type": "int"},
                "stop_action": {"type": "str", "choices": list(STOP_ACTIONS)},
            },
        },
        "allow_power_cycle": {"type": "bool", "default": False},
        "wait_for_address": {"type": "bool", "default": False},
        "address_timeout_seconds": {"type": "int", "default": 300},
        "shutdown_timeout_seconds": {"type": "int", "default": 180},
        "timeout_seconds": {"type": "int", "default": 1800},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={**argument_spec(), **connection_argument_spec()},
        supports_check_mode=True,
    )
    run_with_session(module, work)


if __name__ == "__main__":
    main()
