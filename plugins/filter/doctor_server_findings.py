# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_server_findings
short_description: What ails the registry and the control node
version_added: 0.1.0
description:
  - Judges what a registry's own health check says, what it holds of the release, the site's repository and ARA by what
    each server answered to C(edge.rack.doctor).
  - Of one that did not answer P(edge.rack.doctor_machine_findings#filter) tells.
options:
  _input:
    description: Names of the servers.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). A server has its answer in C(doctor_answer); a registry what it holds
        of the release in C(doctor_images), a control node how ARA answers in C(doctor_ara).
    type: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
findings: "{{ groups['registry'] | edge.rack.doctor_server_findings(hostvars) }}"
# => [{"severity": "error", "host": "registry.example.com", "check": "images",
#      "seen": "the release names edge/worker:0.2.0, which the registry does not hold",
#      "fix": "ansible-playbook edge.rack.images, ..."}]
"""

RETURN = r"""
_value:
  description: The findings, each with C(severity) (C(error) or C(warning)), C(host), C(check), C(seen) and C(fix).
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.doctor import Finding, Found, Told, answer, findings, why

REGISTRY_FIXES = {
    "front": "ansible-playbook edge.rack.services; journalctl --unit=nginx",
    "storage": "journalctl --unit=docker-registry",
    "disk": "ansible-playbook edge.rack.prune_registry, or a larger disk",
    "backup": "systemctl start edge-registry-backup; journalctl --unit=edge-registry-backup",
    "clean_up": "systemctl start edge-registry-clean; journalctl --unit=edge-registry-clean",
}


def doctor_server_findings(servers: t.Iterable[str], hostvars: Told) -> t.List[Finding]:
    return [one for host in servers for one in findings(host, _judge(hostvars[host]))]


def _judge(about: Told) -> Found:
    programs = answer(about.get("doctor_answer") or {})[0].get("programs", {})
    if "registry" in programs:
        yield from _registry(programs["registry"])
    if "repository" in programs:
        yield from _repository(programs["repository"])
    for image in (about.get("doctor_images") or {}).get("results", ()):
        if not image.get("skipped"):
            yield from _image(image)
    if not about.get("doctor_ara", {"skipped": True}).get("skipped"):
        yield from _ara(about["doctor_ara"])


def _registry(result: Told) -> Found:
    health, silence = answer(result)
    if silence:
        seen = "its health check does not answer: %s" % silence
        yield "error", "registry", seen, "ansible-playbook edge.rack.services"
    for name, text in sorted(health.get("wrong", {}).items()):
        severity = "warning" if name in ("backup", "clean_up") else "error"
        yield severity, "registry", text, REGISTRY_FIXES.get(name, "edge-registry-health")


def _repository(result: Told) -> Found:
    if result.get("rc") == 1:
        seen, fix = (
            "the site's repository has no commit on main: devices have nothing to fetch",
            "git push (docs/pull.md)",
        )
        yield "error", "site", seen, fix
    elif result.get("rc") != 0:
        seen = "the site's repository cannot be read: %s" % why(result)
        yield "error", "site", seen, "ansible-playbook edge.rack.services"


def _image(result: Told) -> Found:
    status, name = result.get("status"), result["item"]
    if status == 404:
        verb = "publish_model" if name.startswith("model/") else "images"
        seen = "the release names %s, which the registry does not hold" % name.replace("/manifests/", ":")
        yield "error", "images", seen, "ansible-playbook edge.rack.%s, or name one that is there (edge_release)" % verb
    elif status in (401, 403):
        fix = "release_registry_account and registry_accounts, then ansible-playbook edge.rack.services"
        yield "error", "registry", "it refuses the site's account (%d)" % status, fix
    elif status != 200:
        seen = "asked for %s: %s" % (name, result.get("msg"))
        yield "error", "registry", seen, "edge-registry-health; ansible-playbook edge.rack.services"


def _ara(result: Told) -> Found:
    status = result.get("status")
    if status in (401, 403):
        fix = "control_node_accounts, then ansible-playbook edge.rack.services"
        yield "error", "reports", "ARA refuses the site's account (%d)" % status, fix
    elif status != 200:
        fix = "journalctl --unit=edge-ara; systemctl restart edge-ara nginx"
        yield "error", "reports", "ARA does not answer: %s" % result.get("msg"), fix


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_server_findings": doctor_server_findings}
