# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a job's way, by worker, with its fix. Pure: options and answers in, findings out."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .command import SPARING

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MBIT = 1000000
CLOCK_TOLERANCE_SECONDS = 5.0
# PyTorch's, which ranks of one device have once: they are forked from one process that has imported it.
SHARED_MIB = 100
# What even the smallest model takes for each.
OWN_MIB = 40
# A worker that does not answer for so long is not waited for; a task may have to look at many files.
PROBE_SECONDS = 20
DATA_SECONDS = 300
# Of other tasks each worker is asked whether it has the data.
DATA_IN_IMAGE = ("digits",)


def request_findings(params):
    """What is wrong with the options alone."""
    findings = []
    if not NAME.fullmatch(params["name"]):
        findings.append("name: %r: use lower-case letters, digits, '.', '_' and '-', 63 at most" % params["name"])
    for field in ("image_digest", "task_digest"):
        if params[field] and not DIGEST.fullmatch(params[field]):
            findings.append("%s: %r: it reads sha256:<64 hex digits>" % (field, params[field]))
    if params["task_digest"] and not is_path(params["task"]):
        findings.append(
            "task_digest: %s is part of the image, and its digest is the image's; leave task_digest out"
            % params["task"]
        )
    at_least_zero = ("max_restarts", "checkpoint_copies", "checkpoint_steps", "checkpoint_minutes")
    for field in (*at_least_zero, "link_seconds", "min_link_mbit"):
        if params[field] < 0:
            findings.append("%s: %s: must be 0 or more" % (field, params[field]))
    if params["min_link_mbit"] > 0 and params["link_seconds"] == 0:
        findings.append(
            "min_link_mbit: %d with link_seconds 0: links that are not measured cannot be too slow; give link_seconds,"
            " for example 0.5" % params["min_link_mbit"]
        )
    above_zero = ("epochs", "batch_size", "learning_rate", "timeout_seconds", "min_workers", "memory_mib", "disk_mib")
    for field in (*above_zero, "accumulate", "local_steps", "powersgd_rank"):
        if params[field] <= 0:
            findings.append("%s: %s: must be greater than 0" % (field, params[field]))
    if params["local_steps"] in (2, 3) and params["compression"] == "none":
        findings.append(
            "local_steps: %d: parameters and Adam's two moments are averaged, three times the bytes of a plain step;"
            " give 1, or 4 or more" % params["local_steps"]
        )
    if params["local_steps"] > 1 and params["accumulate"] > 1:
        findings.append(
            "local_steps: %d with accumulate %d: both make ranks talk less often; leave one of them at 1"
            % (params["local_steps"], params["accumulate"])
        )
    if params["powersgd_rank"] != SPARING["powersgd_rank"] and params["compression"] != "powersgd":
        findings.append(
            "powersgd_rank: %d with compression %s: only powersgd has a rank; leave it at %d, or set compression to"
            " powersgd" % (params["powersgd_rank"], params["compression"], SPARING["powersgd_rank"])
        )
    if params["local_steps"] > 1 and params["compression"] == "fp16":
        findings.append(
            "compression: %s with local_steps %d: gradients are compressed, and local steps send none; leave one of"
            " them at its default, or take powersgd" % (params["compression"], params["local_steps"])
        )
    try:
        subnet = ipaddress.IPv4Network(params["subnet"])
    except ValueError as error:
        findings.append("subnet: %s; give the network's own address, such as 10.10.0.0/24" % error)
        subnet = None
    if not params["workers"]:
        findings.append("workers: the list is empty; name at least one device")
    strangers = set(params["unreachable"]) - {worker["name"] for worker in params["workers"]}
    if strangers:
        findings.append("unreachable: %s: not among the workers" % ", ".join(sorted(strangers)))
    elif params["workers"] and len(set(params["unreachable"])) == len(params["workers"]):
        findings.append("unreachable: no worker is left; check the power and the network of the rack")
    for field in ("name", "address"):
        values = [worker[field] for worker in params["workers"]]
        for value in sorted({value for value in values if values.count(value) > 1}):
            findings.append(
                "workers: %s %s is given %d times; list each device once and use slots for more ranks"
                % (field, value, values.count(value))
            )
    for worker in params["workers"]:
        if worker["slots"] < 1:
            findings.append("%s: slots is %d; give 1 or more" % (worker["name"], worker["slots"]))
        try:
            address = ipaddress.IPv4Address(worker["address"])
        except ValueError:
            findings.append("%s: address %r is not an IPv4 address" % (worker["name"], worker["address"]))
            continue
        if subnet is not None and address not in subnet:
            findings.append(
                "%s: address %s is not in %s; give its address on that network, or the network it is on"
                % (worker["name"], address, subnet)
            )
    return findings


