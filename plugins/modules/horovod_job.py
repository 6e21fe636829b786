#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: horovod_job
short_description: Run one distributed training with Horovod over MPI
version_added: 0.1.0
author:
  - The edge.rack engineers (@edge-rack)
description:
  - Runs on the launcher, the device of the first worker. It checks all workers first, then runs C(mpirun) in the
    launcher's worker container, waits for the end, and returns the result of the training.
  - The worker containers run already and hold the job's keys; this module starts and stops none.
  - If the playbook is ended (Ctrl-C, C(SIGTERM)), or a file C(stop) appears in the job's folder on the launcher, the
    ranks leave a checkpoint and end. The same task goes on from it.
  - Large tensors go around the ring of workers (ring-allreduce); for small ones Open MPI chooses.
requirements:
  - docker (Python package) 5.0.0 or newer on the launcher; Debian calls it python3-docker
options:
  name:
    description:
      - Name of the job, lower-case letters, digits, C(.), C(_) and C(-).
      - A finished job of this name is not run again. Its recorded result is returned, unless O(force) is set.
    type: str
    required: true
  task:
    description:
      - What to train, C(digits), C(fashion_mnist), C(image_folder), C(package.module:Class), or a path in the
        container, C(/path/file.py) or a package's folder. After a path, C(:Class) is needed only where more than one
        class could be the task.
      - One that is named by its path is tried on the launcher before the start, by one step forward and back and its
        export.
    type: str
    default: digits
  task_digest:
    description:
      - Digest of the task's source, C(sha256:...), where O(task) is a path. Every worker must have this one.
      - It is the SHA-256 of what C(sha256sum) prints of the files, in order of name, named from the folder that the
        file or the package lies in.
    type: str
  workers:
    description:
      - The workers in the order of their ranks. The first one that answers is the launcher.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the worker, for messages; the inventory's host name serves well.
        type: str
        required: true
      address:
        description: IPv4 address in O(subnet).
        type: str
        required: true
      slots:
        description: How many ranks run on it.
        type: int
        default: 1
  subnet:
    description:
      - The network, in CIDR notation, that every worker has an address in. MPI uses no other interface.
    type: str
    required: true
  ssh_port:
    description: Port that the workers' SSH servers listen on.
    type: int
    default: 2222
  epochs:
    description: How often the training passes over the data.
    type: int
    default: 12
  batch_size:
    description: Examples per rank and step.
    type: int
    default: 32
  learning_rate:
    description:
      - Learning rate of one rank; it is raised with the square root of the number of ranks times O(accumulate).
    type: float
    default: 0.002
  seed:
    description: Seed of the model's first parameters and of the order of the examples.
    type: int
    default: 1
  accumulate:
    description:
      - Batches of each rank that a step takes; the ranks average their gradients once in a step. With 4 they send a
        fourth of the bytes in an epoch, and the model makes a fourth of the steps, at twice the learning rate.
    type: int
    default: 1
  local_steps:
    description:
      - Steps that each rank takes alone before all average what they have learned, weighted by their examples; at the
        end of an epoch they always do. 1 is for averaging gradients in each step.
      - Parameters and Adam's two moments are averaged, three times the bytes of gradients. So with 12 the ranks send a
        fourth, and 2 and 3 are refused. With O(compression=powersgd) it is the parameters' change alone, as two
        factors, and any number goes. It does not go together with O(accumulate).
      - A checkpoint is kept where ranks have just averaged. A rank that notices that another one is gone leaves none.
    type: int
    default: 1
  compression:
    description:
      - How gradients travel. With V(fp16) they are averaged as 16-bit floating point numbers, half the bytes; one of
        more than 65504, summed over the ranks, would be lost.
      - With V(powersgd) a gradient that is a matrix (its first dimension by all others) travels as two factors of
        O(powersgd_rank) columns, where they are smaller than itself; with O(local_steps), what a parameter changed by
        does. What they leave out is added to the rank's next; a restart loses it.
      - V(fp16) does not go together with O(local_steps), which sends no gradients.
    type: str
    choices: [none, fp16, powersgd]
    default: none
  powersgd_rank:
    description:
      - Columns of each factor with O(compression=powersgd). Fewer are fewer bytes, and more that comes later.
    type: int
    default: 4
  image_digest:
    description:
      - Digest of the worker image, C(sha256:...). Every worker must say that it runs this one.
      - Without it they must at least agree.
    type: str
  timeout_seconds:
    description: The training is ended, on all workers, when it takes longer.
    type: int
    default: 3600
  unfit:
    description:
      - What becomes of a worker that the preflight finds unfit; it does not answer, has too little memory or disk,
        lacks the task's data, has another image, clock or MTU than the others.
      - With V(refuse) the training does not start. With V(leave_out) it starts with the others, if they are at least
        O(min_workers); RV(result.left_out) names those that were left out, and why.
      - The launcher cannot leave itself out; RV(launcher_unfit) says that it is one of them.
    type: str
    choices: [refuse, leave_out]
    default: refuse
  unreachable:
    description:
      - Names of workers that are known not to answer. They are unfit.
    type: list
    elements: str
    default: []
  memory_mib:
    description: Memory that a worker must have available for each of its ranks, in MiB.
    type: int
    default: 320
  disk_mib:
    description: What must be free in each of a worker's folders, in MiB.
    type: int
    default: 256
  link_seconds:
    description:
      - For how long, before the start, each worker sends to the next one in the ring, to see what their link carries.
        0 is for not measuring. Sixteen links are measured at a time.
      - A link that takes no TCP connection makes a worker unfit; so does one that is slower than O(min_link_mbit).
    type: float
    default: 0.5
  min_link_mbit:
    description:
      - What each link of the ring must carry, in Mbit/s of payload; on a gigabit network 900 finds a bad cable. Without
        it slow links are reported and nothing more.
      - Of a slow link that worker is unfit whose other link is slow, too; where none is, the one that sends.
    type: int
    default: 0
  max_restarts:
    description:
      - How often a training that lost a rank, a device or a link goes on by itself, from its last checkpoint and with
        the workers that still answer, or answer again. The launcher must be one of them. The learning rate is that of
        their number, and the examples are shared among them anew where all devices have the same ones.
      - What a rank says of a fault of its own, such as one in the user's task, ends the training at once.
    type: int
    default: 3
  min_workers:
    description: With fewer workers it does not go on, nor does it start.
    type: int
    default: 1
  checkpoint_copies:
    description:
      - On how many devices besides that of rank 0 each checkpoint lies. They write it themselves, so that nothing of it
        travels, and any of them can go on with it.
    type: int
    default: 1
  checkpoint_steps:
    description: A checkpoint is kept at the end of each epoch, and every so many steps of it. 0 is for not by steps.
    type: int
    default: 0
  checkpoint_minutes:
    description: The same by time.
    type: float
    default: 10.0
  container:
    description: Name of the worker container on the launcher.
    type: str
    default: edge-worker
  state_dir:
    description: Where jobs are recorded, the same path on the device and in the container.
    type: path
    default: /var/lib/edge/state
  resume:
    description:
      - Go on from the job's last checkpoint when an earlier run of it did not finish, the newest one that a worker has
        whole. The workers may be others, and another one the launcher.
    type: bool
    default: true
  force:
    description: Train anew even if the job has finished, or has been run with other settings.
    type: bool
    default: false
  local_progress_file:
    description:
      - On the controller, a file to which each line of progress is appended as it comes, as JSON. Its folder is made.
    type: path
  docker_host:
    description:
      - Where the launcher's Docker Engine listens.
      - If the value is not specified, the environment variable E(DOCKER_HOST) is used.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    description: Checks the workers and says whether a training would start; starts none.
    support: full
  diff_mode:
    description: A training has no state to compare; other settings under the same name are an error that names them.
    support: none
  idempotent:
    description: A finished job with the same settings is not run again.
    support: full
