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
        description: How many ranks run on it. What PyTorch takes, 150 MiB and seconds of the start, they have once.
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
      - Names of workers that are known not to answer, or not to be able to take part. They are unfit.
    type: list
    elements: str
    default: []
  reasons:
    description:
      - Of O(unreachable), why; of one that is not here, that it does not answer.
    type: dict
    default: {}
  memory_mib:
    description:
      - Memory that a worker must have available for each of its ranks, in MiB; for each but the first 100 less, which
        they share.
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
      - A link that takes no TCP connection is one that is slower than O(min_link_mbit).
    type: float
    default: 0.5
  min_link_mbit:
    description:
      - What each link of the ring must carry, in Mbit/s of payload; on a gigabit network 900 finds a bad cable. Without
        it slow links are reported and nothing more.
      - Both ends of such a link are tried with up to three workers whose links are good; unfit is the one that is slow
        with each of them. Where neither is, as with a slow trunk, or no such worker is left, the job is refused.
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
    description: Checks the workers, where they run, and says whether a training would start; starts none.
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

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.edge.rack.plugins.module_utils.horovod.command import (
    mpirun_command,
    spec_difference,
    spec_hash,
    spec_of,
)
from ansible_collections.edge.rack.plugins.module_utils.horovod.failures import (
    complaint,
    explain_failure,
    is_lost_rank,
    last_progress,
    progress_lines,
)
from ansible_collections.edge.rack.plugins.module_utils.horovod.findings import (
    bad_links,
    check_command,
    check_findings,
    is_path,
    link_findings,
    pairs_to_try,
    probe_findings,
    probe_request,
    referees_of,
    request_findings,
)
from ansible_collections.edge.rack.plugins.module_utils.horovod.launcher import (
    DOCKER_IMPORT_ERROR,
    HAS_DOCKER,
    Launcher,
    LauncherError,
)

LAUNCHER_STAYS = "%s: starts the job, so it cannot leave itself out; mend it, or run without it (--limit 'all:!%s')"
# Those that do not answer for so long are not among the survivors.
SURVIVOR_SECONDS = 12
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
            command = self.command(self.workers)
            self.module.exit_json(changed=False, result=recorded, command=command, **self.always)
        if self.module.check_mode and not self.launcher.running:
            # A playbook in check mode has started no workers that could be asked.
            self.leave_out([], self.silent())
            self.module.exit_json(changed=True, command=self.command(self.workers), **self.always)
        self.launcher.require()
        if not self.module.check_mode:
            # From here on a playbook that ends can leave word of it.
            self.launcher.call(["sh", "-c", 'mkdir -p "$1" && rm -f "$1/stop"', "sh", self.folder])
        self.preflight()
        command = self.command(self.workers)
        if self.module.check_mode:
            self.module.exit_json(changed=True, command=command, **self.always)
        result, progress = self.train(command)
        self.module.exit_json(changed=True, result=result, progress=progress, command=command, **self.always)

    def command(self, workers, **changed):
        return mpirun_command(dict(self.params, workers=workers, **changed))

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
        self.leave_out(common, dict(unfit, **self.silent()))
        self.measure_links()
        if is_path(self.params["task"]):
            self.check_task()

    def silent(self):
        """Findings on the workers that take no part, by name."""
        words = "%s: does not answer; check its power and its network"
        return {name: [self.params["reasons"].get(name, words % name)] for name in self.params["unreachable"]}

    def measure_links(self):
        """What the ring carries; of those that are left where somebody's links were bad, until there is none."""
        while self.params["link_seconds"] > 0 and len(self.workers) > 1:
            self.links = self.measured()
            bad = bad_links(self.params, self.links)
            if not bad:
                return
            referees = referees_of(self.workers, bad)
            tried = self.measured(pairs_to_try(bad, referees)) if referees else []
            self.leave_out(*link_findings(self.params, bad, tried, referees))
        self.links = []

    def measured(self, pairs=()):
        """What the ring's links carry, or those between pairs of workers."""
        request = {
            "workers": self.workers,
            "ssh_port": self.params["ssh_port"],
            "seconds": self.params["link_seconds"],
            "pairs": pairs,
        }
        status, out, err = self.launcher.call(["python", "-m", "edge_training.links", "all", json.dumps(request)])
        if "No module named edge_training.links" in err:
            words = "the worker image is of before links were measured; set link_seconds to 0, or deploy a newer one"
            self.stop_at_findings(["min_link_mbit: %s" % words] if self.params["min_link_mbit"] else [])
            self.module.warn("%s: links are not measured: %s" % (self.params["name"], words))
            return []
        try:
            return json.loads(out)["links"]
        except ValueError:
            self.fail(
                "container %s does not say what the links carry, it ended with status %s: %s"
                % (self.launcher.name, status, (err or out).strip()[-500:])
            )

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
            command = self.command(workers, resume=True, force=False)

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
            "reasons": {"type": "dict", "default": {}},
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
