"""The transitions of a machine. Every one writes its event; power is a task that follows the commit."""

from __future__ import annotations

import time

from lab.maas_simulator.boot_images import DeployChoice
from lab.maas_simulator.errors import bad_request, conflict, forbidden, form_errors
from lab.maas_simulator.events import EventType, change_status, record
from lab.maas_simulator.model import Machine, Token
from lab.maas_simulator.network import claim_addresses, free_addresses, link_auto, on_network
from lab.maas_simulator.region import Region
from lab.maas_simulator.script_runs import has_tests
from lab.maas_simulator.statuses import (
    COMMISSIONABLE,
    FAILURE_OF,
    IN_RESCUE,
    MONITORED,
    RELEASABLE,
    RESCUABLE,
    TESTABLE,
    Status,
)

POWER_TASKS = ("power_on", "power_off", "power_cycle")
_SCRIPT_RUNNING, _SCRIPT_PENDING, _SCRIPT_PASSED, _SCRIPT_FAILED = 1, 0, 2, 3


def require_unlocked(machine: Machine) -> None:
    """A locked machine can be neither changed nor deleted (rows "while locked")."""
    if machine.locked:
        raise forbidden()


def plan(region: Region, machine: Machine, kind: str, after: float = 0.0, detail: str = "") -> None:
    """Plan a task; a newer power task replaces the older ones."""
    if kind in POWER_TASKS:
        region.store.drop_tasks(machine, *POWER_TASKS)
    region.store.add_task(machine, kind, time.time() + after, detail)
    region.wake.set()


def expect_report(region: Region, machine: Machine) -> None:
    """The machine has this long to be heard of; heard of again, it has as long again."""
    expires = machine.status in MONITORED
    machine.status_expires = time.time() + region.settings.node_timeout_seconds if expires else None


def commission(
    region: Region,
    machine: Machine,
    user: str,
    *,
    skip_networking: bool = False,
    enable_ssh: bool = False,
    run_tests: bool = True,
) -> None:
    """Start commissioning."""
    require_unlocked(machine)
    if machine.status not in COMMISSIONABLE:
        raise form_errors({"__all__": ["Commission is not available because of the current state of the node."]})
    record(region.store, machine, EventType.STARTING_COMMISSIONING, f"({user})", user=user)
    machine.previous_status = machine.status
    machine.owner = user
    machine.netboot = True
    machine.error_description = ""
    machine.token = Token()
    machine.failed_scripts = False
    machine.skip_networking, machine.enable_ssh, machine.run_tests = skip_networking, enable_ssh, run_tests
    machine.commissioning_result = region.store.next_id("script set")
    machine.commissioning_status = _SCRIPT_PENDING
    if run_tests:
        machine.testing_result = region.store.next_id("script set")
        machine.testing_status = _SCRIPT_PENDING
    change_status(region.store, machine, Status.COMMISSIONING)
    record(region.store, machine, EventType.COMMISSIONING)
    expect_report(region, machine)
    plan(region, machine, "power_cycle")


def commissioned(region: Region, machine: Machine) -> None:
    """The machine says that its commissioning went well; its tests follow."""
    if machine.failed_scripts:
        commissioning_failed(region, machine)
        return
    machine.commissioning_status = _SCRIPT_PASSED
    if not machine.skip_networking:
        link_auto(region, machine.boot_interface)
    if not machine.run_tests:
        ready(region, machine)
        return
    machine.testing_status = _SCRIPT_RUNNING
    change_status(region.store, machine, Status.TESTING)
    expect_report(region, machine)
    if not has_tests(region, machine):
        plan(region, machine, "finish_testing", region.settings.testing_seconds)


def commissioning_failed(region: Region, machine: Machine) -> None:
    """The machine says that its commissioning failed."""
    machine.commissioning_status = _SCRIPT_FAILED
    machine.owner = None
    change_status(region.store, machine, Status.FAILED_COMMISSIONING)
    record(region.store, machine, EventType.FAILED_COMMISSIONING)
    expect_report(region, machine)


