"""One rank of a training: `mpirun ... python -m edge_training.train --job NAME`, or alone without mpirun."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import platform
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edge_training import (
    atomic,
    averaging,
    bandwidth,
    bundle,
    checkpoint,
    export,
    lean_torch,
    powersgd,
    schedule,
    shards,
    wire,
)
from edge_training.communicator import Communicator, connect, host_name
from edge_training.interval import Interval
from edge_training.parameters import gradient_bytes, parameter_count, parameter_hash
from edge_training.progress import Pace, Report, now, reporting
from edge_training.source import line_of, said
from edge_training.task import Examples, Surveying, Task, TaskError, check_task, load_task, source_of

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
EVALUATION_BATCH = 256
SAMPLES = 10
COMPRESSIONS = ("none", "fp16", "powersgd")
POWERSGD_RANK = 4


@dataclass(frozen=True)
class Settings:
    """What to train and where things lie. `batch_size` is per rank; `subnet` (CIDR) is where the ranks talk.

    `task_digest` is what the source of a user's task must be on every rank. A checkpoint is kept at the end of an epoch
    and every `checkpoint_steps` and `checkpoint_minutes` of a long one (0: not by them), on `checkpoint_copies` devices
    besides that of rank 0. A step takes `accumulate` batches of each rank before the ranks average their gradients; or
    each rank takes `local_steps` steps alone, and then they average what they have learned. `compression` is that of
    what they average, with `powersgd_rank` columns in each factor of a matrix.
    """

    job: str
    task: str = "digits"
    task_digest: str | None = None
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 0.002
    seed: int = 1
    accumulate: int = 1
    local_steps: int = 1
    compression: str = "none"
    powersgd_rank: int = POWERSGD_RANK
    data_dir: Path = Path("/var/lib/edge/data")
    models_dir: Path = Path("/var/lib/edge/models")
    checkpoints_dir: Path = Path("/var/lib/edge/checkpoints")
    state_dir: Path = Path("/var/lib/edge/state")
    subnet: str | None = None
    resume: bool = False
    checkpoint_copies: int = 1
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        if not JOB_NAME.fullmatch(self.job):
            raise TaskError(f"job: {self.job!r}: use lower-case letters, digits, '.', '_' and '-', at most 63")
        for field in ("epochs", "batch_size", "learning_rate", "accumulate", "local_steps", "powersgd_rank"):
            if getattr(self, field) <= 0:
                raise TaskError(f"{field}: {getattr(self, field)}: must be greater than 0")
        for field in ("checkpoint_copies", "checkpoint_steps", "checkpoint_minutes"):
            if getattr(self, field) < 0:
                raise TaskError(f"{field}: {getattr(self, field)}: must be 0 or more")
        if self.compression not in COMPRESSIONS:
            raise TaskError(f"compression: {self.compression!r}: there are {', '.join(COMPRESSIONS)}")
        if self.powersgd_rank != POWERSGD_RANK and self.compression != "powersgd":
            raise TaskError(
                f"powersgd_rank: {self.powersgd_rank} with compression {self.compression}: only powersgd has a rank;"
                f" leave it at {POWERSGD_RANK}, or set compression to powersgd"
            )
        if self.local_steps > 1 and self.compression == "fp16":
            raise TaskError(
                f"compression: {self.compression} with local_steps {self.local_steps}: gradients are compressed, and"
                " local steps send none; leave one of them at its default, or take powersgd"
            )
        if self.local_steps in (2, 3) and self.compression == "none":
            raise TaskError(
                f"local_steps: {self.local_steps}: parameters and Adam's two moments are averaged, three times the"
                " bytes of a plain step; give 1, or 4 or more"
            )
        if self.local_steps > 1 and self.accumulate > 1:
            raise TaskError(
                f"local_steps: {self.local_steps} with accumulate {self.accumulate}: both make ranks talk less often;"
                " leave one of them at 1"
            )

    @property
    def folder(self) -> Path:
        """The job's folder: progress, log, result."""
        return self.state_dir / "jobs" / self.job

    @property
    def checkpoints(self) -> Path:
        """Where this device keeps the job's checkpoints, if it does."""
        return self.checkpoints_dir / self.job

    def learning(self) -> dict[str, Any]:
        """What decides how the model learns; a checkpoint is good only for the same."""
        learned = ("task", "task_digest", "epochs", "batch_size", "learning_rate", "seed")
        sparing = ("accumulate", "local_steps", "compression", "powersgd_rank")
        return {name: getattr(self, name) for name in (*learned, *sparing)}


