"""Tags."""

from __future__ import annotations

import re
from typing import Any

from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import form_errors, missing, not_simulated
from lab.maas_simulator.region import API, Call
from lab.maas_simulator.representation import machine_list

_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def _show(row: Any) -> dict[str, Any]:
    return {
        "name": row["name"],
        "definition": "",
        "comment": row["comment"],
        "kernel_opts": row["kernel_opts"],
        "resource_uri": f"{API}tags/{row['name']}/",
    }


def _tag(call: Call) -> Any:
    row = call.store.row("SELECT * FROM tag WHERE name = ?", call.params["name"])
    if row is None:
        raise missing("Tag")
    return row


def _check(call: Call, name: str, current: str | None) -> None:
    if call.data.get("definition"):
        raise not_simulated("Tag.definition (XPath over lshw)")
    if not name:
        raise form_errors({"name": ["This field is required."]})
    if not _NAME.fullmatch(name):
        raise form_errors({"name": ["Enter a valid value."]})
    if name != current and call.store.row("SELECT 1 FROM tag WHERE name = ?", name):
        raise form_errors({"name": ["Tag with this Name already exists."]})


def list_tags(call: Call) -> Answer:
    """Tags.read"""
    return Answer.json([_show(row) for row in call.store.rows("SELECT * FROM tag ORDER BY name")])


def create_tag(call: Call) -> Answer:
    """Tags.create"""
    name = call.data.get("name")
    _check(call, name, None)
    values = (name, call.data.get("comment"), call.data.get("kernel_opts"))
    call.store.db.execute("INSERT INTO tag VALUES (?, ?, ?)", values)
    return Answer.json(_show(call.store.row("SELECT * FROM tag WHERE name = ?", name)))


def read_tag(call: Call) -> Answer:
    """Tag.read"""
    return Answer.json(_show(_tag(call)))


def update_tag(call: Call) -> Answer:
    """Tag.update: a new name moves with the machines."""
    old = _tag(call)
    name = call.data.get("name", old["name"])
    _check(call, name, old["name"])
    call.store.db.execute(
        "UPDATE tag SET name = ?, comment = ?, kernel_opts = ? WHERE name = ?",
        (
            name,
            call.data.get("comment", old["comment"]),
            call.data.get("kernel_opts", old["kernel_opts"]),
            old["name"],
        ),
    )
    _retag(call, old["name"], name)
    return Answer.json(_show(call.store.row("SELECT * FROM tag WHERE name = ?", name)))


def delete_tag(call: Call) -> Answer:
    """Tag.delete"""
    name = _tag(call)["name"]
    call.store.db.execute("DELETE FROM tag WHERE name = ?", (name,))
    _retag(call, name, None)
    return DELETED


def _retag(call: Call, old: str, new: str | None) -> None:
    if old == new:
        return
    for machine in call.store.machines():
        if old in machine.tags:
            machine.tags = [tag for tag in machine.tags if tag != old] + ([new] if new else [])
            call.store.save(machine)


def tag_machines(call: Call) -> Answer:
    """Tag.machines and Tag.nodes"""
    name = _tag(call)["name"]
    tagged = [machine for machine in call.store.machines() if name in machine.tags]
    return Answer.json(machine_list(call.region, tagged))


def update_nodes(call: Call) -> Answer:
    """Tag.update_nodes: counts the machines it found, unknown ids are no error (recorded)."""
    name = _tag(call)["name"]
    counts = {"added": 0, "removed": 0}
    for field, count in (("add", "added"), ("remove", "removed")):
        for system_id in dict.fromkeys(call.data.all(field)):
            machine = call.store.find_machine("system_id", system_id)
            if machine is None:
                continue
            counts[count] += 1
            others = [tag for tag in machine.tags if tag != name]
            machine.tags = [*others, name] if field == "add" else others
            call.store.save(machine)
    return Answer.json(counts)