"""

EXAMPLES = r"""
- name: Digits are learned by three devices
  edge.rack.horovod_job:
    name: digits-1
    task: digits
    subnet: 10.10.0.0/24
    workers:
      - {name: nuc-01, address: 10.10.0.11}
      - {name: nuc-02, address: 10.10.0.12}
      - {name: nuc-03, address: 10.10.0.13}
    image_digest: "{{ edge_release.worker.digest }}"
    timeout_seconds: 900
  register: training

- name: One model came out of it, and it is good
  ansible.builtin.assert:
    that:
      - training.result.parameter_hashes | length == 1
      - training.result.accuracy >= 0.93
"""

RETURN = r"""
result:
  description: What the training recorded; see the worker's documentation for all fields.
  returned: when the job has finished
  type: dict
  contains:
    ranks:
      description: Number of ranks.
      type: int
    task_digest:
      description: Digest of the task's source; null for a task that is part of the image.
      type: str
    examples_by_rank:
      description: Training examples of each rank.
      type: list
      elements: int
    notes:
      description: What is worth saying of the ranks' data, such as classes that a device has no examples of.
      type: list
      elements: str
    hosts:
      description: Host name of each rank.
      type: list
      elements: str
    loss_first:
      description: Mean training loss of the first epoch.
      type: float
    loss_last:
      description: Mean training loss of the last epoch.
      type: float
    accuracy:
      description: Share of the held-out examples that the model names rightly.
      type: float
    held_out:
      description: Number of held-out examples.
      type: int
    parameter_hashes:
      description: The distinct hashes over the ranks' parameters; one if all ranks hold one model.
      type: list
      elements: str
    parameter_hash_by_rank:
      description: The hash of each rank.
      type: list
      elements: str
    steps:
      description: Steps of each rank.
      type: int
    seconds:
      description: Seconds from the start of the ranks to the written model.
      type: float
    wire_bytes_per_step:
      description:
        - Bytes that each rank sends per step by the ring's formula, C(2(N-1)/N) times the gradients. With local steps
          it is the mean.
      type: int
    wire_bytes_per_epoch:
      description: Bytes that each rank sends per epoch, by the same formula.
      type: int
    wire_bytes_per_step_measured:
      description: Those of a step as the kernel counted them on the interface, headers included; null if not known.
      type: int
    restarts:
      description: Each time that the training went on; why, after how many seconds, and with which workers.
      type: list
      elements: dict
    lost_workers:
      description: Workers that were there at the start and not at the end.
      type: list
      elements: str
    left_out:
      description: Workers that were unfit at the start; C(name), and C(findings) with what is wrong and its fix.
      type: list
      elements: dict
    model_digest:
      description: C(sha256:...) of the model's bundle.
      type: str
    model_file:
      description: The bundle, on the launcher.
      type: str
    links:
      description:
        - What each link of the ring carried before the start; C(from), C(to), and C(bits_per_second) of payload. Empty
          where none was measured.
      type: list
      elements: dict
    allreduce:
      description:
        - One allreduce of the training's size, measured before its first step; C(bytes), C(seconds), and in bits per
          second what each rank sends around the ring meanwhile (C(bus_bits_per_second)) and what the slowest link
          carries (C(link_bits_per_second)), if each driver says. Null for one rank.
      type: dict
    share_of_time:
      description:
        - Of the seconds of all epochs, the shares of C(compute), of C(allreduce) as it was measured alone, and of
          C(waiting), which is the rest.
      type: dict
    slowest_host:
      description: The host that holds the others up.
      type: str
    slowest_why:
      description: Whether that is its link, its CPU, or that it has more data; or that none stands out.
      type: str
    versions:
      description: Versions of Python, torch, Horovod and MPI.
      type: dict
  sample:
    accuracy: 0.966574
    held_out: 359
    ranks: 3