@dataclass(frozen=True)
class Rank:
    """One rank, ready to train. `interface` is the network interface that its words leave by, if known.

    `task_digest` is that of the task's source, if it has one of its own; `notes` is what the ranks' data is said of;
    `hosts` has the host name of each rank. `begun` is the checkpoint that it goes on from, and `begun_from` the host
    that had it. `factors` average gradients where the optimizer does not. Once `stop` is set, it ends after its step.
    """

    communicator: Communicator
    task: Task
    task_digest: str | None
    notes: list[str]
    train: Examples
    held_out: Examples
    plan: schedule.Plan
    model: Any
    optimizer: Any
    factors: powersgd.PowerSGD | None
    hosts: list[str]
    begun: checkpoint.Checkpoint | None
    begun_from: str | None
    interface: str | None
    stop: threading.Event

    @property
    def is_first_here(self) -> bool:
        """Of the ranks on this device."""
        return self.hosts.index(self.hosts[self.communicator.rank]) == self.communicator.rank

    @property
    def first_epoch(self) -> int:
        """Epochs that were done before."""
        return self.begun.epoch if self.begun else 0

    @property
    def first_step(self) -> int:
        """Steps of that epoch that were done before."""
        return self.begun.step_of(self.plan.steps) if self.begun else 0


@dataclass
class Stand:
    """How far it is: `step` steps of epoch `epoch` (from 0), with the summed loss of their examples."""

    epoch: int
    history: list[dict[str, Any]]
    step: int = 0
    loss_sum: float = 0.0
    examples: int = 0


class StoppedError(Exception):
    """Somebody asked this rank to end."""


@dataclass(frozen=True)
class Epoch:
    """One rank's epoch: summed loss and its examples, steps, seconds computing and in all, bytes sent if measured."""

    loss_sum: float
    examples: int
    steps: int
    compute_seconds: float
    seconds: float
    sent: int | None


