"""How the lab's containers are made: machines that run systemd and an engine of their own, and plain services."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

import docker
from docker.models.containers import Container

LABEL = "edge.lab"  # every container, network, volume and image of a lab carries it; its value is the lab's name


@dataclass(frozen=True)
class Spec:
    """One container with its place in the rack's network. `volumes`: name or path -> path[:mode].

    `devices`: paths such as /dev/loop0, the same inside.
    """

    name: str
    image: str
    hostname: str
    network: str
    address: str | None  # None: the engine gives one
    labels: dict[str, str]
    aliases: tuple[str, ...] = ()
    mac: str | None = None
    volumes: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    restart: bool = False
    machine: bool = True


def create(client: docker.DockerClient, spec: Spec, files: dict[str, str]) -> Container:
    """Make the container, not yet started, with these files (path -> content) in it.

    By the SDK's lower layer: its upper one has no word for unmasked system paths.
    """
    api = client.api
    for source in spec.volumes:
        if not source.startswith("/"):
            client.volumes.create(source, labels={LABEL: spec.labels[LABEL]})
    volumes = {**spec.volumes, **({"/sys/fs/cgroup": "/sys/fs/cgroup:rw"} if spec.machine else {})}
    host = api.create_host_config(
        binds=[f"{source}:{target}" for source, target in volumes.items()],
        devices=list(spec.devices),
        restart_policy={"Name": "unless-stopped"} if spec.restart else None,
    )
    if spec.machine:
        # All that --privileged gives, less the one capability that a virtual machine's root may lack.
        host |= {
            "CgroupnsMode": "host",
            "CapAdd": ["ALL"],
            "CapDrop": ["SYS_RESOURCE"],
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": ""},  # noqa: S108 - the machine's own
        }
    made = api.create_container(
        spec.image,
        name=spec.name,
        hostname=spec.hostname,
        labels=spec.labels,
        environment=spec.environment,
        entrypoint=list(spec.entrypoint) if spec.entrypoint else None,
        mac_address=spec.mac,
        stop_signal="SIGRTMIN+3" if spec.machine else "SIGTERM",
        host_config=host,
        networking_config=api.create_networking_config(
            {spec.network: api.create_endpoint_config(ipv4_address=spec.address, aliases=list(spec.aliases))}
        ),
    )
    container = client.containers.get(made["Id"])
    put(container, files)
    return container


def put(container: Container, files: dict[str, str]) -> None:
    """Write files (path -> content) into a container, for root alone."""
    container.put_archive("/", _archive(files))


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.size = len(content.encode())
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()
