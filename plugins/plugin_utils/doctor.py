# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of the playbook doctor have in common: findings, and how answers are read."""

from __future__ import annotations

import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils import answers
from ansible_collections.edge.rack.plugins.plugin_utils.answers import said

Told = t.Mapping[str, t.Any]
Finding = t.Dict[str, str]
Found = t.Iterator[t.Tuple[str, str, str, str]]
"""Severity (error or warning), check, what was seen, what mends it."""

LONGEST = 400
DAY = 86400


def findings(host: str, found: Found) -> t.List[Finding]:
    return [
        {"severity": severity, "host": host, "check": check, "seen": " ".join(seen.split())[:LONGEST], "fix": fix}
        for severity, check, seen, fix in found
    ]


def answer(result: Told) -> t.Tuple[t.Dict[str, t.Any], str]:
    """What a program told, or why it told nothing."""
    told, silence = answers.answer(result)
    return told, silence and why(result)


def why(result: Told) -> str:
    """Why a program did not do what it was asked for."""
    if result.get("error") == "missing":
        return "it is not installed"
    return result.get("error") or said(result) or "it ended with %s" % result.get("rc")


def lines(result: Told) -> t.List[str]:
    return [line for line in result.get("stdout", "").splitlines() if line.strip()]


def certificate(which: str, seconds_left: float, least_days: float, renew: str) -> Found:
    """What is to be said of a certificate that ends in so many seconds; nothing where that is far away."""
    days = seconds_left / DAY
    if days < 0:
        yield "error", "certificate", "%s ended %d days ago" % (which, -days), "%s, which renews it" % renew
    elif days < least_days:
        yield "warning", "certificate", "%s ends in %d days" % (which, days), "%s, which renews it" % renew
