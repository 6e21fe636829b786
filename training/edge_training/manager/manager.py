"""What the Device Manager does. Each verb looks first, so one that was cut is simply asked for again."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_commit import health, swap
from edge_commit.engine import Engine
from edge_commit.errors import CommitError
from edge_commit.journal import Folder
from edge_commit.selection import Selection
from edge_commit.wanted import Wanted
from pydantic import BaseModel

from edge_training import bundle
from edge_training.manager import containers, machine, release, status
from edge_training.manager.containers import NAMES, Container
from edge_training.manager.engine import engine, troubles
from edge_training.manager.release import Kind, Release
from edge_training.manager.settings import Settings
from edge_training.manager.state import Claims, Lock, StateFile, now
from edge_training.manager.status import Model, Replacement, Status, Training
from edge_training.problem import ProblemError

STOP_SECONDS = 10


class Purged(BaseModel):
    """What is gone."""

    containers: list[str]
    models: list[str]
    checkpoints: list[str]
    freed_bytes: int


class Manager:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._state = StateFile(settings.state_file)
        self._claims = Claims()
        self._commits = Folder(settings.commits_dir)

    # What is asked

    def status(self) -> Status:
        try:
            released = self._release()
        except ProblemError:  # what runs is told all the same
            released = None
        with engine() as one:
            return Status(
                release=released,
                containers={kind: containers.show(one, released, kind) for kind in NAMES},
                model=self._model(one),
                replacement=self._replacement(),
                training=status.of_training(one, self.settings.root),
                lock=self._state.present.lock,
                under_way=self._claims.held(),
                machine=machine.look(self.settings.root),
            )

    def model(self) -> Model:
        with engine() as one:
            return self._model(one)

    def training(self) -> Training:
        with engine() as one:
            return status.of_training(one, self.settings.root)

    def lock_held(self) -> Lock | None:
        return self._state.present.lock

    # What is done

    def deploy(self, digest: str, by: str, force: bool = False) -> Model:
        released = self._release()
        if digest != released.model:
            named = released.model or "no model"
            detail = f"{digest} is not of release {released.name}, which names {named}. Release it first."
            raise ProblemError(403, "The model is not the released one", detail)
        with self._changing(("predictor",), f"deploy {digest}", by):
            return self._serve(released, digest, force)

    def roll_back(self, by: str, force: bool = False) -> Model:
        """To the model that was served before, in the release's Predictor."""
        released = self._release()
        with self._changing(("predictor",), "roll back the model", by):
            with engine() as one:
                previous = self._model(one).previous
            if previous is None:
                detail = "This service replaced no model on this device yet."
                raise ProblemError(409, "There is no model before this one", detail)
            return self._serve(released, previous, force)

    def start_training(self, job: str, by: str, data_dirs: Iterable[str] = ()) -> Training:
        """This device's worker runs and is ready; the launcher's mpirun begins the ranks."""
        released = self._release()
        with self._changing(("worker",), f"start the training {job}", by), engine() as one:
            found = containers.own(one, "worker")
            if found and found["State"]["Running"]:
                running = containers.labels(found).get(containers.JOB)
                if running != job or one.digest(found) != released.images.get("worker"):
                    detail = f"{NAMES['worker']} runs for the job {running}. Stop that training first."
                    raise ProblemError(409, "The device takes part in a training", detail, job=running)
                if lacking := set(data_dirs) - containers.data_dirs(found):
                    detail = f"{NAMES['worker']} runs without {', '.join(sorted(lacking))}. Stop that training first."
                    raise ProblemError(409, "The job's worker reads other folders", detail, job=running)
            else:
                image = containers.image(one, released, "worker")
                wanted = containers.worker(self.settings, image, job, data_dirs)
                if not (self.settings.keys_dir / job / "authorized_keys").is_file():
                    detail = f"{self.settings.keys_dir / job} holds no keys of the job. Make them there first."
                    raise ProblemError(409, "The job has no keys on this device", detail)
                if found:
                    one.remove(found["Id"])
                _begin(one, wanted)
                shown = status.of_training(one, self.settings.root)
                # It was seen to be; the engine makes its own first check when an interval is over.
                return shown.model_copy(update={"state": "ready"}) if shown.state == "starting" else shown
            return status.of_training(one, self.settings.root)

    def stop_training(self, by: str) -> Training:
        """The worker is gone, and what ran in it."""
        with self._changing(("worker",), "stop the training", by), engine() as one:
            if found := containers.own(one, "worker"):
                one.stop(found["Id"], STOP_SECONDS)
                one.remove(found["Id"])
            return status.of_training(one, self.settings.root)

    def start(self, kind: Kind, by: str) -> Container:
        with self._container(kind, "start", by) as (one, found, released):
            containers.refuse_foreign(self.settings, one, released, kind, found)
            one.start(found["Id"])
            return _shown(one, released, kind)

    def restart(self, kind: Kind, by: str) -> Container:
        with self._container(kind, "restart", by) as (one, found, released):
            containers.refuse_foreign(self.settings, one, released, kind, found)
            one.restart(found["Id"], STOP_SECONDS)
            return _shown(one, released, kind)

    def stop(self, kind: Kind, by: str) -> Container:
        with self._container(kind, "stop", by) as (one, found, released):
            one.stop(found["Id"], STOP_SECONDS)
            return _shown(one, released, kind)

    def lock(self, holder: str, reason: str) -> Lock:
        held = self._state.present.lock
        if held and held.holder != holder:
            raise _locked(held, status=409)
        lock = Lock(holder=holder, reason=reason, since=held.since if held else now())
        with _room():
            self._state.lock(lock)
        return lock

    def unlock(self) -> None:
        with _room():
            self._state.lock(None)

    def purge(self, by: str) -> Purged:
        """An ended worker, models that neither the release nor a rollback needs, and checkpoints."""
        released = self._release()
        with self._changing(("predictor", "worker"), "purge", by), engine() as one, self._alone():
            worker = one.container(NAMES["worker"])
            if worker and worker["State"]["Running"]:
                detail = f"{NAMES['worker']} runs. Wait for the training's end, or stop it."
                raise ProblemError(409, "The device takes part in a training", detail)
            gone = []
            if worker and containers.is_managed(worker):
                one.remove(worker["Id"])
                gone.append(NAMES["worker"])
            free = shutil.disk_usage(self.settings.root).free
            serving = self._model(one)
            models = self._purge_models({released.model, serving.digest, serving.previous})
            checkpoints = self._purge_checkpoints()
            freed = shutil.disk_usage(self.settings.root).free - free
            return Purged(containers=gone, models=models, checkpoints=checkpoints, freed_bytes=max(0, freed))

    # How

    def _release(self) -> Release:
        return release.read(self.settings.config_dir / "release.json")

    def _model(self, one: Engine) -> Model:
        digest = self._served() if one.container(NAMES["predictor"]) else None
        return Model(digest=digest, previous=self._state.present.before(digest))

    def _replacement(self) -> Replacement | None:
        with troubles():
            journal = self._commits.read(NAMES["predictor"])
        if journal is None:
            return None
        return Replacement(state=journal.state, began=journal.began, ended=journal.ended, reason=journal.reason)

    def _served(self) -> str | None:
        with troubles():
            return Selection.read(self.settings.serving_file).digest

    def _serve(self, released: Release, model: str, force: bool) -> Model:
        try:
            bundle.read(self.settings.models_dir / f"{model.removeprefix('sha256:')}.tar", model)
        except bundle.BundleError as error:
            raise ProblemError(422, "The model's bundle cannot be used", str(error)) from error
        with engine() as one:
            found = containers.own(one, "predictor")
            image = containers.image(one, released, "predictor")
        served = self._served() if found else None
        if served and served != model:
            self._state.serves(served)
        with self._alone():
            pass  # edge-commit takes the lock itself, and would wait for another's end
        wanted = containers.predictor(self.settings, image, model, patient=not force)
        with troubles():
            result = swap.apply(wanted, self._commits)
        if result.action == "deferred":
            detail = "Ask again after its next checkpoint or its end, or with force, which waits for neither."
            raise ProblemError(409, "The device trains", detail, {"Retry-After": "60"})
        if result.failed:
            raise ProblemError(502, "The model was not kept", result.msg, log=result.log)
        return self.model()

    def _purge_models(self, needed: set[str | None]) -> list[str]:
        gone = []
        for file in sorted(self.settings.models_dir.glob("*.tar")):
            if f"sha256:{file.stem}" not in needed:
                file.unlink(missing_ok=True)
                gone.append(f"sha256:{file.stem}")
        return gone

    def _purge_checkpoints(self) -> list[str]:
        """rmtree follows no link, for it is a container that wrote them."""
        folders = [one for one in self.settings.root.glob("checkpoints/*") if one.is_dir() and not one.is_symlink()]
        for folder in folders:
            shutil.rmtree(folder)
        return sorted(folder.name for folder in folders)

    @contextlib.contextmanager
    def _container(self, kind: Kind, verb: str, by: str) -> Iterator[tuple[Engine, dict[str, Any], Release]]:
        released = self._release()
        alone = self._alone() if kind == "predictor" else contextlib.nullcontext()
        with self._changing((kind,), f"{verb} the {kind}", by), alone, engine() as one:
            yield one, containers.present(one, kind), released

    @contextlib.contextmanager
    def _changing(self, things: tuple[str, ...], verb: str, by: str) -> Iterator[None]:
        """For one request alone, and only where nobody wants the device left as it is."""
        with self._claims.taken(things, verb, by), _room():
            if held := self._state.present.lock:
                raise _locked(held, status=423)
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Raises ProblemError where another edge-commit, Ansible's or the recovering one, works on the Predictor."""
        with self._commits.lock(NAMES["predictor"], 0) as mine:
            if not mine:
                detail = f"edge-commit replaces {NAMES['predictor']}; try again after its end."
                raise ProblemError(409, "Somebody replaces the Predictor", detail, holder={"verb": "edge-commit"})
            yield


def _begin(one: Engine, wanted: Wanted) -> None:
    """Raises ProblemError where the container does not become healthy; it is gone then."""
    created = one.create(wanted, wanted.name)
    try:
        one.start(created)
        wrong = health.wait(one, created, wanted)
    except CommitError:
        with contextlib.suppress(CommitError):
            one.remove(created)
        raise
    if wrong:
        said = one.log(created)
        one.remove(created)
        raise ProblemError(502, "The worker is not ready", f"{wanted.name} was removed again: {wrong}", log=said)


def _shown(one: Engine, released: Release, kind: Kind) -> Container:
    shown = containers.show(one, released, kind)
    if shown is None:
        raise ProblemError(404, f"There is no {kind}", f"Somebody removed {NAMES[kind]} meanwhile.")
    return shown


def _locked(held: Lock, status: int) -> ProblemError:
    detail = f"{held.holder} has locked it since {held.since.isoformat()}: {held.reason}"
    return ProblemError(status, "The device is locked", detail, holder=held.model_dump(mode="json"))


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Raises ProblemError where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        detail = f"{error.filename or Path('/')}: {error.strerror}. Make room on the device, or purge it."
        raise ProblemError(507, "The disk is full", detail) from error
