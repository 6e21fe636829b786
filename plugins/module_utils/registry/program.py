# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``edge-registry-clean``: the clean-up as a program, for the timer and for people."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import typing as t

from . import clean
from .errors import RegistryError
from .plan import Plan
from .settings import PATH, Settings


STOPPED = "stopped; the registry takes pushes, the next run goes on."
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal says to end: the service is being stopped, or the terminal is gone."""


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """Returns the exit status: 0 done, 1 not done, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="edge-registry-clean", description="Removes images that nothing needs.")
    parser.add_argument("action", nargs="?", choices=["run", "restore"], help="clean; or accept pushes after a kill")
    parser.add_argument("--plan", action="store_true", help="list each image with the rule that keeps or drops it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="for the lock; default: 0, for a plan 30")
    parser.add_argument("--settings", default=PATH, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.plan == bool(options.action):
        parser.error("say one of: --plan, run, restore")
    stop_in_order()
    try:
        settings = Settings.load(options.settings)
        if options.plan:
            plan = clean.make_plan(settings, clean.PLAN_WAIT_SECONDS if options.wait is None else options.wait)
            say(json.dumps(plan_result(plan), indent=1) if options.json else plan_text(plan))
            plan.require_complete()
            plan.require_devices()
        elif options.action == "restore":
            cut = clean.restore(settings, options.wait or 0)
            say("The registry takes pushes again." if cut else "The registry takes pushes; nothing was to be done.")
        else:
            report = clean.clean(settings, options.wait or 0)
            say(json.dumps(report, indent=1) if options.json else report_text(report))
    except RegistryError as error:
        say("edge-registry-clean: %s" % error, sys.stderr)
        return 1
    except Stopped:
        say("edge-registry-clean: %s" % STOPPED, sys.stderr)
        return 1
    return 0


def plan_result(plan: Plan) -> t.Dict[str, t.Any]:
    verdicts = plan.decision.verdicts
    return {
        "kept": [verdict.as_result() for verdict in verdicts if verdict.kept],
        "dropped": [verdict.as_result() for verdict in verdicts if not verdict.kept],
        "frees_bytes": plan.frees_bytes,
        "missing": [*plan.problems, *plan.decision.lost],
        "unread": list(plan.unread),
    }


def plan_text(plan: Plan) -> str:
    result = plan_result(plan)
    lines = [line("keep", image) for image in result["kept"]] + [line("drop", image) for image in result["dropped"]]
    lines += ["MISSING %s" % problem for problem in result["missing"]]
    lines += ["UNREAD %s" % problem for problem in result["unread"]]
    counted = (len(result["kept"]), len(result["dropped"]), megabytes(result["frees_bytes"]))
    return "\n".join([*lines, "keeps %d, drops %d, frees %s" % counted])


def report_text(report: clean.Report) -> str:
    lines = [line("dropped", image) for image in report["dropped"]]
    verified = report["verified"]
    lines.append(
        "kept %d, dropped %d, freed %s; read back and verified: %d manifests, %d blobs, %s"
        % (
            len(report["kept"]),
            len(report["dropped"]),
            megabytes(report["freed_bytes"]),
            verified["manifests"],
            verified["blobs"],
            megabytes(verified["bytes"]),
        )
    )
    return "\n".join(lines)


def line(verdict: str, image: t.Mapping[str, t.Any]) -> str:
    name = "%s@%s" % (image["repository"], image["digest"][:19])
    tags = image["tags"]
    shown = ", ".join(tags[:3]) + (" and %d more" % (len(tags) - 3) if len(tags) > 3 else "") or "untagged"
    return "%s %s  %s  %s  %s" % (verdict, name, shown, megabytes(image["size_bytes"]), "; ".join(image["rules"]))


def megabytes(size: float) -> str:
    return "%.1f MB" % (size / 1e6)


def stop_in_order() -> None:
    """Have signals that end a program raise Stopped, so that a run gives the registry back first."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)


def _stop(_signal: int, _frame: object) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # it is on its way already
    raise Stopped


def say(text: str, to: t.Optional[t.TextIO] = None) -> None:
    (to or sys.stdout).write(text + "\n")