def ready(region: Region, machine: Machine) -> None:
    """Commissioned and tested: powered off and free."""
    if machine.testing_status == _SCRIPT_RUNNING:
        machine.testing_status = _SCRIPT_PASSED
    region.store.drop_tasks(machine, "finish_testing")
    machine.owner = None
    change_status(region.store, machine, Status.READY)
    record(region.store, machine, EventType.READY)
    expect_report(region, machine)
    if not machine.enable_ssh:
        plan(region, machine, "power_off")


def acquire(region: Region, machine: Machine, user: str, agent_name: str) -> None:
    """A Ready machine becomes the caller's."""
    record(region.store, machine, EventType.ACQUIRING, f"({user})", user=user)
    machine.owner = user
    machine.agent_name = agent_name
    change_status(region.store, machine, Status.ALLOCATED)


def deploy(region: Region, machine: Machine, user: str, choice: DeployChoice, user_data: str | None) -> None:
    """Start a deployment of an allocated machine."""
    if not on_network(machine):
        # Not recorded; the text is MAAS's (maasserver/models/node.py, _start_deployment).
        raise form_errors({"network": ["Node must be configured to use a network"]})
    record(region.store, machine, EventType.STARTING_DEPLOYMENT, f"({user})", user=user)
    machine.osystem, machine.distro_series = choice.osystem, choice.series
    machine.hwe_kernel = choice.kernel
    machine.image_sha256 = choice.sha256
    machine.user_data = user_data
    machine.netboot = True
    machine.token = Token()
    machine.installation_result = region.store.next_id("script set")
    change_status(region.store, machine, Status.DEPLOYING)
    record(region.store, machine, EventType.DEPLOYING)
    expect_report(region, machine)
    plan(region, machine, "power_cycle")


def start_network(region: Region, machine: Machine) -> None:
    """What a region does once a deployment is committed: the answer to deploy does not show it yet."""
    claim_addresses(region, machine)


def deployed(region: Region, machine: Machine) -> None:
    """The deployment is over (Node.end_deployment)."""
    name = f"{machine.osystem}/{machine.distro_series}"
    record(region.store, machine, EventType.IMAGE_DEPLOYED, f"deployed {name}/{machine.architecture}")
    change_status(region.store, machine, Status.DEPLOYED)
    record(region.store, machine, EventType.DEPLOYED)
    machine.netboot = False
    expect_report(region, machine)
    architecture = machine.architecture
    region.store.db.execute(
        "UPDATE resource SET last_deployed = ? WHERE name = ? AND architecture = ?",
        (time.time(), machine.distro_series, architecture),
    )


def release(region: Region, machine: Machine, user: str, *, erase: bool = False) -> None:
    """Give a machine back. On a Ready or Releasing one this does nothing, as recorded."""
    require_unlocked(machine)
    if machine.status in (Status.READY, Status.RELEASING):
        return
    if machine.status not in RELEASABLE:
        # Not recorded; the text is MAAS's (maasserver/api/machines.py).
        raise conflict(f"Machine cannot be released in its current state ('{machine.status.label}').")
    if erase:
        record(region.store, machine, EventType.ERASING_REQUEST, f"({user})", user=user)
        machine.previous_status = machine.status
        machine.netboot = True
        machine.token = Token()
        change_status(region.store, machine, Status.DISK_ERASING)
        record(region.store, machine, EventType.ERASING)
        expect_report(region, machine)
        plan(region, machine, "power_cycle")
        return
    record(region.store, machine, EventType.RELEASING_REQUEST, f"({user})", user=user)
    begin_release(region, machine)


def begin_release(region: Region, machine: Machine) -> None:
    """Clear what the owner left; the machine is Ready once its power is known to be off."""
    free_addresses(machine)
    machine.owner_data = {}
    machine.agent_name = ""
    machine.osystem = machine.distro_series = ""
    machine.hwe_kernel = None
    machine.image_sha256 = machine.user_data = None
    machine.netboot = True
    machine.token = None
    machine.installation_result = None
    machine.error_description = ""
    if machine.power_type in ("", "manual"):
        # Nobody can ask this machine whether it is off, so MAAS does not wait (row "release").
        released(region, machine)
        return
    change_status(region.store, machine, Status.RELEASING)
    record(region.store, machine, EventType.RELEASING)
    expect_report(region, machine)
    plan(region, machine, "power_off")


