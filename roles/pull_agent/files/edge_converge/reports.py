# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports on their way to ARA: oldest first, each whole or not at all.

A report is a playbook there, which is `running` until all of it has arrived. What was sent is noted beside its file, so
a cut costs nothing, and where the playbook itself is in doubt the server is asked for it by a label of its own. A part
whose answer was lost may stand there twice.
API: https://ara.readthedocs.io (API documentation).
By the standard library, for a device has no other use for ARA's client and what that needs. A controller sends by this,
too, what it pushed (the callback plugin edge.rack.push_reports).
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import time
import urllib.parse
from pathlib import Path
from typing import Any

from . import files

GOOD = ("ok", "corrective", "changed")


class SendError(Exception):
    """A report could not be sent, and stays; the text says why and what to do."""


class RefusedError(SendError):
    """The server does not take this part of a report, for good or for as long as it takes nothing of this account."""

    def __init__(self, message: str, *, for_good: bool) -> None:
        super().__init__(message)
        self.for_good = for_good


class Ara:
    """ARA's API by one connection, with one account."""

    def __init__(
        self,
        url: str,
        account: str,
        password: str,
        ca: Path,
        remedy: str,
        *,
        timeout: float = 30,
        seconds: float = 600,
        for_good: tuple[int, ...] = (400, 403, 404),
    ) -> None:
        """For so many seconds in all. The remedy is for who reads that the account is refused.

        for_good: answers that a report will always get, where its parts are not ones that the server has lost.
        """
        self.url, self.remedy, self.deadline = url.rstrip("/"), remedy, time.monotonic() + seconds
        self.for_good = for_good
        token = base64.b64encode(f"{account}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        place = urllib.parse.urlsplit(self.url)
        self.origin = f"{place.scheme}://{place.netloc}"
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except OSError as error:
            raise SendError(f"{ca} holds no certificate of the rack's authority ({error})") from error
        self.link = http.client.HTTPSConnection(place.netloc, timeout=timeout, context=context)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON object; SendError where there is none."""
        url = f"{self.url}/api/v1/{path}"
        if time.monotonic() > self.deadline:
            raise SendError(f"{self.url} is too slow; the rest is sent later")
        try:
            content = None if body is None else json.dumps(body).encode()
            self.link.request(method, url.removeprefix(self.origin), content, self.headers)
            answer = self.link.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.link.close()
            raise SendError(f"{self.url} does not answer ({error}); it is tried again") from error
        if answer.status >= 300:
            fix = self.remedy if answer.status in (401, 403) else "see the log of edge-ara on the control VM"
            text = said[:500].decode(errors="replace").strip()
            message = f"{method} {url} answers {answer.status} {answer.reason}: {text} ({fix})"
            if answer.status in (400, 403, 404):
                raise RefusedError(message, for_good=answer.status in self.for_good)
            raise SendError(message)
        try:
            return dict(json.loads(said or b"{}"))
        except ValueError as error:
            raise SendError(f"{method} {url} answers no JSON: {error}") from error


def waiting(spool: Path) -> list[Path]:
    """Reports that have not been sent, oldest first."""
    return sorted(path for path in spool.glob("*.json") if not path.name.startswith("."))


def send_all(ara: Ara, spool: Path) -> int:
    """Send what waits; how many were sent. SendError at the first that could not be: the rest would fare alike."""
    reports = waiting(spool)
    for path in reports:
        send_or_set_aside(ara, path)
    return len(reports)


def send_or_set_aside(ara: Ara, path: Path) -> None:
    """Send one. What the server never takes is set aside, so that the others do not wait behind it for ever."""
    had = noted(path)
    try:
        send(ara, path)
    except RefusedError as error:
        # The server may have lost what it had of it: a restore, another database. What it has is not sent twice.
        if had and had.get("playbook") not in _playbooks(ara, files.read(path)["id"]):
            _beside(path).unlink()
            return send_or_set_aside(ara, path)
        if not error.for_good:
            raise
        aside = path.parent / "refused"
        aside.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside / path.name)
        _beside(path).unlink(missing_ok=True)
        return None
    path.unlink()
    _beside(path).unlink(missing_ok=True)
    return None


def trim(spool: Path, kept: int) -> None:
    """Keep the disk of a device that is cut off for months: the oldest of what changed nothing goes first."""
    reports = waiting(spool)
    surplus = len(reports) - kept
    if surplus > 0:
        boring = [path for path in reports if files.read(path).get("outcome") == "ok"]
        for path in (boring + [path for path in reports if path not in boring])[:surplus]:
            path.unlink()
            _beside(path).unlink(missing_ok=True)


def send(ara: Ara, path: Path) -> None:
    """Put one report there, or what is missing of it."""
    found = files.read(path)
    if not found:  # the disk broke it: there is nothing to send
        return
    report, there = whole(found), noted(path)

    def once(name: str, kind: str, about: dict[str, Any]) -> int:
        if name not in there:
            there[name] = int(ara.call("POST", kind, about)["id"])
            _note(path, name, there[name])
        return there[name]

    if "playbook" not in there:
        for number in _playbooks(ara, report["id"]):
            there["playbook"] = number
    times = {"started": _time(report["started"]), "ended": _time(report["ended"])}
    playbook = once("playbook", "playbooks", _playbook(report, times))
    of_it = {"playbook": playbook}
    source = once("file", "files", {**of_it, "path": report["path"], "content": _text(report)})
    plays = [
        once(f"play {number}", "plays", {**of_it, **_play(play, times)}) for number, play in enumerate(report["plays"])
    ]
    hosts = {
        name: once(f"host {name}", "hosts", {**of_it, "name": name, **host["counts"]})
        for name, host in report["hosts"].items()
    }
    for number, task in enumerate(report["tasks"]):
        of_play = {**of_it, "play": plays[task["play"]]}
        made = once(f"task {number}", "tasks", {**of_play, "file": source, **_task(task, times)})
        for host, result in task["results"].items():
            of_task = {**of_play, "task": made, "host": hosts[host]}
            once(f"result {number} {host}", "results", {**of_task, **_result(result, times)})
    status = "completed" if report["outcome"] in (*GOOD, "waiting") else "failed"
    ara.call("PATCH", f"playbooks/{playbook}", {"status": status, "ended": times["ended"]})


def whole(report: dict[str, Any]) -> dict[str, Any]:
    """With what goes without saying in a run of a device's own: it is one play, and on that device alone."""
    if report["mode"] != "pull":
        return report
    device, release, tasks = report["device"], report.get("release"), report.get("tasks", [])
    counts = {kind: sum(task["status"] == kind for task in tasks) for kind in ("changed", "failed")}
    return {
        **report,
        "name": f"{device} {release or 'no release'}",
        "path": "converge.yml",
        "controller": device,
        "user": "root",
        "ansible_version": report.get("ansible_version") or "unknown",
        "releases": [release] if release else [],
        "plays": [{"name": f"Converge {device}", "uuid": report["id"]}],
        "hosts": {device: {"outcome": report["outcome"], "release": release, "counts": counts}},
        "tasks": [{**task, "play": 0, "results": {device: task}} for task in tasks],
    }


def noted(path: Path) -> dict[str, int]:
    """What of a report the server has: its numbers there."""
    found: dict[str, int] = {}
    if _beside(path).exists():
        for line in _beside(path).read_text().splitlines():
            number, _space, name = line.partition(" ")
            # The last line may be cut.
            if name.endswith(";") and number.isdecimal():
                found[name[:-1]] = int(number)
    return found


def _note(path: Path, name: str, number: int) -> None:
    with _beside(path).open("a") as file:
        file.write(f"{number} {name};\n")
        file.flush()
        os.fsync(file.fileno())


def _beside(path: Path) -> Path:
    return path.with_suffix(".sent")


def _playbooks(ara: Ara, run: str) -> list[int]:
    """The server's numbers for a run."""
    words = urllib.parse.urlencode({"label": _label(run)})
    return [int(one["id"]) for one in ara.call("GET", f"playbooks?{words}").get("results", [])]


def _label(run: str) -> str:
    return f"run:{run}"


def _playbook(report: dict[str, Any], times: dict[str, str]) -> dict[str, Any]:
    labels = [_label(report["id"]), report["mode"], f"outcome:{report['outcome']}"]
    labels += [f"release:{name}" for name in report["releases"]]
    labels += ["offline"] if report.get("offline") else []
    about = {name: report[name] for name in ("name", "path", "controller", "user", "ansible_version")}
    return {**about, "status": "running", "started": times["started"], "arguments": {}, "labels": labels}


def _play(play: dict[str, Any], times: dict[str, str]) -> dict[str, Any]:
    return {"name": play["name"], "uuid": play["uuid"], "status": "completed", **_times(play, times)}


def _task(task: dict[str, Any], times: dict[str, str]) -> dict[str, Any]:
    bad = any(result["status"] != "changed" for result in task["results"].values())
    about = {"name": task["name"], "action": task["action"], "status": "failed" if bad else "completed"}
    return {**about, "lineno": 1, "handler": False, "tags": [], **_times(task, times)}


def _result(result: dict[str, Any], times: dict[str, str]) -> dict[str, Any]:
    changed = result["status"] == "changed"
    content = {"changed": changed, "msg": result.get("message", "")}
    status = "ok" if changed else result["status"]
    return {"content": content, "changed": changed, "status": status, **_times(result, times)}


def _text(report: dict[str, Any]) -> str:
    """What a person reads first."""
    lines = [f"{report['name']} by {report['mode']}, {report['user']}@{report['controller']}: {report['outcome']}"]
    lines += [f"commit {report['commit']} {report.get('subject', '')}"] if report.get("commit") else []
    lines += [f"{name}: {report[name]}" for name in ("offline", "refused", "error") if report.get(name)]
    for name, host in sorted(report["hosts"].items()):
        release = f", release {host['release']}" if host.get("release") else ""
        counts = ", ".join(f"{number} {kind}" for kind, number in host["counts"].items() if number)
        lines.append(f"{name}: {host['outcome']}{release}{f' ({counts})' if counts else ''}")
    return "\n".join(lines) + "\n"


def _times(part: dict[str, Any], those_of_the_run: dict[str, str]) -> dict[str, str]:
    return {name: _time(part[name]) if part.get(name) else given for name, given in those_of_the_run.items()}


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"
