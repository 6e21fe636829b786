"""What a device says of itself."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Literal

import pydantic_core
from edge_commit import training
from edge_commit.engine import Engine
from pydantic import BaseModel

from edge_training.manager import containers
from edge_training.manager.containers import Container
from edge_training.manager.machine import Machine
from edge_training.manager.release import Kind, Release
from edge_training.manager.state import Holder, Lock

TAIL_BYTES = 64 * 1024


class Model(BaseModel):
    """Which bundle is served, by digest, and which one `rollback` goes back to."""

    digest: str | None
    previous: str | None


class Training(BaseModel):
    """This device's part in a job. Only the launcher has the job's last event (`progress`) and its `result`."""

    job: str | None = None
    state: Literal["none", "created", "starting", "ready", "unhealthy", "training", "ended"] = "none"
    began: str | None = None
    exit_status: int | None = None
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


class Replacement(BaseModel):
    """The Predictor's last replacement, as edge-commit has it in its journal."""

    state: str
    began: str
    ended: str | None
    reason: str | None


class Status(BaseModel):
    release: Release | None
    containers: dict[Kind, Container | None]
    model: Model
    replacement: Replacement | None
    training: Training
    lock: Lock | None
    under_way: dict[str, Holder]
    machine: Machine


def of_training(engine: Engine, root: Path) -> Training:
    found = engine.container(containers.NAMES["worker"])
    if found is None:
        return Training()
    job, state = containers.labels(found).get(containers.JOB), found["State"]
    shown = Training(job=job, began=state["StartedAt"] if state["Status"] != "created" else None)
    if state["Status"] == "created":
        shown.state = "created"
    elif not state["Running"]:
        shown.state, shown.exit_status = "ended", state["ExitCode"]
    elif training.runs(engine, containers.NAMES["worker"]):
        shown.state = "training"
    else:
        health = (state.get("Health") or {}).get("Status")
        shown.state = health if health in ("starting", "unhealthy") else "ready"
    if job:
        folder = root / "state" / "jobs" / job
        shown.progress = last_object(folder / "progress.jsonl", root)
        shown.result = last_object(folder / "result.json", root, whole=True)
    return shown


def last_object(file: Path, root: Path, whole: bool = False) -> dict[str, Any] | None:
    """The JSON object on the file's last line, or that is all of it. A container wrote it, so it may be anything."""
    try:
        if not file.resolve().is_relative_to(root.resolve()):
            return None
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as opened:
            size = os.fstat(descriptor).st_size
            if not stat.S_ISREG(os.fstat(descriptor).st_mode) or (whole and size > TAIL_BYTES):
                return None
            opened.seek(max(0, size - TAIL_BYTES))
            content = opened.read(TAIL_BYTES)
        # What comes after the last end of a line is still being written.
        text = content if whole else content.rpartition(b"\n")[0].rpartition(b"\n")[2]
        value = pydantic_core.from_json(text)
        json.dumps(value, allow_nan=False)  # or it could not be answered
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
