# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_rack_findings
short_description: What ails the operator's machine, the release, MAAS and certificates
version_added: 0.1.0
description:
  - Judges what C(edge.rack.doctor) saw from the operator's machine.
options:
  _input:
    description:
      - C(controller), what the operator's machine has; C(release), the site's C(edge_release); C(maas), MAAS's answer;
        C(devices), whom it knows; C(certificates), the results of M(community.crypto.get_certificate).
    type: dict
    required: true
  limits:
    description: C(certificate_days) and C(disk_free_percent).
    type: dict
    required: true
  now:
    description: Seconds since 1970.
    type: float
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
findings: "{{ doctor_rack | edge.rack.doctor_rack_findings(limits, now().timestamp()) }}"
# => [{"severity": "warning", "host": "registry.example.com", "check": "certificate",
#      "seen": "the certificate on port 5000 ends in 12 days",
#      "fix": "ansible-playbook edge.rack.services, which renews it"}]
"""

RETURN = r"""
_value:
  description: The findings, each with C(severity) (C(error) or C(warning)), C(host), C(check), C(seen) and C(fix).
  type: list
  elements: dict
"""

import calendar
import time
import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.doctor import (
    Finding,
    Found,
    Told,
    answer,
    certificate,
    findings,
)

HERE = "localhost"


def doctor_rack_findings(rack: Told, limits: Told, now: float) -> t.List[Finding]:
    found = findings(HERE, _controller(rack["controller"], float(limits["disk_free_percent"])))
    found += findings(HERE, _release(rack["release"]))
    found += findings(HERE, _maas(rack["maas"], rack["devices"]))
    for one in rack["certificates"]:
        found += findings(one["item"]["server"], _certificate(one, float(limits["certificate_days"]), now))
    return found


def _controller(result: Told, least: float) -> Found:
    about, silence = answer(result)
    if silence:
        yield (
            "error",
            "operator",
            "what is installed here is not known: %s" % silence,
            "pip install -r requirements.txt",
        )
        return
    if not about["python_fits"]:
        yield "error", "operator", "Ansible runs on Python %s" % about["python"], "install it on Python 3.11 or newer"
    for kind, how in (
        ("libraries", "pip install '%s%s'"),
        ("collections", "ansible-galaxy collection install '%s:%s'"),
    ):
        for one in about[kind]:
            if not one["fits"]:
                seen = "%s is %s, wanted is %s" % (one["name"], one["installed"] or "missing", one["wanted"])
                severity = "warning" if one["installed"] else "error"
                yield severity, "operator", seen, how % (one["name"], one["wanted"])
    disk = about["disk"]
    if disk["free_percent"] < least:
        seen = "the disk of %s has %.1f %% free" % (disk["folder"], disk["free_percent"])
        yield "warning", "disk", seen, "du -xhd2 %s | sort -h (edge_controller_dir)" % disk["folder"]


def _release(release: t.Any) -> Found:
    fix = "mend edge_release in group_vars/all/release.yml (inventory/example has one)"
    if not isinstance(release, dict) or not release.get("name") or not release.get("images"):
        yield "error", "release", "edge_release is not set, or has no name or no images", fix
        return
    for image, version in sorted(release["images"].items()):
        if not isinstance(version, dict) or not (version.get("digest") or version.get("tag")):
            yield "error", "release", "edge_release.images.%s has neither digest nor tag" % image, fix


def _maas(result: Told, devices: t.Sized) -> Found:
    if result.get("failed"):
        said = str(result.get("msg") or "no answer")
        fix = "maas_url, maas_api_key, maas_ca_path; on its VM: systemctl --failed, maas status"
        yield "error", "maas", "MAAS does not let us in: %s" % said, fix
    elif not devices:
        yield (
            "warning",
            "maas",
            "MAAS knows no devices, or the inventory did not ask it",
            "ansible-playbook edge.rack.enroll",
        )


def _certificate(result: Told, least: float, now: float) -> Found:
    item = result["item"]
    renew = "ansible-playbook edge.rack.%s" % item["renewed_by"]
    if result.get("failed"):
        seen = "port %s shows no certificate: %s" % (item["port"], result.get("msg"))
        yield "error", "certificate", seen, "%s; on %s: systemctl --failed" % (renew, item["server"])
        return
    end = calendar.timegm(time.strptime(result["not_after"], "%Y%m%d%H%M%SZ"))
    yield from certificate("the certificate on port %s" % item["port"], end - now, least, renew)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_rack_findings": doctor_rack_findings}
