"""What the scripts said that ran on a machine: `installation-results/`, which lists the results of all kinds.

The real environment uploads the output of each script as a file; here it is the field `output` beside the
`script_name` and `exit_status` of a signal.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.model import Machine
from lab.maas_simulator.region import API, Call
from lab.maas_simulator.statuses import Status
from lab.maas_simulator.store import Store

_COMMISSIONING, _INSTALLATION, _TESTING = 0, 1, 2
_KINDS = {Status.DEPLOYING: _INSTALLATION, Status.TESTING: _TESTING}


def forget_results(store: Store, machine: Machine) -> None:
    """A new script set replaces the current one, and only current ones are listed."""
    store.db.execute("DELETE FROM script_result WHERE system_id = ?", (machine.system_id,))


def store_result(store: Store, machine: Machine, name: str, exit_status: int, output: str) -> None:
    """The result of one script, of the kind that the machine's status says."""
    store.db.execute(
        "INSERT INTO script_result (system_id, name, kind, exit_status, output, created) VALUES (?, ?, ?, ?, ?, ?)",
        (machine.system_id, name, _KINDS.get(machine.status, _COMMISSIONING), exit_status, output, time.time()),
    )


def list_results(call: Call) -> Answer:
    """NodeResults.read, by `system_id`, `name` and `result_type` (maasserver/api/results.py)."""
    where, values = ["1 = 1"], []
    for field, column in (("system_id", "system_id"), ("name", "name"), ("result_type", "kind")):
        given = call.query.all(field)
        if given:
            where.append(f"{column} IN ({', '.join('?' * len(given))})")
            values += given
    rows = call.store.rows(f"SELECT * FROM script_result WHERE {' AND '.join(where)} ORDER BY id", *values)  # noqa: S608
    return Answer.json(
        [
            {
                "id": row["id"],
                "name": row["name"],
                "script_result": row["exit_status"],
                "result_type": row["kind"],
                "node": {"system_id": row["system_id"]},
                "data": base64.b64encode(row["output"].encode()).decode(),
                "created": _moment(row["created"]),
                "updated": _moment(row["created"]),
                "resource_uri": f"{API}commissioning-scripts/",
            }
            for row in rows
        ]
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