def run(settings: Settings, communicator: Communicator, stop: threading.Event | None = None) -> dict[str, Any]:
    """Train, and return the result (the same on every rank; only rank 0 writes it and the model)."""
    started = time.monotonic()
    leads = communicator.rank == 0
    rank = prepare(settings, communicator, stop or threading.Event())
    hosts = rank.hosts
    with reporting(settings.folder, speaks=leads) as report:
        report(
            "start",
            job=settings.job,
            task=rank.task.name,
            ranks=communicator.size,
            hosts=hosts,
            parameters=parameter_count(rank.model),
            **wire_bytes(settings, rank),
            steps_per_epoch=rank.plan.steps,
            examples=sum(rank.plan.shard_sizes),
            examples_by_rank=rank.plan.shard_sizes,
            first_epoch=rank.first_epoch,
            first_step=rank.first_step,
        )
        if rank.begun:
            done = f"{rank.first_epoch} of {settings.epochs} epochs and {rank.first_step} of {rank.plan.steps} steps"
            report("note", text=f"goes on after {done}, with the checkpoint of {rank.begun_from}")
        for note in rank.notes:
            report("note", text=note)
        links = communicator.gather(wire.link_bits(rank.interface) if rank.interface else None)
        measured = bandwidth.measure(communicator, wire_bytes(settings, rank)["allreduce_bytes"])
        history, epochs = train(settings, rank, report)
        metrics, held_out = evaluate(rank)
        hashes = communicator.gather(parameter_hash(rank.model))
        result = {
            "job": settings.job,
            "task": rank.task.name,
            "task_digest": rank.task_digest,
            "ranks": communicator.size,
            "hosts": hosts,
            "examples_by_rank": list(rank.plan.shard_sizes),
            "notes": rank.notes,
            "epochs": settings.epochs,
            "steps": rank.plan.steps * settings.epochs,
            "loss_first": history[0]["loss"],
            "loss_last": history[-1]["loss"],
            "accuracy": metrics["accuracy"],
            "metrics": metrics,
            "held_out": held_out,
            "parameters": parameter_count(rank.model),
            "parameter_hashes": sorted(set(hashes)),
            "parameter_hash_by_rank": hashes,
            **wire_report(settings, rank, epochs),
            **bandwidth.report(measured, links),
            **time_report(settings, rank, epochs, measured),
            **bandwidth.slowest(hosts, compute_seconds(len(hosts), epochs), rank.plan.shard_sizes, links),
            "peak_memory_bytes_by_rank": communicator.gather(peak_memory_bytes()),
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                **communicator.versions(),
            },
        }
        exported: dict[str, Any] = {}
        examples = sample_examples(rank)
        if leads:
            exported = export_model(settings, rank, metrics, examples)
        result.update(communicator.broadcast(exported))
        result["seconds"] = round(time.monotonic() - started, 2)
        if leads:
            atomic.write_json(settings.folder / "result.json", result)
        report("result", **result)
    return result


def prepare(settings: Settings, communicator: Communicator, stop: threading.Event) -> Rank:
    """Data on this device's disk, and a model that is the same on every rank."""
    digest = source_digest(settings)
    task, notes = agreed(load_task(settings.task), settings.task, communicator)
    rank, size = communicator.rank, communicator.size
    train_part, _file = shards.local_shard(task, "train", rank, size, settings.data_dir, digest or "")
    held_out_part, _file = shards.local_shard(task, "held-out", rank, size, settings.data_dir, digest or "")
    plan = schedule.plan_epoch(communicator.gather(len(train_part)), settings.batch_size * settings.accumulate)

    torch.manual_seed(settings.seed)
    model = task.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    hosts = communicator.gather(host_name())
    begun, begun_from = last_checkpoint(settings, communicator, hosts)
    if begun is not None:
        model.load_state_dict(begun.model)
        optimizer.load_state_dict(begun.optimizer)
    communicator.share_start(model, optimizer)
    factors = None
    if settings.compression == "powersgd" and communicator.size > 1:  # alone it would only lose something
        local = settings.local_steps > 1
        factors = powersgd.PowerSGD(communicator, model, settings.powersgd_rank, settings.seed, local)
    elif settings.local_steps == 1:
        optimizer = communicator.distributed(model, optimizer, settings.accumulate, settings.compression == "fp16")
    return Rank(
        communicator=communicator,
        task=task,
        task_digest=digest,
        notes=notes,
        train=train_part,
        held_out=held_out_part,
        plan=plan,
        model=model,
        optimizer=optimizer,
        factors=factors,
        hosts=hosts,
        begun=begun,
        begun_from=begun_from,
        interface=wire.interface_in(settings.subnet) if settings.subnet and size > 1 else None,
        stop=stop,
    )


def last_checkpoint(
    settings: Settings, communicator: Communicator, hosts: Sequence[str]
) -> tuple[checkpoint.Checkpoint | None, str | None]:
    """The newest one that any rank's device has whole, the same on every rank, and that device's name.

    Whoever is to keep checkpoints keeps this one at once: its device may be the next that is lost.
    """
    if not settings.resume:
        checkpoint.clear(settings.checkpoints)
        return None, None
    own = checkpoint.newest(settings.checkpoints, settings.learning())
    progress = communicator.gather(own.progress if own else -1.0)
    owner = progress.index(max(progress))
    if progress[owner] < 0:
        return None, None
    # Whole, so that also a rank whose own is as new reads the very same.
    found = communicator.gather(own if communicator.rank == owner else None)[owner]
    assert found is not None
    if communicator.rank in checkpoint.keepers(hosts, settings.checkpoint_copies):
        checkpoint.store(settings.checkpoints, found)
    return checkpoint.read(found), hosts[owner]


