# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maas
short_description: Machines of a MAAS region as inventory
version_added: "0.1.0"
description:
  - Reads all machines of a MAAS region, or those that filters choose, in one request.
  - The source is a YAML file whose name ends in C(maas.yml) or C(maas.yaml).
  - All hosts are in the group C(devices), and by what MAAS says in C(tag_NAME), C(pool_NAME), C(zone_NAME),
    C(fabric_NAME) and C(status_NAME), such as C(status_failed_deployment). In these names all but letters, digits and
    underscores becomes an underscore, and letters are lower case.
  - A host has the variables C(maas_NAME) for each NAME of RV(edge.rack.maas_machine_info#module:machines), such as
    C(maas_tags), C(maas_memory_mib), C(maas_fabric), C(maas_subnets), C(maas_product).
  - The cache holds these variables and not the whole answer of the region, which is ten times as long.
  - A machine without an address (yet) is a host without C(ansible_host).
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas.plugin
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Names this plugin.
    type: str
    required: true
    choices: [edge.rack.maas]
  filters:
    description:
      - Which machines to read. The region filters, so that reading few costs little.
      - Filters are combined with I(and); several values of one filter with I(or), of C(tags) with I(and).
    type: dict
    default: {}
    suboptions:
      status:
        description: Statuses, such as V(deployed) or V(failed_deployment).
        type: list
        elements: str
      pool:
        description: Resource pools.
        type: list
        elements: str
      zone:
        description: Zones.
        type: list
        elements: str
      tags:
        description: Tags.
        type: list
        elements: str
      hostname:
        description: Host names.
        type: list
        elements: str
      domain:
        description: DNS domains.
        type: list
        elements: str
  hostname_template:
    description:
      - The name of a host in the inventory, as a Jinja template over its variables.
      - Without it the host is named as the machine is.
    type: str
  unreachable:
    description:
      - What to do where no connection to O(maas_url) can be made.
      - V(fail) ends the run. An empty rack would look like a finished one.
      - V(warn) goes on without devices, which suits a site whose own playbooks make the VM of the region; those that
        need devices refuse to work on none. A region that answers and refuses ends the run all the same.
      - An O(maas_api_key_file) or O(ca_path) that is not there counts like a region that is not there, for the region's
        installation makes them.
    type: str
    choices: [fail, warn]
    default: fail
    version_added: "0.1.0"
  subnet:
    description:
      - C(ansible_host) is preferably an address in this network (CIDR). IPv4 goes before IPv6 otherwise.
    type: str
"""

EXAMPLES = r"""
# inventory/lab/maas.yml: all devices; the URL from the environment, the key from a file beside this one
plugin: edge.rack.maas
maas_api_key_file: maas.key

---
# Only what is deployed; a key in the vault; a network of the rack; names and groups of our own; cached for 5 minutes
plugin: edge.rack.maas
maas_url: "http://{{ lookup('ansible.builtin.env', 'RACK') }}.example.com:5240/MAAS"
maas_api_key: "{{ lookup('ansible.builtin.file', '/etc/edge/maas.key') }}"
filters:
  status: [deployed]
  pool: [edge]
subnet: 10.77.0.0/16
hostname_template: "{{ maas_hostname }}.{{ maas_zone }}"
strict: true
compose:
  edge_slot: maas_owner_data.edge_slot | default(0) | int
groups:
  trainers: "'trainer' in maas_tags and maas_memory_mib >= 8192"
keyed_groups:
  - key: maas_distro_series
    prefix: image
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/edge-inventory
cache_timeout: 300
"""

import contextlib
import functools
import gc
import hashlib
import ipaddress
import json
import os
import re
import typing as t

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    LIBMAAS_IMPORT_ERROR,
    MaasClient,
    MaasConnection,
    MaasError,
    MaasMissingFile,
    MaasNoConnection,
    Machine,
    machine_summary,
    missing_library_message,
    status_filter,
)

display = Display()

FILTERS = ("status", "pool", "zone", "tags", "hostname", "domain")
TEMPLATED_OPTIONS = ("maas_url", "maas_api_key", "maas_api_key_file", "ca_path")
CACHE_FORMAT = 3

Variables = t.Dict[str, t.Any]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# Since ansible-core 2.19 a string is a template only where somebody says so; before, data had to be marked.
STRINGS_ARE_NO_TEMPLATES = hasattr(BaseInventoryPlugin, "trusted_by_default")


@contextlib.contextmanager
def no_garbage_collection() -> t.Iterator[None]:
    """Without collections in between: millions of new objects that all stay make each of them longer than the last.

    Of 10,000 machines this is half of the time that JSON takes, and more of Ansible's own.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "edge.rack.maas"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("maas.yml", "maas.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        if LIBMAAS_IMPORT_ERROR is not None:
            raise AnsibleParserError(missing_library_message())
        self._read_config_data(path)
        with no_garbage_collection():
            self._populate(self._machines(path, cache))

    # -- Fetch

    def _machines(self, path: str, cache: bool) -> t.List[Variables]:
        """The variables of all machines, by host name; from the cache where that may be."""
        filters = self._filters()
        connection = self._connection(path)
        if connection is None:
            return []
        wanted = json.dumps([connection.url, filters, CACHE_FORMAT], sort_keys=True)
        key = "%s_%s" % (self.get_cache_key(path), hashlib.sha256(wanted.encode()).hexdigest()[:12])
        caching = self.get_option("cache")
        if caching and cache:
            try:
                return json.loads(self._cache[key])
            except KeyError:
                pass
        rows = self._fetch(connection, filters)
        machines = [host_variables(row) for row in sorted(rows or [], key=lambda row: row["hostname"])]
        if caching and rows is not None:
            # One string: the cache plugins look into every value of what they read.
            self._cache[key] = json.dumps(machines)
        return machines

    def _fetch(self, connection: MaasConnection, filters: t.Dict[str, t.List[str]]) -> t.Optional[t.List[Machine]]:
        """None where no region answers and the source goes without."""
        try:
            with MaasClient(connection, read_only=True) as client:
                return client.read_machines(**filters)
        except MaasError as error:
            self._go_without(error)
            return None

    def _go_without(self, error: MaasError) -> None:
        """A warning where the region is not there yet and the source may go without it; else the end of the run."""
        if isinstance(error, (MaasNoConnection, MaasMissingFile)) and self.get_option("unreachable") == "warn":
            display.warning("The inventory of MAAS: %s There are no devices until it answers." % error)
            return
        raise AnsibleParserError("The inventory of MAAS: %s" % error) from None

    def _connection(self, path: str) -> t.Optional[MaasConnection]:
        """None where the source goes without the region."""
        options = {name: self.get_option(name) for name in ("validate_certs", "maas_timeout_seconds")}
        self.templar.available_variables = self._vars or {}
        for name in TEMPLATED_OPTIONS:
            value = self.get_option(name)
            options[name] = self.templar.template(value) if value else value
        try:
            return MaasConnection.from_options(options, relative_to=os.path.dirname(os.path.abspath(path)))
        except MaasError as error:
            self._go_without(error)
            return None

    def _filters(self) -> t.Dict[str, t.List[str]]:
        given = self.get_option("filters") or {}
        unknown = sorted(set(given) - set(FILTERS))
        if unknown:
            raise AnsibleParserError(
                "The inventory of MAAS: there is no filter %s. There are: %s."
                % (", ".join(unknown), ", ".join(FILTERS))
            )
        filters = {name: [str(v) for v in _as_list(value)] for name, value in given.items() if value is not None}
        if "status" in filters:
            filters["status"] = [status_filter(status) for status in filters["status"]]
        return filters

    # -- Build

    def _populate(self, machines: t.List[Variables]) -> None:
        self.inventory.add_group("devices")
        names = {}  # type: t.Dict[str, str]
        template = self.get_option("hostname_template")
        subnet = self._subnet()
        constructed = {name: self.get_option(name) for name in ("compose", "groups", "keyed_groups")}
        strict = self.get_option("strict")
        for variables in machines if STRINGS_ARE_NO_TEMPLATES else wrap_var(machines):
            name = self._host_name(template, variables) if template else str(variables["maas_hostname"])
            if name in names:
                raise AnsibleParserError(
                    "The inventory of MAAS: the machines %s and %s would both be the host %s."
                    " Change `hostname_template`." % (names[name], variables["maas_system_id"], name)
                )
            names[name] = variables["maas_system_id"]
            self._add_host(name, variables, subnet)
            if any(constructed.values()):
                self._set_composite_vars(constructed["compose"], variables, name, strict=strict)
                self._add_host_to_composed_groups(constructed["groups"], variables, name, strict=strict)
                self._add_host_to_keyed_groups(constructed["keyed_groups"], variables, name, strict=strict)

    def _host_name(self, template: str, variables: Variables) -> str:
        self.templar.available_variables = dict(variables, **(self._vars or {}))
        try:
            name = str(self.templar.template(template)).strip()
        except AnsibleError as error:
            raise AnsibleParserError(
                "The inventory of MAAS: `hostname_template` for machine %s: %s" % (variables["maas_system_id"], error)
            ) from error
        if not name:
            raise AnsibleParserError(
                "The inventory of MAAS: `hostname_template` gives machine %s no name." % variables["maas_system_id"]
            )
        return name

    def _add_host(self, name: str, variables: Variables, subnet: t.Optional[Network]) -> None:
        self.inventory.add_host(name, group="devices")
        host, groups = self.inventory.hosts[name], self.inventory.groups
        for group in group_names(variables):
            if group not in groups:
                self.inventory.add_group(group)
            groups[group].add_host(host)
        # All at once: one by one, Ansible looks into every value of every variable.
        host.vars.update(variables)
        address = preferred_address(variables["maas_ip_addresses"], subnet)
        if address:
            host.vars["ansible_host"] = address if STRINGS_ARE_NO_TEMPLATES else wrap_var(address)
        else:
            display.vv("maas: %s (%s) has no address, so no ansible_host" % (name, variables["maas_status"]))

    def _subnet(self) -> t.Optional[Network]:
        cidr = self.get_option("subnet")
        try:
            return ipaddress.ip_network(cidr, strict=False) if cidr else None
        except ValueError as error:
            raise AnsibleParserError("The inventory of MAAS: `subnet`: %s" % error) from error


def _as_list(value: t.Any) -> t.List[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def host_variables(row: Machine) -> Variables:
    return {"maas_" + name: value for name, value in machine_summary(row).items()}


def group_names(variables: Variables) -> t.List[str]:
    names = [group_name("tag", tag) for tag in variables["maas_tags"]]
    for kind in ("pool", "zone", "status", "fabric"):
        if variables["maas_" + kind]:
            names.append(group_name(kind, variables["maas_" + kind]))
    return names


@functools.lru_cache(maxsize=4096)
def group_name(kind: str, value: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", ("%s_%s" % (kind, value)).lower())


def preferred_address(addresses: t.Sequence[str], subnet: t.Optional[Network]) -> t.Optional[str]:
    """The address in the subnet, else the first IPv4 address, else the first one; link-local ones last."""
    if len(addresses) < 2:
        return next(iter(addresses), None)

    def rank(text: str) -> t.Tuple[bool, bool, bool]:
        address = ipaddress.ip_address(text)
        return (subnet is None or address not in subnet, address.is_link_local, address.version != 4)

    return min(addresses, key=rank)
