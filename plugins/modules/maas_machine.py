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
      - V(released) is not deployed or allocated (any more). The system on it is lost.
      - V(absent) is not in MAAS.
    type: str
    choices: [present, ready, deployed, released, absent]
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
  force:
    description: Whether O(state=absent) may remove a machine that is deployed or in use.
    type: bool
    default: false
  comment:
    description: Why, for MAAS's event log.
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
      description: What was done to it, out of C(create), C(commission), C(deploy), C(release), C(delete).
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
  returned: on failure, if some machines failed or were not in time
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

import base64
import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasError,
    MaasUnavailable,
    MaasUnreachable,
    Machine,
    Rounds,
    Status,
    connection_argument_spec,
    image_name,
    mac_addresses,
    machine_summary,
    run_with_client,
)

SELECTORS = ("hostname", "system_id", "mac_address")
SETTINGS = ("name", "power_type", "power_parameters", "pool", "zone", "description")
PER_MACHINE = (*SETTINGS, "architecture", "tags", "image", "kernel", "user_data")
OUTAGE_SECONDS = 120
"""A wait outlives a restart of the region, but not a region that is gone."""
EVENTS_FOR = 20
"""Of so many failed machines the events are read."""
HIDDEN = "(hidden)"

# Power parameters whose values are no secrets. Ansible would blank every "on" and "n" in the output for them.
PLAIN_POWER_PARAMETERS = re.compile(
    r"^(mac_address|power_(address|id|user|driver|boot_type|off_mode|verify_ssl|(on|off|query)_regex|control|port)"
    r"|cipher_suite_id|privilege_level|workaround_flags|node_id|node_outlet|outlet_id|instance_name|project)$"
)


# -- From a status to a state ---------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One transition: what is called, where it leads, and what is seen on the way."""

    name: str
    operation: t.Optional[str]
    goal: t.FrozenSet[int]
    on_the_way: t.FrozenSet[int]


_READY = frozenset({Status.READY})
_DEPLOYED = frozenset({Status.DEPLOYED})
_BEING_COMMISSIONED = frozenset({Status.COMMISSIONING, Status.TESTING})
_BEING_RELEASED = frozenset({Status.RELEASING, Status.DISK_ERASING})
_BEING_DEPLOYED = frozenset({Status.DEPLOYING})

COMMISSION = Step("commission", "Machine.commission", _READY, _BEING_COMMISSIONED)
DEPLOY = Step("deploy", "Machine.deploy", _DEPLOYED, _BEING_DEPLOYED)
RELEASE = Step("release", "Machine.release", _READY, _BEING_RELEASED)
DELETE = Step("delete", "Machine.delete", frozenset(), frozenset())
# Somebody else began it: nothing is sent. A test may also run on a deployed machine.
AWAIT_READY = Step("await ready", None, _READY | {Status.ALLOCATED} | _DEPLOYED, _BEING_COMMISSIONED | _BEING_RELEASED)
AWAIT_DEPLOYED = Step("await deployed", None, _DEPLOYED, _BEING_DEPLOYED)

_NOT_COMMISSIONED = (Status.NEW, Status.FAILED_COMMISSIONING, Status.FAILED_TESTING)
_IN_BETWEEN = (Status.COMMISSIONING, Status.TESTING, Status.RELEASING, Status.DISK_ERASING)
_FAILED_IN_USE = (Status.FAILED_DEPLOYMENT, Status.FAILED_RELEASING, Status.FAILED_DISK_ERASING)
_IN_USE = (Status.ALLOCATED, Status.RESERVED, Status.DEPLOYING, Status.DEPLOYED, *_FAILED_IN_USE)