def source_digest(settings: Settings) -> str | None:
    """The digest of a user's task on this device, which must be the one asked for; None for a task of the image."""
    source = source_of(settings.task)
    found = source.digest() if source else None
    if settings.task_digest not in (None, found):
        raise TaskError(
            f"task-digest: {settings.task} is {found or 'part of the image'} here, not {settings.task_digest};"
            " give every worker the same files"
        )
    return found


def agreed(task: Task, reference: str, communicator: Communicator) -> tuple[Task, list[str]]:
    """The task that all ranks train, and what is to be said of their data."""
    if not isinstance(task, Surveying):
        return task, []
    common, notes = task.agree(communicator.gather((host_name(), task.survey())))
    return check_task(common, reference), notes


def train(settings: Settings, rank: Rank, report: Report) -> tuple[list[dict[str, Any]], list[list[Epoch]]]:
    """All epochs that are left; what was reported of each (earlier ones too), and what each rank did in each."""
    history = list(rank.begun.history) if rank.begun else []
    done = []
    steps = rank.plan.steps
    pace = Pace(rank.first_epoch * steps + rank.first_step, settings.epochs * steps)
    interval = Interval(rank.communicator, settings.checkpoint_steps, settings.checkpoint_minutes)
    for epoch in range(rank.first_epoch, settings.epochs):
        stand = Stand(epoch, history)
        if rank.begun and epoch == rank.first_epoch and rank.first_step:
            stand = Stand(epoch, history, rank.first_step, rank.begun.loss_sum, rank.begun.examples)
        before = replace(stand)
        epochs = rank.communicator.gather(train_epoch(settings, rank, stand, report, pace, interval))
        metrics, _examples = evaluate(rank)
        seconds = max(one.seconds for one in epochs)
        examples = sum(one.examples for one in epochs)
        loss_sum = before.loss_sum + sum(one.loss_sum for one in epochs)
        line = {
            "epoch": epoch + 1,
            "epochs": settings.epochs,
            "loss": round(loss_sum / max(before.examples + examples, 1), 6),
            "accuracy": round(metrics["accuracy"], 6),
            "seconds": round(seconds, 3),
            "images_per_second": round(examples / seconds, 1),
        }
        history.append(line)
        done.append(epochs)
        keep(settings, rank, Stand(epoch + 1, history))
        interval.restart()
        report("epoch", **line, eta_seconds=pace.tell((epoch + 1) * steps)["eta_seconds"])
    return history, done


