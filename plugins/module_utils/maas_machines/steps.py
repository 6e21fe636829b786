# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from a machine's status to a state: which steps lead there, and what to do where none does."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.edge.rack.plugins.module_utils.maas import Machine, Status


@dataclass(frozen=True)
class Step:
    """One transition: what is called, where it leads, and what is seen on the way."""

    name: str
    operation: t.Optional[str]
    goal: t.FrozenSet[int]
    on_the_way: t.FrozenSet[int] = frozenset()
    leaves: t.Dict[str, t.Any] = field(default_factory=dict, hash=False, compare=False)
    """What a machine shows after it, by the keys of its summary."""
    loads: bool = False
    """Whether it takes the link that feeds all: `at_once` counts these."""
    by_status: bool = True
    """Whether its status tells that it is done; else `leaves` does."""

    def is_done(self, row: Machine) -> bool:
        if self.by_status:
            return row["status"] in self.goal
        return all(row.get(name) == value for name, value in self.leaves.items())

    def is_under_way(self, row: Machine) -> bool:
        return not self.by_status or row["status"] in self.on_the_way


_READY = frozenset({Status.READY})
_DEPLOYED = frozenset({Status.DEPLOYED})
_ANY = frozenset()  # type: t.FrozenSet[int]
_BEING_COMMISSIONED = frozenset({Status.COMMISSIONING, Status.TESTING})
_BEING_RELEASED = frozenset({Status.RELEASING, Status.DISK_ERASING})
BEING_DEPLOYED = frozenset({Status.DEPLOYING})
_ENTERING = frozenset({Status.ENTERING_RESCUE_MODE})
_EXITING = frozenset({Status.EXITING_RESCUE_MODE})
_OUT_OF_RESCUE = frozenset({Status.READY, Status.BROKEN, Status.DEPLOYED})

COMMISSION = Step("commission", "Machine.commission", _READY, _BEING_COMMISSIONED, {"status": "Ready"}, loads=True)
DEPLOY = Step("deploy", "Machine.deploy", _DEPLOYED, BEING_DEPLOYED, {"status": "Deployed"}, loads=True)
RELEASE = Step("release", "Machine.release", _READY, _BEING_RELEASED, {"status": "Ready"})
ALLOCATE = Step("allocate", "Machines.allocate", frozenset({Status.ALLOCATED}), _ANY, {"status": "Allocated"})
MARK_BROKEN = Step("mark_broken", "Machine.mark_broken", frozenset({Status.BROKEN}), _ANY, {"status": "Broken"})
MARK_FIXED = Step("mark_fixed", "Machine.mark_fixed", _READY | {Status.NEW}, _ANY, {"status": "Ready"})
RESCUE = Step(
    "enter_rescue_mode",
    "Machine.rescue_mode",
    frozenset({Status.RESCUE_MODE}),
    _ENTERING,
    {"status": "Rescue mode"},
)
EXIT_RESCUE = Step(
    "exit_rescue_mode",
    "Machine.exit_rescue_mode",
    _OUT_OF_RESCUE,
    _EXITING,
    {"status": "as before rescue mode"},
)
LOCK = Step("lock", "Machine.lock", _ANY, leaves={"locked": True}, by_status=False)
UNLOCK = Step("unlock", "Machine.unlock", _ANY, leaves={"locked": False}, by_status=False)
POWER_ON = Step("power_on", "Machine.power_on", _ANY, leaves={"power_state": "on"}, by_status=False)
POWER_OFF = Step("power_off", "Machine.power_off", _ANY, leaves={"power_state": "off"}, by_status=False)
DELETE = Step("delete", "Machine.delete", _ANY, leaves={"status": "absent"})
# Somebody else began it: nothing is sent. A test may also run on a deployed machine.
AWAIT_READY = Step(
    "await ready",
    None,
    _READY | {Status.ALLOCATED} | _DEPLOYED,
    _BEING_COMMISSIONED | _BEING_RELEASED,
    loads=True,
)
AWAIT_DEPLOYED = Step("await deployed", None, _DEPLOYED, BEING_DEPLOYED, loads=True)
AWAIT_RESCUE = Step("await rescue mode", None, frozenset({Status.RESCUE_MODE}), _ENTERING)
AWAIT_EXIT = Step("await exit", None, _OUT_OF_RESCUE, _EXITING)

_NOT_COMMISSIONED = (Status.NEW, Status.FAILED_COMMISSIONING, Status.FAILED_TESTING)
_IN_BETWEEN = (Status.COMMISSIONING, Status.TESTING, Status.RELEASING, Status.DISK_ERASING)
_FAILED_IN_USE = (Status.FAILED_DEPLOYMENT, Status.FAILED_RELEASING, Status.FAILED_DISK_ERASING)
_FAILED_RESCUE = (Status.FAILED_ENTERING_RESCUE_MODE, Status.FAILED_EXITING_RESCUE_MODE)
IN_USE = (Status.ALLOCATED, Status.RESERVED, Status.DEPLOYING, Status.DEPLOYED, *_FAILED_IN_USE)
_ALL = tuple(range(Status.FAILED_TESTING + 1))