PATHS = {
    "ready": {
        **dict.fromkeys(_NOT_COMMISSIONED, (COMMISSION,)),
        **dict.fromkeys(_IN_BETWEEN, (AWAIT_READY,)),
        **dict.fromkeys((Status.READY, *_IN_USE), ()),
    },
    "deployed": {
        **dict.fromkeys(_NOT_COMMISSIONED, (COMMISSION, DEPLOY)),
        **dict.fromkeys(_IN_BETWEEN, (AWAIT_READY, DEPLOY)),
        **dict.fromkeys((Status.READY, Status.ALLOCATED), (DEPLOY,)),
        **dict.fromkeys(_FAILED_IN_USE, (RELEASE, DEPLOY)),
        Status.DEPLOYING: (AWAIT_DEPLOYED,),
        Status.DEPLOYED: (),
    },
    "released": {
        **dict.fromkeys((*_NOT_COMMISSIONED, Status.READY, Status.COMMISSIONING, Status.TESTING), ()),
        **dict.fromkeys(_BEING_RELEASED, (AWAIT_READY,)),
        **dict.fromkeys(_IN_USE, (RELEASE,)),
    },
}  # type: t.Dict[str, t.Dict[int, t.Tuple[Step, ...]]]

WHAT_TO_DO = {
    Status.NEW: "Somebody aborted its commissioning: run again.",
    Status.FAILED_COMMISSIONING: "Look at its power and its results in MAAS, then run again: it is commissioned anew.",
    Status.FAILED_TESTING: "Look at its test results in MAAS, then run again: it is commissioned anew.",
    Status.FAILED_DEPLOYMENT: "Look at its installation log in MAAS, then run again: it is released and deployed anew.",
    Status.FAILED_RELEASING: "Check its power (`power_type`, `power_parameters`), then run again: it is released anew.",
    Status.FAILED_DISK_ERASING: "Check its disks, then run again, perhaps without `erase`.",
    Status.BROKEN: "Repair it, then mark it fixed in MAAS (`maas PROFILE machine mark-fixed SYSTEM_ID`) and run again.",
    Status.MISSING: "Check its hardware and power, then delete it (`state: absent`) and let it enlist again.",
    Status.RETIRED: "Delete it (`state: absent`) and let it enlist again.",
    Status.RESERVED: "It is reserved for its owner: release it first (`state: released`).",
    Status.RESCUE_MODE: "Take it out of rescue mode (`maas PROFILE machine exit-rescue-mode SYSTEM_ID`) and run again.",
    Status.ENTERING_RESCUE_MODE: "Take it out of rescue mode and run again.",
    Status.EXITING_RESCUE_MODE: "Wait until it has left rescue mode and run again.",
    Status.FAILED_ENTERING_RESCUE_MODE: "Take it out of rescue mode and run again.",
    Status.FAILED_EXITING_RESCUE_MODE: "Check its power, take it out of rescue mode and run again.",
}


# -- What is wanted, and what has to be done for it -----------------------------------------------


@dataclass(frozen=True)
class Wish:
    """One machine as the task wants it."""

    selector: str
    value: str
    options: t.Dict[str, t.Any]

    def __str__(self) -> str:
        return self.value if self.selector == "hostname" else "%s %s" % (self.selector, self.value)

    def matches(self, row: Machine) -> bool:
        if self.selector == "hostname":
            return self.value.lower() in (row["hostname"].lower(), (row.get("fqdn") or "").lower())
        if self.selector == "system_id":
            return self.value == row["system_id"]
        return self.value in mac_addresses(row)


@dataclass
class Plan:
    """The change set of one machine; check mode, diff and apply all use this."""

    wish: Wish
    row: t.Optional[Machine] = None
    create: bool = False
    settings: t.Dict[str, t.Tuple[t.Any, t.Any]] = field(default_factory=dict)
    tags_added: t.FrozenSet[str] = frozenset()
    tags_removed: t.FrozenSet[str] = frozenset()
    steps: t.Tuple[Step, ...] = ()
    failure: t.Optional[str] = None
    remedy: str = ""

    @property
    def name(self) -> str:
        if self.row:
            return self.row["hostname"]
        return self.wish.options["name"] or str(self.wish)

    @property
    def system_id(self) -> str:
        return self.row["system_id"] if self.row else ""

    @property
    def actions(self) -> t.List[str]:
        return (["create"] if self.create else []) + [s.name for s in self.steps if s.operation]

    @property
    def changed(self) -> bool:
        return bool(self.settings or self.tags_added or self.tags_removed or self.actions)

    def fail(self, reason: str, remedy: str) -> None:
        self.failure, self.remedy = reason, remedy


