"""The operations of the API: which this region simulates, and which it only knows to exist."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

from lab.maas_simulator import (
    account,
    boot_resources,
    configuration,
    discoveries,
    dns,
    events,
    ip_ranges,
    machines,
    networks,
    places,
    racks,
    script_runs,
    scripts,
    tags,
    version,
)
from lab.maas_simulator.answer import Answer
from lab.maas_simulator.region import Call
from lab.maas_simulator.unsimulated import OTHER_OPERATIONS, OTHER_RESOURCES

Function = Callable[[Call], Answer] | Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation:
    """One operation: `op` is None for plain create, read, update and delete."""

    name: str
    method: str
    op: str | None = None
    function: Function | None = None
    anonymous: bool = False
    reads: bool = False

    @property
    def doc(self) -> str:
        """For describe/."""
        if self.function is None:
            return "Not simulated: answers 501."
        return (self.function.__doc__ or "").strip()


@dataclass(frozen=True)
class Resource:
    """A handler of MAAS: a path with parameters and its operations."""

    name: str
    path: str
    operations: tuple[Operation, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the path matches."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    @property
    def params(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def find(self, method: str, op: str | None) -> Operation | None:
        """The operation of a signature."""
        return next((o for o in self.operations if (o.method, o.op) == (method, op)), None)


_CRUD_METHODS = {"create": "POST", "read": "GET", "update": "PUT", "delete": "DELETE"}


def _crud(**functions: Function) -> list[Operation]:
    return [
        Operation(name, _CRUD_METHODS[name], None, function, reads=name == "read")
        for name, function in functions.items()
    ]


def _other(action: str) -> Operation:
    """An operation that is only known: `create` and its like, or `VERB:op`."""
    if action in _CRUD_METHODS:
        return Operation(action, _CRUD_METHODS[action])
    method, _, op = action.partition(":")
    return Operation(op, method, op)


def _get(name: str, function: Function, **more: bool) -> Operation:
    return Operation(name, "GET", name, function, reads=True, **more)


def _post(name: str, function: Function) -> Operation:
    return Operation(name, "POST", name, function)


def _resource(name: str, path: str, *operations: Operation) -> Resource:
    return Resource(name, path, operations + tuple(map(_other, OTHER_OPERATIONS.get(name, "").split())))


SIMULATED = (
    _resource(
        "Version",
        "version/",
        Operation("read", "GET", None, version.read_version, anonymous=True, reads=True),
    ),
    _resource(
        "Machines",
        "machines/",
        *_crud(read=machines.list_machines),
        Operation("create", "POST", None, machines.create_machine, anonymous=True),
        _get("is_registered", machines.is_registered, anonymous=True),
        _post("allocate", machines.allocate),
    ),
    _resource(
        "Machine",
        "machines/{system_id}/",
        *_crud(read=machines.read_machine, update=machines.update_machine, delete=machines.delete_machine),
        _get("query_power_state", machines.query_power_state),
        _get("power_parameters", machines.power_parameters),
        _post("commission", machines.commission_machine),
        _post("deploy", machines.deploy_machine),
        _post("release", machines.release_machine),
        _post("abort", machines.abort_machine),
        _post("power_on", machines.power_on),
        _post("power_off", machines.power_off),
        _post("lock", machines.lock_machine),
        _post("unlock", machines.unlock_machine),
        _post("mark_broken", machines.mark_machine_broken),
        _post("mark_fixed", machines.mark_machine_fixed),
        _post("rescue_mode", machines.rescue_mode),
        _post("exit_rescue_mode", machines.exit_rescue_mode),
        _post("test", machines.test_machine),
        _post("override_failed_testing", machines.override_machine_tests),
        _post("set_owner_data", machines.set_owner_data),
        _post("set_workload_annotations", machines.set_owner_data),
    ),
    _resource("Interfaces", "nodes/{system_id}/interfaces/", *_crud(read=machines.list_interfaces)),
    _resource("Interface", "nodes/{system_id}/interfaces/{id}/", _post("link_subnet", machines.link_subnet)),
    _resource("NodeResults", "installation-results/", *_crud(read=script_runs.list_node_results)),
    _resource("Tags", "tags/", *_crud(read=tags.list_tags, create=tags.create_tag)),
    _resource(
        "Tag",
        "tags/{name}/",
        *_crud(read=tags.read_tag, update=tags.update_tag, delete=tags.delete_tag),
        _get("machines", tags.tag_machines),
        _get("nodes", tags.tag_machines),
        _post("update_nodes", tags.update_nodes),
    ),
    _resource("ResourcePools", "resourcepools/", *_crud(read=places.list_pools, create=places.create_pool)),
    _resource(
        "ResourcePool",
        "resourcepool/{id}/",
        *_crud(read=places.read_pool, update=places.update_pool, delete=places.delete_pool),
    ),
    _resource("Zones", "zones/", *_crud(read=places.list_zones, create=places.create_zone)),
    _resource(
        "Zone",
        "zones/{name}/",
        *_crud(read=places.read_zone, update=places.update_zone, delete=places.delete_zone),
    ),
    _resource("Events", "events/", _get("query", events.query)),
    _resource(
        "BootResources",
        "boot-resources/",
        *_crud(read=boot_resources.list_resources, create=boot_resources.create_resource),
    ),
    _resource(
        "BootResource",
        "boot-resources/{id}/",
        *_crud(read=boot_resources.read_resource, delete=boot_resources.delete_resource),
    ),
    _resource(
        "BootResourceFileUpload",
        "boot-resources/{resource_id}/upload/{id}/",
        Operation("update", "PUT", None, boot_resources.upload),
    ),
    _resource("Users", "users/", *_crud(read=account.list_users), _get("whoami", account.whoami)),
    _resource("User", "users/{username}/", *_crud(read=account.read_user)),
    _resource("SSHKeys", "account/prefs/sshkeys/", *_crud(read=account.list_keys, create=account.create_key)),
    _resource("SSHKey", "account/prefs/sshkeys/{id}/", *_crud(read=account.read_key, delete=account.delete_key)),
    _resource("Subnets", "subnets/", *_crud(read=networks.list_subnets, create=networks.create_subnet)),
    _resource(
        "Subnet",
        "subnets/{id}/",
        *_crud(read=networks.read_subnet, update=networks.update_subnet, delete=networks.delete_subnet),
    ),
    _resource("Fabrics", "fabrics/", *_crud(read=networks.list_fabrics, create=networks.create_fabric)),
    _resource(
        "Fabric",
        "fabrics/{id}/",
        *_crud(read=networks.read_fabric, update=networks.update_fabric, delete=networks.delete_fabric),
    ),
    _resource("Vlans", "fabrics/{fabric_id}/vlans/", *_crud(read=networks.list_vlans, create=networks.create_vlan)),
    _resource(
        "Vlan",
        "fabrics/{fabric_id}/vlans/{vid}/",
        *_crud(read=networks.read_vlan, update=networks.update_vlan, delete=networks.delete_vlan),
    ),
    _resource("IPRanges", "ipranges/", *_crud(read=ip_ranges.list_ranges, create=ip_ranges.create_range)),
    _resource(
        "IPRange",
        "ipranges/{id}/",
        *_crud(read=ip_ranges.read_range, update=ip_ranges.update_range, delete=ip_ranges.delete_range),
    ),
    _resource(
        "RackControllers",
        "rackcontrollers/",
        *_crud(read=racks.list_racks),
        _get("describe_power_types", racks.describe_power_types),
    ),
    _resource("RackController", "rackcontrollers/{system_id}/", *_crud(read=racks.read_rack)),
    _resource(
        "Discoveries",
        "discovery/",
        *_crud(read=discoveries.list_discoveries),
        _get("by_unknown_mac", discoveries.by_unknown_mac),
        _post("clear", discoveries.clear),
    ),
    _resource("Discovery", "discovery/{discovery_id}/", *_crud(read=discoveries.read_discovery)),
    _resource("Domains", "domains/", *_crud(read=dns.list_domains)),
    _resource("Domain", "domains/{id}/", *_crud(read=dns.read_domain)),
    _resource("DNSResources", "dnsresources/", *_crud(read=dns.list_resources, create=dns.create_resource)),
    _resource(
        "DNSResource",
        "dnsresources/{id}/",
        *_crud(read=dns.read_resource, update=dns.update_resource, delete=dns.delete_resource),
    ),
    _resource("DNSResourceRecords", "dnsresourcerecords/", *_crud(read=dns.list_records, create=dns.create_record)),
    _resource(
        "DNSResourceRecord",
        "dnsresourcerecords/{id}/",
        *_crud(read=dns.read_record, update=dns.update_record, delete=dns.delete_record),
    ),
    _resource("NodeScripts", "scripts/", *_crud(read=scripts.list_scripts, create=scripts.create_script)),
    _resource(
        "NodeScript",
        "scripts/{name}",
        *_crud(read=scripts.read_script, update=scripts.update_script, delete=scripts.delete_script),
        _get("download", scripts.download_script),
    ),
    _resource("NodeScriptResults", "nodes/{system_id}/results/", *_crud(read=script_runs.list_results)),
    _resource(
        "NodeScriptResult",
        "nodes/{system_id}/results/{id}/",
        *_crud(read=script_runs.read_results),
        _get("download", script_runs.download_results),
    ),
    _resource(
        "Maas",
        "maas/",
        _get("get_config", configuration.get_config),
        _post("set_config", configuration.set_config),
    ),
)

RESOURCES = (
    *SIMULATED,
    *(Resource(name, path, tuple(map(_other, actions.split()))) for name, path, actions in OTHER_RESOURCES),
)