PATHS = {
    "ready": {
        **dict.fromkeys(_NOT_COMMISSIONED, (COMMISSION,)),
        **dict.fromkeys(_IN_BETWEEN, (AWAIT_READY,)),
        **dict.fromkeys((Status.READY, *IN_USE), ()),
    },
    "allocated": {
        **dict.fromkeys(_NOT_COMMISSIONED, (COMMISSION, ALLOCATE)),
        **dict.fromkeys(_IN_BETWEEN, (AWAIT_READY, ALLOCATE)),
        Status.READY: (ALLOCATE,),
        **dict.fromkeys(IN_USE, ()),
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
        # A Broken one has no owner: MAAS released it when it was marked.
        **dict.fromkeys((*_NOT_COMMISSIONED, Status.READY, Status.BROKEN, Status.COMMISSIONING, Status.TESTING), ()),
        **dict.fromkeys(_BEING_RELEASED, (AWAIT_READY,)),
        **dict.fromkeys(IN_USE, (RELEASE,)),
    },
    "broken": {
        Status.BROKEN: (),
        # Only its owner may mark a machine broken, and a Ready one has none.
        Status.READY: (ALLOCATE, MARK_BROKEN),
        **dict.fromkeys(IN_USE, (MARK_BROKEN,)),
    },
    "fixed": {**dict.fromkeys(_ALL, ()), Status.BROKEN: (MARK_FIXED,)},
    "locked": dict.fromkeys((Status.DEPLOYED, Status.DEPLOYING), (LOCK,)),
    "unlocked": dict.fromkeys(_ALL, (UNLOCK,)),
    "rescue": {
        **dict.fromkeys((Status.READY, Status.BROKEN, Status.DEPLOYED, *_FAILED_RESCUE), (RESCUE,)),
        Status.ENTERING_RESCUE_MODE: (AWAIT_RESCUE,),
        Status.EXITING_RESCUE_MODE: (AWAIT_EXIT, RESCUE),
        Status.RESCUE_MODE: (),
    },
    "rescue_exited": {
        **dict.fromkeys(_ALL, ()),
        **dict.fromkeys((Status.RESCUE_MODE, *_FAILED_RESCUE), (EXIT_RESCUE,)),
        Status.ENTERING_RESCUE_MODE: (AWAIT_RESCUE, EXIT_RESCUE),
        Status.EXITING_RESCUE_MODE: (AWAIT_EXIT,),
    },
    "poweredon": dict.fromkeys(_ALL, (POWER_ON,)),
    "poweredoff": dict.fromkeys(_ALL, (POWER_OFF,)),
    "powercycled": dict.fromkeys(_ALL, (POWER_OFF, POWER_ON)),
}  # type: t.Dict[str, t.Dict[int, t.Tuple[Step, ...]]]

STATES = ("present", *PATHS, "absent")
POWER_STATES = ("poweredon", "poweredoff", "powercycled")

_LEAVE_RESCUE = "Take it out of rescue mode (`state: rescue_exited`) and run again."
WHAT_TO_DO = {
    Status.NEW: "Somebody aborted its commissioning: run again.",
    Status.FAILED_COMMISSIONING: "Look at its power and its results in MAAS, then run again: it is commissioned anew.",
    Status.FAILED_TESTING: "Look at its test results in MAAS, then run again: it is commissioned anew.",
    Status.FAILED_DEPLOYMENT: "Look at its installation log in MAAS, then run again: it is released and deployed anew.",
    Status.FAILED_RELEASING: "Check its power (`power_type`, `power_parameters`), then run again: it is released anew.",
    Status.FAILED_DISK_ERASING: "Check its disks, then run again, perhaps without `erase`.",
    Status.BROKEN: "Repair it, then mark it fixed (`state: fixed`) and run again.",
    Status.MISSING: "Check its hardware and power, then delete it (`state: absent`) and let it enlist again.",
    Status.RETIRED: "Delete it (`state: absent`) and let it enlist again.",
    Status.RESERVED: "It is reserved for its owner: release it first (`state: released`).",
    Status.RESCUE_MODE: _LEAVE_RESCUE,
    Status.ENTERING_RESCUE_MODE: _LEAVE_RESCUE,
    Status.EXITING_RESCUE_MODE: "Wait until it has left rescue mode and run again.",
    Status.FAILED_ENTERING_RESCUE_MODE: _LEAVE_RESCUE,
    Status.FAILED_EXITING_RESCUE_MODE: "Check its power, take it out of rescue mode (`state: rescue_exited`) and run"
    " again.",
}  # type: t.Dict[int, str]

_NOBODYS = (
    "Only its owner may mark a machine broken, and nobody owns it: commission it first (`state: ready`), or set it"
    " aside by a tag or a pool."
)
WHAT_TO_DO_FOR = {
    "broken": {
        **dict.fromkeys(_NOT_COMMISSIONED, _NOBODYS),
        **dict.fromkeys(_IN_BETWEEN, "Wait until it is done and run again."),
    },
    "locked": dict.fromkeys(_ALL, "Only a deployed machine can be locked: deploy it first (`state: deployed`)."),
    "rescue": {
        **dict.fromkeys(_ALL, "Only a Ready, Broken or Deployed machine can be put into rescue mode."),
        Status.ALLOCATED: "Release it first (`state: released`).",
    },
}  # type: t.Dict[str, t.Dict[int, str]]


def what_to_do(state: str, status: int) -> str:
    """The remedy for a machine that cannot come from this status to this state."""
    return WHAT_TO_DO_FOR.get(state, {}).get(status) or WHAT_TO_DO.get(status, "")
