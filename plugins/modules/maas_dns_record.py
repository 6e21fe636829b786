#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_dns_record
short_description: Manage DNS records in MAAS
version_added: "0.1.0"
description:
  - Keeps all records of one type under one name, in a domain that MAAS serves.
  - Records of other types under the name stay. MAAS makes the records of machines itself.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) removes all records of the type from the name.
    type: str
    choices: [present, absent]
    default: present
  fqdn:
    description:
      - The name with its domain, such as V(registry.maas), or V(_http._tcp.maas) for O(type=SRV).
      - The domain's own name stands for itself.
    type: str
    required: true
  type:
    description: The type of the records.
    type: str
    choices: [A, AAAA, CNAME, MX, NS, SRV, SSHFP, TXT]
    default: A
  values:
    description:
      - The values, all of them. Addresses for V(A) and V(AAAA), one name for V(CNAME), V(PREFERENCE SERVER) for V(MX),
        V(PRIORITY WEIGHT PORT SERVER) for V(SRV).
      - Required unless O(state=absent).
    type: list
    elements: str
  ttl_seconds:
    description:
      - How long an answer may be kept. If not set, it stays as it is, for a new record the domain's.
      - Addresses of both kinds under one name have one.
    type: int
"""

EXAMPLES = r"""
- name: The registry has a name
  edge.rack.maas_dns_record:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    fqdn: registry.maas
    values: [10.77.0.3]

- name: So has its service
  edge.rack.maas_dns_record:
    fqdn: images.maas
    type: CNAME
    values: [registry.maas]
    ttl_seconds: 300
"""

RETURN = r"""
dns_record:
  description: The records as MAAS has them, in check mode as it would have them.
  type: dict
  returned: always
  contains:
    fqdn:
      description: The name with its domain.
      type: str
    type:
      description: The type.
      type: str
    values:
      description: The values, none if there is no such record.
      type: list
      elements: str
    ttl_seconds:
      description: How long an answer may be kept, null for the domain's.
      type: int
"""

import ipaddress
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)

Row = t.Dict[str, t.Any]
ADDRESSES = {"A": 4, "AAAA": 6}
SHAPES = {
    "CNAME": (r"\S+", "a name"),
    "MX": (r"\d+\s+\S+", "PREFERENCE SERVER"),
    "NS": (r"\S+", "a name"),
    "SRV": (r"\d+\s+\d+\s+\d+\s+\S+", "PRIORITY WEIGHT PORT SERVER"),
    "SSHFP": (r"\d+\s+\d+\s+\S+", "ALGORITHM TYPE FINGERPRINT"),
    "TXT": (r"[\s\S]+", "a text"),
}


def split_name(module: AnsibleModule, domains: t.List[str], fqdn: str) -> t.Tuple[str, str]:
    """Name and domain, the longest that MAAS has."""
    fitting = [domain for domain in domains if fqdn == domain or fqdn.endswith("." + domain)]
    if not fitting:
        listed = ", ".join(sorted(domains))
        module.fail_json(msg="MAAS serves no domain of %s. Correct `fqdn`: it has %s." % (fqdn, listed))
    domain = max(fitting, key=len)
    name = fqdn[: -len(domain) - 1] or "@"
    if module.params["type"] == "SRV":
        if not re.match(r"_[^.]+\._(tcp|udp)(\.[^.]+)?\Z", name):
            text = "An SRV record is called _SERVICE._PROTOCOL.%s, not %s. Correct `fqdn`."
            module.fail_json(msg=text % (domain, fqdn))
    elif "." in name:
        text = "MAAS serves %s, not %s. Correct `fqdn`, or make that domain in MAAS first."
        module.fail_json(msg=text % (domain, name.split(".", 1)[1] + "." + domain))
    return name, domain


def check_values(module: AnsibleModule) -> t.List[str]:
    """The values in order, each once."""
    kind, values = module.params["type"], module.params["values"] or []
    found = []  # type: t.List[str]
    for value in values:
        text = value.strip()
        if kind in ADDRESSES:
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                module.fail_json(
                    msg="%s is not an IP address. Correct `values` of %s." % (value, module.params["fqdn"])
                )
            if address.version != ADDRESSES[kind]:
                module.fail_json(msg="%s is no value of an %s record. Correct `type` or `values`." % (value, kind))
            text = str(address)
        elif not re.match(r"(?:%s)\Z" % SHAPES[kind][0], text):
            module.fail_json(
                msg="%r is no value of an %s record. Correct `values`: %s." % (value, kind, SHAPES[kind][1])
            )
        if text not in found:
            found.append(text)
    if module.params["state"] == "present" and not found:
        module.fail_json(msg="No `values` are given for %s. `state: absent` removes them." % module.params["fqdn"])
    if kind == "CNAME" and len(found) > 1:
        module.fail_json(msg="A name can stand for one other name only. Give one of `values`.")
    return found


def refuse_neighbours(module: AnsibleModule, row: t.Optional[Row]) -> None:
    """A CNAME is alone under its name."""
    kind, fqdn = module.params["type"], module.params["fqdn"]
    types = {record["rrtype"] for record in row["resource_records"]} if row else set()
    if row and row["ip_addresses"]:
        types.add("A or AAAA")
    others = sorted(types - {"CNAME"}) if kind == "CNAME" else sorted(types & {"CNAME"})
    if others:
        module.fail_json(
            msg="%s has %s records, beside which MAAS takes no %s. Remove them first." % (fqdn, ", ".join(others), kind)
        )


def addresses_of(row: Row, version: int) -> t.List[str]:
    found = [one["ip"] for one in row["ip_addresses"] or []]
    return [ip for ip in found if ipaddress.ip_address(ip).version == version]


def shown(module: AnsibleModule, row: t.Optional[Row]) -> Row:
    """The records of the type in the module's own words."""
    kind = module.params["type"]
    before = {"fqdn": module.params["fqdn"].rstrip("."), "type": kind, "values": [], "ttl_seconds": None}  # type: Row
    if row is None:
        return before
    if kind in ADDRESSES:
        before["values"] = sorted(addresses_of(row, ADDRESSES[kind]))
        before["ttl_seconds"] = row["address_ttl"] if row["ip_addresses"] else None
        return before
    records = records_of(row, kind)
    before["values"] = sorted(record["rrdata"] for record in records)
    before["ttl_seconds"] = records[0]["ttl"] if records else None
    return before


