"""`scripts/`: commissioning and testing scripts that people upload.

Checks follow MAAS's published source (maasserver/forms/script.py). The scripts that MAAS brings itself are not listed
here: the lab's machines report their hardware in one document instead (hardware.py).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import RefusedError, bad_request, form_errors, missing, not_simulated
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.region import API, Call, Region

COMMISSIONING, TESTING = 0, 2
_TYPES = {"commission": 0, "commissioning": 0, "0": 0, "test": 2, "testing": 2, "2": 2}
_TYPE_NAMES = {COMMISSIONING: "Commissioning script", TESTING: "Testing script"}
_HARDWARE = {"node": 0, "cpu": 1, "memory": 2, "storage": 3, "network": 4, "gpu": 5}
_HARDWARE_NAMES = {0: "Node", 1: "CPU", 2: "Memory", 3: "Storage", 4: "Network", 5: "GPU"}
_DELIMITER = re.compile(r"\s*#\s*-+\s*(Start|End) MAAS (\d+\.\d+) script metadata\s+-+", re.IGNORECASE)
_FLAGS = ("destructive", "may_reboot", "recommission", "apply_configured_networking")
# Ids of a region's own scripts come first: a recorded 3.4 gave 31 to the first upload, a 3.6 gave 32.
_FIRST_ID = {(3, 4): 31, (3, 6): 32}
# Tests that MAAS brings: no machine of the lab can run them.
OWN_TESTS = frozenset(
    [
        "7z",
        "badblocks",
        "badblocks-destructive",
        "base-connectivity",
        "fio",
        "gateway-connectivity",
        "internet-connectivity",
        "memtester",
        "ntp",
        "rack-controller-connectivity",
        "smartctl-conveyance",
        "smartctl-long",
        "smartctl-short",
        "smartctl-validate",
        "stress-ng-cpu-long",
        "stress-ng-cpu-short",
        "stress-ng-memory-long",
        "stress-ng-memory-short",
    ]
)
_NOT_KEPT = ("parallel", "packages", "for_hardware", "parameters")


def prepare(region: Region) -> None:
    """Numbers begin where those of the region's own scripts end."""
    for name in ("script", "script version"):
        region.store.db.execute("INSERT OR IGNORE INTO sequence VALUES (?, ?)", (name, _FIRST_ID[region.release] - 1))


def versions_of(region: Region, script_id: int) -> list[Any]:
    """The contents of a script, the current one first."""
    return region.store.rows("SELECT * FROM script_version WHERE script_id = ? ORDER BY id DESC", script_id)


def _show(call: Call, row: Any, include_script: bool = False) -> dict[str, Any]:
    zone = "+0000" if call.region.release >= (3, 6) else "-0000"
    history = []
    for version in versions_of(call.region, row["id"]):
        created = datetime.fromtimestamp(version["created"], UTC).strftime("%a, %d %b %Y %H:%M:%S ")
        shown = {"id": version["id"], "comment": version["comment"], "created": created + zone}
        if include_script:
            shown["data"] = base64.b64encode(version["data"].encode()).decode()
        history.append(shown)
    return {
        "name": row["name"],
        "title": row["title"],
        "description": row["description"],
        "tags": json.loads(row["tags"]),
        "hardware_type": row["hardware_type"],
        "hardware_type_name": _HARDWARE_NAMES[row["hardware_type"]],
        "parallel": 0,
        "parallel_name": "Disabled",
        "results": json.loads(row["results"]),
        "parameters": {},
        "packages": {},
        "timeout": str(timedelta(seconds=row["timeout"])),
        **{name: bool(row[name]) for name in _FLAGS},
        "default": False,
        "for_hardware": [],
        "id": row["id"],
        "type": row["type"],
        "type_name": _TYPE_NAMES[row["type"]],
        "history": history,
        "resource_uri": f"{API}scripts/{row['name']}",
    }


def _script(call: Call) -> Any:
    wanted = call.params["name"]
    column = "CAST(id AS TEXT)" if wanted.isdigit() else "name"
    row = call.store.row(f"SELECT * FROM script WHERE {column} = ?", wanted)  # noqa: S608 - two fixed names
    if row is None:
        raise missing("Script")
    return row