def wishes(params: t.Dict[str, t.Any]) -> t.List[Wish]:
    common = {name: params[name] for name in PER_MACHINE}
    return [_wish(entry, common) for entry in (params["machines"] if params["machines"] is not None else [params])]


def _wish(entry: t.Dict[str, t.Any], common: t.Dict[str, t.Any]) -> Wish:
    selector = next(name for name in SELECTORS if entry[name])
    value = entry[selector].strip()
    options = {name: common[name] if entry[name] is None else entry[name] for name in PER_MACHINE}
    if common["tags"] is not None and entry["tags"] is not None:
        options["tags"] = sorted({*common["tags"], *entry["tags"]})
    if common["power_parameters"] is not None and entry["power_parameters"] is not None:
        options["power_parameters"] = {**common["power_parameters"], **entry["power_parameters"]}
    return Wish(selector, value.lower().replace("-", ":") if selector == "mac_address" else value, options)


def image_is(row: Machine, wanted: t.Optional[str]) -> bool:
    return not wanted or wanted in (image_name(row), row.get("distro_series"))


class Planner:
    """Reads what is there and works out the change sets, or why there can be none."""

    def __init__(self, client: MaasClient, params: t.Dict[str, t.Any]) -> None:
        self.client = client
        self.params = params
        self.state = params["state"]
        self.refusals = []  # type: t.List[str]
        self._tags = None  # type: t.Optional[t.Dict[str, Machine]]

    def plan(self) -> t.List[Plan]:
        wanted = wishes(self.params)
        rows = self._read(wanted)
        plans = [Plan(wish, next((row for row in rows if wish.matches(row)), None)) for wish in wanted]
        self._refuse_doubles(plans, rows)
        for plan in plans:
            if plan.row is None:
                self._plan_missing(plan)
            elif self.state == "absent":
                self._plan_absent(plan)
            else:
                self._plan_steps(plan)
        if self.state != "absent":
            self._plan_settings(plans)
            self._refuse_unknown_places(plans)
            self._refuse_unknown_images(plans)
        self._refuse_locked(plans)
        return plans

    def _read(self, wanted: t.List[Wish]) -> t.List[Machine]:
        """All machines that are meant, and those that hold a wanted name: one request per kind of selector."""
        values = {name: [w.value for w in wanted if w.selector == name] for name in SELECTORS}
        names = [v.split(".")[0] for v in values["hostname"]] + [w.options["name"] for w in wanted if w.options["name"]]
        filters = {"hostname": names, "id": values["system_id"], "mac_address": values["mac_address"]}
        rows = {}  # type: t.Dict[str, Machine]
        for name, asked in filters.items():
            for row in self.client.read_machines(**{name: list(dict.fromkeys(asked))}):
                rows[row["system_id"]] = row
        return list(rows.values())

    def _refuse(self, plan: Plan, reason: str) -> None:
        self.refusals.append("%s: %s" % (plan.name, reason))

    def _refuse_doubles(self, plans: t.List[Plan], rows: t.List[Machine]) -> None:
        seen = {}  # type: t.Dict[str, Plan]
        names = {}  # type: t.Dict[str, Plan]
        holders = {row["hostname"]: row["system_id"] for row in rows}
        for plan in plans:
            key = plan.system_id or str(plan.wish)
            if key in seen:
                self._refuse(plan, "it is given twice (as %s and as %s): name it once." % (seen[key].wish, plan.wish))
            seen.setdefault(key, plan)
            name = plan.wish.options["name"]
            if not name or self.state == "absent":
                continue
            if name in names:
                self._refuse(plan, "the name %s is wanted for %s too: give another." % (name, names[name].wish))
            elif holders.get(name, plan.system_id) != plan.system_id:
                self._refuse(plan, "the name %s belongs to the machine %s: give another." % (name, holders[name]))
            names.setdefault(name, plan)

    def _plan_missing(self, plan: Plan) -> None:
        if self.state == "absent":
            return
        options = plan.wish.options
        if self.state == "released":
            self._refuse(plan, "there is no such machine in MAAS. Check the name.")
        elif plan.wish.selector != "mac_address" or not options["architecture"]:
            self._refuse(
                plan,
                "there is no such machine in MAAS. Check the name and that it has enlisted, or give `mac_address` and"
                " `architecture`, and it is created.",
            )
        else:
            plan.create = True
            plan.steps = PATHS.get(self.state, {}).get(Status.NEW, ())

    def _plan_absent(self, plan: Plan) -> None:
        row = t.cast(Machine, plan.row)
        if row["status"] in _IN_USE and not self.params["force"]:
            self._refuse(
                plan,
                "it is %s. Release it first (`state: released`), or set `force: true` to remove it as it is."
                % row["status_name"],
            )
        plan.steps = (DELETE,)

    def _plan_steps(self, plan: Plan) -> None:
        if self.state == "present":
            return
        row = t.cast(Machine, plan.row)
        status, image = row["status"], plan.wish.options["image"]
        steps = PATHS[self.state].get(status)
        if steps is None:
            why = row.get("error_description") or row.get("status_message") or ""
            why = " (%s)" % why if why and why != row["status_name"] else ""
            self._refuse(plan, "it is %s%s. %s" % (row["status_name"], why, WHAT_TO_DO.get(status, "")))
            return
        if self.state == "deployed" and status in _BEING_DEPLOYED | _DEPLOYED and not image_is(row, image):
            if not self.params["redeploy"]:
                self._refuse(
                    plan,
                    "it is %s with the image %s, not %s. Set `redeploy: true` to release it and deploy it anew;"
                    " what is on it is lost." % (row["status_name"], image_name(row), image),
                )
            steps = (RELEASE, DEPLOY)
        plan.steps = steps

    def _plan_settings(self, plans: t.List[Plan]) -> None:
        power = self._power_parameters(plans)
        for plan in plans:
            if plan.row is None and not plan.create:
                continue
            plan.settings = settings_to_change(plan.row, plan.wish.options, power.get(plan.system_id, {}))
            wanted = plan.wish.options["tags"]
            if wanted is not None:
                current = frozenset((plan.row or {}).get("tag_names") or ())
                plan.tags_added = frozenset(wanted) - current
                extra = current - frozenset(wanted) if self.params["tags_purge"] else frozenset()
                plan.tags_removed = frozenset(tag for tag in extra if not self._is_automatic(tag))
                self._refuse_tags(plan)

    def _power_parameters(self, plans: t.List[Plan]) -> t.Dict[str, t.Dict[str, t.Any]]:
        asked = [p.system_id for p in plans if p.row and p.wish.options["power_parameters"]]
        answers = self.client.call_each([("Machine.power_parameters", {"system_id": i}) for i in asked])
        for answer in answers:
            if isinstance(answer, MaasError):
                raise answer
        return dict(zip(asked, answers, strict=True))

    def known_tags(self) -> t.Dict[str, Machine]:
        if self._tags is None:
            self._tags = {tag["name"]: tag for tag in self.client.call("Tags.read")}
        return self._tags

    def _is_automatic(self, tag: str) -> bool:
        return bool(self.known_tags().get(tag, {}).get("definition"))

    def _refuse_tags(self, plan: Plan) -> None:
        for tag in sorted(plan.tags_added):
            if not re.match(r"^[\w-]+$", tag, re.ASCII):
                self._refuse(plan, "%r cannot be a tag: a tag has letters, digits, - and _ only." % tag)
            elif self._is_automatic(tag):
                self._refuse(plan, "MAAS sets the tag %s itself, by its definition: leave it out of `tags`." % tag)

    def _refuse_unknown_places(self, plans: t.List[Plan]) -> None:
        for setting, operation in (("pool", "ResourcePools.read"), ("zone", "Zones.read")):
            concerned = [plan for plan in plans if setting in plan.settings]
            known = {place["name"] for place in self.client.call(operation)} if concerned else set()
            for plan in concerned:
                wanted = plan.settings[setting][1]
                if wanted not in known:
                    self._refuse(
                        plan, "there is no %s %s in MAAS; there are: %s." % (setting, wanted, ", ".join(sorted(known)))
                    )

    def _refuse_unknown_images(self, plans: t.List[Plan]) -> None:
        concerned = [plan for plan in plans if DEPLOY in plan.steps and plan.wish.options["image"]]
        if not concerned:
            return
        known = set()
        for resource in self.client.call("BootResources.read"):
            known.add(resource["name"] if "/" in resource["name"] else "custom/" + resource["name"])
        answers_to = known | {name.split("/", 1)[1] for name in known}
        for plan in concerned:
            image = plan.wish.options["image"]
            if image not in answers_to:
                self._refuse(
                    plan,
                    "there is no image %s in MAAS; there are: %s. `edge.rack.maas_boot_resource` uploads one."
                    % (image, ", ".join(sorted(known)) or "none"),
                )

    def _refuse_locked(self, plans: t.List[Plan]) -> None:
        for plan in plans:
            if plan.row and plan.row.get("locked") and (plan.settings or any(s.operation for s in plan.steps)):
                self._refuse(
                    plan,
                    "it is locked in MAAS. Unlock it (`maas PROFILE machine unlock %s`) if you mean it."
                    % plan.system_id,
                )


