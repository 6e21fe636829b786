#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_machine
short_description: Commission, deploy, release and describe machines in MAAS
version_added: "0.1.0"
description:
  - Brings one machine, or any number of them in one task, to a state and waits for all of them together.
  - All that can be known to go wrong (no such machine, unknown image, locked, broken, given twice) is
    reported for all machines before anything is changed.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
attributes:
  idempotent:
    details: What MAAS does not tell about a deployed machine (kernel, user data) is not compared.
options:
  state:
    description:
      - V(present) has the settings that are given; nothing is powered on.
      - V(ready) has been commissioned. A machine that is further on (Ready, Allocated, Deploying,
        Deployed, ...) is left as it is; one in Failed commissioning is commissioned again. To take a
        deployed machine back to Ready use V(released).
      - V(deployed) runs O(image). A machine that is not commissioned yet is commissioned first; one in
        Failed deployment is released and deployed again.
      - V(allocated) belongs to the user of the API key; one that is not commissioned yet is commissioned first.
        What is further on is left as it is.
      - V(released) is not deployed or allocated (any more). The system on it is lost. One that nobody owns is left as
        it is, also one that is broken, and its disks are not erased.
      - V(broken) is marked broken, with O(comment) as the reason. Only its owner may do that, so a Ready machine is
        allocated first; one that was never commissioned is refused. MAAS releases what it marks broken, so one
        that is deployed needs O(force).
      - V(fixed) is not marked broken (any more). Any other machine is left as it is.
      - V(locked) is deployed and cannot be changed until it is V(unlocked).
      - V(rescue) runs the rescue environment, V(rescue_exited) does not (any more) and is as it was before.
      - V(poweredon), V(poweredoff) and V(powercycled) (off where it is on, then on) by asking the machine's power
        now. MAAS switches on only what is allocated or deployed. Off is a cut of the power; what shuts down first is
        waited for with O(poweroff_after_seconds).
      - V(absent) is not in MAAS.
    type: str
    choices:
      - present
      - ready
      - allocated
      - deployed
      - released
      - broken
      - fixed
      - locked
      - unlocked
      - rescue
      - rescue_exited
      - poweredon
      - poweredoff
      - powercycled
      - absent
    default: present
  hostname:
    description: The machine with this host name (or this fully qualified name).
    type: str
  system_id:
    description: The machine with this system id.
    type: str
  mac_address:
    description:
      - The machine with this MAC address on any interface.
      - If there is none and O(architecture) is given, it is created.
    type: str
  machines:
    description:
      - Several machines, brought to O(state) together.
      - An option that is given for a machine goes before the same option of the task, but O(tags) are
        united, and so are O(power_parameters).
    type: list
    elements: dict
    suboptions:
      hostname:
        description: The machine with this host name (or this fully qualified name).
        type: str
      system_id:
        description: The machine with this system id.
        type: str
      mac_address:
        description: The machine with this MAC address on any interface.
        type: str
      name:
        description: The host name it shall have.
        type: str
      architecture:
        description: See O(architecture).
        type: str
      power_type:
        description: See O(power_type).
        type: str
      power_parameters:
        description: See O(power_parameters).
        type: dict
      tags:
        description: See O(tags).
        type: list
        elements: str
      pool:
        description: See O(pool).
        type: str
      zone:
        description: See O(zone).
        type: str
      description:
        description: See O(description).
        type: str
      image:
        description: See O(image).
        type: str
      kernel:
        description: See O(kernel).
        type: str
      user_data:
        description: See O(user_data).
        type: str
  constraints:
    description:
      - In place of names, with O(state=deployed). So many machines that fulfil them are to run O(image). Those that do
        already, or are about to, count; the rest are chosen among the Ready ones, by host name.
    type: dict
    suboptions:
      count:
        description: How many machines.
        type: int
        required: true
      tags:
        description: Machines which have all these tags.
        type: list
        elements: str
      not_tags:
        description: Machines which have none of these tags.
        type: list
        elements: str
      pool:
        description: Machines in this resource pool.
        type: str
      zone:
        description: Machines in this zone.
        type: str
      architecture:
        description: Machines of this architecture.
        type: str
      cpu_count:
        description: Machines with so many CPU threads or more.
        type: int
      memory_mib:
        description: Machines with so much memory or more, in MiB.
        type: int
  name:
    description: The host name the machine shall have.
    type: str
    aliases: [new_hostname]
  architecture:
    description:
      - The architecture of a machine that is created, such as V(amd64/generic) or V(amd64).
      - That of an existing machine is not changed.
    type: str
  power_type:
    description: How MAAS switches the machine on and off, such as V(manual), V(ipmi), V(amt), V(webhook).
    type: str
  power_parameters:
    description:
      - The parameters of O(power_type) by the names MAAS gives them, such as C(power_address), C(power_user),
        C(power_pass). Parameters that are not given stay as they are.
      - Those of V(amt), V(ipmi), V(webhook) and V(manual) are checked before anything is sent. V(amt) needs
        C(power_address); V(ipmi) needs C(power_address); V(webhook) needs C(power_on_uri), C(power_off_uri) and
        C(power_query_uri); V(manual) has none.
    type: dict
  tags:
    description:
      - Tags the machine has. One that does not exist is created.
    type: list
    elements: str
  tags_purge:
    description:
      - Whether tags which are not in O(tags) are taken away. Tags that MAAS sets itself, by a definition, stay.
    type: bool
    default: false
  pool:
    description: The resource pool the machine is in. It must exist.
    type: str
  zone:
    description: The zone the machine is in. It must exist.
    type: str
  description:
    description: The description of the machine.
    type: str
  image:
    description:
      - What to deploy with O(state=deployed), such as V(custom/edge-nuc) or V(ubuntu/jammy). Without it, MAAS's default
        is deployed, and a deployed machine may run anything.
      - The image is compared by its name. New content that was uploaded under the same name is not seen.
    type: str
  kernel:
    description: The kernel to deploy with, such as V(hwe-22.04). That of a deployed machine is not compared.
    type: str
  user_data:
    description:
      - User data for C(cloud-init), as plain text. It is used when a machine is deployed; that of a machine which
        is deployed already is not compared.
    type: str
  commissioning_scripts:
    description:
      - The scripts that a machine is commissioned with, by name or tag, besides those that are part of MAAS.
        An empty list means none but those. Without it MAAS chooses.
    type: list
    elements: str
  testing_scripts:
    description:
      - The scripts that a machine is tested with after its commissioning, by name or tag. An empty list means that
        it is not tested. Without it MAAS chooses.
    type: list
    elements: str
  at_once:
    description:
      - At most so many machines are being commissioned or deployed at the same time; when one is done, the next one
        begins. Without it all begin at once. What another run has begun counts too.
    type: int
  redeploy:
    description:
      - Whether a machine that is deployed with another O(image) may be released and deployed anew.
        What is on it is lost.
    type: bool
    default: false
  erase:
    description: Whether the disks are erased when a machine is released.
    type: bool
    default: false
  leave_out_refused:
    description:
      - Whether machines that are refused, for what is known before anything is sent (no such machine, locked, broken,
        another O(image), a name that is taken, ...), are left out while the rest go on. They are among the
        RV(failed_machines) at the end. Without it one refusal means that nothing is changed.
    type: bool
    default: false
  force:
    description:
      - Whether O(state=absent) may remove a machine that is deployed or in use.
      - Whether O(state=broken) may mark a machine broken that is deployed, by which it is released.
    type: bool
    default: false
  poweroff_after_seconds:
    description:
      - With O(state=poweredoff) and O(state=powercycled), how long a machine that was told to shut down has to go off
        by itself. Its power is asked for all the while; who is on after that is switched off by MAAS.
      - V(0) switches off at once. O(wait_timeout_seconds) begins afterwards.
    type: int
    default: 0
  comment:
    description: Why, for MAAS's event log, and for O(state=broken) as its description.
    type: str
  wait:
    description:
      - Whether to wait until all machines are in O(state).
      - Without it only the first step is taken of what needs several, such as a release before a deployment.
    type: bool
    default: true
  wait_timeout_seconds:
    description: How long to wait, for all machines together.
    type: int
    default: 1800
