# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change sets: what has to be done to each machine, or why nothing can be."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasError,
    Machine,
    Status,
    image_name,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines import power
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.steps import (
    BEING_DEPLOYED,
    DELETE,
    DEPLOY,
    IN_USE,
    LOCK,
    MARK_BROKEN,
    PATHS,
    POWER_STATES,
    RELEASE,
    UNLOCK,
    Step,
    what_to_do,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.wishes import (
    PER_MACHINE,
    SELECTORS,
    SETTINGS,
    Wish,
    choose,
    image_is,
    wishes,
)


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
    refused: t.List[str] = field(default_factory=list)
    """Why it cannot be brought there, known before anything is sent."""

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

    def leave_out(self) -> None:
        """Do nothing with it, and report it as failed."""
        self.create, self.settings, self.steps = False, {}, ()
        self.tags_added = self.tags_removed = frozenset()
        self.fail(" ".join(self.refused), "")


class Planner:
    """Reads what is there and works out the change sets, or why there can be none."""

    def __init__(self, client: MaasClient, params: t.Dict[str, t.Any]) -> None:
        self.client = client
        self.params = params
        self.state = params["state"]
        self.refusals = []  # type: t.List[str]
        """Why nothing can be done."""
        self._tags = None  # type: t.Optional[t.Dict[str, Machine]]

    def plan(self) -> t.List[Plan]:
        wanted, rows = self._wanted()
        plans = [Plan(wish, next((row for row in rows if wish.matches(row)), None)) for wish in wanted]
        self._refuse_doubles(plans, rows)
        for plan in plans:
            if plan.row is None:
                self._plan_missing(plan)
            elif self.state == "absent":
                self._plan_absent(plan)
            elif self.state != "present":
                self._plan_steps(plan)
        if self.state == "broken":
            self._refuse_to_break(plans)
        elif self.state in POWER_STATES:
            self._plan_power(plans)
        if self.state != "absent":
            self._refuse_wrong_power(plans)
            self._plan_settings(plans)
            self._refuse_unknown_places(plans)
            self._refuse_unknown_images(plans)
        self._refuse_locked(plans)
        refused = [plan for plan in plans if plan.refused]
        if self.params["leave_out_refused"]:
            for plan in refused:
                plan.leave_out()
        else:
            self.refusals += ["%s: %s" % (plan.name, reason) for plan in refused for reason in plan.refused]
        return plans

    def _wanted(self) -> t.Tuple[t.List[Wish], t.List[Machine]]:
        if self.params["constraints"] is None:
            wanted = wishes(self.params)
            return wanted, self._read(wanted)
        rows, reason = choose(self.client, self.params)
        if reason:
            self.refusals.append(reason)
        return wishes(dict(self.params, machines=[_by_id(row) for row in rows])), rows

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

    @staticmethod
    def _refuse(plan: Plan, reason: str) -> None:
        plan.refused.append(reason)

    def _refuse_doubles(self, plans: t.List[Plan], rows: t.List[Machine]) -> None:
        seen = {}  # type: t.Dict[str, Plan]
        names = {}  # type: t.Dict[str, Plan]
        holders = {row["hostname"]: row for row in rows}
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
            elif name in holders and holders[name]["system_id"] != plan.system_id:
                holder = holders[name]
                tags = ", ".join(holder.get("tag_names") or ())
                self._refuse(
                    plan,
                    "the name %s belongs to the machine %s (%s%s): give another, or free it: give that one"
                    " another (`name`) or remove it (`state: absent`)."
                    % (name, holder["system_id"], holder["status_name"], ", tags: " + tags if tags else ""),
                )
            names.setdefault(name, plan)

    def _plan_missing(self, plan: Plan) -> None:
        if self.state == "absent":
            return
        options = plan.wish.options
        if not {"present", "ready", "allocated", "deployed"} & {self.state}:
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
        if row["status"] in IN_USE and not self.params["force"]:
            self._refuse(
                plan,
                "it is %s. Release it first (`state: released`), or set `force: true` to remove it as it is."
                % row["status_name"],
            )
        plan.steps = (DELETE,)

    def _plan_steps(self, plan: Plan) -> None:
        row = t.cast(Machine, plan.row)
        status, image = row["status"], plan.wish.options["image"]
        steps = PATHS[self.state].get(status)
        if steps is None:
            why = row.get("error_description") or row.get("status_message") or ""
            why = " (%s)" % why if why and why != row["status_name"] else ""
            self._refuse(plan, "it is %s%s. %s" % (row["status_name"], why, what_to_do(self.state, status)))
            return
        if self.state == "deployed" and status in BEING_DEPLOYED | DEPLOY.goal and not image_is(row, image):
            if not self.params["redeploy"]:
                self._refuse(
                    plan,
                    "it is %s with the image %s, not %s. Set `redeploy: true` to release it and deploy it anew;"
                    " what is on it is lost." % (row["status_name"], image_name(row), image),
                )
            steps = (RELEASE, DEPLOY)
        if self.state in ("locked", "unlocked") and steps[0].is_done(row):
            steps = ()
        plan.steps = steps

    def _refuse_to_break(self, plans: t.List[Plan]) -> None:
        """Of what MAAS answers with a bare 403, and of what would be lost by it."""
        concerned = [plan for plan in plans if plan.row and MARK_BROKEN in plan.steps]
        owners = {t.cast(Machine, plan.row).get("owner") for plan in concerned} - {None}
        me = self.client.call("Users.whoami")["username"] if owners else None
        for plan in concerned:
            row = t.cast(Machine, plan.row)
            if row.get("owner") not in (None, me):
                self._refuse(
                    plan,
                    "it belongs to %s, and only its owner may mark it broken: use that user's API key." % row["owner"],
                )
            elif row["status"] in BEING_DEPLOYED | DEPLOY.goal and not self.params["force"]:
                self._refuse(
                    plan,
                    "it is %s, and MAAS releases what it marks broken: the system on it is lost. Set `force: true` if"
                    " you mean it." % row["status_name"],
                )

    def _plan_power(self, plans: t.List[Plan]) -> None:
        """The power is asked for now: what a row says is as old as MAAS's last look."""
        asked = []
        for plan in plans:
            if plan.row is None:
                continue
            if plan.row.get("power_type") in (None, "", "manual"):
                self._refuse(
                    plan,
                    "its power type is %s, so MAAS cannot switch it: set `power_type`, or press its button."
                    % (plan.row.get("power_type") or "not known"),
                )
            else:
                asked.append(plan)
        reasons = power.ask(self.client, [t.cast(Machine, plan.row) for plan in asked])
        for plan in asked:
            row = t.cast(Machine, plan.row)
            if plan.system_id in reasons:
                why = " (%s)" % reasons[plan.system_id] if reasons[plan.system_id] else ""
                self._refuse(
                    plan,
                    "MAAS cannot ask for its power%s: check `power_type`, `power_parameters` and its BMC." % why,
                )
            # Of a power cycle, the first half where it is on; never both where it is off.
            cycled = self.state == "powercycled"
            plan.steps = tuple(
                step for number, step in enumerate(plan.steps) if (cycled and number == 1) or not step.is_done(row)
            )
            if plan.steps and self.state != "poweredoff" and not row.get("owner"):
                self._refuse(
                    plan,
                    "it is %s and nobody's, and MAAS switches on only what is allocated: allocate it first"
                    " (`state: allocated`), or deploy it." % row["status_name"],
                )

    def _refuse_wrong_power(self, plans: t.List[Plan]) -> None:
        for plan in plans:
            if plan.row is not None or plan.create:
                for reason in power.what_is_wrong(plan.wish.options, plan.row):
                    self._refuse(plan, reason)

    def _plan_settings(self, plans: t.List[Plan]) -> None:
        held = self._power_parameters(plans)
        for plan in plans:
            if plan.row is None and not plan.create:
                continue
            plan.settings = settings_to_change(plan.row, plan.wish.options, held.get(plan.system_id, {}))
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
            steps = [step for step in plan.steps if step.operation and step not in (LOCK, UNLOCK)]
            if plan.row and plan.row.get("locked") and (plan.settings or steps):
                self._refuse(plan, "it is locked in MAAS. Unlock it (`state: unlocked`, alone) if you mean it.")


def settings_to_change(
    row: t.Optional[Machine], options: t.Dict[str, t.Any], held: t.Dict[str, t.Any]
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
    changes = {}  # type: t.Dict[str, t.Tuple[t.Any, t.Any]]
    for name in SETTINGS:
        wanted = options[name]
        if wanted is None:
            continue
        if name == "power_parameters":
            held = held if options["power_type"] in (None, current["power_type"]) else {}
            new = {key: value for key, value in wanted.items() if not power.same_value(held.get(key), value)}
            if new:
                changes[name] = ({key: held.get(key) for key in new}, new)
        elif current[name] != wanted:
            changes[name] = (current[name], wanted)
    return changes


def _by_id(row: Machine) -> t.Dict[str, t.Any]:
    return {**dict.fromkeys((*SELECTORS, *PER_MACHINE)), "system_id": row["system_id"]}