def released(region: Region, machine: Machine) -> None:
    """The power is off."""
    machine.owner = None
    change_status(region.store, machine, Status.READY)
    record(region.store, machine, EventType.RELEASED)
    expect_report(region, machine)


def abort(region: Region, machine: Machine, user: str) -> None:
    """Stop what the machine is doing. The status follows after the answer (row "abort")."""
    require_unlocked(machine)
    kinds = {
        Status.COMMISSIONING: (EventType.ABORTED_COMMISSIONING, machine.previous_status),
        Status.TESTING: (EventType.ABORTED_TESTING, machine.previous_status),
        Status.DEPLOYING: (EventType.ABORTED_DEPLOYMENT, Status.ALLOCATED),
        Status.DISK_ERASING: (EventType.ABORTED_DISK_ERASING, Status.FAILED_DISK_ERASING),
    }
    if machine.status not in kinds:
        # Not recorded; the text is MAAS's (Node.abort_operation).
        raise conflict(f"Cannot abort in current state: node {machine.system_id} is in state {machine.status.label}.")
    event, target = kinds[machine.status]
    record(region.store, machine, EventType.ABORTING_COMMISSIONING, f"({user})", user=user)
    record(region.store, machine, event)
    region.store.drop_tasks(machine, "finish_testing")
    machine.status_expires = None
    if machine.status in (Status.COMMISSIONING, Status.TESTING):
        machine.owner = None
    if machine.status == Status.DEPLOYING:
        free_addresses(machine)
        machine.osystem = machine.distro_series = ""
        machine.hwe_kernel = machine.image_sha256 = machine.user_data = None
    machine.token = None
    plan(region, machine, "power_off")
    plan(region, machine, "set_status", 0.2, str(int(target)))


def mark_failed(region: Region, machine: Machine, comment: str) -> None:
    """Set the failed status that belongs to the current one; in a quiet status only the event is left."""
    record(region.store, machine, EventType.MARKED_FAILED, comment, action="mark_failed")
    target = FAILURE_OF.get(machine.status)
    if target is None:
        return
    if target in (Status.FAILED_COMMISSIONING, Status.FAILED_TESTING):
        machine.owner = None
        machine.commissioning_status = _SCRIPT_FAILED
    region.store.drop_tasks(machine, "finish_testing")
    change_status(region.store, machine, target)
    machine.error_description = comment
    expect_report(region, machine)


def lock(region: Region, machine: Machine, user: str, locked: bool) -> None:
    """Lock or unlock."""
    event = EventType.LOCKING if locked else EventType.UNLOCKING
    if locked and machine.status not in (Status.DEPLOYED, Status.DEPLOYING):
        # Not recorded.
        raise conflict("Can't lock, machine is not deployed.")
    record(region.store, machine, event, f"({user})", user=user)
    machine.locked = locked


def mark_broken(region: Region, machine: Machine, user: str, comment: str) -> None:
    """Only the owner may, admin or not (row "mark broken, not owner")."""
    require_unlocked(machine)
    if machine.owner != user:
        raise forbidden()
    record(region.store, machine, EventType.MARKING_BROKEN, f"({user})", user=user)
    if machine.status in RELEASABLE:
        begin_release(region, machine)
    machine.owner = None
    machine.error_description = comment
    change_status(region.store, machine, Status.BROKEN)
    expect_report(region, machine)


def mark_fixed(region: Region, machine: Machine, user: str) -> None:
    """Broken becomes Ready, or New if it never was commissioned."""
    require_unlocked(machine)
    if machine.status != Status.BROKEN:
        # Not recorded; the text is MAAS's (Node.mark_fixed).
        raise bad_request("Can't mark a non-broken node as 'Ready'.")
    record(region.store, machine, EventType.MARKING_FIXED, f"({user})", user=user)
    machine.error_description = ""
    machine.osystem = machine.distro_series = ""
    machine.hwe_kernel = None
    commissioned_once = machine.commissioning_status == _SCRIPT_PASSED
    change_status(region.store, machine, Status.READY if commissioned_once else Status.NEW)


