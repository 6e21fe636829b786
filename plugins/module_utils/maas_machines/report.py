# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong: each machine by name, with MAAS's own words and the last lines of a script that failed."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.maas import MaasClient, MaasError, Machine, Status
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.plan import Plan
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.run import Runner

FAILED_IN_SCRIPTS = (Status.FAILED_COMMISSIONING, Status.FAILED_TESTING, Status.FAILED_DEPLOYMENT)
EVENTS_FOR = 20
"""Of so many failed machines the events and results are read."""
LAST_LINES = 5


def newest_events(client: MaasClient, plans: t.List[Plan]) -> t.Dict[str, str]:
    """By system id the newest event of MAAS; of a machine that failed the newest bad one of the last few."""
    asked = [plan for plan in plans if plan.row][:EVENTS_FOR]
    answers = client.call_each([("Events.query", {"hostname": p.name, "level": "INFO", "limit": 5}) for p in asked])
    texts = {}
    for plan, answer in zip(asked, answers, strict=True):
        events = [] if isinstance(answer, MaasError) else answer.get("events") or []
        bad = [event for event in events if plan.failure and _tells_of_failure(event)]
        for event in (bad or events)[:1]:
            texts[plan.system_id] = ": ".join(str(event[k]) for k in ("type", "description") if event.get(k))
    return texts


def _tells_of_failure(event: t.Dict[str, t.Any]) -> bool:
    """Of a script MAAS writes one down only where it did not end well; one that timed out may have no exit status."""
    return event.get("level") in ("WARNING", "ERROR", "CRITICAL") or event.get("type") == "Script"


def failed_scripts(client: MaasClient, plans: t.List[Plan]) -> t.Dict[str, t.List[t.Dict[str, t.Any]]]:
    """By system id the scripts that failed, with their last lines. One request for all."""
    asked = [p.system_id for p in plans if p.row and p.row["status"] in FAILED_IN_SCRIPTS][:EVENTS_FOR]
    if not asked:
        return {}
    try:
        results = client.call("NodeResults.read", system_id=asked)
    except MaasError:
        return {}  # The report is of what failed before; that its details cannot be read is no news.
    scripts = {}  # type: t.Dict[str, t.List[t.Dict[str, t.Any]]]
    for result in results:
        if result.get("script_result"):
            entry = {
                "name": result["name"],
                "exit_status": result["script_result"],
                "last_lines": _last_lines(result.get("data") or ""),
            }
            scripts.setdefault(result["node"]["system_id"], []).append(entry)
    return scripts


def _last_lines(data: str) -> t.List[str]:
    try:
        text = base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        text = data
    return [line for line in (line.strip() for line in text.splitlines()) if line][-LAST_LINES:]


def _told(script: t.Dict[str, t.Any]) -> str:
    lines = " | ".join(script["last_lines"])
    return "script %s ended with %s%s" % (script["name"], script["exit_status"], ": " + lines if lines else "")


def failure_report(client: MaasClient, runner: Runner) -> t.Dict[str, t.Any]:
    params = runner.params
    failed = [plan for plan in runner.plans if plan.failure]
    late = runner.late()
    # What was refused says it all; nothing happened to it.
    events = newest_events(client, [plan for plan in failed if not plan.refused] + late)
    for plan in late:
        plan.fail(
            "it is still %s" % runner.what_is_seen(plan)
            if runner.has_begun(plan)
            else "its turn did not come, it is still %s (`at_once` is %s)"
            % (t.cast(Machine, plan.row)["status_name"], params["at_once"]),
            "Raise `wait_timeout_seconds` (now %d), or look at its console; a further run goes on waiting."
            % params["wait_timeout_seconds"],
        )
    scripts = failed_scripts(client, [plan for plan in failed if not plan.refused])
    entries = [
        _failed_machine(plan, events.get(plan.system_id, ""), scripts.get(plan.system_id, [])) for plan in failed + late
    ]
    lines = []
    for entry in entries:
        message = entry["status_message"]
        told = [message] if message and message not in (entry["status"], entry["reason"]) else []
        told += ["event: " + entry["event"]] if entry["event"] and _words(entry["event"]) != _words(message) else []
        told += [_told(script) for script in entry["scripts"]]
        where = " (%s)" % entry["system_id"] if entry["system_id"] else ""
        remedy = "" if entry["reason"].endswith(entry["remedy"]) else " " + entry["remedy"]
        details = " [%s]" % "; ".join(told) if told else ""
        lines.append("- %s%s: %s%s.%s" % (entry["machine"], where, entry["reason"].rstrip("."), details, remedy))
    head = "%d of %d machines did not become %s" % (len(entries), len(runner.plans), params["state"])
    if late:
        head += ", %d of them not within %d seconds" % (len(late), params["wait_timeout_seconds"])
    return {"msg": "%s:\n%s" % (head, "\n".join(lines)), "failed_machines": entries}


def _words(text: str) -> t.List[str]:
    return re.findall(r"\w+", text)


def _failed_machine(plan: Plan, event: str, scripts: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    row = plan.row or {}
    return {
        "machine": plan.name,
        "system_id": plan.system_id,
        "status": row.get("status_name") or "",
        "status_message": row.get("status_message") or "",
        "event": event,
        "scripts": scripts,
        "reason": plan.failure,
        "remedy": plan.remedy,
    }
