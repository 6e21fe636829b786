# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container becomes what is wanted, or stays what it is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import health, recovery, selection, training
from .engine import NO_RESTART, Engine
from .errors import CommitError
from .journal import COMMITTED, DONE, OPEN, ROLLED_BACK, Deferral, Folder, Journal, Old, now
from .selection import Selection
from .wanted import LABEL, Wanted

ACTIVATE = "activate"
"""A container that serves models has this program: it ends with 0 once the model of that digest answers, with 3 where
it is refused and the one before goes on, and otherwise where that is not known."""
ACTIVE, REFUSED = 0, 3
LOCK_SECONDS = 30
ENGINE_SECONDS = 30


@dataclass
class Result:
    """What is printed as JSON.

    `action`: none, created, replaced, activated (another model), started, restarted, deferred or rolled back.
    """

    action: str = "none"
    changed: bool = False
    failed: bool = False
    msg: str = ""
    digest: str = ""
    previous_digest: str = ""
    log: list[str] = field(default_factory=list)
    deferred_seconds: int = 0
    diff: dict[str, Any] = field(default_factory=dict)


def apply(wanted: Wanted, folder: Folder) -> Result:
    """Raises CommitError where nothing could be begun."""
    with folder.lock(wanted.name, LOCK_SECONDS) as mine:
        if not mine:
            raise CommitError(f"another edge-commit works on {wanted.name}; wait for its end (`edge-commit status`).")
        engine = Engine(ENGINE_SECONDS)
        last = folder.read(wanted.name)
        if last and last.under_way and not wanted.check:
            last = recovery.end(engine, folder, last, "it was cut in the middle")
        image = engine.image(wanted.image)
        # A pull leaves the image away in check mode.
        if image is None and not wanted.check:
            raise CommitError(f"image: {wanted.image} is not on the device (`docker pull {wanted.image}`).")
        if image and not health.can_be_seen(wanted, image):
            raise CommitError(f"{wanted.name}: nothing says when it is healthy. Give healthcheck or health_url.")
        old = engine.container(wanted.name)
        if old and image and old["Image"] == image["Id"] and _label(old) == wanted.label:
            if not wanted.check:
                folder.defer(wanted.name, None)
            return _activated(wanted, folder, engine, old, last) or _keep(wanted, engine, old)
        return (
            _deferred(wanted, folder, engine, old)
            or _refused(wanted, last)
            or (_planned(wanted, engine, old) if wanted.check else _replace(wanted, folder, engine, old))
        )


def _activated(
    wanted: Wanted, folder: Folder, engine: Engine, container: dict[str, Any], last: Journal | None
) -> Result | None:
    """The container stays, and another model answers in it; the one before does where that is refused.

    No request fails meanwhile, so a training is not waited for.
    """
    if wanted.model is None or wanted.model_file is None:
        return None
    file = Path(wanted.model_file)
    before = Selection.read(file)
    if before.is_surely(wanted.model):
        return None
    if refused := _refused(wanted, last):
        return refused
    diff = {"before": {"model": before.digest}, "after": {"model": wanted.model}}
    result = Result("activated", changed=True, digest=wanted.digest, previous_digest=wanted.digest, diff=diff)
    if wanted.check:
        return result
    began = now()
    if not container["State"]["Running"]:
        engine.start(container["Id"])
    Selection(before.digest, trying=wanted.model).write(file)
    # An engine that goes away meanwhile, or a power cut, leaves it so: the next run tries again.
    status, said = engine.run(container["Id"], [ACTIVATE, wanted.model])
    if status not in (ACTIVE, REFUSED) and health.wait(engine, container["Id"], wanted):
        engine.restart(container["Id"], wanted.stop_seconds)
        status, said = engine.run(container["Id"], [ACTIVATE, wanted.model])
    if status == ACTIVE:
        Selection(wanted.model).write(file)
    else:
        result.action, result.failed, result.log = "rolled back", True, engine.log(container["Id"])
        said = said or f"{ACTIVATE} ended with {status}"
        result.msg = f"{wanted.name} does not serve the model {wanted.model}: {said}."
    if status == REFUSED:
        before.write(file)
        result.msg += " The one before still answers." if before.digest else " There was none before."
    folder.write(
        Journal(
            name=wanted.name,
            state=ROLLED_BACK if result.failed else DONE,
            digest=wanted.digest,
            wanted=wanted.fingerprint,
            restart=container["HostConfig"]["RestartPolicy"],
            began=began,
            old=last.old if last else None,  # which image to go back to is as before
            ended=now(),
            reason=result.msg or None,
            unhealthy=result.failed,
            model_file=wanted.model_file,
        )
    )
    return result


def _keep(wanted: Wanted, engine: Engine, container: dict[str, Any]) -> Result:
    """It is the wanted one: healthy, or set going again. There is nothing else to go back to."""
    result = Result(digest=wanted.digest)
    final, wrong = health.look(engine, container["Id"], wanted)
    if wrong and not final:
        wrong = None if wanted.check else health.wait(engine, container["Id"], wanted)
    if wrong is None:
        return result
    running = container["State"]["Running"]
    result.action, result.changed = "restarted" if running else "started", True
    result.msg = f"{wanted.name} was not healthy: {wrong}"
    if not wanted.check:
        if running:
            engine.restart(container["Id"], wanted.stop_seconds)
        else:
            engine.start(container["Id"])
        if wrong := health.wait(engine, container["Id"], wanted):
            result.failed, result.log = True, engine.log(container["Id"])
            result.msg = (
                f"{wanted.name} was {result.action}, but {wrong}. It is the wanted one, so nothing is put back."
            )
    return result