progress:
  description: The lines that the training reported, in order.
  returned: when a training ran
  type: list
  elements: dict
command:
  description: The C(mpirun) command line.
  returned: success
  type: list
  elements: str
spec_hash:
  description: sha256 over the settings that decide what is learned, and by whom.
  returned: always
  type: str
log:
  description: The log of C(mpirun), on the launcher.
  returned: always
  type: str
findings:
  description: What the preflight found; each names the worker and what to do.
  returned: when the preflight fails
  type: list
  elements: str
launcher_unfit:
  description: The launcher is among the unfit workers of O(unfit=leave_out); another one can start the same job.
  returned: when the preflight fails for that reason
  type: bool
lost_worker:
  description: The worker whose rank was lost, if the log names one.
  returned: when the training fails
  type: str
"""

import hashlib
import ipaddress
import json
import os
import re
import time
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    import docker
    from docker.errors import APIError, DockerException, NotFound
except ImportError:
    HAS_DOCKER = False
    DOCKER_IMPORT_ERROR = traceback.format_exc()
else:
    HAS_DOCKER = True
    DOCKER_IMPORT_ERROR = None

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Above this number of hosts mpirun's own connections come in bursts that sshd and switches feel.
MANY_HOSTS = 64
CLOCK_TOLERANCE_SECONDS = 5.0
# A worker that does not answer for so long is not waited for; a task may have to look at many files.
PROBE_SECONDS = 20
MBIT = 1000000
DATA_SECONDS = 300
SURVIVOR_SECONDS = 12
# Of other tasks each worker is asked whether it has the data.
DATA_IN_IMAGE = ("digits",)
SPEC_FIELDS = ("task", "task_digest", "epochs", "batch_size", "learning_rate", "seed", "workers", "image_digest")
# What spares bytes on the wire. Jobs and worker images of before know nothing of it: the defaults are what they do.
SPARING = {"accumulate": 1, "local_steps": 1, "compression": "none", "powersgd_rank": 4}

LAUNCHER_STAYS = "%s: starts the job, so it cannot leave itself out; mend it, or run without it (--limit 'all:!%s')"
# Causes that a rank gives for its end where it is not its own: another one is gone, or mpirun ends them all.
NOTICED = ("ring", "stop")
# How long ranks may take to end: for one more step and a checkpoint, or where a step will never end.
STOP_SECONDS = 30
LOST_SECONDS = 5

ALREADY_RUNNING = 75
TIMED_OUT = 124
CANNOT_WRITE = 73
# The lock is the shell's alone (9>&-): ranks that outlive mpirun must not hold it. A restart goes on with the files of
# the start, which has no `again`.
RUN_SCRIPT = r"""
folder=$1 log=$2 spec=$3 again=$4 told=$5 seconds=$6; shift 6
mkdir -p "$folder" && exec 9>"$folder/lock" || exit 73
flock --nonblock 9 || exit 75
if [ -z "$again" ]; then
  rm -f "$folder/result.json" "$folder/progress.jsonl"
  printf '%s\n' "$spec" >"$folder/spec.json" || exit 73
fi
if [ -n "$told" ]; then
  printf '%s\n' "$told" >>"$folder/progress.jsonl" || exit 73
