"""Runs of scripts on a machine: what it fetches to run, what it reports of each, and `nodes/ID/results/`.

Follows metadataserver/api.py and maasserver/api/scriptresults.py of MAAS.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.errors import bad_request, form_errors, missing, not_simulated
from lab.maas_simulator.events import EventType, record
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.model import Machine
from lab.maas_simulator.region import API, Call, Region
from lab.maas_simulator.scripts import COMMISSIONING, TESTING, versions_of
from lab.maas_simulator.statuses import Status

PENDING, RUNNING, PASSED, FAILED, TIMED_OUT = range(5)
_STATUS_NAMES = {PENDING: "Pending", RUNNING: "Running", PASSED: "Passed", FAILED: "Failed", TIMED_OUT: "Timed out"}
INSTALLATION = 1
_TYPE_NAMES = {COMMISSIONING: "Commissioning", INSTALLATION: "Installation", TESTING: "Testing"}
_FOLDERS = {COMMISSIONING: "commissioning", TESTING: "testing"}
_CURRENT = {
    "current-commissioning": COMMISSIONING,
    "current-installation": INSTALLATION,
    "current-testing": TESTING,
}


def plan_runs(region: Region, machine: Machine, commissioning: list[Any], testing: list[Any]) -> None:
    """Everything that the commissioning that was just begun will run, as Pending."""
    _plan(region, machine, COMMISSIONING, commissioning)
    if machine.run_tests:
        _plan(region, machine, TESTING, testing)


def plan_tests(region: Region, machine: Machine, testing: list[Any]) -> None:
    """The same for the testing that was just begun; without scripts the lab has nothing to test with."""
    _plan(region, machine, TESTING, testing)
    if not testing:
        region.store.add_task(machine, "finish_testing", time.time() + region.settings.testing_seconds)


def _plan(region: Region, machine: Machine, kind: int, scripts: list[Any]) -> None:
    number = _current_set(region, machine, kind)
    for script in scripts if number is not None else ():
        _add(region, number, script["name"], script["id"], versions_of(region, script["id"])[0]["id"])


def _number(machine: Machine, kind: int) -> int | None:
    numbers = {
        COMMISSIONING: machine.commissioning_result,
        INSTALLATION: machine.installation_result,
        TESTING: machine.testing_result,
    }
    return numbers[kind]


def _current_set(region: Region, machine: Machine, kind: int) -> int | None:
    """The current run of a kind, made where it is the first time that something is kept of it."""
    number = _number(machine, kind)
    if number is not None:
        values = (number, machine.system_id, kind, time.time())
        region.store.db.execute("INSERT OR IGNORE INTO script_set VALUES (?, ?, ?, ?)", values)
    return number


def _add(region: Region, number: int | None, name: str, script_id: int | None, version_id: int | None) -> int:
    now = time.time()
    cursor = region.store.db.execute(
        "INSERT INTO script_run (set_id, name, script_id, version_id, status, created, updated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, name, script_id, version_id, PENDING, now, now),
    )
    return int(cursor.lastrowid or 0)


def has_tests(region: Region, machine: Machine) -> bool:
    """Whether the machine itself will say how its tests went."""
    return region.store.row("SELECT 1 FROM script_run WHERE set_id = ?", machine.testing_result) is not None


def archive(region: Region, machine: Machine) -> Answer:
    """`maas-scripts`: the scripts that are still to run and an index of them, as a compressed tar."""
    index: dict[str, list[dict[str, Any]]] = {}
    files: dict[str, bytes] = {}
    sets = {Status.COMMISSIONING: (COMMISSIONING, TESTING), Status.TESTING: (TESTING,)}.get(machine.status, ())
    for kind in sets:
        rows = region.store.rows(
            "SELECT script_run.*, script.timeout, script_version.data FROM script_run"
            " JOIN script ON script.id = script_run.script_id"
            " JOIN script_version ON script_version.id = version_id WHERE set_id = ? AND status IN (?, ?)"
            " ORDER BY name",
            _number(machine, kind),
            PENDING,
            RUNNING,
        )
        for row in rows:
            path = f"{_FOLDERS[kind]}/{row['name']}"
            files[path] = row["data"].encode()
            index.setdefault(f"{_FOLDERS[kind]}_scripts", []).append(
                {
                    "name": row["name"],
                    "path": path,
                    "script_result_id": row["id"],
                    "script_version_id": row["version_id"],
                    "timeout_seconds": row["timeout"],
                    "parallel": 0,
                    "hardware_type": 0,
                    "parameters": {},
                    "packages": {},
                    "for_hardware": [],
                    "has_started": row["status"] == RUNNING,
                }
            )
    files["index.json"] = json.dumps({"1.0": index}).encode()
    return Answer(200, _tar(files), "application/x-tar")


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(content), 0o755, int(time.time())
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def store_result(region: Region, machine: Machine, status: str, data: Fields) -> bool:
    """Keep what a signal says of a script; True if it says something of one."""
    result = _result_of(region, machine, data)
    if result is None:
        return False
    now = time.time()
    if "exit_status" not in data and status != "TIMEDOUT":
        sql = "UPDATE script_run SET status = ?, started = ?, updated = ? WHERE id = ?"
        region.store.db.execute(sql, (RUNNING, now, now, result["id"]))
        return True
    code = _exit_status(data)
    ended = TIMED_OUT if status == "TIMEDOUT" else FAILED if code else PASSED
    name = result["name"]
    region.store.db.execute(
        "UPDATE script_run SET status = ?, exit_status = ?, ended = ?, updated = ?, started = ifnull(started, ?),"
        " output = ?, stdout = ?, stderr = ? WHERE id = ?",
        (ended, code, now, now, now, *_output(name, data), result["id"]),
    )
    if ended != PASSED:
        machine.failed_scripts = True
        record(region.store, machine, EventType.SCRIPT, f"{name} {_STATUS_NAMES[ended].lower()}")
    return True


def _output(name: str, data: Fields) -> tuple[str, ...]:
    """Combined, standard output and errors: files that are called after the script, or one field `output`."""
    combined, out, err = (data.get(name + suffix) for suffix in ("", ".out", ".err"))
    return combined or data.get("output"), out, err


def _exit_status(data: Fields) -> int:
    try:
        return int(data.get("exit_status") or "0")
    except ValueError:
        raise bad_request("exit_status: Please enter an integer value") from None


def _result_of(region: Region, machine: Machine, data: Fields) -> Any:
    numbers = (machine.commissioning_result, machine.testing_result)
    if data.get("script_result_id"):
        row = region.store.row(
            "SELECT * FROM script_run WHERE CAST(id AS TEXT) = ? AND set_id IN (?, ?)",
            data.get("script_result_id"),
            *numbers,
        )
        if row is None:
            raise bad_request(f"ScriptResult {data.get('script_result_id')} not found")
        return row
    name = data.get("script_name")
    if not name:
        return None
    # One of MAAS's own, which the lab's machines have no numbers for.
    kinds = {Status.DEPLOYING: INSTALLATION, Status.TESTING: TESTING}
    number = _current_set(region, machine, kinds.get(machine.status, COMMISSIONING))
    if number is None:
        return None
    sql = "SELECT * FROM script_run WHERE set_id = ? AND name = ?"
    row = region.store.row(sql, number, name)
    if row is None:
        _add(region, number, name, None, None)
        row = region.store.row(sql, number, name)
    return row


# -- nodes/ID/results/ --------------------------------------------------------------------------


def _time(stamp: float | None) -> str | None:
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")


def _show(call: Call, row: Any) -> dict[str, Any]:
    names = call.query.get("filters")
    wanted = names.split(",") if names else None
    results = call.store.rows("SELECT * FROM script_run WHERE set_id = ? ORDER BY name", row["id"])
    base = f"{API}nodes/{row['system_id']}/results/{row['id']}/"
    return {
        "id": row["id"],
        "system_id": row["system_id"],
        "type": row["type"],
        "type_name": _TYPE_NAMES[row["type"]],
        "last_ping": _time(max((result["updated"] for result in results), default=row["created"])),
        "started": _time(min((result["started"] for result in results if result["started"]), default=None)),
        "results": [
            _show_result(call, result)
            for result in results
            if wanted is None or result["name"] in wanted or str(result["id"]) in wanted
        ],
        "resource_uri": base,
    }


def _show_result(call: Call, row: Any) -> dict[str, Any]:
    ran = row["started"] is not None and row["ended"] is not None
    shown = {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "status_name": _STATUS_NAMES[row["status"]],
        "exit_status": row["exit_status"],
        "created": _time(row["created"]),
        "updated": _time(row["updated"]),
        "started": _time(row["started"]),
        "ended": _time(row["ended"]),
        "runtime": str(timedelta(seconds=round(row["ended"] - row["started"]))) if ran else "",
        "script_id": row["script_id"],
        "script_revision_id": row["version_id"],
        "suppressed": False,
        "parameters": {},
    }
    if call.query.flag("include_output"):
        for name in ("output", "stdout", "stderr"):
            shown[name] = base64.b64encode(row[name].encode()).decode()
    return shown


def list_results(call: Call) -> Answer:
    """NodeScriptResults.read: by run, of a type if asked for."""
    machine = call.store.machine(call.params["system_id"])
    rows = call.store.rows("SELECT * FROM script_set WHERE system_id = ? ORDER BY id", machine.system_id)
    wanted = call.query.get("type")
    if wanted:
        kinds = {"commission": 0, "commissioning": 0, "0": 0, "install": 1, "installation": 1, "1": 1}
        kinds |= {"test": 2, "testing": 2, "2": 2}
        if wanted not in kinds:
            text = (
                f'Unknown type "{wanted}": type must be the type numeric value testing, commissioning, or installation.'
            )
            raise form_errors({"__all__": [text]})
        rows = [row for row in rows if row["type"] == kinds[wanted]]
    return Answer.json([_show(call, row) for row in rows])


def _set(call: Call) -> Any:
    machine = call.store.machine(call.params["system_id"])
    wanted = call.params["id"]
    if wanted in _CURRENT:
        wanted = str(_number(machine, _CURRENT[wanted]))
    elif not wanted.isdigit():
        text = (
            f'Unknown id "{wanted}" must be current-commissioning, current-testing, current-installation, or the id'
            " number of a specific result."
        )
        raise form_errors({"__all__": [text]})
    sql = "SELECT * FROM script_set WHERE system_id = ? AND CAST(id AS TEXT) = ?"
    row = call.store.row(sql, machine.system_id, wanted)
    if row is None:
        raise missing("ScriptSet")
    return row


def read_results(call: Call) -> Answer:
    """NodeScriptResult.read"""
    return Answer.json(_show(call, _set(call)))


def download_results(call: Call) -> Answer:
    """NodeScriptResult.download, as text."""
    if call.query.get("filetype", "txt") != "txt":
        raise not_simulated(f"NodeScriptResult.download filetype={call.query.get('filetype')}")
    column = {"": "output", "combined": "output", "stdout": "stdout", "stderr": "stderr"}.get(call.query.get("output"))
    if column is None:
        raise not_simulated(f"NodeScriptResult.download output={call.query.get('output')}")
    names = call.query.get("filters").split(",") if call.query.get("filters") else None
    rows = call.store.rows("SELECT * FROM script_run WHERE set_id = ? ORDER BY name", _set(call)["id"])
    rows = [row for row in rows if names is None or row["name"] in names]
    if len(rows) == 1:
        return Answer(200, rows[0][column].encode(), "application/binary")
    parts = []
    for row in rows:
        dashes = "-" * int((80 - (2 + len(row["name"]))) / 2)
        parts.append(f"{dashes} {row['name']} {dashes}\n{row[column]}\n")
    return Answer(200, "".join(parts).encode(), "application/binary")


# -- installation-results/ ----------------------------------------------------------------------


def list_node_results(call: Call) -> Answer:
    """NodeResults.read: the ended scripts of all current runs, by `system_id`, `name` and `result_type`.

    Follows maasserver/api/results.py.
    """
    wanted = {name: call.query.all(name) for name in ("system_id", "name", "result_type")}
    found = []
    for machine in call.store.machines():
        if wanted["system_id"] and machine.system_id not in wanted["system_id"]:
            continue
        sets = (machine.commissioning_result, machine.installation_result, machine.testing_result)
        found += call.store.rows(
            "SELECT script_run.*, system_id, type FROM script_run JOIN script_set ON script_set.id = set_id"
            " WHERE set_id IN (?, ?, ?) AND exit_status IS NOT NULL ORDER BY script_run.id",
            *sets,
        )
    return Answer.json(
        [
            {
                "id": row["id"],
                "name": row["name"],
                "script_result": row["exit_status"],
                "result_type": row["type"],
                "node": {"system_id": row["system_id"]},
                "data": base64.b64encode(row["output"].encode()).decode(),
                "created": datetime.fromtimestamp(row["created"], UTC).isoformat(),
                "updated": datetime.fromtimestamp(row["updated"], UTC).isoformat(),
                "resource_uri": f"{API}commissioning-scripts/",
            }
            for row in found
            if (not wanted["name"] or row["name"] in wanted["name"])
            and (not wanted["result_type"] or str(row["type"]) in wanted["result_type"])
        ]
    )
