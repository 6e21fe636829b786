# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job is: the settings that make it one, and the mpirun line that trains it."""

from __future__ import annotations

import hashlib
import json
import typing as t

# Above this number of hosts mpirun's own connections come in bursts that sshd and switches feel.
MANY_HOSTS = 64
SPEC_FIELDS = ("task", "task_digest", "epochs", "batch_size", "learning_rate", "seed", "workers", "image_digest")
# What spares bytes on the wire. Jobs and worker images of before know nothing of it: the defaults are what they do.
SPARING: t.Dict[str, t.Any] = {"accumulate": 1, "local_steps": 1, "compression": "none", "powersgd_rank": 4}


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
    # Ranks that share a device share what PyTorch takes, too.
    module = "edge_training.slots" if any(worker["slots"] > 1 for worker in workers) else "edge_training.train"
    command += ["python", "-m", module, "--job", params["name"], "--subnet", subnet]
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