def settings_to_change(
    row: t.Optional[Machine], options: t.Dict[str, t.Any], power: t.Dict[str, t.Any]
) -> t.Dict[str, t.Tuple[t.Any, t.Any]]:
    """(old, new) of each setting which is given and different."""
    row = row or {}
    current = {
        "name": row.get("hostname"),
        "power_type": row.get("power_type"),
        "pool": (row.get("pool") or {}).get("name"),
        "zone": (row.get("zone") or {}).get("name"),
        "description": row.get("description") or "",
    }
    changes = {}
    for name in SETTINGS:
        wanted = options[name]
        if wanted is None:
            continue
        if name == "power_parameters":
            power = power if options["power_type"] in (None, current["power_type"]) else {}
            new = {key: value for key, value in wanted.items() if not _same_value(power.get(key), value)}
            if new:
                changes[name] = ({key: power.get(key) for key in new}, new)
        elif current[name] != wanted:
            changes[name] = (current[name], wanted)
    return changes


def _same_value(old: t.Any, new: t.Any) -> bool:
    def plain(value: t.Any) -> t.List[str]:
        values = value if isinstance(value, (list, tuple)) else [value]
        return sorted(str(v).lower() if isinstance(v, bool) else str(v) for v in values)

    return old is not None and plain(old) == plain(new)


