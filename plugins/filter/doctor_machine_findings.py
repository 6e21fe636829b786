# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_machine_findings
short_description: What ails machines of the rack, whatever they are for
version_added: 0.1.0
description:
  - Judges reachability, clock, disks, memory, names and units by what each machine answered to the playbook
    C(edge.rack.doctor).
  - A machine that did not answer is a finding, too, and hides no other.
options:
  _input:
    description: Names of the machines.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). A machine has its answer in C(doctor_answer), and when that came in
        C(doctor_received).
      - One that was not asked is left out.
    type: dict
    required: true
  devices:
    description: Those of them that are devices.
    type: list
    elements: str
    required: true
  limits:
    description: C(clock_seconds), C(disk_free_percent) and C(memory_free_percent).
    type: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
findings: "{{ ansible_play_hosts_all | edge.rack.doctor_machine_findings(hostvars, groups['devices'], limits) }}"
# => [{"severity": "warning", "host": "nuc-002", "check": "clock", "seen": "its clock is 42 s behind the operator's",
#      "fix": "timedatectl timesync-status; maas_server_settings.ntp_servers"}]
"""

RETURN = r"""
_value:
  description: The findings, each with C(severity) (C(error) or C(warning)), C(host), C(check), C(seen) and C(fix).
  type: list
  elements: dict
"""

import ipaddress
import re
import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.doctor import Finding, Found, Told, answer, findings, lines

# Units whose failure ends up in a finding of its own, with what they say themselves.
TOLD_ELSEWHERE = ("edge-converge.service", "edge-registry-health.service")
RACKS_OWN = ("edge-", "docker", "nginx", "maas", "snap.maas")
# What Ansible says before SSH does.
INTRODUCTION = re.compile(r"^(Task failed: )?(.*?(via|over) ssh: )?", re.S)
OVERLOADED = (
    "it takes connections, but not even a short program ends in time: uptime, vmstat 1, dmesg there; "
    "if it hangs, power it off and on"
)
# What SSH and Ansible say (in lower case) where they do not get in, and what mends it. The first that fits counts.
WAYS_IN = (
    ("permission denied", "the key it was deployed with: ansible_user, ansible_ssh_private_key_file"),
    ("could not resolve", "give it an address: ansible_host, or a record in the operator's DNS"),
    ("connection refused", "it is on, but SSH is not; at its console: systemctl status ssh"),
    (
        "escalation prompt",
        "it takes connections and answers nothing: it hangs; see its console, then power it off and on",
    ),
    ("sudo", "let ansible_user become root without a password, or give --ask-become-pass"),
    ("python", "apt-get install python3"),
)


def doctor_machine_findings(
    machines: t.Iterable[str], hostvars: Told, devices: t.Container[str], limits: Told
) -> t.List[Finding]:
    found = []
    for host in machines:
        if not hostvars[host].get("doctor_answer", {"skipped": True}).get("skipped"):
            found += findings(host, _judge(host, hostvars, host in devices, limits))
    return found


def _judge(host: str, hostvars: Told, device: bool, limits: Told) -> Found:
    about = hostvars[host]
    told, silence = answer(about["doctor_answer"])
    if about["doctor_answer"].get("timedout"):
        yield "error", "ssh", silence, OVERLOADED
        return
    if silence:
        yield "error", "ssh", *_unheard(silence, device)
        return
    yield from _clock(told["clock"], float(about["doctor_received"]), float(limits["clock_seconds"]))
    yield from _disks(told["disks"], float(limits["disk_free_percent"]))
    yield from _memory(told["memory"], float(limits["memory_free_percent"]))
    yield from _names(told["names"], about, hostvars)
    yield from _units(told["programs"]["failed_units"])


def _unheard(silence: str, device: bool) -> t.Tuple[str, str]:
    """What was seen, and what mends it."""
    silence = INTRODUCTION.sub("", silence)
    said = silence.lower()
    if "host identification has changed" in said or "host key is known" in said or "host key verification" in said:
        shown = re.search(r"SHA256:[A-Za-z0-9+/]+", silence)
        seen = "its SSH host key %s" % ("has changed; it shows %s" % shown[0] if shown else "is not known")
        new = (
            "edge.rack.enroll asks MAAS for its key"
            if device
            else "ssh-keygen -R its name and address, -f edge_known_hosts_file"
        )
        return seen, "if it was installed anew: %s; if not, somebody else answers at its address: find out who" % new
    for words, fix in WAYS_IN:
        if words in said:
            return silence, fix
    if device:
        return (
            silence,
            "is it on? MAAS's page of the machine says so, and what happened to it; then cable, switch, ansible_host",
        )
    return silence, "is the VM on? ansible-playbook edge.rack.hypervisor --check; then its network, ansible_host"


def _clock(clock: Told, received: float, most: float) -> Found:
    """Wrong by so much at least: how long question and answer took is in neither difference."""
    ahead = clock["ended"] - received
    behind = float(clock["sent"]) - clock["begun"]
    for seconds, how in ((ahead, "ahead of"), (behind, "behind")):
        if seconds > most:
            seen = "its clock is %.0f s %s the operator's" % (seconds, how)
            yield "warning", "clock", seen, "timedatectl timesync-status; MAAS names the time servers (ntp_servers)"


def _disks(disks: t.Iterable[Told], least: float) -> Found:
    for disk in disks:
        if disk["free_percent"] < least:
            seen = "%s has %.1f %% free, %.1f GB" % (disk["folder"], disk["free_percent"], disk["free_bytes"] / 1e9)
            severity = "error" if disk["free_percent"] < least / 5 else "warning"
            yield severity, "disk", seen, "du -xhd2 %s | sort -h; docker system df" % disk["folder"]


def _memory(memory: Told, least: float) -> Found:
    if memory["available_mib"] < memory["total_mib"] * least / 100:
        seen = "%d of %d MiB of memory are available" % (memory["available_mib"], memory["total_mib"])
        yield "warning", "memory", seen, "docker stats --no-stream; ps aux --sort=-rss | head"


def _names(names: t.Mapping[str, Told], about: Told, hostvars: Told) -> Found:
    for name, found in names.items():
        wanted = _address(name, about, hostvars)
        if not found.get("error"):
            if wanted and wanted not in found["addresses"]:
                seen = "%s is %s for it, and %s in the inventory" % (name, ", ".join(found["addresses"]), wanted)
                yield "warning", "dns", seen, "one of both is old: maas_server_dns_records, or ansible_host"
        elif name != about.get("maas_fqdn"):  # its own name, which nothing needs
            fix = "maas_server_dns_records, then edge.rack.services; resolvectl status says whom it asks"
            yield "error", "dns", "it does not resolve %s: %s" % (name, found["error"]), fix


def _address(name: str, about: Told, hostvars: Told) -> str:
    """What a name stands for, as far as the inventory says so."""
    if name == about.get("maas_fqdn"):
        host = about.get("ansible_host", "")
    else:
        host = hostvars[name].get("ansible_host", "") if name in hostvars else ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


def _units(result: Told) -> Found:
    for unit in (line.split()[0] for line in lines(result)):
        if unit not in TOLD_ELSEWHERE:
            severity = "error" if unit.startswith(RACKS_OWN) else "warning"
            fix = "journalctl --unit=%s; systemctl restart %s" % (unit, unit)
            yield severity, "units", "%s has failed" % unit, fix


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_machine_findings": doctor_machine_findings}