def train_epoch(settings: Settings, rank: Rank, stand: Stand, report: Report, pace: Pace, interval: Interval) -> Epoch:
    """What is left of an epoch for this rank, in step with all others; a long one is told of while it goes on.

    `stand` goes along. If the training is to stop, or the ring is broken, it is left on the disk: after a step that all
    ranks are in one state after.
    """
    rank.model.train()
    plan, before = rank.plan, replace(stand)
    sent_before = wire.bytes_sent(rank.interface) if rank.interface else None
    seen, computing, due, started = 0, 0.0, False, time.perf_counter()
    chosen = schedule.batches(plan, rank.communicator.rank, settings.seed, stand.epoch)
    try:
        for step in range(stand.step, plan.steps):
            loss_sum, seconds = train_step(settings, rank, stand.epoch, step, chosen[step])
            computing += seconds
            seen += len(chosen[step])
            stand.step, stand.loss_sum = step + 1, stand.loss_sum + loss_sum
            stand.examples = before.examples + seen
            as_one = step == plan.together(step, settings.local_steps)[-1]
            if as_one and rank.stop.is_set():
                raise StoppedError(f"stopped in epoch {stand.epoch + 1} after step {stand.step} of {plan.steps}")
            if stand.step < plan.steps:
                due = interval.due() or due
            if due and as_one and stand.step < plan.steps:
                parts = rank.communicator.gather((stand.loss_sum - before.loss_sum, seen))
                loss_sum = before.loss_sum + sum(part for part, _count in parts)
                examples = before.examples + sum(count for _part, count in parts)
                keep(settings, rank, replace(stand, loss_sum=loss_sum, examples=examples))
                interval.restart()
                due = False
            if pace.due() and stand.step < plan.steps:
                told = pace.tell(stand.epoch * plan.steps + stand.step)
                report(
                    "step",
                    rank=rank.communicator.rank,
                    epoch=stand.epoch + 1,
                    epochs=settings.epochs,
                    step=stand.step,
                    steps=plan.steps,
                    # Of this rank's examples alone: nobody waits for a report.
                    loss=round((stand.loss_sum - before.loss_sum) / max(seen, 1), 6),
                    images_per_second=round(told["steps_per_second"] * sum(plan.shard_sizes) / plan.steps, 1),
                    eta_seconds=told["eta_seconds"],
                )
    except Exception as error:
        # A broken ring is noticed where ranks average: after local steps each is in a state of its own.
        if cause(error) == "stop" or (cause(error) == "ring" and settings.local_steps == 1):
            leave(settings, rank, stand)
        raise
    sent = wire.bytes_sent(rank.interface) - sent_before if rank.interface and sent_before is not None else None
    seconds = time.perf_counter() - started
    return Epoch(stand.loss_sum - before.loss_sum, seen, plan.steps - before.step, computing, seconds, sent)