def list_scripts(call: Call) -> Answer:
    """NodeScripts.read: those that people uploaded."""
    rows = call.store.rows("SELECT * FROM script ORDER BY id")
    wanted = call.query.get("type")
    if wanted:
        if wanted not in _TYPES:
            raise bad_request("Script type must be commissioning or testing")
        rows = [row for row in rows if row["type"] == _TYPES[wanted]]
    if call.query.get("filters"):
        names = set(call.query.get("filters").split(","))
        rows = [row for row in rows if row["name"] in names or names & set(json.loads(row["tags"]))]
    include = call.query.flag("include_script")
    return Answer.json([_show(call, row, include) for row in rows])


def read_script(call: Call) -> Answer:
    """NodeScript.read"""
    return Answer.json(_show(call, _script(call), call.query.flag("include_script")))


def create_script(call: Call) -> Answer:
    """NodeScripts.create: metadata that stands in the script is read from it."""
    data = _with_metadata(call.data, None)
    if not data.get("script"):
        raise form_errors({"script": ["This field is required."]})
    fields = _cleaned(call, data, None)
    number = call.store.next_id("script")
    columns = ", ".join(fields)
    marks = ", ".join(f":{name}" for name in fields)
    sql = f"INSERT INTO script (id, {columns}) VALUES (:id, {marks})"  # noqa: S608 - fixed names
    call.store.db.execute(sql, {**fields, "id": number})
    _add_version(call, number, data)
    row = call.store.row("SELECT * FROM script WHERE id = ?", number)
    return Answer.json(_show(call, row))


def update_script(call: Call) -> Answer:
    """NodeScript.update: other content is a new version."""
    row = _script(call)
    data = _with_metadata(call.data, row)
    fields = _cleaned(call, data, row)
    marks = ", ".join(f"{name} = :{name}" for name in fields)
    call.store.db.execute(f"UPDATE script SET {marks} WHERE id = :id", {**fields, "id": row["id"]})  # noqa: S608
    if data.get("script") and data.get("script") != versions_of(call.region, row["id"])[0]["data"]:
        _add_version(call, row["id"], data)
    return Answer.json(_show(call, call.store.row("SELECT * FROM script WHERE id = ?", row["id"])))


def delete_script(call: Call) -> Answer:
    """NodeScript.delete"""
    call.store.db.execute("DELETE FROM script WHERE id = ?", (_script(call)["id"],))
    return DELETED


def download_script(call: Call) -> Answer:
    """NodeScript.download: the content, of one revision if asked for."""
    versions = versions_of(call.region, _script(call)["id"])
    wanted = call.query.get("revision") or call.query.get("rev")
    found = [version for version in versions if wanted in ("", str(version["id"]))]
    if not found:
        raise bad_request("revision not found")
    return Answer(200, found[0]["data"].encode(), "application/binary")


def _add_version(call: Call, script_id: int, data: Fields) -> None:
    now = datetime.now(UTC).timestamp()
    values = (call.store.next_id("script version"), script_id, data.get("script"), data.get("comment") or None, now)
    call.store.db.execute("INSERT INTO script_version VALUES (?, ?, ?, ?, ?)", values)


def _with_metadata(data: Fields, row: Any) -> Fields:
    """The fields, with those that stand in the script; tags and timeout are read only when it is new."""
    pairs = [("script_type" if key == "type" else key, value) for key, value in data.pairs if key != "op"]
    merged = Fields(pairs)
    if "script" not in data:
        return merged
    text = data.get("script")
    if not text.startswith("#!/"):
        raise form_errors({"script": ["Must start with shebang."]})
    for key, value in read_metadata(text).items():
        if key == "results":
            merged.pairs.append((key, json.dumps(value)))
            continue
        if key in ("tags", "timeout"):
            if row is None and key not in merged:
                merged.pairs.append((key, ",".join(value) if isinstance(value, list) else str(value)))
            continue
        if key not in merged:
            merged.pairs.append((key, str(value)))
        elif key == "script_type":
            if _TYPES.get(merged.get(key)) != _TYPES.get(str(value)):
                raise form_errors({key: ["May not override values defined in embedded YAML."]})
        elif merged.get(key) != str(value):
            raise form_errors({key: ["May not override values defined in embedded YAML."]})
    return merged


def read_metadata(text: str) -> dict[str, Any]:
    """The block between `# --- Start MAAS 1.0 script metadata ---` and its end."""
    inside, lines = False, []
    for line in text.splitlines()[1:]:
        if _DELIMITER.search(line):
            if inside:
                break
            inside = True
        elif inside and line.strip():
            if "#" not in line:
                raise form_errors({"script": ['Missing "#" on YAML line.']})
            lines.append(line.split("#", 1)[1])
    try:
        document = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        raise form_errors({"script": [f"Invalid YAML: {error}"]}) from error
    return document if isinstance(document, dict) else {}


