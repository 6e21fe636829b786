"""The worker's image, for what is measured in containers of its own."""

from __future__ import annotations

import json

import docker

from lab import settings

HELP = "the worker's; default: the newest of the engine, or that of the lab's devices"
LABEL = "org.opencontainers.image.title=edge worker"


def find(client: docker.DockerClient, named: str | None) -> str:
    """The named one, the newest that the engine has, or that of the lab that stands, from its first device (1 GB)."""
    if named:
        try:
            return str(client.images.get(named).id)
        except docker.errors.ImageNotFound:
            raise SystemExit(f"the engine has no image {named}: pull it, or name another by --image") from None
    found = client.images.list(filters={"label": LABEL})
    if found:
        return str(max(found, key=lambda one: one.attrs["Created"]).id)
    given = settings.from_environment()
    try:
        device = json.loads((given.state / "result.json").read_text())["devices"][0]["name"]
    except OSError:
        raise SystemExit(
            "the engine has no image of a worker: make lab, or build training/images/worker (its Dockerfile says how),"
            " or name one by --image"
        ) from None
    machine = client.containers.get(f"edge-{given.name}-{device}")
    name = machine.exec_run(["docker", "images", "--quiet", "--filter", f"label={LABEL}"]).output.split()[0].decode()
    saved = machine.exec_run(["docker", "save", name], stream=True).output
    return str(client.images.load(saved)[0].id)