# -- Showing it -------------------------------------------------------------------------------------


def visible_settings(plan: Plan) -> t.Dict[str, t.Dict[str, t.Any]]:
    shown = {name: {"before": old, "after": new} for name, (old, new) in plan.settings.items()}
    if "power_parameters" in shown:
        old, new = plan.settings["power_parameters"]
        plain = {key: PLAIN_POWER_PARAMETERS.match(key) for key in new}
        shown["power_parameters"] = {
            "before": {k: v if plain[k] or v is None else HIDDEN for k, v in old.items()},
            "after": {k: v if plain[k] else HIDDEN + " new" for k, v in new.items()},
        }
    if plan.tags_added or plan.tags_removed:
        before = set((plan.row or {}).get("tag_names") or ())
        shown["tags"] = {
            "before": sorted(before),
            "after": sorted((before | plan.tags_added) - plan.tags_removed),
        }
    return shown


def visible_change(plan: Plan) -> t.Dict[str, t.Any]:
    return {
        "machine": plan.name,
        "system_id": plan.system_id,
        "settings": visible_settings(plan),
        "actions": plan.actions,
    }


def visible_diff(plan: Plan) -> t.Dict[str, t.Any]:
    settings = visible_settings(plan)
    before = {name: values["before"] for name, values in settings.items()}
    after = {name: values["after"] for name, values in settings.items()}
    row = plan.row
    if row is None:
        before = {}
    if plan.actions:
        before["status"] = row["status_name"] if row else "absent"
        ends = {"commission": "Ready", "deploy": "Deployed", "release": "Ready", "create": "New"}
        after["status"] = ends.get(plan.actions[-1], "absent")
        if plan.actions[-1] == "deploy":
            before["image"] = image_name(row) if row else ""
            after["image"] = plan.wish.options["image"] or "(default)"
        elif plan.actions[-1] == "release" and row:
            before["image"], after["image"] = image_name(row), ""
    if plan.actions == ["delete"]:
        after = {}
    return {"before_header": plan.name, "after_header": plan.name, "before": before, "after": after}