seealso:
  - module: edge.rack.maas_machine_info
  - module: edge.rack.maas_boot_resource
  - plugin: edge.rack.maas
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: A machine is known to MAAS before it is plugged in
  edge.rack.maas_machine:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    mac_address: 52:54:00:10:00:01
    architecture: amd64/generic
    name: nuc-001
    power_type: amt
    power_parameters:
      power_address: 10.77.1.1
      power_pass: "{{ nuc_amt_password }}"

- name: All devices are commissioned, tagged and in the pool, with one wait for all
  edge.rack.maas_machine:
    state: ready
    machines: "{{ groups['devices'] | map('community.general.dict_kv', 'hostname') }}"
    tags: [trainer]
    pool: edge
    wait_timeout_seconds: 3600

- name: All devices run the image, each with its own user data
  edge.rack.maas_machine:
    state: deployed
    image: custom/edge-nuc
    machines:
      - hostname: nuc-001
        user_data: "{{ lookup('ansible.builtin.template', 'user-data.yml.j2', template_vars={'slot': 1}) }}"
      - hostname: nuc-002
        user_data: "{{ lookup('ansible.builtin.template', 'user-data.yml.j2', template_vars={'slot': 2}) }}"

- name: A deployed device gets another image
  edge.rack.maas_machine:
    state: deployed
    hostname: nuc-001
    image: custom/edge-nuc-2
    redeploy: true