fi
timeout --kill-after=15 "$seconds" "$@" >"$log" 2>&1 </dev/null 9>&-
"""
# The file has its name only when it is whole.
CHECK_SCRIPT = r"""
path=$1; shift
rm -f "$path.json"
"$@" >"$path.part" 2>"$path.log" </dev/null
mv "$path.part" "$path.json"
"""


# What the job is


def spec_of(params):
    """The settings that make two jobs of one name the same job."""
    return {field: params[field] for field in (*SPEC_FIELDS, *SPARING)}


def spec_hash(spec):
    """sha256 (hex) of a spec."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def spec_difference(recorded, wanted):
    """Names of the fields that differ, with both values."""
    recorded = dict(SPARING, **recorded)
    return [
        "%s (recorded %s, now %s)" % (field, json.dumps(recorded.get(field)), json.dumps(wanted[field]))
        for field in wanted
        if recorded.get(field) != wanted[field]
    ]


def mpirun_command(params):
    """The mpirun line: one ssh per worker, one subnet for everything, ring for large tensors."""
    workers = params["workers"]
    subnet = params["subnet"]
    mca = [
        ("plm_rsh_agent", "ssh -F /etc/ssh/edge_ssh_config -p %d" % params["ssh_port"]),
        # Only the launcher holds the job's private key, so it alone starts daemons.
        ("plm_rsh_no_tree_spawn", "1"),
        # A host that is cut off is noticed in about 11 s instead of never.
        ("oob_tcp_keepalive_time", "5"),
        ("oob_tcp_keepalive_intvl", "2"),
        ("oob_tcp_keepalive_probes", "3"),
        ("oob_tcp_if_include", subnet),
        ("pml", "ob1"),
        ("btl", "tcp,self"),
        ("btl_tcp_if_include", subnet),
        ("mpi_yield_when_idle", "1"),
        ("coll_tuned_use_dynamic_rules", "1"),
        ("coll_tuned_dynamic_rules_filename", "/opt/edge/share/allreduce-ring.rules"),
    ]
    if len(workers) >= MANY_HOSTS:
        mca.append(("plm_rsh_num_concurrent", "16"))
    command = [
        "mpirun",
        "-np",
        str(sum(worker["slots"] for worker in workers)),
        "-H",
        ",".join("%s:%d" % (worker["address"], worker["slots"]) for worker in workers),
        "--map-by",
        "slot",
        "--bind-to",
        "none",
    ]
    for name, value in mca:
        command += ["--mca", name, value]
    for variable in (
        "PATH",
        "OMP_NUM_THREADS=1",
        "MALLOC_ARENA_MAX=1",
        "HOROVOD_STALL_CHECK_TIME_SECONDS=30",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=300",
    ):
        command += ["-x", variable]
    command += ["python", "-m", "edge_training.train", "--job", params["name"], "--subnet", subnet]
    for field in (
        "task",
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "state_dir",
        "checkpoint_copies",
        "checkpoint_steps",
        "checkpoint_minutes",
    ):
        command += ["--" + field.replace("_", "-"), str(params[field])]
    for field, default in SPARING.items():
        if params[field] != default:
            command += ["--" + field.replace("_", "-"), str(params[field])]
    if params["task_digest"]:
        command += ["--task-digest", params["task_digest"]]
    if params["resume"] and not params["force"]:
        command.append("--resume")
    return command


