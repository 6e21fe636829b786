"""The two containers of a device, and what each is made of: no request can say more than which model or which job."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from edge_commit.engine import Engine
from edge_commit.wanted import LABEL, Wanted
from pydantic import BaseModel

from edge_training.manager.release import Kind, Release
from edge_training.manager.settings import Limits, Settings
from edge_training.problem import ProblemError

NAMES: dict[Kind, str] = {"predictor": "edge-predictor", "worker": "edge-worker"}
JOB = "edge.job"
# Of a container's HostConfig: what gives it more than its share.
RIGHTS = ("Privileged", "CapAdd", "Devices", "DeviceRequests", "DeviceCgroupRules", "VolumesFrom")
SHARED = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")
FOLDERS = ("data", "models", "checkpoints", "state")
# Where a task's data may lie. The chain of trust admits the same ones (roles/trust/files/edge_trust/start.py).
DATA = ("/usr/share/", "/srv/", "/mnt/", "/media/")
# No `..`, and no colon, which would end the path for the engine.
FOLDER = r"[^./:\x00-\x1f\x7f][^/:\x00-\x1f\x7f]*"
DATA_DIR = rf"^({'|'.join(DATA)}){FOLDER}(/{FOLDER})*$"


class Container(BaseModel):
    """As the engine shows it. `managed`: it was made under edge-commit or by this service; `released`: its image is the
    release's."""

    name: str
    state: str
    health: str | None
    image_digest: str
    managed: bool
    released: bool
    started: str
    restarts: int


def predictor(settings: Settings, image: str, model: str, patient: bool = True) -> Wanted:
    """The Predictor with this model, as a release's roll-out makes it.

    `patient`: a training comes first, until its next checkpoint.
    """
    defer = {
        "container": NAMES["worker"],
        "checkpoints_dir": str(settings.root / "checkpoints"),
        "max_seconds": 0,
        "then": "wait",
    }
    return Wanted(
        name=NAMES["predictor"],
        image=image,
        options={
            "published_ports": [f"{settings.device_address}:{settings.predictor_port}:8480"],
            "env": {"EDGE_PREDICTOR_RIGHT_SHARE": settings.predictor_right_share},
            "volumes": [f"{settings.models_dir}:/models:ro", f"{settings.serving_file.parent}:/serving:ro"],
            "tmpfs": ["/tmp"],  # noqa: S108
            "restart_policy": "unless-stopped",
            **_confined(settings, settings.predictor, start_period_seconds=10.0),
        },
        health_deadline_seconds=settings.ready_seconds,
        defer=defer if patient else {},
        model=model,
        model_file=str(settings.serving_file),
    )


def worker(settings: Settings, image: str, job: str, data_dirs: Iterable[str] = ()) -> Wanted:
    """The worker of this job, which reads these folders of the device, too. They and its keys are there already."""
    return Wanted(
        name=NAMES["worker"],
        image=image,
        options={
            "network_mode": "host",
            "env": {
                "EDGE_SSH_ADDRESS": settings.device_address,
                "EDGE_SSH_PORT": str(settings.worker_ssh_port),
                "EDGE_IMAGE_DIGEST": image.partition("@")[2],
            },
            "volumes": [
                f"{settings.keys_dir / job}:/run/edge-job:ro",
                *(f"{settings.root / folder}:/var/lib/edge/{folder}" for folder in FOLDERS),
                *(f"{folder}:{folder}:ro" for folder in sorted(set(data_dirs))),
            ],
            "tmpfs": ["/tmp", "/run"],  # noqa: S108
            "init": True,
            "labels": {JOB: job},
            **_confined(settings, settings.worker, start_period_seconds=5.0),
        },
        health_deadline_seconds=settings.ready_seconds,
    )


def is_data_dir(path: str) -> bool:
    """Whether a worker may be given it to read."""
    return re.fullmatch(DATA_DIR, path) is not None


def data_dirs(worker: dict[str, Any]) -> set[str]:
    """Those that this worker reads, as `docker inspect` shows it."""
    return {str(one["Source"]) for one in worker.get("Mounts") or [] if _is_data(one)}


def _is_data(mount: dict[str, Any]) -> bool:
    same = mount.get("Source") == mount.get("Destination")
    return mount.get("Type") == "bind" and mount.get("RW") is False and same and is_data_dir(str(mount["Source"]))