def records_of(row: t.Optional[Row], kind: str) -> t.List[Row]:
    return [record for record in row["resource_records"] if record["rrtype"] == kind] if row else []


def write_addresses(client: MaasClient, row: t.Optional[Row], name: Row, after: Row, kind: str) -> None:
    """All addresses of the name in one call; those of the other kind stay."""
    others = addresses_of(row, 10 - ADDRESSES[kind]) if row else []
    wanted = after["values"] + others
    # Both: MAAS's form takes away a time to live that is not given.
    fields = {"ip_addresses": " ".join(wanted), "address_ttl": after["ttl_seconds"]}
    if row is None:
        client.call("DNSResources.create", **name, **fields)
    elif wanted or row["resource_records"]:
        client.call("DNSResource.update", id=row["id"], **fields)
    else:
        client.call("DNSResource.delete", id=row["id"])


def write_records(client: MaasClient, row: t.Optional[Row], name: Row, after: Row, kind: str) -> None:
    """First what is to be, then away with what is not; one that is replaced is changed in place."""
    there = records_of(row, kind)
    surplus = [record for record in there if record["rrdata"] not in after["values"]]
    missing = [value for value in after["values"] if value not in [record["rrdata"] for record in there]]
    for record in there:
        if record not in surplus and record["ttl"] != after["ttl_seconds"]:
            client.call("DNSResourceRecord.update", id=record["id"], **_data(kind, record["rrdata"], after))
    for value in missing:
        if surplus:
            client.call("DNSResourceRecord.update", id=surplus.pop()["id"], **_data(kind, value, after))
        else:
            client.call("DNSResourceRecords.create", **name, **_data(kind, value, after))
    for record in surplus:
        client.call("DNSResourceRecord.delete", id=record["id"])


def _data(kind: str, value: str, after: Row) -> Row:
    return {"rrtype": kind, "rrdata": value, "ttl": after["ttl_seconds"]}


def find(client: MaasClient, name: Row) -> t.Optional[Row]:
    """What MAAS has under the name."""
    rows = client.call("DNSResources.read", **name)
    return rows[0] if rows else None


def work(module: AnsibleModule, client: MaasClient) -> Row:
    params = module.params
    values = check_values(module)
    domains = [domain["name"] for domain in client.call("Domains.read")]
    label, domain = split_name(module, domains, params["fqdn"].rstrip("."))
    name = {"name": label, "domain": domain}
    row = find(client, name)
    before = shown(module, row)
    keeps_ttl = row is not None and params["type"] in ADDRESSES and addresses_of(row, 10 - ADDRESSES[params["type"]])
    after = dict(before, values=[], ttl_seconds=before["ttl_seconds"] if keeps_ttl else None)
    if params["state"] == "present":
        refuse_neighbours(module, row)
        ttl = before["ttl_seconds"] if params["ttl_seconds"] is None else params["ttl_seconds"]
        after = dict(before, values=sorted(values), ttl_seconds=ttl)
    changed = after["values"] != before["values"] or after["ttl_seconds"] != before["ttl_seconds"]
    if changed and not module.check_mode:
        write = write_addresses if params["type"] in ADDRESSES else write_records
        write(client, row, name, after, params["type"])
        after = shown(module, find(client, name))
    return {
        "changed": changed,
        "dns_record": after,
        "diff": {"before": before if changed else {}, "after": after if changed else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "fqdn": {"type": "str", "required": True},
            "type": {
                "type": "str",
                "choices": ["A", "AAAA", "CNAME", "MX", "NS", "SRV", "SSHFP", "TXT"],
                "default": "A",
            },
            "values": {"type": "list", "elements": "str"},
            "ttl_seconds": {"type": "int"},
            **connection_argument_spec(),
        },
        required_if=[("state", "present", ["values"])],
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
