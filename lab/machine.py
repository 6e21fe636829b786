"""Machines with systemd and no rack around them, to try a role on.

LAB_NAME=roles LAB_STATE=tests/output/roles python -m lab machine [NAME ...]       `python -m lab down` takes them away
"""

from __future__ import annotations

from collections.abc import Sequence

import docker
from docker.errors import NotFound

from lab import engine, host, images
from lab.containers import LABEL, Spec, create
from lab.progress import Progress
from lab.settings import Settings, own


def machines(settings: Settings, progress: Progress, names: Sequence[str] = ("machine",)) -> None:
    """Make and start them; their engine's address stands in STATE/engine, their names are edge-<lab>-NAME."""
    own(settings.state)
    own(settings.cache)
    host.raise_kernel_limits()
    url = engine.answering()
    host.install_packages(settings, engine_answers=url is not None)
    url = url or engine.start()
    with engine.connect(url) as client:
        with progress.working("the machine's operating system, from Debian's packages"):
            image = images.ensure_nuc(client, settings)
        for name in names:
            _start(client, settings, name, image)
    (settings.state / "engine").write_text(url + "\n")
    progress.say(f"{', '.join(settings.container(name) for name in names)} in the engine at {url}")


def _start(client: docker.DockerClient, settings: Settings, name: str, image: str) -> None:
    container_name = settings.container(name)
    try:
        container = client.containers.get(container_name)
    except NotFound:
        spec = Spec(
            name=container_name,
            image=image,
            hostname=name,
            network="bridge",
            address=None,
            labels={LABEL: settings.name},
            volumes={f"{container_name}-docker": "/var/lib/docker"},
            restart=False,
        )
        container = create(client, spec, {})
    container.start()
