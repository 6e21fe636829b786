"""`machines/` and `machines/SYSTEM_ID/`: the operations of the API on them."""

from __future__ import annotations

from lab.maas_simulator import scripts
from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.boot_images import choose
from lab.maas_simulator.errors import conflict, forbidden, not_simulated
from lab.maas_simulator.events import EventType, record
from lab.maas_simulator.lifecycle import (
    abort,
    acquire,
    commission,
    deploy,
    lock,
    mark_broken,
    mark_fixed,
    override_failed_testing,
    plan,
    release,
    require_unlocked,
    start_network,
    start_rescue_mode,
    start_testing,
    stop_rescue_mode,
)
from lab.maas_simulator.machine_filters import filter_machines, pick_machine
from lab.maas_simulator.machine_forms import read_create, read_update
from lab.maas_simulator.model import Machine
from lab.maas_simulator.network import interface, link_auto, parse_subnet_id
from lab.maas_simulator.power import Power, PowerError
from lab.maas_simulator.region import Call
from lab.maas_simulator.representation import anonymous_machine, machine_detail, machine_list
from lab.maas_simulator.script_runs import plan_runs, plan_tests
from lab.maas_simulator.statuses import Status

_NO_DEPLOYMENT = [
    "install_rackd",
    "install_kvm",
    "register_vmhost",
    "ephemeral_deploy",
    "enable_hw_sync",
    "vcenter_registration",
    "bridge_all",
]


def _machine(call: Call) -> Machine:
    return call.store.machine(call.params["system_id"])


def _saved(call: Call, machine: Machine) -> Answer:
    call.store.save(machine)
    return Answer.json(machine_detail(call.region, machine))


def list_machines(call: Call) -> Answer:
    """Machines.read"""
    return Answer.json(machine_list(call.region, filter_machines(call.region, call.query)))


def create_machine(call: Call) -> Answer:
    """Machines.create: commissions at once unless `commission=false`; anonymous, it enlists."""
    machine = read_create(call.region, call.data)
    call.store.save(machine)
    if call.user is None:
        return Answer.json(anonymous_machine(call.region, machine))
    if call.data.flag("commission", default=True):
        _commission(call, machine)
    return _saved(call, machine)


def is_registered(call: Call) -> Answer:
    """Machines.is_registered: whether a MAC is known; a machine about to enlist asks this."""
    return Answer.json(call.store.machine_by_mac(call.query.get("mac_address").lower()) is not None)


def allocate(call: Call) -> Answer:
    """Machines.allocate"""
    machine = pick_machine(call.region, call.data)
    if call.data.flag("dry_run"):
        return Answer.json(machine_detail(call.region, machine))
    acquire(call.region, machine, call.caller, call.data.get("agent_name"))
    return _saved(call, machine)


def read_machine(call: Call) -> Answer:
    """Machine.read"""
    return Answer.json(machine_detail(call.region, _machine(call)))


def update_machine(call: Call) -> Answer:
    """Machine.update"""
    machine = _machine(call)
    require_unlocked(machine)
    read_update(call.region, machine, call.data)
    return _saved(call, machine)


def delete_machine(call: Call) -> Answer:
    """Machine.delete"""
    machine = _machine(call)
    require_unlocked(machine)
    call.store.delete(machine)
    return DELETED


def _commission(call: Call, machine: Machine) -> None:
    chosen = scripts.choose(call.region, "commissioning_scripts", call.data.get("commissioning_scripts"))
    testing = scripts.choose(call.region, "testing_scripts", call.data.get("testing_scripts"))
    commission(
        call.region,
        machine,
        call.caller,
        skip_networking=call.data.flag("skip_networking"),
        enable_ssh=call.data.flag("enable_ssh"),
        run_tests=call.data.get("testing_scripts") != "none",
    )
    plan_runs(call.region, machine, chosen, testing)


def commission_machine(call: Call) -> Answer:
    """Machine.commission"""
    machine = _machine(call)
    _commission(call, machine)
    return _saved(call, machine)


def deploy_machine(call: Call) -> Answer:
    """Machine.deploy: a Ready machine is allocated on the way."""
    machine = _machine(call)
    require_unlocked(machine)
    for name in _NO_DEPLOYMENT:
        if call.data.flag(name):
            raise not_simulated(f"Machine.deploy {name}")
    if machine.status not in (Status.READY, Status.ALLOCATED):
        raise conflict(f"Can't deploy a machine that is in the '{machine.status.label}' state")
    if machine.owner not in (None, call.caller):
        raise forbidden()
    choice = choose(call.region, call.data.get("distro_series"), call.data.get("hwe_kernel"))
    if machine.status == Status.READY:
        acquire(call.region, machine, call.caller, call.data.get("agent_name"))
    deploy(call.region, machine, call.caller, choice, call.data.get("user_data") or None)
    answer = _saved(call, machine)
    # The recorded answer does not show the address yet: it is taken after the answer is composed, though
    # in the same transaction.
    start_network(call.region, machine)
    call.store.save(machine)
    return answer


def release_machine(call: Call) -> Answer:
    """Machine.release"""
    machine = _machine(call)
    erase = call.data.flag("erase") or call.data.flag("quick_erase") or call.data.flag("secure_erase")
    release(call.region, machine, call.caller, erase=erase)
    return _saved(call, machine)