def train_step(
    settings: Settings, rank: Rank, epoch: int, step: int, chosen: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """One step; the summed loss of this rank's examples, and the seconds that it computed."""
    number, plan, together = rank.communicator.rank, rank.plan, rank.plan.together(step, settings.local_steps)
    # Of its own step; in local ones it counts when they are averaged.
    weight = plan.weight(number, step) if settings.local_steps == 1 else 1.0
    for group in rank.optimizer.param_groups:
        group["lr"] = schedule.learning_rate(
            settings.learning_rate,
            rank.communicator.size * settings.accumulate,
            epoch * plan.steps + step,
            settings.epochs * plan.steps,
        )
    started = time.perf_counter()
    torch.manual_seed(schedule.step_seed(settings.seed, epoch, step, number))
    rank.optimizer.zero_grad()
    loss_sum = 0.0
    # As many times on every rank, for Horovod counts them: with the last one a gradient goes on its way.
    for batch in np.array_split(chosen, settings.accumulate):
        if len(batch):
            inputs, targets = rank.train.batch(batch)
        else:  # this rank's shard is spent; its gradients of zero keep the ring complete
            inputs, targets = rank.task.example_input(), torch.zeros(1, dtype=torch.int64)
        loss = rank.task.loss(rank.model(inputs), targets)
        (loss * (weight * len(batch) / max(len(chosen), 1))).backward()
        loss_sum += float(loss.detach()) * len(batch)
    seconds = time.perf_counter() - started
    if settings.local_steps > 1:
        averaging.complete(rank.model)
    if rank.factors and settings.local_steps == 1:
        rank.factors.average_gradients()
    rank.optimizer.step()
    if settings.local_steps > 1 and step == together[-1]:
        if rank.factors:
            rank.factors.average_steps(plan.weight(number, *together))
        else:
            averaging.average(rank.communicator, rank.model, rank.optimizer, plan.weight(number, *together))
    return loss_sum, seconds


def keep(settings: Settings, rank: Rank, stand: Stand) -> None:
    """A checkpoint, on the devices that keep them: each writes what it has, which is the same on all.

    But for Adam's moments after local steps that were averaged as factors; whoever goes on takes those of one device.
    """
    if rank.communicator.rank in checkpoint.keepers(rank.hosts, settings.checkpoint_copies):
        checkpoint.save(settings.checkpoints, checkpoint_of(rank, stand), settings.learning())
    rank.communicator.gather(None)  # by now it is on the disks
    checkpoint.mark(settings.checkpoints, stand.epoch)


def leave(settings: Settings, rank: Rank, stand: Stand) -> None:
    """A checkpoint on every device: others may be a step behind, and cannot be asked any more."""
    if rank.is_first_here:
        with contextlib.suppress(OSError):  # why it ends is worth more than why this was not written
            checkpoint.save(settings.checkpoints, checkpoint_of(rank, stand), settings.learning())


def checkpoint_of(rank: Rank, stand: Stand) -> checkpoint.Checkpoint:
    """The state of this rank, after a whole step."""
    return checkpoint.Checkpoint(
        epoch=stand.epoch,
        step=stand.step,
        steps=rank.plan.steps,
        model=rank.model.state_dict(),
        optimizer=rank.optimizer.state_dict(),
        history=stand.history,
        loss_sum=stand.loss_sum,
        examples=stand.examples,
    )


def evaluate(rank: Rank) -> tuple[dict[str, float], int]:
    """Metrics over the whole held-out split, each rank judging its part, and the number of examples."""
    rank.model.eval()
    sums: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(rank.held_out), EVALUATION_BATCH):
            inputs, targets = rank.held_out.batch(slice(start, start + EVALUATION_BATCH))
            for name, value in rank.task.metrics(rank.model(inputs), targets).items():
                sums[name] = sums.get(name, 0.0) + value * len(targets)
    parts = rank.communicator.gather((len(rank.held_out), sums))
    total = sum(count for count, _sums in parts)
    if total == 0:
        raise TaskError("dataset: the held-out split is empty; return some examples that no rank trains on")
    names = {name for _count, part in parts for name in part}
    if "accuracy" not in names:
        raise TaskError("metrics: must return `accuracy`")
    return {name: sum(part.get(name, 0.0) for _count, part in parts) / total for name in sorted(names)}, total


def wire_report(settings: Settings, rank: Rank, epochs: Sequence[Sequence[Epoch]]) -> dict[str, Any]:
    """Bytes that a rank sends per step: by the ring's formula, and as the kernel counted them on its interface.

    The count takes in headers, acknowledgements, Horovod's own coordination and whatever else used the interface.
    It is None where the interface is unknown, or where ranks share a host and so an interface.
    """
    sent = [one.sent for epoch in epochs for one in epoch]
    counts = [count for count in sent if count is not None]
    measured = None
    if counts and len(counts) == len(sent) and len(set(rank.hosts)) == len(rank.hosts):
        measured = round(sum(counts) / max(1, sum(one.steps for epoch in epochs for one in epoch)))
    return {**wire_bytes(settings, rank), "wire_bytes_per_step_measured": measured}


def wire_bytes(settings: Settings, rank: Rank) -> dict[str, int]:
    """What one averaging takes, and what a rank sends for it, by the ring's formula, in a mean step and in an epoch."""
    if settings.compression == "powersgd":
        allreduce_bytes = powersgd.step_bytes(rank.model, settings.powersgd_rank)
    elif settings.compression == "fp16":
        allreduce_bytes = 2 * parameter_count(rank.model)
    elif settings.local_steps > 1:
        allreduce_bytes = averaging.average_bytes(rank.model)
    else:
        allreduce_bytes = gradient_bytes(rank.model)
    averagings = math.ceil(rank.plan.steps / settings.local_steps)
    per_epoch = wire.ring_bytes(allreduce_bytes * averagings, rank.communicator.size)
    return {
        "allreduce_bytes": allreduce_bytes,
        "wire_bytes_per_step": round(per_epoch / rank.plan.steps),
        "wire_bytes_per_epoch": per_epoch,
    }