def _deferred(wanted: Wanted, folder: Folder, engine: Engine, old: dict[str, Any] | None) -> Result | None:
    """While the device trains nothing is replaced, before its next checkpoint, or the maximum if then is force."""
    if not wanted.defer:
        return None
    if not training.runs(engine, wanted.defer["container"]):
        if not wanted.check:
            folder.defer(wanted.name, None)
        return None
    most, then = wanted.defer["max_seconds"], wanted.defer["then"]
    known = folder.deferral(wanted.name)
    deferral = known or Deferral.begin()
    if known is None and not wanted.check:
        folder.defer(wanted.name, deferral)
    # By the clock as it is now, whatever it was when the deferral began.
    if training.checkpoint_since(wanted.defer.get("checkpoints_dir", ""), time.time() - deferral.seconds):
        return None
    waited = int(deferral.seconds)
    over = waited >= most
    if over and then == "force":
        return None
    msg = f"{wanted.name} is left as it is: {wanted.defer['container']} trains. Deferred for {waited} of {most} seconds"
    return Result(
        action="deferred",
        failed=over and then == "fail",
        msg=f"{msg}; then: {then}.",
        digest=wanted.digest,
        previous_digest=engine.digest(old) if old else "",
        deferred_seconds=waited,
    )


def _refused(wanted: Wanted, last: Journal | None) -> Result | None:
    if wanted.retry_failed or last is None or not last.unhealthy or last.wanted != wanted.fingerprint:
        return None
    msg = (
        f"{wanted.name} is left as it is (retry_failed is false): the wanted one failed at {last.ended}: {last.reason}"
    )
    return Result(failed=True, msg=msg, digest=wanted.digest)


def _planned(wanted: Wanted, engine: Engine, old: dict[str, Any] | None) -> Result:
    model = {"model": wanted.model} if wanted.model_file else {}
    after = {"image": wanted.image, **wanted.options, **model}
    if old is None:
        return Result("created", changed=True, digest=wanted.digest, diff={"before": {}, "after": after})
    digest, label = engine.digest(old), _label(old)
    # Another registry's name for the same image is no change.
    before = {"image": wanted.image if digest == wanted.digest else old["Config"]["Image"]}
    before |= json.loads(label) if label else {"options": "those of a container that edge-commit did not make"}
    if wanted.model_file:
        before["model"] = Selection.read(Path(wanted.model_file)).digest
    diff = {"before": before, "after": after}
    return Result("replaced", changed=True, digest=wanted.digest, previous_digest=digest, diff=diff)


def _replace(wanted: Wanted, folder: Folder, engine: Engine, old: dict[str, Any] | None) -> Result:
    result = _planned(wanted, engine, old)
    file = Path(wanted.model_file) if wanted.model_file else None
    journal = Journal(
        name=wanted.name,
        state=OPEN,
        digest=wanted.digest,
        wanted=wanted.fingerprint,
        restart={"Name": wanted.options.get("restart_policy") or "no", "MaximumRetryCount": 0},
        began=now(),
        old=Old(old["Id"], result.previous_digest, old["State"]["Running"], old["HostConfig"]["RestartPolicy"])
        if old
        else None,
        model_file=wanted.model_file,
    )
    if file:
        selection.keep(file)
    folder.write(journal)
    new, unhealthy = None, False
    try:
        if late := engine.container(f"{wanted.name}.next"):  # of a request that outlived a killed program
            engine.remove(late["Id"])
        new = engine.create(wanted, f"{wanted.name}.next")
        if journal.old:
            # So that it does not start by itself beside the new one after a power cut.
            engine.set_restart(journal.old.id, NO_RESTART)
            engine.stop(journal.old.id, wanted.stop_seconds)
            engine.rename(journal.old.id, f"{wanted.name}.previous")
        if file:  # the old one, which reads it when it starts, does not start by itself any more
            Selection(wanted.model).write(file)
        engine.rename(new, wanted.name)
        engine.start(new)
        wrong = health.wait(engine, new, wanted)
        unhealthy = wrong is not None
    except CommitError as error:  # a full disk, a port that is taken: another time it may do
        wrong = str(error)
    if wrong is None:
        folder.defer(wanted.name, None)
        return _commit(result, folder, engine, journal.to(COMMITTED, new=new))
    return _put_back(result, folder, journal, new, wrong, unhealthy)


def _commit(result: Result, folder: Folder, engine: Engine, journal: Journal) -> Result:
    folder.write(journal)
    try:
        recovery.finish(engine, folder, journal)
    except CommitError as error:
        result.msg = f"{journal.name} is replaced; the old container is removed within a minute, for now: {error}"
    return result


def _put_back(result: Result, folder: Folder, journal: Journal, new: str | None, wrong: str, unhealthy: bool) -> Result:
    result.action, result.failed = "rolled back", True
    back = (
        f"The old one ({journal.old.digest or 'an image without a digest'}) is back"
        if journal.old
        else "There was none before"
    )
    try:
        engine = Engine(ENGINE_SECONDS)
        result.log = engine.log(new) if new else []
        recovery.roll_back(engine, folder, journal.to(OPEN, unhealthy=unhealthy), wrong)
    except CommitError as error:
        back = f"It could not be put back yet, `edge-commit recover` tries each minute: {error}"
    result.msg = f"{journal.name} with {journal.digest} was not kept: {wrong}. {back}."
    return result


def _label(container: dict[str, Any]) -> str | None:
    return (container["Config"]["Labels"] or {}).get(LABEL)