def _cleaned(call: Call, data: Fields, row: Any) -> dict[str, Any]:
    for name in _NOT_KEPT:
        if data.get(name) and not (name == "parallel" and data.get(name) in ("0", "disabled")):
            raise not_simulated(f"NodeScript field {name}")
    kept = dict(row) if row is not None else {}
    fields: dict[str, Any] = {
        "name": data.get("name", kept.get("name", "")),
        "title": data.get("title", kept.get("title", "")),
        "description": data.get("description", kept.get("description", "")),
        "type": kept.get("type", TESTING),
        "hardware_type": kept.get("hardware_type", 0),
        "timeout": kept.get("timeout", 0),
        "results": data.get("results", kept.get("results", "{}")),
        **{name: data.flag(name, bool(kept.get(name))) for name in _FLAGS},
    }
    _check_name(call, fields["name"], kept.get("id"))
    if data.get("script_type"):
        if data.get("script_type") not in _TYPES:
            raise form_errors({"script_type": ["Script type must be commissioning, testing"]})
        fields["type"] = _TYPES[data.get("script_type")]
    if data.get("hardware_type"):
        name = data.get("hardware_type").lower()
        if name not in _HARDWARE and name not in map(str, _HARDWARE.values()):
            text = f"Hardware type must be {', '.join(_HARDWARE)}"
            raise form_errors({"hardware_type": [text]})
        fields["hardware_type"] = _HARDWARE.get(name, name)
    if data.get("timeout"):
        fields["timeout"] = _seconds(data.get("timeout"))
    given = data.get("tags", ",".join(json.loads(kept.get("tags", "[]"))))
    fields["tags"] = json.dumps(_tags(given, int(fields["hardware_type"]), fields["destructive"]))
    return fields


def _check_name(call: Call, name: str, current: int | None) -> None:
    if not name:
        raise form_errors({"name": ["This field is required."]})
    if name.lower() == "none":
        raise form_errors({"name": ['"none" is a reserved name.']})
    if name.isdigit():
        raise form_errors({"name": ["Cannot be a number."]})
    if shlex.quote(name) != name:
        text = f"Name '{name}' contains disallowed characters, e.g. space or quotes."
        raise form_errors({"name": [text]})
    other = call.store.row("SELECT id FROM script WHERE name = ?", name)
    if other is not None and other["id"] != current:
        raise form_errors({"name": ["Script with this Name already exists."]})


def _tags(given: str, hardware: int, destructive: bool) -> list[str]:
    """A script always carries the tags that follow from what it is."""
    automatic = {"destructive", *_HARDWARE}
    tags = [tag.strip() for tag in given.split(",") if tag.strip() and tag.strip() not in automatic]
    tags += [name for name, number in _HARDWARE.items() if number == hardware]
    return sorted({*tags, *(["destructive"] if destructive else [])})


def _seconds(text: str) -> int:
    """A duration as Django reads it: seconds, or [days ]hours:minutes:seconds."""
    match = re.fullmatch(r"(?:(\d+) (?:days?, )?)?(?:(?:(\d+):)?(\d+):)?(\d+)(?:\.0+)?", text.strip())
    if match is None:
        raise form_errors({"timeout": ["Enter a valid duration."]})
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return int(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds())


def choose(region: Region, field: str, wanted: str) -> list[Any]:
    """The scripts that a commissioning runs: by name or tag; 400 for what is none of them."""
    kind = TESTING if field == "testing_scripts" else COMMISSIONING
    rows = region.store.rows("SELECT * FROM script WHERE type = ? ORDER BY name", kind)
    own = OWN_TESTS.intersection(wanted.split(","))
    if own and kind == TESTING:
        raise not_simulated(f"Machine.commission with MAAS's own {', '.join(sorted(own))}")
    if wanted == "none":
        return []
    if not wanted:
        if kind == TESTING:
            return [row for row in rows if "commissioning" in json.loads(row["tags"])]
        return [row for row in rows if "noauto" not in json.loads(row["tags"])]
    chosen = []
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        found = [row for row in rows if word in (row["name"], *json.loads(row["tags"]))]
        if not found:
            raise _no_such(field, word)
        chosen += [row for row in found if row not in chosen]
    return chosen


def _no_such(field: str, word: str) -> RefusedError:
    return form_errors({field: [f"Select a valid choice. {word} is not one of the available choices."]})