- name: Ten devices with enough memory run the image, at most four at a time fetch it
  edge.rack.maas_machine:
    state: deployed
    image: custom/edge-nuc
    constraints:
      count: 10
      tags: [trainer]
      memory_mib: 16384
    at_once: 4

- name: New devices are commissioned with our checks
  edge.rack.maas_machine:
    state: ready
    machines: "{{ new_devices }}"
    commissioning_scripts: [disk-health, nic-speed]
    testing_scripts: [memory]

- name: A device is set aside
  edge.rack.maas_machine:
    state: broken
    hostname: nuc-001
    comment: the fan is dead

- name: All devices run the image, but for those that run another or are locked, which are named
  edge.rack.maas_machine:
    state: deployed
    image: custom/edge-nuc
    machines: "{{ groups['devices'] | map('community.general.dict_kv', 'hostname') }}"
    leave_out_refused: true
  register: deployed
  failed_when: deployed is failed and deployed.failed_machines is not defined

- name: A device that hangs is switched off and on
  edge.rack.maas_machine:
    state: powercycled
    hostname: nuc-001

- name: Devices that are shutting down go off by themselves, or are switched off after two minutes
  edge.rack.maas_machine:
    state: poweredoff
    machines:
      - hostname: nuc-001
      - hostname: nuc-002
    poweroff_after_seconds: 120

- name: A device is given back, its disks erased
  edge.rack.maas_machine:
    state: released
    hostname: nuc-001
    erase: true
    comment: retired after a fan failure
