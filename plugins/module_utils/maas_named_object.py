# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a region that are a name and a few texts: tags, resource pools, zones."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Row = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Kind:
    """One kind of such objects. Options and MAAS's fields have the same names."""

    noun: str
    result: str
    """The key of the object in the module's result."""
    several: str
    one: str
    """The operations of the region on all and on one of them."""
    address: str
    """The field by which MAAS addresses one."""
    fields: t.Tuple[str, ...]
    name_pattern: str
    name_rule: str
    permanent: t.Optional[str] = None
    """The one that can be neither deleted nor missed."""
    uses: t.Optional[t.Callable[[MaasClient, Row], t.Optional[str]]] = None
    """Why MAAS would refuse to delete it, if it would."""


def run(make_module: t.Callable[..., AnsibleModule], kind: Kind) -> None:
    """The whole of such a module."""
    module = make_module(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            **{field: {"type": "str"} for field in kind.fields},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, lambda module, client: _work(module, client, kind))


def _work(module: AnsibleModule, client: MaasClient, kind: Kind) -> Row:
    name = module.params["name"]
    if not re.match(r"(?:%s)\Z" % kind.name_pattern, name):
        module.fail_json(
            msg="A %s cannot be named %r. Correct `name`: it is made of %s." % (kind.noun, name, kind.name_rule)
        )
    row = next((row for row in client.call("%s.read" % kind.several) if row["name"] == name), None)
    before = _shown(kind, row)
    if module.params["state"] == "absent":
        if row is not None:
            _delete(module, client, kind, row)
        return _result(kind, before, {}, None if row is None else row)

    wanted = {field: module.params[field] for field in kind.fields if module.params[field] is not None}
    after = {"name": name, **dict.fromkeys(kind.fields, ""), **before, **wanted}
    if after != before and not module.check_mode:
        if row is None:
            row = client.call("%s.create" % kind.several, name=name, **wanted)
        else:
            changed = {field: value for field, value in wanted.items() if value != before[field]}
            row = client.call("%s.update" % kind.one, **{kind.address: row[kind.address]}, **changed)
        after = _shown(kind, row)
    return _result(kind, before, after, row)


def _delete(module: AnsibleModule, client: MaasClient, kind: Kind, row: Row) -> None:
    reason = kind.uses(client, row) if kind.uses else None
    if row["name"] == kind.permanent:
        reason = "it is MAAS's default"
    if reason:
        module.fail_json(msg="The %s %s cannot be deleted: %s." % (kind.noun, row["name"], reason))
    if not module.check_mode:
        client.call("%s.delete" % kind.one, **{kind.address: row[kind.address]})


def _shown(kind: Kind, row: t.Optional[Row]) -> Row:
    return {field: row.get(field) or "" for field in ("name", *kind.fields)} if row else {}


def _result(kind: Kind, before: Row, after: Row, row: t.Optional[Row]) -> Row:
    shown = dict(after or before)
    if "id" in (row or {}):
        shown["id"] = row["id"]  # type: ignore[index]
    return {
        "changed": before != after,
        "diff": {"before": before, "after": after} if before != after else {"before": {}, "after": {}},
        kind.result: shown,
    }
