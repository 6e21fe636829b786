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
  - All hosts are in the group C(devices), and by what MAAS says in C(tag_NAME), C(pool_NAME), C(zone_NAME) and
    C(status_NAME), such as C(status_failed_deployment). In these names all but letters, digits and underscores
    becomes an underscore, and letters are lower case.
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
    MaasNoConnection,
    Machine,
    machine_summary,
    missing_library_message,
    status_filter,
)

display = Display()

FILTERS = ("status", "pool", "zone", "tags", "hostname", "domain")
TEMPLATED_OPTIONS = ("maas_url", "maas_api_key", "maas_api_key_file", "ca_path")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "edge.rack.maas"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("maas.yml", "maas.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        if LIBMAAS_IMPORT_ERROR is not None:
            raise AnsibleParserError(missing_library_message())
        self._read_config_data(path)
        self._populate(self._machines(path, cache))

    # -- Fetch

    def _machines(self, path: str, cache: bool) -> t.List[Machine]:
        """The region's raw answer, from the cache where that may be."""
        filters = self._filters()
        connection = self._connection(path)
        wanted = json.dumps([connection.url, filters], sort_keys=True)
        key = "%s_%s" % (self.get_cache_key(path), hashlib.sha256(wanted.encode()).hexdigest()[:12])
        caching = self.get_option("cache")
        if caching and cache:
            try:
                return self._cache[key]
            except KeyError:
                pass
        rows = self._fetch(connection, filters)
        if caching and rows is not None:
            self._cache[key] = rows
        return rows or []

    def _fetch(self, connection: MaasConnection, filters: t.Dict[str, t.List[str]]) -> t.Optional[t.List[Machine]]:
        """None where no region answers and the source goes without."""
        try:
            with MaasClient(connection, read_only=True) as client:
                return client.read_machines(**filters)
        except MaasNoConnection as error:
            if self.get_option("unreachable") == "fail":
                raise AnsibleParserError("The inventory of MAAS: %s" % error) from None
            display.warning("The inventory of MAAS: %s There are no devices until it answers." % error)
            return None
        except MaasError as error:
            raise AnsibleParserError("The inventory of MAAS: %s" % error) from None

    def _connection(self, path: str) -> MaasConnection:
        options = {name: self.get_option(name) for name in ("validate_certs", "maas_timeout_seconds")}
        self.templar.available_variables = self._vars or {}
        for name in TEMPLATED_OPTIONS:
            value = self.get_option(name)
            options[name] = self.templar.template(value) if value else value
        try:
            return MaasConnection.from_options(options, relative_to=os.path.dirname(os.path.abspath(path)))
        except MaasError as error:
            raise AnsibleParserError("The inventory of MAAS: %s" % error) from None

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

    def _populate(self, machines: t.List[Machine]) -> None:
        self.inventory.add_group("devices")
        names = {}  # type: t.Dict[str, str]
        for row in sorted(machines, key=lambda row: row["hostname"]):
            variables = wrap_var(host_variables(row))
            name = self._host_name(variables)
            if name in names:
                raise AnsibleParserError(
                    "The inventory of MAAS: the machines %s and %s would both be the host %s."
                    " Change `hostname_template`." % (names[name], row["system_id"], name)
                )
            names[name] = row["system_id"]
            self._add_host(name, variables)

    def _host_name(self, variables: t.Dict[str, t.Any]) -> str:
        template = self.get_option("hostname_template")
        if not template:
            return str(variables["maas_hostname"])
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

    def _add_host(self, name: str, variables: t.Dict[str, t.Any]) -> None:
        self.inventory.add_host(name, group="devices")
        for group in group_names(variables):
            self.inventory.add_group(group)
            self.inventory.add_host(name, group=group)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        address = preferred_address(variables["maas_ip_addresses"], self._subnet())
        if address:
            self.inventory.set_variable(name, "ansible_host", wrap_var(address))
        else:
            display.vv("maas: %s (%s) has no address, so no ansible_host" % (name, variables["maas_status"]))
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def _subnet(self) -> t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network, None]:
        cidr = self.get_option("subnet")
        try:
            return ipaddress.ip_network(cidr, strict=False) if cidr else None
        except ValueError as error:
            raise AnsibleParserError("The inventory of MAAS: `subnet`: %s" % error) from error


def _as_list(value: t.Any) -> t.List[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def host_variables(row: Machine) -> t.Dict[str, t.Any]:
    return {"maas_" + name: value for name, value in machine_summary(row).items()}


def group_names(variables: t.Dict[str, t.Any]) -> t.List[str]:
    names = ["tag_%s" % tag for tag in variables["maas_tags"]]
    values = {kind: variables["maas_" + kind] for kind in ("pool", "zone", "status")}
    names += ["%s_%s" % (kind, value) for kind, value in values.items() if value]
    return [re.sub(r"[^a-z0-9_]", "_", name.lower()) for name in names]


def preferred_address(
    addresses: t.Sequence[str], subnet: t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network, None]
) -> t.Optional[str]:
    """The address in the subnet, else the first IPv4 address, else the first one; link-local ones last."""

    def rank(text: str) -> t.Tuple[bool, bool, bool]:
        address = ipaddress.ip_address(text)
        return (subnet is None or address not in subnet, address.is_link_local, address.version != 4)

    return min(addresses, key=rank, default=None)
