# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the change sets: all machines side by side, one wait loop, one list request a round."""

from __future__ import annotations

import base64
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasError,
    MaasNotFound,
    MaasUnavailable,
    MaasUnreachable,
    Machine,
    Rounds,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines import power
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.plan import Plan, Planner, settings_to_change
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.steps import (
    COMMISSION,
    DELETE,
    DEPLOY,
    POWER_OFF,
    RELEASE,
    Step,
    what_to_do,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.wishes import image_is

OUTAGE_SECONDS = 120
"""A wait outlives a restart of the region, but not a region that is gone."""
TRIES = 5
"""So often a step is sent that meets a region which restarts."""

_WITH_COMMENT = (
    "Machines.allocate",
    "Machine.deploy",
    "Machine.release",
    "Machine.lock",
    "Machine.unlock",
    "Machine.mark_broken",
    "Machine.mark_fixed",
    "Machine.power_on",
    "Machine.power_off",
)


def await_shutdown(client: MaasClient, plans: t.List[Plan], rounds: Rounds) -> None:
    """Machines that are to be switched off may go off by themselves, and are asked until they have or the time is over.

    A row says what MAAS saw last, some minutes ago; so each machine's power is asked for.
    """
    waiting = [plan for plan in plans if POWER_OFF in plan.steps]
    for _left in rounds if waiting else ():
        answers = client.call_each([("Machine.query_power_state", {"system_id": p.system_id}) for p in waiting])
        for plan, answer in zip(waiting, answers, strict=True):
            # What cannot be asked is no news here: it is switched off, and that succeeds or tells why not.
            if not isinstance(answer, MaasError):
                t.cast(Machine, plan.row)["power_state"] = answer["state"]
        waiting = [plan for plan in waiting if not POWER_OFF.is_done(t.cast(Machine, plan.row))]
        if not waiting:
            return


class Runner:
    """Applies the plans of all machines side by side."""

    def __init__(
        self,
        module: AnsibleModule,
        client: MaasClient,
        planner: Planner,
        plans: t.List[Plan],
        rounds: Rounds,
    ) -> None:
        self.module = module
        self.params = module.params
        self.client = client
        self.planner = planner
        self.plans = plans
        self.rounds = rounds
        self.todo = {}  # type: t.Dict[int, t.List[Step]]
        """By the number of a plan, its steps that are not done yet."""
        self.begun = set()  # type: t.Set[int]
        """The plans whose first open step was sent, or is under way without."""
        self._tries = {}  # type: t.Dict[int, int]
        self._seen_before = {}  # type: t.Dict[int, t.Tuple[t.Any, t.Any]]

    def run(self) -> None:
        self._create()
        self._set()
        self._tag()
        self.todo = {n: list(plan.steps) for n, plan in enumerate(self.plans) if plan.steps and not plan.failure}
        self._begin()
        if self.params["wait"]:
            self._wait()
            return
        left = {s.name for n, steps in self.todo.items() for s in steps[n in self.begun :] if s.operation}
        if left:
            self.module.warn("`wait` is false: %s is left for a further run." % " and ".join(sorted(left)))

    def late(self) -> t.List[Plan]:
        return [self.plans[number] for number in self.todo] if self.params["wait"] else []

    def has_begun(self, plan: Plan) -> bool:
        return any(self.plans[number] is plan for number in self.begun)

    def what_is_seen(self, plan: Plan) -> str:
        """What a machine that is waited for shows in place of what its step leads to."""
        row = t.cast(Machine, plan.row)
        number = next(n for n, other in enumerate(self.plans) if other is plan)
        step = self.todo[number][0]
        if step.by_status:
            return str(row["status_name"])
        return ", ".join("%s: %s" % (name, row.get(name)) for name in step.leaves)

    # -- Settings

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
        return {**data, **power.for_the_form(options["power_type"], options["power_parameters"])}

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
            data.update(power.for_the_form(new.get("power_type", row.get("power_type")), new["power_parameters"]))
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

    # -- Steps

    def _begin(self) -> None:
        """Send the open first steps that there is room for, until none is left to send."""
        sent = set()  # type: t.Set[t.Tuple[int, str]]
        while True:
            for number in list(self.todo):
                self._judge(number)
            # What the region could not take now has its next chance in the next round.
            numbers = [n for n in self._next() if (n, self.todo[n][0].name) not in sent]
            if not numbers:
                return
            sent.update((n, self.todo[n][0].name) for n in numbers)
            self._send(numbers)

    def _next(self) -> t.List[int]:
        """Whose turn it is: `at_once` machines at most load the link that feeds all."""
        room = self.params["at_once"] or len(self.plans)
        room -= sum(1 for number in self.begun if self.todo[number][0].loads)
        waiting = [n for n in self.todo if n not in self.begun and self.todo[n][0].operation]
        # What is half way goes before what has not begun.
        waiting.sort(key=lambda number: len(self.todo[number]) == len(self.plans[number].steps))
        chosen = []
        for number in waiting:
            if self.todo[number][0].loads:
                room -= 1
                if room < 0:
                    continue
            chosen.append(number)
        return chosen

    def _send(self, numbers: t.List[int]) -> None:
        """Send the first open step of each."""
        calls = [
            (t.cast(str, self.todo[number][0].operation), self._step_data(number, self.todo[number][0]))
            for number in numbers
        ]
        for number in numbers:
            row = t.cast(Machine, self.plans[number].row)
            self._seen_before[number] = (row.get("power_state"), row.get("status_message"))
        answers = self.client.call_each(calls)
        refused = []  # type: t.List[t.Tuple[int, MaasError]]
        for number, answer in zip(numbers, answers, strict=True):
            plan = self.plans[number]
            deleting = self.todo[number][0] is DELETE
            if deleting and (isinstance(answer, MaasNotFound) or not isinstance(answer, MaasError)):
                plan.row = None
                self._done(number)
            elif isinstance(answer, (MaasUnreachable, MaasUnavailable)) and self._may_try_again(number):
                continue  # A further round sees by the machine's status whether it was done.
            elif isinstance(answer, MaasError):
                refused.append((number, answer))
            else:
                plan.row = answer
                self.begun.add(number)
        self._judge_refused(refused)

    def _may_try_again(self, number: int) -> bool:
        self._tries[number] = self._tries.get(number, 0) + 1
        return bool(self.params["wait"]) and self._tries[number] < TRIES

    def _judge_refused(self, refused: t.List[t.Tuple[int, MaasError]]) -> None:
        """A refusal is none where another run has begun the same meanwhile: then that is waited for."""
        if not refused:
            return
        ids = [self.plans[number].system_id for number, _error in refused]
        try:
            rows = {row["system_id"]: row for row in self.client.read_machines(id=ids)}
        except MaasError:
            rows = {}
        for number, error in refused:
            plan = self.plans[number]
            plan.row = rows.get(plan.system_id, plan.row)
            self._catch_up(number)
            if number in self.todo and number not in self.begun:
                plan.fail(error.message(), error.remedy)
                self._done(number)

    def _step_data(self, number: int, step: Step) -> t.Dict[str, t.Any]:
        plan, params = self.plans[number], self.params
        options = plan.wish.options
        data = {"system_id": plan.system_id}  # type: t.Dict[str, t.Any]
        if step is COMMISSION:
            for name in ("commissioning_scripts", "testing_scripts"):
                if params[name] is not None:
                    data[name] = ",".join(params[name]) or "none"
        if step is DEPLOY:
            user_data = options["user_data"]
            data["distro_series"] = options["image"]
            data["hwe_kernel"] = options["kernel"]
            data["user_data"] = base64.b64encode(user_data.encode()).decode() if user_data else None
        if step is RELEASE and params["erase"]:
            data["erase"] = True
        if step.operation in _WITH_COMMENT:
            data["comment"] = params["comment"]
        return {name: value for name, value in data.items() if value is not None}

    def _judge(self, number: int) -> None:
        """Judge one machine by its row: which of its steps are done, and whether it has failed."""
        plan = self.plans[number]
        if plan.failure:
            self._done(number)
            return
        self._catch_up(number)
        if number not in self.begun:
            return
        step, row = self.todo[number][0], t.cast(Machine, plan.row)
        if not step.is_under_way(row):
            remedy = what_to_do(self.params["state"], row["status"]) or "Look at its events in MAAS, then run again."
            plan.fail("it is %s" % row["status_name"], remedy)
            self._done(number)
        elif "power_state" in step.leaves and self._power_has_failed(number, row):
            plan.fail(
                "MAAS could not switch its power %s" % step.leaves["power_state"],
                "Check its BMC, `power_type` and `power_parameters`, then run again.",
            )
            self._done(number)

    def _power_has_failed(self, number: int, row: Machine) -> bool:
        return row.get("power_state") == "error" and self._seen_before.get(number) != (
            row.get("power_state"),
            row.get("status_message"),
        )

    def _catch_up(self, number: int) -> None:
        """Drop the steps that are behind the machine, also where another run has taken it past some."""
        plan, steps = self.plans[number], self.todo[number]
        row = t.cast(Machine, plan.row)
        for place in reversed(range(len(steps))):
            step = steps[place]
            # What is no status (power, lock) can be so before its turn comes; a status is reached on the way only.
            if (place and not step.by_status) or step is DELETE:
                continue
            if step is DEPLOY and not image_is(row, plan.wish.options["image"]):
                continue
            if step.is_done(row):
                del steps[: place + 1]
                self.begun.discard(number)
                self._tries.pop(number, None)
                if not steps:
                    self._done(number)
                return
            if step.by_status and step.is_under_way(row):
                del steps[:place]
                self.begun.add(number)
                return

    def _done(self, number: int) -> None:
        self.todo.pop(number, None)
        self.begun.discard(number)

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
                elif self.todo[number][0] is DELETE:
                    self.plans[number].row = None
                    self._done(number)
                else:
                    self.plans[number].fail("it was deleted while it was waited for", "Find out who did.")
                    self._done(number)
            self._begin()
            self.module.debug("maas_machine: %d of %d machines left" % (len(self.todo), len(self.plans)))
            if not self.todo:
                return
