"""The worker's image, for what is measured in containers of its own."""

from __future__ import annotations

import json

import docker

from lab import settings

LABEL = "org.opencontainers.image.title=edge worker"


def image_of(client: docker.DockerClient) -> str:
    """The newest that the engine has; or that of the lab that stands, taken from its first device (1 GB)."""
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