# -- Doing it ---------------------------------------------------------------------------------------


class Runner:
    """Applies the plans of all machines side by side."""

    def __init__(self, module: AnsibleModule, client: MaasClient, planner: Planner, plans: t.List[Plan]) -> None:
        self.module = module
        self.params = module.params
        self.client = client
        self.planner = planner
        self.plans = plans
        self.rounds = Rounds(self.params["wait_timeout_seconds"])
        self.todo = {}  # type: t.Dict[int, t.List[Step]]

    def run(self) -> None:
        self._create()
        self._set()
        self._tag()
        # Of each plan, the steps that are not reached yet; the first one has been sent.
        self.todo = {n: list(plan.steps) for n, plan in enumerate(self.plans) if plan.steps and not plan.failure}
        self._send(list(self.todo))
        if self.params["wait"]:
            self._wait()
        further = sorted({step.name for steps in self.todo.values() for step in steps[1:] if step.operation})
        if further and not self.params["wait"]:
            self.module.warn("`wait` is false: %s is left for a further run." % " and ".join(further))

    def _create(self) -> None:
        new = [plan for plan in self.plans if plan.create]
        for plan, answer in self._each(new, "Machines.create", self._creation):
            plan.row = answer

    def _creation(self, plan: Plan) -> t.Dict[str, t.Any]:
        options = plan.wish.options
        architecture = options["architecture"]
        data = {
            "mac_addresses": plan.wish.value,
            "architecture": architecture if "/" in architecture else architecture + "/generic",
            "commission": False,
        }
        if options["name"]:
            data["hostname"] = options["name"]
        if options["description"]:
            data["description"] = options["description"]
        return {**data, **_power_data(options["power_type"], options["power_parameters"])}

    def _set(self) -> None:
        changes = {id(plan): self._new_settings(plan) for plan in self.plans if plan.row and not plan.failure}
        concerned = [plan for plan in self.plans if changes.get(id(plan))]
        for plan, answer in self._each(
            concerned, "Machine.update", lambda plan: dict(changes[id(plan)], system_id=plan.system_id)
        ):
            plan.row = answer

    @staticmethod
    def _new_settings(plan: Plan) -> t.Dict[str, t.Any]:
        row, settings = t.cast(Machine, plan.row), plan.settings
        if plan.create:
            # The creation has set the power and the name, and knows neither pool nor zone.
            settings = settings_to_change(row, dict(plan.wish.options, power_type=None, power_parameters=None), {})
        new = {name: value for name, (_old, value) in settings.items()}
        data = {{"name": "hostname"}.get(name, name): v for name, v in new.items() if name != "power_parameters"}
        if "power_parameters" in new:
            # MAAS reads parameters only together with their type.
            data.update(_power_data(new.get("power_type", row.get("power_type")), new["power_parameters"]))
        return data

    def _tag(self) -> None:
        added, removed = {}, {}  # type: t.Dict[str, t.List[str]], t.Dict[str, t.List[str]]
        for plan in self.plans:
            if plan.failure:
                continue
            for tag in plan.tags_added:
                added.setdefault(tag, []).append(plan.system_id)
            for tag in plan.tags_removed:
                removed.setdefault(tag, []).append(plan.system_id)
        for tag in sorted(set(added) - set(self.planner.known_tags() if added else ())):
            self.client.call("Tags.create", name=tag)
        for tag in sorted({*added, *removed}):
            changes = {"add": added.get(tag, []), "remove": removed.get(tag, [])}
            self.client.call("Tag.update_nodes", name=tag, **{verb: ids for verb, ids in changes.items() if ids})

    def _each(
        self, plans: t.List[Plan], operation: str, data: t.Callable[[Plan], t.Dict[str, t.Any]]
    ) -> t.Iterator[t.Tuple[Plan, t.Any]]:
        """Call for each plan; a refusal fails that plan alone."""
        answers = self.client.call_each([(operation, data(plan)) for plan in plans])
        for plan, answer in zip(plans, answers, strict=True):
            if isinstance(answer, MaasError):
                plan.fail(answer.message(), answer.remedy)
            else:
                yield plan, answer

    def _send(self, numbers: t.List[int]) -> None:
        """Begin the first open step of these plans, and the next where that is reached at once."""
        while numbers:
            calls = {}  # type: t.Dict[str, t.List[int]]
            for number in numbers:
                step = self.todo[number][0]
                if step.operation and not self._is_reached(number):
                    calls.setdefault(step.operation, []).append(number)
            for operation, concerned in calls.items():
                by_plan = {id(self.plans[n]): n for n in concerned}
                for plan, answer in self._each([self.plans[n] for n in concerned], operation, self._step_data):
                    if operation == "Machine.delete":
                        plan.row = None
                        del self.todo[by_plan[id(plan)]]
                    else:
                        plan.row = answer
            numbers = [n for n in numbers if n in self.todo and self._advance(n)]

    def _step_data(self, plan: Plan) -> t.Dict[str, t.Any]:
        number = next(n for n, other in enumerate(self.plans) if other is plan)
        step, options, params = self.todo[number][0], plan.wish.options, self.params
        data = {"system_id": plan.system_id}
        if step is DEPLOY:
            user_data = options["user_data"]
            data["distro_series"] = options["image"]
            data["hwe_kernel"] = options["kernel"]
            data["user_data"] = base64.b64encode(user_data.encode()).decode() if user_data else None
        if step is RELEASE and params["erase"]:
            data["erase"] = True
        if step in (DEPLOY, RELEASE):
            data["comment"] = params["comment"]
        return {name: value for name, value in data.items() if value is not None}

    def _is_reached(self, number: int) -> bool:
        """Whether a machine that was to become ready turned out to be deployed, as one under test may."""
        plan = self.plans[number]
        row = t.cast(Machine, plan.row)
        return (
            self.todo[number][0] is DEPLOY
            and row["status"] in DEPLOY.goal
            and image_is(row, plan.wish.options["image"])
        )

    def _advance(self, number: int) -> bool:
        """Judge one machine by its row; whether its next step is to be sent."""
        plan, steps = self.plans[number], self.todo[number]
        row = t.cast(Machine, plan.row)
        if plan.failure:
            del self.todo[number]
            return False
        if row["status"] in steps[0].goal:
            del steps[0]
            if not steps:
                del self.todo[number]
            return bool(steps)
        if row["status"] not in steps[0].on_the_way:
            plan.fail(
                "it is %s" % row["status_name"],
                WHAT_TO_DO.get(row["status"], "Look at its events in MAAS, then run again."),
            )
            del self.todo[number]
        return False

    def _wait(self) -> None:
        lost_since = None  # type: t.Optional[float]
        if not self.todo:
            return
        for left in self.rounds:
            ids = {self.plans[n].system_id: n for n in self.todo}
            try:
                rows = {row["system_id"]: row for row in self.client.read_machines(id=list(ids))}
                lost_since = None
            except (MaasUnreachable, MaasUnavailable):
                lost_since = lost_since or time.monotonic()
                if left <= 0 or time.monotonic() - lost_since > OUTAGE_SECONDS:
                    raise
                continue
            for system_id, number in ids.items():
                if system_id in rows:
                    self.plans[number].row = rows[system_id]
                else:
                    self.plans[number].fail("it was deleted while it was waited for", "Find out who did.")
                    del self.todo[number]
            self._send([n for n in list(self.todo) if self._advance(n)])
            self.module.debug("maas_machine: %d of %d machines left" % (len(self.todo), len(self.plans)))
            if not self.todo:
                return

    def late(self) -> t.List[Plan]:
        return [self.plans[number] for number in self.todo] if self.params["wait"] else []