def compute_seconds(ranks: int, epochs: Sequence[Sequence[Epoch]]) -> list[float]:
    """Of each rank, over all epochs; waiting for others left out."""
    return [round(sum(epoch[rank].compute_seconds for epoch in epochs), 3) for rank in range(ranks)]


def time_report(
    settings: Settings, rank: Rank, epochs: Sequence[Sequence[Epoch]], measured: tuple[int, float] | None
) -> dict[str, Any]:
    """Where the training's seconds went.

    `share_of_time` is that of a mean rank: computing as it was timed; `allreduce` as long as its allreduces would take
    alone, which is an estimate, for they go on while gradients are computed; and the rest, waiting for other ranks.
    """
    seconds = sum(max(one.seconds for one in epoch) for epoch in epochs)
    computing = compute_seconds(rank.communicator.size, epochs)
    times = {"training_seconds": round(seconds, 3), "compute_seconds_by_rank": computing}
    if not seconds:
        return {**times, "share_of_time": None}
    compute = sum(computing) / len(computing) / seconds
    alone = 0.0
    if measured:
        payload, one = measured
        whole = wire_bytes(settings, rank)["allreduce_bytes"] / payload
        alone = sum(epoch[0].steps for epoch in epochs) / settings.local_steps * one * whole / seconds
    allreduce = min(alone, max(0.0, 1 - compute))
    shares = {"compute": compute, "allreduce": allreduce, "waiting": max(0.0, 1 - compute - allreduce)}
    return {**times, "share_of_time": {name: round(share, 4) for name, share in shares.items()}}