# What stands in its way


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
    for field in ("max_restarts", "checkpoint_copies", "checkpoint_steps", "checkpoint_minutes"):
        if params[field] < 0:
            findings.append("%s: %s: must be 0 or more" % (field, params[field]))
    for field in ("link_seconds", "min_link_mbit"):
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
    if facts["memory_available_bytes"] >> 20 < slots * params["memory_mib"]:
        findings.append(
            "%s: %d MiB of memory available, %d rank(s) need %d; stop something there, use fewer slots"
            " or set memory_mib" % (name, facts["memory_available_bytes"] >> 20, slots, slots * params["memory_mib"])
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


def link_findings(params, workers, links):
    """What is wrong with workers' links, by the name of the worker at fault; O(links) are those of the ring.

    A bad cable spoils both links of its worker. Of two workers it is the one that can be left out.
    """
    bad = [link for link in links if "error" in link or link["bits_per_second"] < params["min_link_mbit"] * MBIT]
    launcher = workers[0]["name"]
    ends = [name for link in bad for name in (link["from"], link["to"])]
    at_fault = {name for name in ends if ends.count(name) == 2}
    if len(workers) == 2:
        at_fault -= {launcher}
    unfit = {}
    for link in bad:
        ends = [link["from"], link["to"]]
        owners = [name for name in ends if name in at_fault] or [name for name in ends if name != launcher][:1]
        for name in owners:
            unfit.setdefault(name, []).append("%s: %s" % (name, link_finding(params, link)))
    return unfit


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
    names = {}
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


# What went wrong


def explain_failure(log, workers):
    """(sentence, name of the lost worker or None) from mpirun's log."""
    owners = rank_owners(workers)
    by_address = {worker["address"]: worker["name"] for worker in workers}

    said = complaint(log)
    if said and said.get("cause") not in NOTICED:
        found = re.match(r"rank (\d+) ", said.get("where", ""))
        name = owners.get(int(found.group(1))) if found else None
        return "%s (%s) says: %s" % (said.get("where"), name or "unknown", said.get("message")), name
    text = " ".join(log.split())
    found = re.search(r"process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)(?: \(([^)]*)\))?", text)
    if found:
        name = by_address.get(found.group(2)) or owners.get(int(found.group(1)))
        hint = "; out of memory there? see its kernel log" if found.group(3) == "9" else ""
        return "rank %s on %s ended by signal %s (%s)%s" % (
            found.group(1),
            name or found.group(2),
            found.group(3),
            found.group(4) or "unknown",
            hint,
        ), name
    found = re.search(r"Remote daemon: \[\[\d+,\d+\],(\d+)\] on node (\S+)", text)
    if found and "lost communication" in text:
        name = by_address.get(found.group(2)) or daemon_owner(int(found.group(1)), workers)
        return "the connection to %s was lost; check its power and its network" % (name or found.group(2)), name
    found = re.search(r"Process name: \[\[\d+,\d+\],(\d+)\] Exit code: (\d+)", text)
    if found:
        name = owners.get(int(found.group(1)))
        return "rank %s on %s ended with status %s" % (found.group(1), name or "an unknown host", found.group(2)), name
    found = re.search(r"(?:ssh: connect to host|Connection to) (\S+).*?(?:timed out|refused|closed|No route)", text)
    if found:
        name = by_address.get(found.group(1))
        return "no SSH connection to %s" % (name or found.group(1)), name
    if said:
        return "%s noticed that others are gone: %s" % (said.get("where"), said.get("message")), None
    last = [line.strip() for line in log.splitlines() if line.strip(" -")][-3:]
    return "mpirun's last words: %s" % (" / ".join(last) or "none"), None


def complaint(log):
    """What a rank said of its end, if one did; one that only noticed another's counts less."""
    told = []
    for line in log.splitlines():
        if line.startswith("{") and '"event": "error"' in line:
            try:
                told.append(json.loads(line))
            except ValueError:
                continue
    return next((one for one in told if one.get("cause") not in NOTICED), told[0] if told else None)


def is_lost_rank(log):
    """Whether it ended because a rank or a device is gone; what a rank says of its own fault it would say again."""
    said = complaint(log)
    return said is None or said.get("cause") in NOTICED


def rank_owners(workers):
    """Worker name by rank: ranks fill the slots of the first worker, then of the next."""
    names = [worker["name"] for worker in workers for slot in range(worker["slots"])]
    return dict(enumerate(names))


def daemon_owner(number, workers):
    """Worker name by the number of its daemon: 0 is mpirun itself, on the first worker."""
    return workers[number]["name"] if 0 <= number < len(workers) else None


def progress_lines(text):
    """The events in a progress file; a line that is cut short is left out."""
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") in ("start", "epoch"):
            events.append(event)
    return events


def last_progress(events):
    """How far it came, in words."""
    epochs = [event for event in events if event["event"] == "epoch"]
    if epochs:
        return "the last report was epoch %(epoch)s of %(epochs)s, loss %(loss)s" % epochs[-1]
    return "training had begun, no epoch was finished" if events else "training had not begun"


# The launcher's container


class LauncherError(Exception):
    """The launcher's container does not do what it should."""


class Launcher(object):
    """The worker container on this device; every file of a job is reached through it."""

    def __init__(self, docker_host, name):
        self.name = name
        try:
            self.api = docker.APIClient(base_url=docker_host, version="auto", timeout=120)
            self.running = self.api.inspect_container(name)["State"]["Running"]
        except NotFound:
            self.running = False
        except DockerException as error:
            raise LauncherError("Docker at %s: %s" % (docker_host, error))

    def require(self):
        if not self.running:
            raise LauncherError("container %s does not run on this device; start the job's workers first" % self.name)

    def call(self, command):
        """(status, stdout, stderr) of a command in the container."""
        try:
            handle = self.api.exec_create(self.name, command)["Id"]
            out, err = self.api.exec_start(handle, demux=True)
            return self.api.exec_inspect(handle)["ExitCode"], (out or b"").decode(), (err or b"").decode()
        except APIError as error:
            raise LauncherError("container %s refuses %s: %s" % (self.name, command[0], error.explanation or error))

    def start(self, command):
        """Start a command that goes on by itself; what to ask `finished` with."""
        try:
            handle = self.api.exec_create(self.name, command)["Id"]
            self.api.exec_start(handle, detach=True)
        except APIError as error:
            raise LauncherError("container %s refuses to start: %s" % (self.name, error.explanation or error))
        return handle

    def finished(self, handle):
        """The exit status, or None while it runs."""
        try:
            state = self.api.exec_inspect(handle)
        except NotFound:
            raise LauncherError("container %s was removed or restarted while the training ran" % self.name)
        if state["Running"]:
            return None
        return -1 if state["ExitCode"] is None else state["ExitCode"]

    def read(self, path):
        """A file's text, or None; without the container, from the device's folder of the same path."""
        if self.running:
            status, out, _err = self.call(["cat", path])
            return out if status == 0 else None
        try:
            with open(path, "rb") as file:
                return file.read().decode()
        except OSError:
            return None

    def write_json(self, path, value):
        """The file has its name only when it is whole."""
        script = 'printf "%s\\n" "$2" >"$1.part" && mv "$1.part" "$1"'
        status, _out, err = self.call(["sh", "-c", script, "write", path, json.dumps(value, indent=2)])
        if status:
            raise LauncherError("%s cannot be written: %s" % (path, err.strip()[-300:]))

    def read_json(self, path):
        """A file's value, or None."""
        try:
            return json.loads(self.read(path) or "null")
        except ValueError:
            return None


# The module


class Job(object):
    """One job, from its record or from its training."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.spec = spec_of(module.params)
        self.workers = [one for one in module.params["workers"] if one["name"] not in module.params["unreachable"]]
        self.left_out = []
        self.links = []
        self.folder = "%s/jobs/%s" % (module.params["state_dir"].rstrip("/"), module.params["name"])
        self.stop_file = self.folder + "/stop"
        self.always = {"spec_hash": spec_hash(self.spec), "log": self.folder + "/mpirun.log"}
        self.launcher = Launcher(module.params["docker_host"], module.params["container"])

    def fail(self, message, **fields):
        self.module.fail_json(msg=message, **dict(self.always, **fields))

    def run(self):
        self.stop_at_findings(request_findings(self.params))
        recorded = self.recorded_result()
        if recorded is not None and not self.params["force"]:
            command = mpirun_command(dict(self.params, workers=self.workers))
            self.module.exit_json(changed=False, result=recorded, command=command, **self.always)
        self.launcher.require()
        if not self.module.check_mode:
            # From here on a playbook that ends can leave word of it.
            self.launcher.call(["sh", "-c", 'mkdir -p "$1" && rm -f "$1/stop"', "sh", self.folder])
        self.preflight()
        command = mpirun_command(dict(self.params, workers=self.workers))
        if self.module.check_mode:
            self.module.exit_json(changed=True, command=command, **self.always)
        result, progress = self.train(command)
        self.module.exit_json(changed=True, result=result, progress=progress, command=command, **self.always)

    def recorded_result(self):
        """The result of this job's finished run, if there is one; it must have had the same settings."""
        result = self.launcher.read_json(self.folder + "/result.json")
        if result is None:
            return None
        # The ranks write what they know; of restarts they know nothing, and an earlier release recorded none.
        result = dict({"restarts": [], "lost_workers": [], "left_out": [], "links": []}, **result)
        if self.params["force"]:
            return result
        difference = spec_difference(self.launcher.read_json(self.folder + "/spec.json") or {}, self.spec)
        if difference:
            self.fail(
                "job %s has finished with other settings: %s. Give the new job a name of its own, or set force"
                " to train it again" % (self.params["name"], "; ".join(difference))
            )
        return result

    def preflight(self):
        """Whoever is unfit is left out, or the job is refused."""
        request = probe_request(self.params, self.workers)
        status, out, err = self.launcher.call(["python", "-m", "edge_training.probe", "all", json.dumps(request)])
        try:
            answer = json.loads(out)
        except ValueError:
            self.fail(
                "the preflight in container %s ended with status %s: %s"
                % (self.launcher.name, status, (err or out).strip()[-500:])
            )
        common, unfit = probe_findings(self.params, self.workers, answer["launcher"], answer["workers"])
        for name in self.params["unreachable"]:
            unfit[name] = ["%s: does not answer; check its power and its network" % name]
        self.leave_out(common, unfit)
        self.measure_links()
        if is_path(self.params["task"]):
            self.check_task()

    def measure_links(self):
        """What the ring carries; of those that are left where somebody's link was too bad, until there is none."""
        while self.params["link_seconds"] > 0 and len(self.workers) > 1:
            request = {
                "workers": self.workers,
                "ssh_port": self.params["ssh_port"],
                "seconds": self.params["link_seconds"],
            }
            status, out, err = self.launcher.call(["python", "-m", "edge_training.links", "all", json.dumps(request)])
            try:
                self.links = json.loads(out)["links"]
            except ValueError:
                self.fail(
                    "container %s does not say what the links carry, it ended with status %s: %s"
                    % (self.launcher.name, status, (err or out).strip()[-500:])
                )
            unfit = link_findings(self.params, self.workers, self.links)
            if not unfit:
                return
            self.leave_out([], unfit)
        self.links = []

    def leave_out(self, common, unfit):
        """The workers without those that are unfit; none of them may be the launcher."""
        every = common + [finding for findings in unfit.values() for finding in findings]
        if self.params["unfit"] == "refuse" or common:
            self.stop_at_findings(every)
        launcher = self.workers[0]["name"]
        if launcher in unfit:
            self.stop_at_findings([*every, LAUNCHER_STAYS % (launcher, launcher)], launcher_unfit=True)
        self.workers = [worker for worker in self.workers if worker["name"] not in unfit]
        self.left_out += [{"name": name, "findings": findings} for name, findings in sorted(unfit.items())]
        if len(self.workers) < self.params["min_workers"]:
            short = "%d of %d workers are fit, fewer than min_workers (%d)" % (
                len(self.workers),
                len(self.params["workers"]),
                self.params["min_workers"],
            )
            self.stop_at_findings([*every, short])
        for finding in every:
            self.module.warn("left out: %s" % finding)

    def check_task(self):
        """A model that cannot train is found on one device, not on all."""
        path = "/tmp/edge-check-%s" % self.params["name"]  # noqa: S108  the container's own
        handle = self.launcher.start(
            ["sh", "-c", CHECK_SCRIPT, "check", path, *check_command(dict(self.params, workers=self.workers))]
        )
        self.wait_for(handle, self.params["timeout_seconds"])
        verdict = self.launcher.read_json(path + ".json")
        if verdict is None:
            said = (self.launcher.read(path + ".log") or "nothing").strip()[-500:]
            self.fail("the check of task %s did not come to its end; it says: %s" % (self.params["task"], said))
        self.stop_at_findings(check_findings(self.params, verdict))
        for note in verdict["notes"]:
            self.module.warn(note)

    def wait_for(self, handle, seconds, until=None):
        """(exit status, seconds) of a command in the container; None where it still runs after so many seconds.

        Or when the file O(until) is there, on this device.
        """
        started = time.monotonic()
        status, pause = None, 0.2
        while status is None and time.monotonic() - started < seconds:
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)
            status = self.launcher.finished(handle)
            if until and os.path.exists(until):
                break
        return status, time.monotonic() - started

    def stop_at_findings(self, findings, **fields):
        if findings:
            text = "job %s cannot start:\n- %s" % (self.params["name"], "\n- ".join(findings))
            self.fail(text, findings=findings, **fields)

    def train(self, command):
        """The result and the progress, by as many runs as it takes: each goes on from the last checkpoint."""
        started, workers, restarts = time.monotonic(), self.workers, []
        told = {"event": "links", "links": self.links} if self.links else None
        while True:
            log = self.always["log"] if not restarts else "%s/mpirun-%d.log" % (self.folder, len(restarts))
            seconds = max(1, int(self.params["timeout_seconds"] - (time.monotonic() - started)))
            status, result = self.ranks(command, workers, log, told, seconds, again=bool(restarts))
            passed = time.monotonic() - started
            progress = progress_lines(self.launcher.read(self.folder + "/progress.jsonl") or "")
            if result is not None:
                left = [worker["name"] for worker in workers]
                lost = [worker["name"] for worker in self.workers if worker["name"] not in left]
                result = dict(result, restarts=restarts, lost_workers=lost, left_out=self.left_out, links=self.links)
                if restarts or self.left_out or self.links:
                    self.launcher.write_json(self.folder + "/result.json", result)
                return result, progress
            said = self.launcher.read(log) or ""
            if os.path.exists(self.stop_file):
                self.stopped(passed, progress, said, workers)
            is_over = status in (None, 0, TIMED_OUT, CANNOT_WRITE) or passed >= self.params["timeout_seconds"]
            if is_over or not is_lost_rank(said) or len(restarts) >= self.params["max_restarts"]:
                self.training_failed(status, passed, progress, said, log, workers)
            reason, lost = explain_failure(said, workers)
            workers = self.survivors()
            names = [worker["name"] for worker in workers]
            if len(workers) < self.params["min_workers"]:
                self.fail(
                    "job %s does not go on: %s. Left are %s, fewer than min_workers (%d). %s"
                    % (
                        self.params["name"],
                        reason,
                        ", ".join(names) or "none",
                        self.params["min_workers"],
                        last_progress(progress).capitalize(),
                    ),
                    lost_worker=lost,
                    progress=progress,
                    rc=status,
                )
            restarts.append({"reason": reason, "seconds": round(passed, 1), "workers": names})
            note = "%s; going on with %d of %d workers from the last checkpoint"
            told = {"event": "note", "text": note % (reason, len(names), len(self.workers))}
            command = mpirun_command(dict(self.params, workers=workers, resume=True, force=False))

    def ranks(self, command, workers, log, told, seconds, again):
        """(exit status of mpirun, or None if it did not end; result of the training, or None)"""
        script = ["sh", "-c", RUN_SCRIPT, "horovod_job", self.folder, log, json.dumps(self.spec)]
        script += ["again" if again else "", json.dumps(told) if told else "", str(seconds)]
        handle = self.launcher.start(script + command)
        status, _passed = self.wait_for(handle, seconds + 60, until=self.stop_file)
        if status is None and os.path.exists(self.stop_file):
            self.stop_ranks(workers, STOP_SECONDS)
            status, _passed = self.wait_for(handle, STOP_SECONDS)
        if status == ALREADY_RUNNING:
            self.fail("job %s is running already; wait for it, or give this one another name" % self.params["name"])
        return status, self.launcher.read_json(self.folder + "/result.json") if status == 0 else None

    def survivors(self):
        """Those that answer, with no rank of the job left on them. The launcher is one: this module runs there.

        All that began are asked: one whose link was cut at an earlier restart, and is there again, takes part again.
        """
        workers = self.workers
        request = {"workers": workers, "ssh_port": self.params["ssh_port"], "timeout_seconds": SURVIVOR_SECONDS}
        _status, out, err = self.launcher.call(["python", "-m", "edge_training.probe", "all", json.dumps(request)])
        try:
            answers = json.loads(out)["workers"]
        except (ValueError, KeyError):
            self.fail("container %s does not say which workers are left: %s" % (self.launcher.name, err.strip()[-500:]))
        left = [worker for worker, answer in zip(workers, answers, strict=True) if "facts" in answer]
        self.stop_ranks(left, LOST_SECONDS)
        return left if workers[0] in left else []

    def stop_ranks(self, workers, patience):
        """They have so many seconds to end by themselves."""
        stop = ["python", "-m", "edge_training.stop", "--job", self.params["name"], "--goes-on"]
        stop += ["--ssh-port", str(self.params["ssh_port"]), "--patience-seconds", str(patience)]
        for worker in workers:
            stop += ["--address", worker["address"]]
        self.launcher.call(stop)

    def stopped(self, seconds, progress, said, workers):
        """Somebody wanted that."""
        self.stop_ranks(workers, LOST_SECONDS)
        told = complaint(said)
        self.fail(
            "job %s was stopped after %.0f s: %s. The same task goes on from its last checkpoint"
            % (self.params["name"], seconds, told["message"] if told else last_progress(progress)),
            progress=progress,
        )

    def training_failed(self, status, seconds, progress, said, log, workers):
        """Leave no rank behind, and say who was lost and how far it came."""
        self.stop_ranks(workers, LOST_SECONDS)
        if status is None or status == TIMED_OUT or seconds >= self.params["timeout_seconds"]:
            reason, lost = "it took longer than timeout_seconds (%d)" % self.params["timeout_seconds"], None
        elif status == CANNOT_WRITE:
            reason, lost = "cannot write to %s; it must belong to uid 8470" % self.folder, None
        else:
            reason, lost = explain_failure(said, workers)
        self.fail(
            "job %s failed after %.0f s: %s. %s. Log: %s (in container %s and on this device)"
            % (self.params["name"], seconds, reason, last_progress(progress).capitalize(), log, self.launcher.name),
            lost_worker=lost,
            progress=progress,
            rc=status,
        )


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "task": {"type": "str", "default": "digits"},
            "task_digest": {"type": "str"},
            "workers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "slots": {"type": "int", "default": 1},
                },
            },
            "subnet": {"type": "str", "required": True},
            "ssh_port": {"type": "int", "default": 2222},
            "epochs": {"type": "int", "default": 12},
            "batch_size": {"type": "int", "default": 32},
            "learning_rate": {"type": "float", "default": 0.002},
            "seed": {"type": "int", "default": 1},
            "accumulate": {"type": "int", "default": 1},
            "local_steps": {"type": "int", "default": 1},
            "compression": {"type": "str", "choices": ["none", "fp16", "powersgd"], "default": "none"},
            "powersgd_rank": {"type": "int", "default": 4},
            "image_digest": {"type": "str"},
            "timeout_seconds": {"type": "int", "default": 3600},
            "checkpoint_copies": {"type": "int", "default": 1},
            "checkpoint_steps": {"type": "int", "default": 0},
            "checkpoint_minutes": {"type": "float", "default": 10.0},
            "container": {"type": "str", "default": "edge-worker"},
            "state_dir": {"type": "path", "default": "/var/lib/edge/state"},
            "unfit": {"type": "str", "choices": ["refuse", "leave_out"], "default": "refuse"},
            "unreachable": {"type": "list", "elements": "str", "default": []},
            "memory_mib": {"type": "int", "default": 320},
            "disk_mib": {"type": "int", "default": 256},
            "link_seconds": {"type": "float", "default": 0.5},
            "min_link_mbit": {"type": "int", "default": 0},
            "max_restarts": {"type": "int", "default": 3},
            "min_workers": {"type": "int", "default": 1},
            "resume": {"type": "bool", "default": True},
            "force": {"type": "bool", "default": False},
            # The action plugin's.
            "local_progress_file": {"type": "path"},
            "docker_host": {
                "type": "str",
                "default": "unix:///var/run/docker.sock",
                "fallback": (env_fallback, ["DOCKER_HOST"]),
            },
        },
        supports_check_mode=True,
    )
    if not HAS_DOCKER:
        module.fail_json(msg=missing_required_lib("docker (python3-docker)"), exception=DOCKER_IMPORT_ERROR)
    try:
        Job(module).run()
    except LauncherError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