def abort_machine(call: Call) -> Answer:
    """Machine.abort"""
    machine = _machine(call)
    abort(call.region, machine, call.caller)
    return _saved(call, machine)


def power_on(call: Call) -> Answer:
    """Machine.power_on"""
    machine = _machine(call)
    require_unlocked(machine)
    if machine.owner is None:
        raise conflict("Can't start node: it hasn't been allocated.")
    if call.data.get("user_data"):
        machine.user_data = call.data.get("user_data")
    record(call.store, machine, EventType.POWERING_UP, f"({call.caller})", user=call.caller)
    plan(call.region, machine, "power_on")
    return _saved(call, machine)


def power_off(call: Call) -> Answer:
    """Machine.power_off"""
    machine = _machine(call)
    require_unlocked(machine)
    if call.data.get("stop_mode", "hard") not in ("hard", "soft"):
        raise not_simulated(f"Machine.power_off stop_mode={call.data.get('stop_mode')}")
    record(call.store, machine, EventType.POWERING_DOWN, f"({call.caller})", user=call.caller)
    plan(call.region, machine, "power_off")
    return _saved(call, machine)


async def query_power_state(call: Call) -> Answer:
    """Machine.query_power_state: asks the BMC now. Waits, so it opens its transactions itself."""
    machine = _machine(call)
    power = Power(machine, call.region.settings)
    problem = None
    try:
        state = await power.query()
    except PowerError as error:
        state, problem = "error", str(error)
    if not power.by_hand:
        with call.store.transaction():
            current = _machine(call)
            if problem:
                record(call.store, current, EventType.POWER_QUERY_FAILED, problem)
            current.power_state = state
            call.store.save(current)
    return Answer.json({"state": state})


def power_parameters(call: Call) -> Answer:
    """Machine.power_parameters, secrets and all."""
    return Answer.json(_machine(call).power_parameters)


def lock_machine(call: Call) -> Answer:
    """Machine.lock"""
    machine = _machine(call)
    lock(call.region, machine, call.caller, True)
    return _saved(call, machine)


def unlock_machine(call: Call) -> Answer:
    """Machine.unlock"""
    machine = _machine(call)
    lock(call.region, machine, call.caller, False)
    return _saved(call, machine)


def mark_machine_broken(call: Call) -> Answer:
    """Machine.mark_broken"""
    machine = _machine(call)
    mark_broken(call.region, machine, call.caller, call.data.get("comment"))
    return _saved(call, machine)


def mark_machine_fixed(call: Call) -> Answer:
    """Machine.mark_fixed"""
    machine = _machine(call)
    mark_fixed(call.region, machine, call.caller)
    return _saved(call, machine)


def rescue_mode(call: Call) -> Answer:
    """Machine.rescue_mode"""
    machine = _machine(call)
    start_rescue_mode(call.region, machine, call.caller)
    return _saved(call, machine)


def exit_rescue_mode(call: Call) -> Answer:
    """Machine.exit_rescue_mode"""
    machine = _machine(call)
    stop_rescue_mode(call.region, machine, call.caller)
    return _saved(call, machine)


def test_machine(call: Call) -> Answer:
    """Machine.test"""
    machine = _machine(call)
    chosen = scripts.choose(call.region, "testing_scripts", call.data.get("testing_scripts"))
    start_testing(call.region, machine, call.caller)
    plan_tests(call.region, machine, chosen)
    return _saved(call, machine)


def override_machine_tests(call: Call) -> Answer:
    """Machine.override_failed_testing"""
    machine = _machine(call)
    override_failed_testing(call.region, machine, call.caller)
    return _saved(call, machine)


def set_owner_data(call: Call) -> Answer:
    """Machine.set_owner_data and set_workload_annotations: an empty value removes a key."""
    machine = _machine(call)
    require_unlocked(machine)
    for name in call.data.names():
        if name == "op":
            continue
        if call.data.get(name):
            machine.owner_data[name] = call.data.get(name)
        else:
            machine.owner_data.pop(name, None)
    return _saved(call, machine)


def list_interfaces(call: Call) -> Answer:
    """Interfaces.read"""
    machine = _machine(call)
    return Answer.json([interface(call.region, machine, nic) for nic in machine.interfaces])


def link_subnet(call: Call) -> Answer:
    """Interface.link_subnet, mode AUTO only; in the statuses the facts name."""
    machine = _machine(call)
    nic = next((nic for nic in machine.interfaces if str(nic.id) == call.params["id"]), None)
    if nic is None:
        return Answer(404, "No Interface matches the given query.", "text/plain")
    if machine.status not in (Status.NEW, Status.READY, Status.ALLOCATED, Status.BROKEN):
        # Not recorded as text; a 409 by the facts.
        raise conflict("Cannot link subnet interface because the machine is not New, Ready, Allocated, or Broken.")
    if call.data.get("mode").upper() != "AUTO":
        raise not_simulated(f"Interface.link_subnet mode={call.data.get('mode')}")
    link_auto(call.region, nic, parse_subnet_id(call.region, call.data.get("subnet")))
    call.store.save(machine)
    return Answer.json(interface(call.region, machine, nic))
