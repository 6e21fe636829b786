"""The rack: one network, three VMs, the metal; and the thumb on the power buttons."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from lab import secrets
from lab.command import run
from lab.containers import LABEL, Spec, create
from lab.oauth import authorization
from lab.settings import LabError, Settings

METAL_DEADLINE_SECONDS = 30
MAAS_DEADLINE_SECONDS = 90
CHECKOUT_LABEL = "edge.lab.checkout"
IMAGE_LABEL = "edge.lab.image"
CACHE_ON_CONTROL = Path("/var/cache/edge-rack")


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


def ensure_network(client: docker.DockerClient, settings: Settings) -> None:
    """The rack's network; its addresses are MAAS's to give, so the engine gives none."""
    for network in client.networks.list(names=[settings.network]):
        subnets = [config["Subnet"] for config in network.attrs["IPAM"]["Config"]]
        if str(settings.subnet) not in subnets:
            raise LabError(
                f"the rack's network is {', '.join(subnets)} and LAB_SUBNET says {settings.subnet}: a rack does not "
                f"move; set LAB_SUBNET={subnets[0]}, or run `make lab-down` first"
            )
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


def ensure_vms(client: docker.DockerClient, settings: Settings, nuc_image: str, simulators_image: str) -> list[str]:
    """The three VMs, each with cloud-init and its own disk; returns what was started, created or made anew."""
    images = {"maas": simulators_image, "registry": nuc_image, "control": nuc_image}
    disks = {
        "maas": {f"{settings.network}-maas": "/var/lib/maas-simulator"},
        "registry": {f"{settings.network}-registry": "/var/lib/docker-registry"},
        "control": {
            f"{settings.network}-control-docker": "/var/lib/docker",
            str(settings.cache): f"{CACHE_ON_CONTROL}:ro",
        },
    }
    changed = []
    for name, address in settings.vm_addresses.items():
        files = _cloud_init_seed(settings, name) | (_maas_configuration(settings) if name == "maas" else {})
        if _ensure(client, _spec(settings, name, images[name], address, volumes=disks[name]), files):
            changed.append(name)
            _forget_host_key(settings, address)
    return changed


def wait_for_maas(settings: Settings) -> None:
    """MAAS answers and takes the lab's key: the inventory, and so every playbook, begins by asking it.

    Raises LabError that tells a MAAS that is down from one that refuses the key.
    """
    consumer, token, secret = secrets.read(settings, "maas_api_key").split(":")
    deadline = time.monotonic() + MAAS_DEADLINE_SECONDS
    url = f"{settings.maas_url}/api/2.0/users/?op=whoami"
    while True:
        try:
            answer = httpx.get(url, headers=authorization(consumer, token, secret), timeout=10)
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise LabError(
                    f"MAAS does not answer at {settings.maas_url} after {MAAS_DEADLINE_SECONDS} s ({error}): look at "
                    f"it with `docker exec {settings.container('maas')} journalctl -u maas-simulator`"
                ) from error
            time.sleep(0.5)
            continue
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise LabError(
                f"MAAS at {settings.maas_url} refuses the key in {settings.secrets / 'maas_api_key'} "
                f"({answer.text.strip()}): put the key of /etc/maas-simulator/api_key on the MAAS VM there, "
                "or begin anew with `make lab-down`"
            )
        answer.raise_for_status()
        return


def ensure_metal(client: docker.DockerClient, settings: Settings, url: str, simulators_image: str) -> bool:
    """The baseboard controllers; the only part of the lab that holds the engine's socket."""
    spec = _spec(
        settings,
        "metal",
        simulators_image,
        settings.address(5),
        machine=False,
        entrypoint=("/opt/edge-lab/bin/python", "-m", "lab.metal"),
        environment={"LAB_NAME": settings.name, "MAAS_URL": settings.maas_url},
        volumes={
            url.removeprefix("unix://"): "/var/run/docker.sock",
            f"{settings.network}-metal": "/var/lib/metal",
        },
    )
    return _ensure(client, spec, {"/etc/metal/password": secrets.read(settings, "bmc_password")})


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
        # A name beside the address stands for what MAAS's DNS answers on a real rack.
        aliases=(name, f"{name}.edge.lab"),
        labels={LABEL: settings.name, CHECKOUT_LABEL: str(settings.state), IMAGE_LABEL: image},
        restart=True,
        **more,
    )


def _ensure(client: docker.DockerClient, spec: Spec, files: dict[str, str]) -> bool:
    """A running container of this image; made anew when its image is another, its disk kept. True when changed."""
    container = _find(client, spec.name)
    if container is not None and container.labels.get(IMAGE_LABEL) != spec.image:
        container.remove(force=True)
        container = None
    if container is not None and container.status == "running":
        return False
    (container or create(client, spec, files)).start()
    return True


def _forget_host_key(settings: Settings, address: str) -> None:
    """A machine made anew has a new key; the lab's own list would take it for an impostor."""
    if (settings.state / "known_hosts").exists():
        run("ssh-keygen", "-q", "-R", address, "-f", settings.state / "known_hosts")


def _find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def _cloud_init_seed(settings: Settings, hostname: str) -> dict[str, str]:
    public_key = (settings.secrets / "id_ed25519.pub").read_text().strip()
    user_data = {"ssh_authorized_keys": [public_key], "ssh_pwauth": False}
    return {
        "/var/lib/cloud/seed/nocloud/meta-data": json.dumps(
            {"instance-id": f"{settings.network}-{hostname}", "local-hostname": hostname}
        ),
        "/var/lib/cloud/seed/nocloud/user-data": "#cloud-config\n" + json.dumps(user_data),
    }


def _maas_configuration(settings: Settings) -> dict[str, str]:
    return {
        "/etc/maas-simulator/api_key": secrets.read(settings, "maas_api_key") + "\n",
        "/etc/maas-simulator/environment": (
            "MAAS_VERSION=3.6.5\n"
            f"MAAS_SUBNET={settings.subnet}\n"
            f"MAAS_GATEWAY={settings.gateway}\n"
            f"MAAS_DYNAMIC_RANGE={settings.address(20)}-{settings.address(250)}\n"
            f"MAAS_EXTERNAL_URL={settings.maas_url}\n"
        ),
    }


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
