"""The images of the lab's own engine: the base of builds, the VMs' file system, the simulators."""

from __future__ import annotations

import shutil
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from lab import cache, engine, esxi, rootfs, wheelhouse
from lab.containers import LABEL
from lab.settings import CHECKOUT, Settings


def ensure_base(client: docker.DockerClient, settings: Settings) -> str:
    """The image every Dockerfile gets as BASE_IMAGE in the lab."""
    return _imported(client, "base", rootfs.base(settings), ['CMD ["/bin/bash"]'])


def ensure_nuc(client: docker.DockerClient, settings: Settings) -> str:
    """The image the VMs run: the same file system that MAAS deploys to devices."""
    return _imported(client, "nuc", rootfs.nuc(settings), ['ENTRYPOINT ["/lib/systemd/systemd"]'])


def ensure_simulators(client: docker.DockerClient, url: str, settings: Settings, nuc_image: str) -> str:
    """The image of the MAAS VM, the ESXi host and the metal: the device's file system and the simulators in it."""
    wheels = wheelhouse.simulators(settings)
    programs = [esxi.binary(settings), Path("/usr/bin/busybox")]
    tag = f"edge-lab/simulators:{cache.key(nuc_image, wheels.name, *programs, *cache.tree(CHECKOUT / 'lab'))}"
    if _present(client, tag):
        return tag
    context = settings.state / "build" / "simulators"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(CHECKOUT / "lab", context / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(wheels, context / "wheels")
    (context / "bin").mkdir()
    for program, name in zip(programs, ("esxi-simulator", "busybox"), strict=True):
        shutil.copy(program, context / "bin" / name)
    engine.build(
        url,
        f"--tag={tag}",
        f"--build-arg=BASE_IMAGE={nuc_image}",
        context=context,
        dockerfile=context / "lab" / "Dockerfile",
        log=settings.state / "logs" / "build-simulators.log",
    )
    shutil.rmtree(context)
    return tag


def _imported(client: docker.DockerClient, name: str, archive: Path, changes: list[str]) -> str:
    tag = archive.name.split(".")[0].removeprefix(f"{name}-")
    repository = f"edge-lab/{name}"
    if not _present(client, f"{repository}:{tag}"):
        client.api.import_image_from_file(
            str(archive), repository=repository, tag=tag, changes=[*changes, f"LABEL {LABEL}=cache"]
        )
    return f"{repository}:{tag}"


def _present(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True