def _power_data(power_type: t.Optional[str], parameters: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    data = {"power_parameters_" + name: value for name, value in (parameters or {}).items()}
    return dict(data, power_type=power_type) if power_type else data


# -- The failure report -------------------------------------------------------------------------------


def newest_events(client: MaasClient, plans: t.List[Plan]) -> t.Dict[str, str]:
    """By system id the newest event of MAAS; of a machine that failed the newest bad one of the last few."""
    asked = [plan for plan in plans if plan.row][:EVENTS_FOR]
    answers = client.call_each([("Events.query", {"hostname": p.name, "level": "INFO", "limit": 5}) for p in asked])
    texts = {}
    for plan, answer in zip(asked, answers, strict=True):
        events = [] if isinstance(answer, MaasError) else answer.get("events") or []
        bad = [event for event in events if plan.failure and event.get("level") in ("WARNING", "ERROR", "CRITICAL")]
        for event in (bad or events)[:1]:
            texts[plan.system_id] = ": ".join(str(event[k]) for k in ("type", "description") if event.get(k))
    return texts


def failure_report(client: MaasClient, runner: Runner) -> t.Dict[str, t.Any]:
    params = runner.params
    failed = [plan for plan in runner.plans if plan.failure]
    late = runner.late()
    events = newest_events(client, failed + late)
    for plan in late:
        plan.fail(
            "it is still %s" % t.cast(Machine, plan.row)["status_name"],
            "Raise `wait_timeout_seconds` (now %d), or look at its console; a further run goes on waiting."
            % params["wait_timeout_seconds"],
        )
    entries = [_failed_machine(plan, events.get(plan.system_id, "")) for plan in failed + late]
    lines = []
    for entry in entries:
        message = entry["status_message"]
        told = [message] if message and message not in (entry["status"], entry["reason"]) else []
        told += ["event: " + entry["event"]] if entry["event"] and _words(entry["event"]) != _words(message) else []
        where = " (%s)" % entry["system_id"] if entry["system_id"] else ""
        remedy = "" if entry["reason"].endswith(entry["remedy"]) else " " + entry["remedy"]
        details = " [%s]" % "; ".join(told) if told else ""
        lines.append("- %s%s: %s%s.%s" % (entry["machine"], where, entry["reason"].rstrip("."), details, remedy))
    head = "%d of %d machines did not become %s" % (len(entries), len(runner.plans), params["state"])
    if late:
        head += ", %d of them not within %d seconds" % (len(late), params["wait_timeout_seconds"])
    return {"msg": "%s:\n%s" % (head, "\n".join(lines)), "failed_machines": entries}


def _words(text: str) -> t.List[str]:
    return re.findall(r"\w+", text)


def _failed_machine(plan: Plan, event: str) -> t.Dict[str, t.Any]:
    row = plan.row or {}
    return {
        "machine": plan.name,
        "system_id": plan.system_id,
        "status": row.get("status_name") or "",
        "status_message": row.get("status_message") or "",
        "event": event,
        "reason": plan.failure,
        "remedy": plan.remedy,
    }


# -- The module ---------------------------------------------------------------------------------------


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
        runner = Runner(module, client, planner, plans)
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
        **({"machine": summaries[0]} if module.params["machines"] is None and summaries else {}),
    }