def is_path(task):
    """Whether a task is its user's own, delivered beside the image."""
    return "/" in task


def check_command(params):
    """What tries a user's task in the launcher's container; its answer is one line of JSON."""
    ranks = sum(worker["slots"] for worker in params["workers"])
    return ["python", "-m", "edge_training.check", "--json", "--ranks", str(ranks), params["task"]]


def check_findings(params, verdict):
    """What the check of a user's task found, and whether it is the one that was sent."""
    if verdict["findings"] or params["task_digest"] in (None, verdict["digest"]):
        return verdict["findings"]
    return [
        "%s: the task is %s there, not %s; deliver its files again"
        % (params["workers"][0]["name"], verdict["digest"], params["task_digest"])
    ]


def probe_request(params, workers):
    """What the launcher asks each worker."""
    task = None if params["task"] in DATA_IN_IMAGE else params["task"]
    return {
        "workers": workers,
        "ssh_port": params["ssh_port"],
        "subnet": params["subnet"],
        "task": task,
        "timeout_seconds": DATA_SECONDS if task else PROBE_SECONDS,
    }


def probe_findings(params, workers, launcher, answers):
    """(what is wrong with all, what is wrong with one by its name); O(answers) is in the order of O(workers)."""
    unfit = {}
    facts = {}
    for worker, answer in zip(workers, answers, strict=True):
        if "facts" in answer:
            facts[worker["name"]] = answer["facts"]
            unfit[worker["name"]] = worker_findings(params, worker, answer["facts"])
        else:
            unfit[worker["name"]] = [
                "%s: SSH from the launcher to %s port %d fails: %s; is its worker container running with"
                " this job's keys?" % (worker["name"], worker["address"], params["ssh_port"], answer["error"])
            ]
    for finding in mtu_findings(params["subnet"], facts):
        unfit[finding.partition(":")[0]].append(finding)
    common = []
    for host, names in sorted(names_by("host", facts).items()):
        if len(names) > 1:
            common.append("%s: all call themselves %s; give each device its own host name" % (", ".join(names), host))
    first = workers[0]["name"]
    if first in facts and facts[first]["host"] != launcher["host"]:
        common.append(
            "%s: it is the first worker but the job starts on %s; run this module on the first worker"
            % (first, launcher["host"])
        )
    if not params["image_digest"]:
        common += disagreement("image", names_by("image_digest", facts))
    common += disagreement("version", names_by("version", facts))
    return common, {name: findings for name, findings in unfit.items() if findings}


def worker_findings(params, worker, facts):
    """What is wrong with one worker, by its own words."""
    name, slots = worker["name"], worker["slots"]
    findings = []
    if params["image_digest"] and facts["image_digest"] != params["image_digest"]:
        findings.append(
            "%s: runs image %s, not %s; deploy the release's worker image"
            % (name, facts["image_digest"] or "without a digest", params["image_digest"])
        )
    offset = facts["clock_offset_seconds"]
    if abs(offset) > CLOCK_TOLERANCE_SECONDS:
        findings.append(
            "%s: its clock is %.0f s %s the launcher's; check its time service"
            % (name, abs(offset), "ahead of" if offset > 0 else "behind")
        )
    needed = params["memory_mib"] + (slots - 1) * max(params["memory_mib"] - SHARED_MIB, OWN_MIB)
    if facts["memory_available_bytes"] >> 20 < needed:
        findings.append(
            "%s: %d MiB of memory available, %d rank(s) need %d; stop something there, use fewer slots"
            " or set memory_mib" % (name, facts["memory_available_bytes"] >> 20, slots, needed)
        )
    for folder, free in sorted(facts["folders"].items()):
        if free is None:
            findings.append(
                "%s: %s is not writable in the container; it must be mounted and belong to uid 8470" % (name, folder)
            )
        elif free >> 20 < params["disk_mib"]:
            findings.append(
                "%s: %d MiB free in %s, %d are needed; remove old checkpoints or models, or set disk_mib"
                % (name, free >> 20, folder, params["disk_mib"])
            )
    if facts["interface"] is None:
        findings.append(
            "%s: no interface has an address in %s; give it one, or name the network that it is on"
            % (name, params["subnet"])
        )
    if facts["lacks"]:
        findings.append("%s: %s" % (name, facts["lacks"]))
    return findings


