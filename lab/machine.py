"""Machines with systemd and no rack around them, to try a role on.

LAB_NAME=roles LAB_STATE=tests/output/roles python -m lab machine [NAME[:DISK] ...]

`python -m lab down` takes them away. A DISK is a block device of this machine, such as /dev/loop0, which is handed in.
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
    """Make and start them as edge-<lab>-NAME.

    STATE/engine has their engine's address, STATE/NAME.pid a machine's first process, for nsenter.
    """
    own(settings.state)
    own(settings.cache)
    host.raise_kernel_limits()
    with engine.in_use():
        url = engine.answering()
        host.install_packages(settings, engine_answers=url is not None)
        url = url or engine.start()
        with engine.connect(url) as client:
            with progress.working("the machine's operating system, from Debian's packages"):
                image = images.ensure_nuc(client, settings)
            for name, _, disk in (name.partition(":") for name in names):
                pid = _start(client, settings, name, image, disk)
                (settings.state / f"{name}.pid").write_text(f"{pid}\n")
    (settings.state / "engine").write_text(url + "\n")
    progress.say(f"{', '.join(settings.container(name.partition(':')[0]) for name in names)} in the engine at {url}")


def _start(client: docker.DockerClient, settings: Settings, name: str, image: str, disk: str) -> int:
    """Returns the id of its first process."""
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
            devices=(disk,) if disk else (),
            restart=False,
        )
        container = create(client, spec, {})
    container.start()
    container.reload()
    return int(container.attrs["State"]["Pid"])
