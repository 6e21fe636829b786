# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: edge-converge now|status|pause|resume for who is at the keyboard; the rest is for units and pushes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import files, lock, machine, reports, run
from .settings import Settings, SettingsError

UNIT = "edge-converge.service"
# As edge-trust has it: all well, something is wrong, cannot tell.
GOOD, BAD, UNKNOWN = 0, 1, 2
STARTS = 3
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again


def now(settings: Settings, _options: argparse.Namespace) -> int:
    """Converge, and say what came of it. By the unit, so that its limits hold."""
    print(f"{settings.device} converges; to follow it: journalctl --follow --unit={UNIT}", flush=True)
    # One that goes on may have fetched before what is asked for was there.
    with lock.locked(lock.LOCK, settings.lock_seconds, "a run"):
        before = _last(settings)
    lock.NOW.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for _try in range(STARTS):
        lock.NOW.touch()
        done = subprocess.run(  # noqa: S603 - no shell
            ["systemctl", "start", "--wait", UNIT],  # noqa: S607 - root's PATH
            env={**os.environ, "SYSTEMD_COLORS": "0"},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        # The unit of the one that went on may not have ended yet: then this only waited for that.
        if _last(settings) != before:
            break
    if _last(settings) == before:
        print(f"no run came of it; journalctl --unit={UNIT} says why")
        return BAD
    show(settings, as_json=False)
    return GOOD if done.returncode == 0 else BAD


def status(settings: Settings, options: argparse.Namespace) -> int:
    """Say how it stands; 1 where the last run was no good one, 2 where there was none."""
    return show(settings, as_json=options.json)


def pause(settings: Settings, options: argparse.Namespace) -> int:
    """No run by the timer until then."""
    until = time.time() + options.hours * 3600
    by = os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
    files.write(run.pause_file(settings), {"until": until, "since": time.time(), "by": by, "reason": options.reason})
    print(f"{settings.device} does not converge by itself until {_time(until)}; to end that: edge-converge resume")
    return GOOD


def resume(settings: Settings, _options: argparse.Namespace) -> int:
    """End a pause."""
    run.pause_file(settings).unlink(missing_ok=True)
    print(f"{settings.device} converges by itself")
    return GOOD


def converge(settings: Settings, _options: argparse.Namespace) -> int:
    """What the unit does: nothing while it is paused, unless somebody asked for it."""
    asked = lock.NOW.exists()
    lock.NOW.unlink(missing_ok=True)
    if not asked and (found := run.pause(settings)):
        print(f"paused by {found['by']} until {_time(found['until'])}: {found['reason'] or 'no reason given'}")
        return GOOD
    report = run.run(settings)
    print(_sentence(report))
    return GOOD if report["outcome"] in (*reports.GOOD, "waiting") else BAD


def interrupted(settings: Settings, _options: argparse.Namespace) -> int:
    """What the unit does after its process was ended: SERVICE_RESULT says by what (systemd.exec(5))."""
    left = files.read(run.journal(settings))
    if left:
        why = {"timeout": "it took longer than its deadline", "oom-kill": "it took more memory than it may"}
        result = os.environ.get("SERVICE_RESULT", "")
        files.write(run.journal(settings), left | {"ended_by": why.get(result, f"the run was ended ({result})")})
        run.end_interrupted(settings)
    return GOOD


def send(settings: Settings, _options: argparse.Namespace) -> int:
    """Send what waits."""
    if not settings.reports_url:
        return GOOD
    with lock.sending():
        sent = reports.send_all(_ara(settings), settings.spool) if reports.waiting(settings.spool) else 0
        print(f"{sent} reports sent")
    return GOOD


def _ara(settings: Settings) -> reports.Ara:
    password = settings.password_file.read_text().strip()
    remedy = "configure the device again (edge.rack.configure)"
    return reports.Ara(settings.reports_url, settings.device, password, settings.reports_ca, remedy)


def hold(options: argparse.Namespace) -> int:
    """A push begins. Without the settings: it may be the one that mends them."""
    lock.hold(options.by, options.push, options.seconds, options.wait)
    return GOOD


def release(options: argparse.Namespace) -> int:
    """A push has ended; with --done it is written down as the last one."""
    lock.release(options.push)
    if options.done:
        path = Settings.read().state_dir / "converge.json"
        files.write(path, files.read(path) | {"last_push": {"by": options.by, "ended": time.time()}})
    return GOOD


def _last(settings: Settings) -> object:
    return (files.read(settings.state_dir / "converge.json").get("last") or {}).get("id")


def show(settings: Settings, *, as_json: bool) -> int:
    state = files.read(settings.state_dir / "converge.json")
    last, paused = state.get("last"), run.pause(settings)
    about = {
        "device": settings.device,
        "last": last,
        "last_good": state.get("last_good"),
        "last_push": state.get("last_push"),
        "paused": paused,
        "running": bool(files.read(run.journal(settings))),
        "held_by": lock.holder(),
        "reports_waiting": len(reports.waiting(settings.spool)),
        "release": files.read(settings.state_dir / "release.json").get("name", ""),
        "disk_free_percent": machine.disk_free_percent(settings.state_dir),
        "containers": machine.containers(),
        "deferred": machine.deferred(),
        "waits": files.read(settings.state_dir / "release-wanted.json").get("waits", {}),
    }
    if as_json:
        print(json.dumps(about))
    else:
        print("\n".join(_lines(about)))
    return UNKNOWN if not last else GOOD if last["outcome"] in reports.GOOD else BAD


def _lines(about: dict[str, Any]) -> list[str]:
    last, good, paused = about["last"], about["last_good"], about["paused"]
    lines = [f"{about['device']}: {_sentence(last)}, {_ago(last['ended'])} ago" if last else "no run yet"]
    if good and last and good["id"] != last["id"]:
        lines.append(f"last good run: {_sentence(good)}, {_ago(good['ended'])} ago")
    if push := about["last_push"]:
        lines.append(f"last push: by {push['by']}, {_ago(push['ended'])} ago")
    if paused:
        lines.append(
            f"paused by {paused['by']} until {_time(paused['until'])}: {paused['reason'] or 'no reason given'}"
        )
    if about["deferred"]:
        lines.append(f"waits for the end of a training: {', '.join(about['deferred'])}")
    if waits := about["waits"]:
        opens = f", which opens {_time(waits['opens'])}" if waits["opens"] else ""
        lines.append(f"keeps its release until its wave is open: wave {waits['wave']} of {waits['of']}{opens}")
    if about["running"]:
        lines.append("a run goes on now")
    if held := about["held_by"]:
        lines.append(f"{held['by']} pushes now")
    if about["reports_waiting"]:
        lines.append(f"{about['reports_waiting']} reports wait for the control VM")
    return lines


def _sentence(report: dict[str, Any]) -> str:
    words = {
        "ok": "as it should be",
        "corrective": f"{report.get('changed')} changes put back",
        "changed": f"{report.get('changed')} changes applied",
        "waiting": f"waiting for its first release: {report.get('error')}",
        "failed": f"failed: {report.get('error')}",
        "refused": f"refused: {report.get('error')}",
        "interrupted": f"interrupted: {report.get('error')}",
    }
    commit = f", commit {report['commit'][:12]} {report.get('subject', '')}" if report.get("commit") else ""
    name = f", release {report['release']}" if report.get("release") else ""
    offline = f"; offline: {report['offline']}" if report.get("offline") else ""
    return f"{words[report['outcome']]}{name}{commit}{offline}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _ago(seconds: float) -> str:
    passed = max(0, int(time.time() - seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= 2 * length:
            return f"{passed // length} {unit}"
    return f"{passed} s"


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="edge-converge", description="This device makes itself what its site says.")
    verbs = whole.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, does: Callable[[Settings, argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=words, description=does.__doc__)
        made.set_defaults(does=does, alone=False)
        return made

    verb("now", now, "converge now, paused or not")
    verb("status", status, "what the last run came to").add_argument("--json", action="store_true", help="for programs")
    paused = verb("pause", pause, "no run by the timer for some hours")
    paused.add_argument("--hours", type=float, default=24, help="after which it converges again (default: 24)")
    paused.add_argument("--reason", default="", help="for the next one who asks")
    verb("resume", resume, "end a pause")
    verb("run", converge, "(the unit) one run")
    verb("interrupted", interrupted, "(the unit) what a run left that was ended")
    verb("send", send, "(the unit) send reports that wait")
    for name, does, words in (
        ("hold", hold, "(a push) keep runs away"),
        ("release", release, "(a push) let runs begin again"),
    ):
        push = verbs.add_parser(name, help=words, description=does.__doc__)
        push.set_defaults(does=lambda _settings, options, does=does: does(options), alone=True)
        push.add_argument("--by", required=True, help="who pushes, for people")
        push.add_argument("--push", required=True, help="which push it is")
    push.add_argument("--done", action="store_true", help="it came to its end")
    push = verbs.choices["hold"]
    push.add_argument("--seconds", type=float, default=3600, help="when the hold ends by itself")
    push.add_argument("--wait", type=float, default=600, help="how long to wait for a run that goes on")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.does(None if options.alone else Settings.read(), options))
    except lock.BusyError as error:
        print(f"edge-converge: {error}", file=sys.stderr)
        return BUSY
    except (SettingsError, reports.SendError) as error:
        print(f"edge-converge: {error}", file=sys.stderr)
    except PermissionError as error:
        print(f"edge-converge: {error}: run it as root (sudo edge-converge ...)", file=sys.stderr)
    return BAD