def mtu_findings(subnet, facts):
    """Who has another MTU than most: its large packets, or those to it, are lost without a word."""
    names = {mtu: owners for mtu, owners in names_by("mtu", facts).items() if mtu is not None}
    if len(names) < 2:
        return []
    # Of equally frequent ones the launcher's, for max() takes the first and the launcher was asked first.
    usual = max(names, key=lambda mtu: len(names[mtu]))
    return [
        "%s: MTU %d on %s, %s has %d; give all interfaces in %s the same"
        % (name, mtu, facts[name]["interface"], names[usual][0], usual, subnet)
        for mtu, owners in names.items()
        for name in owners
        if mtu != usual
    ]


def bad_links(params, links):
    """Those that take no connection, or carry too little."""
    return [link for link in links if "error" in link or link["bits_per_second"] < params["min_link_mbit"] * MBIT]


def referees_of(workers, bad):
    """Workers whose own links are all good, with whom it shows which end of a bad one is at fault; three at most.

    From the beginning, the middle and the end of the ring, so that one of them is on the same side of a slow trunk.
    """
    ends = {name for link in bad for name in (link["from"], link["to"])}
    good = [worker["name"] for worker in workers if worker["name"] not in ends]
    return sorted({good[0], good[len(good) // 2], good[-1]}) if good else []


def pairs_to_try(bad, referees):
    """Each end of a bad link with each referee, in the direction in which it was bad."""
    pairs = [pair for link in bad for referee in referees for pair in ((link["from"], referee), (referee, link["to"]))]
    return sorted(set(pairs))


def link_findings(params, bad, tried, referees):
    """(what is wrong with all, what is wrong with one by its name) of bad links; O(tried) are the pairs to try.

    At fault is an end that is bad with every referee.
    """
    if not referees:
        words = "; ".join(link_finding(params, link) for link in bad)
        return ["links: %s. No worker is left whose links are good, to tell whose fault it is" % words], {}
    still = {(link["from"], link["to"]): link for link in bad_links(params, tried)}
    common = []
    unfit: t.Dict[str, t.List[str]] = {}
    for link in bad:
        found = False
        for name, pairs in (
            (link["from"], [(link["from"], referee) for referee in referees]),
            (link["to"], [(referee, link["to"]) for referee in referees]),
        ):
            if all(pair in still for pair in pairs):
                found = True
                words = "%s: %s" % (name, link_finding(params, still[pairs[0]]))
                unfit.setdefault(name, [])
                unfit[name] += [words] if words not in unfit[name] else []
        if not found:
            common.append(
                "links: %s. Neither is so with all of %s, so look at what lies between them"
                % (link_finding(params, link), ", ".join(referees))
            )
    return common, unfit


def link_finding(params, link):
    """What is wrong with a link."""
    if "error" in link:
        return (
            "no TCP connection from %s to %s (%s); MPI takes any port between workers: let a firewall pass all within"
            " %s, or check the cable" % (link["from"], link["to"], link["error"], params["subnet"])
        )
    return (
        "%s sends %d Mbit/s to %s, less than min_link_mbit (%d); check the cable, the switch's port and what ethtool"
        " says of the interface's speed"
        % (link["from"], link["bits_per_second"] // MBIT, link["to"], params["min_link_mbit"])
    )


def names_by(field, facts):
    """Workers' names by what they say of a field."""
    names: t.Dict[t.Any, t.List[str]] = {}
    for name, told in facts.items():
        names.setdefault(told[field], []).append(name)
    return names


def disagreement(what, names_by_value):
    """One finding if workers differ."""
    if len(names_by_value) < 2:
        return []
    sides = "; ".join(
        "%s on %s" % (value or "unknown", ", ".join(names)) for value, names in sorted(names_by_value.items(), key=str)
    )
    return ["workers differ in %s: %s; deploy one release to all" % (what, sides)]