def start_rescue_mode(region: Region, machine: Machine, user: str) -> None:
    """Boot the rescue environment; the machine says when it is there. Not recorded: Node.start_rescue_mode."""
    require_unlocked(machine)
    _require_transition(machine, Status.ENTERING_RESCUE_MODE, machine.status in RESCUABLE)
    record(region.store, machine, EventType.STARTING_RESCUE_MODE, f"({user})", user=user)
    if machine.status not in IN_RESCUE:
        machine.previous_status = machine.status
    machine.token = machine.token or Token()
    change_status(region.store, machine, Status.ENTERING_RESCUE_MODE)
    record(region.store, machine, EventType.ENTERING_RESCUE_MODE)
    expect_report(region, machine)
    plan(region, machine, "power_cycle")


def in_rescue_mode(region: Region, machine: Machine) -> None:
    """The rescue environment has reported."""
    change_status(region.store, machine, Status.RESCUE_MODE)
    record(region.store, machine, EventType.RESCUE_MODE)
    expect_report(region, machine)


def stop_rescue_mode(region: Region, machine: Machine, user: str) -> None:
    """Back to what the machine was: a deployed one boots its disk, any other is switched off."""
    require_unlocked(machine)
    _require_transition(machine, Status.EXITING_RESCUE_MODE, machine.status in IN_RESCUE)
    record(region.store, machine, EventType.STOPPING_RESCUE_MODE, f"({user})", user=user)
    change_status(region.store, machine, Status.EXITING_RESCUE_MODE)
    record(region.store, machine, EventType.EXITING_RESCUE_MODE)
    if machine.power_type in ("", "manual"):
        # Nobody can switch this machine, so MAAS does not wait.
        out_of_rescue_mode(region, machine)
        return
    expect_report(region, machine)
    plan(region, machine, "power_cycle" if machine.previous_status == Status.DEPLOYED else "power_off")


def out_of_rescue_mode(region: Region, machine: Machine) -> None:
    """Its power is as it should be again."""
    change_status(region.store, machine, machine.previous_status)
    record(region.store, machine, EventType.EXITED_RESCUE_MODE)
    expect_report(region, machine)


def _require_transition(machine: Machine, target: Status, allowed: bool) -> None:
    if not allowed:
        # Not recorded; the text is MAAS's (Node.clean_status).
        raise conflict(f"Invalid transition: {machine.status.label} -> {target.label}.")


def start_testing(region: Region, machine: Machine, user: str) -> None:
    """Test a machine that was commissioned. Not recorded: TestForm, Node.start_testing."""
    require_unlocked(machine)
    if machine.status not in TESTABLE:
        raise form_errors({"__all__": ["Test is not available because of the current state of the node."]})
    record(region.store, machine, EventType.STARTING_TESTING, f"({user})", user=user)
    machine.previous_status = machine.status
    machine.testing_result = region.store.next_id("script set")
    machine.testing_status = _SCRIPT_RUNNING
    machine.token = machine.token or Token()
    change_status(region.store, machine, Status.TESTING)
    record(region.store, machine, EventType.TESTING)
    expect_report(region, machine)
    plan(region, machine, "power_cycle")


def tested(region: Region, machine: Machine) -> None:
    """The tests went well: back to where they began, but a machine that was broken or had failed is Ready."""
    if machine.previous_status not in (Status.ALLOCATED, Status.DEPLOYED):
        ready(region, machine)
        return
    machine.testing_status = _SCRIPT_PASSED
    region.store.drop_tasks(machine, "finish_testing")
    change_status(region.store, machine, machine.previous_status)
    expect_report(region, machine)
    plan(region, machine, "power_cycle" if machine.status == Status.DEPLOYED else "power_off")


def override_failed_testing(region: Region, machine: Machine, user: str) -> None:
    """Use a machine in spite of its tests."""
    if machine.status != Status.FAILED_TESTING:
        # Not recorded; the text is MAAS's (Node.override_failed_testing).
        raise conflict("Unable to override node status. Node is not in 'Failed testing' status.")
    record(region.store, machine, EventType.OVERRIDING_FAILED_TESTING, f"({user})", user=user)
    machine.error_description = ""
    change_status(region.store, machine, Status.DEPLOYED if machine.osystem else Status.READY)
