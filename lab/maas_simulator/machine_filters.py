"""Which machines a request means: the filters of a listing and the constraints of an allocation.

As MAAS's forms do (maasserver/node_constraint_filter_forms.py); constraints this region does not know how to
match are 501 rather than ignored.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.maas_simulator.errors import bad_request, conflict, form_errors, not_simulated
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.machine_forms import normalized_mac
from lab.maas_simulator.model import Machine
from lab.maas_simulator.region import Region
from lab.maas_simulator.statuses import Status

_UNMATCHED_FILTERS = ("owner", "not_id", "not_system_id", "not_power_state", "pods", "workloads")
_CONSTRAINTS = [
    "name",
    "system_id",
    "arch",
    "cpu_count",
    "mem",
    "tags",
    "not_tags",
    "zone",
    "not_in_zone",
    "pool",
    "not_in_pool",
]
_NOT_MATCHED = [
    "interfaces",
    "storage",
    "subnets",
    "not_subnets",
    "fabrics",
    "not_fabrics",
    "fabric_classes",
    "not_fabric_classes",
    "vlans",
    "not_vlans",
    "connected_to",
    "not_connected_to",
    "pod",
    "not_pod",
    "pod_type",
    "not_pod_type",
    "devices",
    "link_speed",
    "deployment_target",
]


def filter_machines(region: Region, query: Fields) -> list[Machine]:
    """The machines of `GET machines/?...`, or 400 for a value that cannot be."""
    for name in query.names():
        if name in _NOT_MATCHED or name in _UNMATCHED_FILTERS:
            raise not_simulated(f"Machines.read filter {name}")
    _check_names(region, query)
    statuses = {status.name.lower(): status for status in Status}
    for name in ("status", "not_status"):
        for value in query.all(name):
            if value not in statuses:
                raise form_errors({name: [f"Select a valid choice. {value} is not one of the available choices."]})
    macs = [normalized_mac(value) for value in query.all("mac_address")]
    if None in macs:
        # Not recorded; the text is MAAS's (maasserver/api/nodes.py).
        raise bad_request("Invalid MAC address(es): " + ", ".join(query.all("mac_address")))
    found = _match(region, region.store.machines(), query)
    if "hostname" in query:
        found = [m for m in found if m.hostname in query.all("hostname")]
    if "id" in query:
        found = [m for m in found if m.system_id in query.all("id")]
    if macs:
        found = [m for m in found if any(nic.mac in macs for nic in m.interfaces)]
    if "domain" in query:
        found = found if "maas" in query.all("domain") else []
    if "agent_name" in query:
        found = [m for m in found if m.agent_name == query.get("agent_name")]
    if query.get("status"):
        found = [m for m in found if m.status == statuses[query.get("status")]]
    if query.get("not_status"):
        found = [m for m in found if m.status != statuses[query.get("not_status")]]
    if query.get("power_state"):
        found = [m for m in found if m.power_state == query.get("power_state")]
    return found


def pick_machine(region: Region, data: Fields) -> Machine:
    """The Ready machine that `op=allocate` means, or the recorded refusals."""
    for name in data.names():
        if name in _NOT_MATCHED:
            raise not_simulated(f"Machines.allocate constraint {name}")
    _check_names(region, data)
    ready = [m for m in region.store.machines() if m.status == Status.READY and not m.locked]
    found = _match(region, ready, data)
    if data.get("name"):
        found = [m for m in found if data.get("name") in (m.hostname, f"{m.hostname}.maas")]
    if found:
        return found[0]
    given = [(name, data.all(name)) for name in data.names() if name in _CONSTRAINTS]
    if not given:
        raise conflict("No machine available.")
    resolved = " ".join(f"{name}={','.join(values)}" for name, values in sorted(given))
    raise conflict(f'No available machine matches constraints: {given} (resolved to "{resolved}")')


def _check_names(region: Region, fields: Fields) -> None:
    """Pools, zones and tags must exist."""
    tables = {
        "pool": ("pool", "No such pool(s): {}."),
        "not_in_pool": ("pool", "No such pool(s): {}."),
        "zone": ("zone", "No such zone(s): {}."),
        "not_in_zone": ("zone", "No such zone(s): {}."),
    }
    for field, (table, text) in tables.items():
        known = {row["name"] for row in region.store.rows(f"SELECT name FROM {table}")}  # noqa: S608
        unknown = [value for value in fields.all(field) if value and value not in known]
        if unknown:
            raise form_errors({field: [text.format(", ".join(unknown))]})
    tags = {row["name"] for row in region.store.rows("SELECT name FROM tag")}
    for field in ("tags", "not_tags"):
        unknown = [tag for tag in _tags(fields, field) if tag not in tags]
        if unknown:
            raise form_errors({field: [f"No such tag(s): {', '.join(map(repr, unknown))}."]})


def _tags(fields: Fields, name: str) -> list[str]:
    return [tag for value in fields.all(name) for tag in value.replace(",", " ").split()]


def _match(region: Region, machines: Iterable[Machine], fields: Fields) -> list[Machine]:
    pools = {row["name"]: row["id"] for row in region.store.rows("SELECT id, name FROM pool")}
    zones = {row["name"]: row["id"] for row in region.store.rows("SELECT id, name FROM zone")}
    wanted, unwanted = set(_tags(fields, "tags")), set(_tags(fields, "not_tags"))
    arches = {arch if "/" in arch else f"{arch}/generic" for arch in fields.all("arch") if arch}

    def matches(machine: Machine) -> bool:
        return (
            wanted <= set(machine.tags)
            and not unwanted & set(machine.tags)
            and _placed(machine.pool, pools, fields.all("pool"), fields.all("not_in_pool"))
            and _placed(machine.zone, zones, fields.all("zone"), fields.all("not_in_zone"))
            and (not arches or machine.architecture in arches)
            and machine.cpu_count >= _number(fields, "cpu_count")
            and machine.memory >= _number(fields, "mem")
            and (not fields.get("system_id") or machine.system_id in fields.all("system_id"))
        )

    return [machine for machine in machines if matches(machine)]


def _placed(place: int, known: dict[str, int], wanted: list[str], unwanted: list[str]) -> bool:
    inside = [known[name] for name in wanted if name]
    outside = [known[name] for name in unwanted if name]
    return (not inside or place in inside) and place not in outside


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name)
    try:
        return float(value) if value else 0
    except ValueError:
        raise form_errors({name: [f"Invalid {name.replace('_', ' ')}: number required."]}) from None
