"""The rack: one network, its server, the metal; and the thumb on the power buttons."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import docker
import httpx
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from lab import cache, esxi, secrets
from lab.command import run
from lab.containers import LABEL, Spec, create
from lab.metal.guests import ADDRESS_LABEL, HOSTNAME_LABEL, IMAGE_LABEL, UUID_LABEL
from lab.settings import LabError, Settings

METAL_DEADLINE_SECONDS = 30
CHECKOUT_LABEL = "edge.lab.checkout"
RECIPE_LABEL = "edge.lab.recipe"


def refuse_foreign(client: docker.DockerClient, settings: Settings) -> None:
    """A lab of a name belongs to one checkout.

    Raises LabError with the command that mends it.
    """
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}={settings.name}"}):
        owner = container.labels.get(CHECKOUT_LABEL, str(settings.state))
        if owner != str(settings.state):
            raise LabError(
                f"the lab {settings.name!r} on this machine belongs to another checkout (its state: {owner}): "
                f"run `make lab-down` there, or start a second one: "
                f"make lab LAB_NAME=two LAB_SUBNET=10.78.0.0/24 LAB_STATE=/root/lab-two"
            )


def refuse_shrinking(settings: Settings) -> None:
    """A rack does not shrink by itself.

    Raises LabError with the command that mends it.
    """
    racked = settings.state / "devices"
    if racked.exists() and int(racked.read_text()) > settings.devices:
        raise LabError(
            f"the rack holds {racked.read_text().strip()} devices and LAB_DEVICES={settings.devices}: a rack does not "
            "shrink by itself; run `make lab-down` first, or set LAB_DEVICES to at least what it holds"
        )


def refuse_moving(client: docker.DockerClient, settings: Settings) -> None:
    """A rack does not move to another subnet.

    Raises LabError with the command that mends it.
    """
    for network in client.networks.list(names=[settings.network]):
        subnets = [config["Subnet"] for config in network.attrs["IPAM"]["Config"]]
        if str(settings.subnet) not in subnets:
            raise LabError(
                f"the rack's network is {', '.join(subnets)} and LAB_SUBNET says {settings.subnet}: a rack does not "
                f"move; set LAB_SUBNET={subnets[0]}, or run `make lab-down` first"
            )


def ensure_network(client: docker.DockerClient, settings: Settings) -> None:
    """The rack's network; its addresses are MAAS's to give, so the engine gives none."""
    if client.networks.list(names=[settings.network]):
        return
    pool = IPAMPool(subnet=str(settings.subnet), gateway=settings.gateway, iprange=f"{settings.address(252)}/30")
    try:
        client.networks.create(
            settings.network,
            driver="bridge",
            ipam=IPAMConfig(pool_configs=[pool]),
            options={"com.docker.network.bridge.name": settings.bridge},
            labels={LABEL: settings.name},
        )
    except APIError as error:
        raise LabError(
            f"the engine refuses the network {settings.subnet}: {error.explanation}; "
            "choose another, for example: make lab LAB_SUBNET=10.78.0.0/24"
        ) from error


def ensure_metal(
    client: docker.DockerClient, settings: Settings, url: str, nuc_image: str, simulators_image: str
) -> bool:
    """The baseboard controllers and the VMs' insides; the only part of the lab that holds the engine's socket."""
    spec = _spec(
        settings,
        "metal",
        simulators_image,
        settings.address(5),
        entrypoint=("/opt/edge-lab/bin/python", "-m", "lab.metal"),
        environment={
            "LAB_NAME": settings.name,
            "LAB_CACHE": str(settings.cache),
            "MAAS_URL": settings.maas_url,
            "VM_IMAGE": nuc_image,
            "MAAS_IMAGE": simulators_image,
            **({"LAB_LIGHT": "yes"} if settings.light else {}),
        },
        volumes={
            url.removeprefix("unix://"): "/var/run/docker.sock",
            f"{settings.network}-metal": "/var/lib/metal",
        },
    )
    return _ensure(client, spec, {"/etc/metal/password": secrets.read(settings, "bmc_password")})


def ensure_esxi(client: docker.DockerClient, settings: Settings, simulators_image: str) -> bool:
    """The rack's server: an ESXi host; its VMs come by playbooks/hypervisor.yml."""
    spec = _spec(
        settings,
        "esxi",
        simulators_image,
        settings.esxi_address,
        entrypoint=("/opt/edge-lab/bin/esxi-simulator", "--config", "/etc/esxi/config.json"),
        volumes={f"{settings.network}-esxi": esxi.STATE_IN_CONTAINER},
    )
    changed = _ensure(client, spec, esxi.files(settings))
    container = _find(client, spec.name)
    if container is not None:
        esxi.trust(settings, container)
    return changed