def peak_memory_bytes() -> int:
    """The most memory that this process has had resident."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def export_model(settings: Settings, rank: Rank, metrics: dict[str, float], examples: Examples) -> dict[str, Any]:
    """Write the bundle; returns `model_digest`, `model_file` and `model_bytes`."""
    example = rank.task.example_input()
    onnx = export.to_onnx(rank.model, example)
    manifest = bundle.Manifest(
        format=bundle.FORMAT,
        task=rank.task.name,
        classes=list(rank.task.classes),
        input={"name": export.INPUT, "shape": list(example.shape[1:]), "dtype": "float32"},
        output={"name": export.OUTPUT, "activation": "softmax"},
        preprocessing=rank.task.preprocessing,
        metrics={name: round(value, 6) for name, value in metrics.items()},
        trained={
            "job": settings.job,
            "task_digest": rank.task_digest,
            "ranks": rank.communicator.size,
            "epochs": settings.epochs,
            "seed": settings.seed,
            "created": now(),
        },
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    content = bundle.pack(manifest, onnx, samples_of(rank, examples))
    digest, path = bundle.write(settings.models_dir, content)
    return {"model_digest": digest, "model_file": str(path), "model_bytes": len(content)}


def sample_examples(rank: Rank) -> Examples:
    """Held-out examples, of different classes as far as possible, of the rank that has most: the same on every rank."""
    counts = rank.communicator.gather(len(rank.held_out))
    richest = counts.index(max(counts))
    chosen = None
    if rank.communicator.rank == richest:
        held_out = rank.held_out if len(rank.held_out) >= SAMPLES else rank.task.dataset("held-out", 0, 1)
        firsts = {int(truth): index for index, truth in reversed(list(enumerate(held_out.targets)))}
        order = list(firsts.values()) + [index for index in range(len(held_out)) if index not in firsts.values()]
        chosen = Examples(held_out.inputs[order[:SAMPLES]], held_out.targets[order[:SAMPLES]])
    given = rank.communicator.gather(chosen)[richest]
    assert given is not None
    return given


def samples_of(rank: Rank, examples: Examples) -> list[bundle.Sample]:
    """The examples with what the trained model makes of each."""
    rank.model.eval()
    samples = []
    with torch.no_grad():
        for index in range(len(examples)):
            inputs, targets = examples.batch(slice(index, index + 1))
            predicted = int(rank.model(inputs).argmax())
            samples.append(bundle.Sample(examples.inputs[index].tolist(), int(targets), predicted))
    return samples


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from the command line; defaults are those of `Settings`."""
    default = Settings(job="default")
    parser = argparse.ArgumentParser(prog="edge_training.train", description=__doc__)
    parser.add_argument("--job", required=True, help="name of the job; its folder is STATE_DIR/jobs/JOB")
    parser.add_argument("--task", default=default.task, help="digits, package.module:Class or /path/file.py[:Class]")
    parser.add_argument("--task-digest", help="sha256:... that the source of a user's task must have")
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="examples per rank and step")
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="of one rank")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument(
        "--accumulate", type=int, default=default.accumulate, help="batches of each rank that a step takes"
    )
    parser.add_argument(
        "--local-steps", type=int, default=default.local_steps, help="steps of each rank alone before all average"
    )
    parser.add_argument("--compression", default=default.compression, help=f"of gradients: {', '.join(COMPRESSIONS)}")
    parser.add_argument(
        "--powersgd-rank", type=int, default=default.powersgd_rank, help="columns in each factor of a gradient"
    )
    parser.add_argument("--data-dir", type=Path, default=default.data_dir)
    parser.add_argument("--models-dir", type=Path, default=default.models_dir)
    parser.add_argument("--checkpoints-dir", type=Path, default=default.checkpoints_dir)
    parser.add_argument("--state-dir", type=Path, default=default.state_dir)
    parser.add_argument("--subnet", help="CIDR that the ranks talk in; bytes on its interface are counted")
    parser.add_argument(
        "--checkpoint-copies", type=int, default=default.checkpoint_copies, help="devices besides that of rank 0"
    )
    parser.add_argument("--checkpoint-steps", type=int, default=default.checkpoint_steps, help="0: not by steps")
    parser.add_argument("--checkpoint-minutes", type=float, default=default.checkpoint_minutes, help="0: not by time")
    parser.add_argument("--resume", action="store_true", help="go on from this job's last checkpoint, if it has one")
    return Settings(**vars(parser.parse_args(arguments)))


def complaint(error: Exception, settings: Settings | None) -> str:
    """What to mend, with the line of the user's task that it came through; what nobody foresaw is logged in full."""
    foreseen = isinstance(error, (StoppedError, TaskError, bundle.BundleError, OSError, ValueError))
    if not foreseen:
        traceback.print_exception(error)
    source = source_of(settings.task) if settings else None
    line = line_of(error, source.path) if source else None
    if line:
        return f"{line}: {error if isinstance(error, TaskError) else said(error)}"
    return str(error) if foreseen else said(error)


def cause(error: Exception) -> str:
    """`ring` where this rank only noticed that another one is gone, `stop` where it was asked to end; `rank` where the
    fault is its own.
    """
    if isinstance(error, StoppedError):
        return "stop"
    return "ring" if type(error).__name__ == "HorovodInternalError" else "rank"


def main() -> int:
    """Exit status 0, or 1 with one line that says what to mend."""
    where = f"rank {os.environ.get('OMPI_COMM_WORLD_RANK', '0')} on {host_name()}"
    settings = None
    # A checkpoint first: mpirun and edge_training.stop send this before they insist.
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    try:
        settings = parse(sys.argv[1:])
        lean_torch.without_compiler()
        run(settings, connect(), stop)
    except Exception as error:  # noqa: BLE001  a user's task may raise anything
        message = complaint(error, settings)
        said = {"event": "error", "where": where, "message": message, "cause": cause(error)}
        print(json.dumps(said), file=sys.stderr, flush=True)
        # Not sys.exit: Horovod's goodbye at exit would wait for ranks that still train.
        os._exit(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