"""

RETURN = r"""
machines:
  description:
    - The machines as they are now, in the order they were given; also in a failure. The keys are those of
      RV(edge.rack.maas_machine_info#module:machines).
    - Machines that are absent are left out.
  type: list
  elements: dict
  returned: always
  sample:
    - system_id: ax7cfn
      hostname: nuc-001
      status: Deployed
      image: custom/edge-nuc
      ip_addresses: [10.77.0.20]
      tags: [trainer]
machine:
  description: The machine as it is now.
  type: dict
  returned: if one machine was named with O(hostname), O(system_id) or O(mac_address), and it exists
changes:
  description: What was changed, or would be in check mode, one entry for each machine that was not as it should be.
  type: list
  elements: dict
  returned: always
  contains:
    machine:
      description: The name of the machine.
      type: str
    system_id:
      description: Its system id, empty if it was to be created.
      type: str
    settings:
      description: The settings, C(before) and C(after) by name. Secrets are hidden.
      type: dict
    actions:
      description:
        - What was done to it, out of C(create), C(commission), C(allocate), C(deploy), C(release), C(mark_broken),
          C(mark_fixed), C(lock), C(unlock), C(enter_rescue_mode), C(exit_rescue_mode), C(power_on), C(power_off),
          C(delete).
      type: list
      elements: str
  sample:
    - machine: nuc-001
      system_id: ax7cfn
      settings:
        pool: {before: default, after: edge}
      actions: [commission]
failed_machines:
  description: The machines which did not come to O(state).
  type: list
  elements: dict
  returned: on failure, if some machines failed, were not in time, or were left out by O(leave_out_refused)
  contains:
    machine:
      description: The name of the machine.
      type: str
    system_id:
      description: Its system id.
      type: str
    status:
      description: Its status.
      type: str
    status_message:
      description: What MAAS says about its status.
      type: str
    event:
      description: The newest event of MAAS that tells why, if there is one.
      type: str
    scripts:
      description:
        - The scripts that failed on it, each with its C(name), its C(exit_status) and its C(last_lines), where MAAS
          has its results.
      type: list
      elements: dict
    reason:
      description: What went wrong.
      type: str
    remedy:
      description: What to do.
      type: str
refusals:
  description: Why nothing was changed, one text for each reason.
  type: list
  elements: str
  returned: if something asked for cannot be done
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    Rounds,
    connection_argument_spec,
    machine_summary,
    run_with_client,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.plan import Plan, Planner
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.power import parameters_to_show
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.report import failure_report
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.run import Runner, await_shutdown
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.show import visible_change, visible_diff
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.steps import STATES
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.wishes import SELECTORS


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    planner = Planner(client, module.params)
    plans = planner.plan()
    if planner.refusals:
        module.fail_json(
            msg="Nothing was changed; this cannot be done:\n" + "\n".join("- " + r for r in planner.refusals),
            refusals=planner.refusals,
            changes=[],
            **_machines(module, plans),
        )
    changing = [plan for plan in plans if plan.changed]
    result = {
        "changed": bool(changing),
        "changes": [visible_change(plan) for plan in changing],
        "diff": [visible_diff(plan) for plan in changing],
    }  # type: t.Dict[str, t.Any]
    if not module.check_mode:
        await_shutdown(client, plans, Rounds(module.params["poweroff_after_seconds"]))
    runner = Runner(module, client, planner, plans, Rounds(module.params["wait_timeout_seconds"]))
    if not module.check_mode:
        runner.run()
        _read_back(client, plans)
    if any(plan.failure for plan in plans) or runner.late():
        module.fail_json(**failure_report(client, runner), **result, **_machines(module, plans))
    return {**result, **_machines(module, plans)}


def _read_back(client: MaasClient, plans: t.List[Plan]) -> None:
    changed = {plan.system_id: plan for plan in plans if plan.row and plan.changed}
    for row in client.read_machines(id=list(changed)):
        changed[row["system_id"]].row = row


def _machines(module: AnsibleModule, plans: t.List[Plan]) -> t.Dict[str, t.Any]:
    summaries = [machine_summary(plan.row) for plan in plans if plan.row]
    return {
        "machines": summaries,
        **({"machine": summaries[0]} if _is_about_one(module.params) and summaries else {}),
    }


def _is_about_one(params: t.Dict[str, t.Any]) -> bool:
    return params["machines"] is None and params["constraints"] is None


def keep_output_readable(module: AnsibleModule) -> None:
    """Blank secrets in the output, and not every "on" and "n" that is a power parameter too."""
    plain, _secret = parameters_to_show([module.params, *(module.params["machines"] or [])])
    short = {value for value in module.no_log_values if len(value) < 4}
    module.no_log_values -= plain | short


def machine_argument_spec() -> t.Dict[str, t.Any]:
    return {
        "hostname": {"type": "str"},
        "system_id": {"type": "str"},
        "mac_address": {"type": "str"},
        "name": {"type": "str"},
        "architecture": {"type": "str"},
        "power_type": {"type": "str"},
        "power_parameters": {"type": "dict", "no_log": True},
        "tags": {"type": "list", "elements": "str"},
        "pool": {"type": "str"},
        "zone": {"type": "str"},
        "description": {"type": "str"},
        "image": {"type": "str"},
        "kernel": {"type": "str"},
        "user_data": {"type": "str", "no_log": True},
    }


def argument_spec() -> t.Dict[str, t.Any]:
    spec = machine_argument_spec()
    spec["name"]["aliases"] = ["new_hostname"]
    spec.update(connection_argument_spec())
    spec.update(
        state={
            "type": "str",
            "choices": list(STATES),
            "default": "present",
        },
        machines={
            "type": "list",
            "elements": "dict",
            "options": machine_argument_spec(),
            "mutually_exclusive": [SELECTORS],
            "required_one_of": [SELECTORS],
        },
        constraints={
            "type": "dict",
            "options": {
                "count": {"type": "int", "required": True},
                "tags": {"type": "list", "elements": "str"},
                "not_tags": {"type": "list", "elements": "str"},
                "pool": {"type": "str"},
                "zone": {"type": "str"},
                "architecture": {"type": "str"},
                "cpu_count": {"type": "int"},
                "memory_mib": {"type": "int"},
            },
        },
        commissioning_scripts={"type": "list", "elements": "str"},
        testing_scripts={"type": "list", "elements": "str"},
        at_once={"type": "int"},
        tags_purge={"type": "bool", "default": False},
        redeploy={"type": "bool", "default": False},
        erase={"type": "bool", "default": False},
        leave_out_refused={"type": "bool", "default": False},
        force={"type": "bool", "default": False},
        poweroff_after_seconds={"type": "int", "default": 0},
        comment={"type": "str"},
        wait={"type": "bool", "default": True},
        wait_timeout_seconds={"type": "int", "default": 1800},
    )
    return spec


def check_options(module: AnsibleModule) -> None:
    """What the argument spec cannot say."""
    constraints, at_once = module.params["constraints"], module.params["at_once"]
    if module.params["poweroff_after_seconds"] < 0:
        module.fail_json(
            msg="`poweroff_after_seconds` is %d: give 0 to switch off at once, or more."
            % module.params["poweroff_after_seconds"]
        )
    if constraints is not None and module.params["state"] != "deployed":
        module.fail_json(
            msg="`constraints` choose machines for `state: deployed` only: name the machines for `state: %s`."
            % module.params["state"]
        )
    if constraints is not None and constraints["count"] < 1:
        module.fail_json(msg="`constraints.count` is %d: it must be 1 or more." % constraints["count"])
    if at_once is not None and at_once < 1:
        module.fail_json(msg="`at_once` is %d: give 1 or more, or leave it out for no limit." % at_once)


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[(*SELECTORS, "machines", "constraints"), ("name", "machines", "constraints")],
        required_one_of=[(*SELECTORS, "machines", "constraints")],
    )
    check_options(module)
    keep_output_readable(module)
    run_with_client(module, work)


if __name__ == "__main__":
    main()
