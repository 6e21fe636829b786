# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_device_findings
short_description: What ails devices of the rack
version_added: 0.1.0
description:
  - Judges its status in MAAS, Docker Engine and containers, and the servers as the device itself is known there, by
    what each device answered to C(edge.rack.doctor).
  - Of how a device converges P(edge.rack.doctor_pull_findings#filter) tells.
  - Of one that did not answer P(edge.rack.doctor_machine_findings#filter) tells.
options:
  _input:
    description: Names of the devices.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars). A device has its answer in C(doctor_answer).
    type: dict
    required: true
  limits:
    description: C(certificate_days).
    type: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
findings: "{{ groups['devices'] | edge.rack.doctor_device_findings(hostvars, doctor_limits) }}"
# => [{"severity": "error", "host": "nuc-002", "check": "docker", "seen": "Docker Engine does not answer: ...",
#      "fix": "systemctl restart docker; journalctl --unit=docker says why"}]
"""

RETURN = r"""
_value:
  description: The findings, each with C(severity) (C(error) or C(warning)), C(host), C(check), C(seen) and C(fix).
  type: list
  elements: dict
"""

import json
import re
import ssl
import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.doctor import (
    Finding,
    Found,
    Told,
    answer,
    certificate,
    findings,
    lines,
    why,
)

OLDEST_DOCKER = (20, 10)
# What MAAS calls those that are on their way, or wait for somebody who deploys them.
COMING = ("New", "Commissioning", "Testing", "Ready", "Allocated", "Deploying", "Entering rescue mode", "Rescue mode")
ILL = ("unhealthy", "restarting", "dead")


def doctor_device_findings(devices: t.Iterable[str], hostvars: Told, limits: Told) -> t.List[Finding]:
    least = float(limits["certificate_days"])
    return [one for host in devices for one in findings(host, _judge(host, hostvars[host], least))]


def _judge(host: str, about: Told, least: float) -> Found:
    status = about.get("maas_status", "Deployed")
    if status != "Deployed":
        if "retired" not in about.get("maas_tags", ()):
            fix = "ansible-playbook edge.rack.enroll, which says what MAAS saw"
            yield "warning" if status in COMING else "error", "maas", "MAAS calls it %s" % status, fix
        return
    told = answer(about.get("doctor_answer") or {})[0]
    if told:
        yield from _docker(told["programs"]["docker"])
        yield from _containers(told["programs"]["containers"])
        for name, result in told["services"].items():
            yield from _service(host, name, result)
        yield from _manager(host, told["programs"]["certificate"], float(about["doctor_received"]), least)


def _docker(result: Told) -> Found:
    version = result.get("stdout", "")
    if result.get("rc") != 0 or not version:
        missing = result.get("error") == "missing"
        fix = (
            "ansible-playbook edge.rack.configure" if missing else "journalctl --unit=docker; systemctl restart docker"
        )
        yield "error", "docker", "Docker Engine does not answer: %s" % why(result), fix
        return
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_DOCKER:
        seen = "Docker Engine is %s; the rack is tried with 20.10 and newer" % version
        yield "warning", "docker", seen, "deploy it anew, with the image of edge.rack.images"


def _containers(result: Told) -> Found:
    """Those of the rack: whatever else runs there is not its business."""
    for line in lines(result):
        one = json.loads(line)
        name, state = one["Names"], "unhealthy" if "(unhealthy)" in one["Status"] else one["State"]
        if state in ILL or (name == "edge-predictor" and state == "exited"):
            yield (
                "error",
                "containers",
                "%s is %s" % (name, state),
                "docker logs --tail=50 %s; edge-commit status" % name,
            )


def _service(host: str, name: str, result: Told) -> Found:
    """A server as the device itself is known there."""
    check = "reports" if name.startswith("ARA") else "registry"
    status, error = result.get("status"), result.get("error", "")
    again = "ansible-playbook edge.rack.configure --limit %s" % host
    if status in (401, 403):
        renew = "control_node_renew_enabled" if check == "reports" else "docker_engine_password_renew_enabled"
        seen = "%s refuses the account of this device (%d)" % (name, status)
        yield "error", check, seen, "%s; one that was revoked comes back with -e %s=true" % (again, renew)
    elif result.get("kind") == "credential":
        yield "error", check, "it has no account for %s: %s" % (name, error), again
    elif result.get("kind") == "certificate":
        seen = "%s has a certificate that this device does not trust: %s" % (name, error)
        yield "error", check, seen, "ansible-playbook edge.rack.services; if the authority is a new one: %s" % again
    elif status != 200:
        seen = "%s: %s" % (name, error or "it answers %s" % status)
        yield "error", check, seen, "the server's own findings; where it has none: this device's names, route, firewall"


def _manager(host: str, result: Told, now: float, least: float) -> Found:
    """The Device Manager's certificate; a release may have no Device Manager."""
    end = result.get("stdout", "").strip().partition("notAfter=")[2]
    if end:
        renew = "ansible-playbook edge.rack.configure --limit %s" % host
        yield from certificate("its Device Manager's certificate", ssl.cert_time_to_seconds(end) - now, least, renew)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_device_findings": doctor_device_findings}