def keep_output_readable(module: AnsibleModule) -> None:
    """Blank secrets in the output, and not every "on" and "n" that is a power parameter too."""
    entries = [module.params, *(module.params["machines"] or [])]
    parameters = [item for e in entries for item in (e["power_parameters"] or {}).items()]
    plain = {str(value) for name, value in parameters if PLAIN_POWER_PARAMETERS.match(name)}
    secret = {str(value) for name, value in parameters if not PLAIN_POWER_PARAMETERS.match(name)}
    short = {value for value in module.no_log_values if len(value) < 4}
    module.no_log_values -= (plain - secret) | short


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
            "choices": ["present", "ready", "deployed", "released", "absent"],
            "default": "present",
        },
        machines={
            "type": "list",
            "elements": "dict",
            "options": machine_argument_spec(),
            "mutually_exclusive": [SELECTORS],
            "required_one_of": [SELECTORS],
        },
        tags_purge={"type": "bool", "default": False},
        redeploy={"type": "bool", "default": False},
        erase={"type": "bool", "default": False},
        force={"type": "bool", "default": False},
        comment={"type": "str"},
        wait={"type": "bool", "default": True},
        wait_timeout_seconds={"type": "int", "default": 1800},
    )
    return spec


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[(*SELECTORS, "machines"), ("name", "machines")],
        required_one_of=[(*SELECTORS, "machines")],
    )
    keep_output_readable(module)
    run_with_client(module, work)


if __name__ == "__main__":
    main()
