"""Taking the lab away: all of it and nothing else, known by its label."""

from __future__ import annotations

import shutil

import docker
from docker.errors import ImageNotFound

from lab import engine, host, rack
from lab.containers import LABEL
from lab.progress import Progress
from lab.settings import ENGINE_DIR, Settings, disown


def down(settings: Settings, progress: Progress) -> None:
    """Remove containers, volumes, network and state of this lab; the caches stay (see purge)."""
    with engine.in_use():
        url = engine.answering()
        if url is None and (ENGINE_DIR / "docker").exists():
            url = engine.start()  # stopped, say by a restart of the machine, while the lab is still in it
        if url is not None:
            with engine.connect(url) as client:
                rack.refuse_foreign(client, settings)
                _remove(client, settings, progress)
    with engine.left_alone() as alone:
        if alone and not _others():
            if engine.stop_own():
                progress.say("stopped the lab's Docker Engine")
            host.restore_kernel_limits()
    disown(settings.state)
    progress.say(f"removed {settings.state}; kept the caches under {settings.cache} and {ENGINE_DIR} (make lab-purge)")


def purge(settings: Settings, progress: Progress) -> None:
    """Take the lab away and its caches with it: root file systems, wheels, images, the engine's data."""
    down(settings, progress)
    url = engine.answering()
    if url is None:
        shutil.rmtree(ENGINE_DIR, ignore_errors=True)
        progress.say(f"removed {ENGINE_DIR}")
    else:
        with engine.connect(url) as client:
            for image in client.images.list(filters={"label": f"{LABEL}=cache"}):
                client.images.remove(image.id, force=True)
    disown(settings.cache)
    progress.say(f"removed {settings.cache}")


def _others() -> bool:
    url = engine.answering()
    if url is None:
        return False
    with engine.connect(url) as client:
        return bool(client.containers.list(all=True, filters={"label": LABEL}))


def _remove(client: docker.DockerClient, settings: Settings, progress: Progress) -> None:
    mine = {"label": f"{LABEL}={settings.name}"}
    # The metal first: it would switch machines on again, or make new ones.
    containers = sorted(
        client.containers.list(all=True, filters=mine), key=lambda c: not (c.name or "").endswith("-metal")
    )
    for container in containers:
        container.remove(force=True, v=True)
    progress.say(f"removed {len(containers)} containers")
    for network in client.networks.list(filters=mine):
        network.remove()
    volumes = client.volumes.list(filters=mine)
    for volume in volumes:
        volume.remove()
    progress.say(f"removed {len(volumes)} volumes")
    for image in client.images.list(filters=mine):
        try:
            client.images.remove(image.id, force=True)
        except ImageNotFound:
            continue