def drop_outdated_vms(client: docker.DockerClient, settings: Settings, images: set[str]) -> list[str]:
    """VMs that run an older version of the lab's images are switched off; hypervisor.yml switches them on anew."""
    dropped = []
    for container in client.containers.list(filters={"label": [UUID_LABEL, f"{LABEL}={settings.name}"]}):
        if container.labels[IMAGE_LABEL] in images:
            continue
        container.remove(force=True)
        dropped.append(container.labels[HOSTNAME_LABEL])
        # A machine made anew has a new key; the lab's own list would take it for an impostor.
        if (settings.state / "known_hosts").exists():
            address = container.labels[ADDRESS_LABEL]
            run("ssh-keygen", "-q", "-R", address, "-f", settings.state / "known_hosts")
    return dropped


def rack_devices(client: docker.DockerClient, settings: Settings) -> list[str]:
    """Put the devices into the rack and switch on those that never were; returns these."""
    bmc = httpx.Client(base_url=settings.metal_url, auth=("bmc", secrets.read(settings, "bmc_password")), timeout=30)
    _wait_for_metal(bmc)
    record = settings.state / "devices"
    known = int(record.read_text()) if record.exists() else 0
    new = list(enumerate(settings.device_names, start=1))[known:]

    def press(device: tuple[int, str]) -> None:
        number, name = device
        bmc.put(f"/{settings.mac(number)}", json={"name": name}).raise_for_status()
        bmc.post(f"/{settings.mac(number)}/on").raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(press, new))
    record.write_text(f"{settings.devices}\n")
    return [name for _, name in new]


def _spec(settings: Settings, name: str, image: str, address: str, **more: Any) -> Spec:
    return Spec(
        name=settings.container(name),
        image=image,
        hostname=name,
        network=settings.network,
        address=address,
        aliases=(name, f"{name}.edge.lab"),
        labels={LABEL: settings.name, CHECKOUT_LABEL: str(settings.state)},
        restart=True,
        machine=False,
        **more,
    )


def _ensure(client: docker.DockerClient, spec: Spec, files: dict[str, str]) -> bool:
    """A running container of this recipe; made anew when its recipe is another, its volumes kept. True when changed."""
    recipe = cache.key(spec.image, json.dumps([spec.environment, spec.volumes, spec.entrypoint, files]))
    container = _find(client, spec.name)
    if container is not None and container.labels.get(RECIPE_LABEL) != recipe:
        container.remove(force=True)
        container = None
    if container is not None and container.status == "running":
        return False
    labelled = replace(spec, labels={**spec.labels, RECIPE_LABEL: recipe})
    (container or create(client, labelled, files)).start()
    return True


def _find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def _wait_for_metal(bmc: httpx.Client) -> None:
    deadline = time.monotonic() + METAL_DEADLINE_SECONDS
    while True:
        try:
            bmc.get("/none")
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise LabError(f"the rack's power controllers do not answer at {bmc.base_url}: {error}") from error
            time.sleep(0.2)
        else:
            return