def _confined(settings: Settings, limits: Limits, start_period_seconds: float) -> dict[str, Any]:
    return {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opts": ["no-new-privileges"],
        "memory": limits.memory,
        "cpus": limits.cpus,
        "pids_limit": limits.pids,
        # An OCI image has no word for it.
        "healthcheck": {
            "test": ["CMD", "ready"],
            "interval_seconds": settings.health_interval_seconds,
            "timeout_seconds": 5.0,
            "start_period_seconds": start_period_seconds,
        },
    }


def image(engine: Engine, release: Release, kind: Kind) -> str:
    """The name under which this device has the release's image; a cache hands out the same one under a name of its own.

    Raises:
        ProblemError: the release names none, or it is not here.
    """
    digest = release.images.get(kind)
    if digest is None:
        raise ProblemError(409, f"The release has no {kind}", f"Release {release.name} names no image of a {kind}.")
    content = f"/edge/{kind}@{digest}"
    names = [name for one in engine.api.images() for name in one.get("RepoDigests") or [] if name.endswith(content)]
    if not names:
        detail = f"edge/{kind}@{digest} of release {release.name} is not on the device. Pull it, then ask again."
        raise ProblemError(409, "The image is not on the device", detail)
    return str(min(names))


def own(engine: Engine, kind: Kind) -> dict[str, Any] | None:
    """The container, as `docker inspect` shows it.

    Raises:
        ProblemError: it bears our name, but somebody else made it.
    """
    found = engine.container(NAMES[kind])
    if found and not is_managed(found):
        makers = "neither by this service nor by edge-commit or edge.rack.train"
        detail = f"{NAMES[kind]} was made {makers}. Who made it must remove it."
        raise ProblemError(409, "The container is not managed here", detail)
    return found


def present(engine: Engine, kind: Kind) -> dict[str, Any]:
    """The container; one that is not there is a problem, too."""
    found = own(engine, kind)
    if found is None:
        raise ProblemError(404, f"There is no {kind}", f"{NAMES[kind]} is not on this device.")
    return found


def is_managed(container: dict[str, Any]) -> bool:
    """A worker of edge.rack.train bears its job alone."""
    return not labels(container).keys().isdisjoint({LABEL, JOB})


def labels(container: dict[str, Any]) -> dict[str, str]:
    return container["Config"].get("Labels") or {}


def refuse_foreign(settings: Settings, engine: Engine, release: Release, kind: Kind, found: dict[str, Any]) -> None:
    """A label is soon copied: what is started must be what we would make.

    Raises:
        ProblemError: its image, its mounts or its rights are others.
    """
    digest, host = engine.digest(found), found["HostConfig"]
    if digest != release.images.get(kind):
        detail = f"{NAMES[kind]} is of {digest or 'an image without a digest'}; release {release.name} names another."
        raise ProblemError(403, "The image is not the released one", detail)
    ours = worker(settings, "", labels(found).get(JOB, "")) if kind == "worker" else predictor(settings, "", "")
    more = [name for name in RIGHTS if host.get(name)]
    more += [name for name in SHARED if _is_shared(host.get(name)) and host[name] != ours.options.get("network_mode")]
    more += ["CapDrop"] if host.get("CapDrop") != ours.options["cap_drop"] else []
    mounts = [one for one in found.get("Mounts") or [] if one.get("Type") != "tmpfs"]
    sources = {str(one.get("Source")) for one in mounts if kind != "worker" or not _is_data(one)}
    more += sorted(sources - {bind.split(":")[0] for bind in ours.options["volumes"]})
    if more:
        detail = f"{NAMES[kind]} has more than it needs: {', '.join(more)}. Remove it."
        raise ProblemError(403, "The container is not made as it should be", detail)


def _is_shared(mode: str | None) -> bool:
    return (mode or "").partition(":")[0] in ("host", "container")


def show(engine: Engine, release: Release | None, kind: Kind) -> Container | None:
    found = engine.container(NAMES[kind])
    if found is None:
        return None
    state, digest = found["State"], engine.digest(found)
    return Container(
        name=NAMES[kind],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        image_digest=digest,
        managed=is_managed(found),
        released=release is not None and digest == release.images.get(kind),
        started=state["StartedAt"],
        restarts=found["RestartCount"],
    )
