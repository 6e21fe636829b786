"""`python -m lab up | down | purge | machine [NAME ...]`: a rack in a box.

`up` makes or mends the rack, runs site.yml on it and shows what came of it; a second `up` changes nothing.
`machine` makes machines without a rack, to try a role on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import DockerException

from lab import (
    down,
    engine,
    esxi,
    host,
    images,
    machine,
    preflight,
    rack,
    release,
    report,
    rootfs,
    secrets,
    site,
    wheelhouse,
)
from lab.metal.guests import CACHE_IN_GUEST
from lab.progress import Progress
from lab.settings import LabError, Settings, from_environment, own


def up(settings: Settings, progress: Progress) -> None:
    with progress.phase("machine"):
        url = engine.answering()
        # Before anything is said of the other subnet: whether that is free does not matter.
        if url is not None:
            with engine.connect(url) as client:
                rack.refuse_moving(client, settings)
        preflight.check(settings)
        own(settings.state)
        own(settings.cache)
        for text in host.raise_kernel_limits():
            progress.say(f"kernel: {text}")
        with progress.working("packages of the machine"):
            installed = host.install_packages(settings, engine_answers=url is not None)
        if installed:
            progress.say(f"installed {', '.join(installed)}")
        secrets.ensure(settings)
    with engine.in_use():
        if (url := engine.answering()) is None:
            url = engine.start()
            progress.say(f"started a Docker Engine at {url}")
        with engine.connect(url) as client:
            rack.refuse_foreign(client, settings)
            rack.refuse_shrinking(settings)
            with progress.phase("bases"):
                nuc_image, simulators_image = _bases(settings, progress, client, url)
            with progress.phase("rack"):
                rack.ensure_network(client, settings)
                rack.ensure_metal(client, settings, url, nuc_image, simulators_image)
                for name in rack.drop_outdated_vms(client, settings, {nuc_image, simulators_image}):
                    progress.say(f"VM {name} is off: its system is older than this checkout's")
                if rack.ensure_esxi(client, settings, simulators_image):
                    progress.say(f"the ESXi host ({settings.esxi_edition} edition) is on at {settings.esxi_address}")
                racked = rack.rack_devices(client, settings)
                if racked:
                    progress.say(f"switched on {len(racked)} devices: {racked[0]} .. {racked[-1]}")
    run = site.run(settings)
    with progress.phase("release"):
        if commit := release.publish(settings):
            progress.say(f"released as commit {commit[:12]}; every device takes it now, and from now on by itself")
            release.converge(settings)
        status = release.status(settings)
    result = report.write(settings, run, {**progress.phases, **run.phases}, status)
    print(report.show(result, progress.total))


def _bases(settings: Settings, progress: Progress, client: docker.DockerClient, url: str) -> tuple[str, str]:
    """Root file systems, wheels and the simulators' image; two at a time, for they wait for each other's disks."""

    def training() -> dict[str, Path]:
        with progress.working("the base of the images, from Debian's packages"):
            base_archive = rootfs.base(settings)
            base_image = images.ensure_base(client, settings)
        with progress.working("the Python packages of the images"):
            wheels = {
                "predictor_wheels": wheelhouse.predictor(settings),
                "manager_wheels": wheelhouse.manager(settings),
            }
        with progress.working("the worker's packages; Horovod is built from source, once, in about 3 minutes"):
            wheels["worker_wheels"] = wheelhouse.worker(settings, url, base_image)
        progress.say("the images' base and packages are there")
        return {"base_archive": base_archive, **wheels}

    def devices() -> tuple[str, str]:
        with progress.working("the devices' operating system, from Debian's packages"):
            rootfs.nuc(settings)
            nuc_image = images.ensure_nuc(client, settings)
        with progress.working("the simulators' image; the ESXi host's is compiled once"):
            simulators_image = images.ensure_simulators(client, url, settings, nuc_image)
        with progress.working("the Python packages of the control VM and of devices"):
            wheelhouse.control(settings)
            wheelhouse.agent(settings)
            wheelhouse.dashboard(settings)
        progress.say("the devices' operating system and the simulators are there")
        return nuc_image, simulators_image

    with ThreadPoolExecutor(2) as pool:
        training_job, devices_job = pool.submit(training), pool.submit(devices)
        sources, vm_images = training_job.result(), devices_job.result()
    # What the inventory tells the roles; VMs see the cache at CACHE_IN_GUEST.
    paths: dict[str, Any] = {
        name: f"{CACHE_IN_GUEST}/{path.relative_to(settings.cache)}" for name, path in sources.items()
    }
    paths["control_wheels"] = str(wheelhouse.control(settings))
    paths["dashboard_wheels"] = str(wheelhouse.dashboard(settings))
    paths["nuc_archive"] = str(rootfs.nuc(settings))
    paths["agent_wheels"] = str(wheelhouse.agent(settings))
    paths["disks"] = {system: str(esxi.disk_image(settings, system)) for system in esxi.SYSTEMS}
    (settings.state / "sources.json").write_text(json.dumps(paths, indent=2) + "\n")
    return vm_images


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=("up", "down", "purge", "machine"))
    parser.add_argument("names", nargs="*", default=["machine"], help="of machines, for the verb machine: NAME[:DISK]")
    args = parser.parse_args()
    verb = args.verb
    progress = Progress()
    os.umask(0o022)
    try:
        settings = from_environment()
        if verb == "machine":
            machine.machines(settings, progress, args.names)
        else:
            {"up": up, "down": down.down, "purge": down.purge}[verb](settings, progress)
    except LabError as error:
        print(f"\nlab {verb}: {error}", file=sys.stderr)
        return 1
    except (DockerException, httpx.HTTPError, OSError, subprocess.CalledProcessError) as error:
        print(f"\nlab {verb}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nlab {verb}: interrupted; `make lab` goes on from here, `make lab-down` takes it away",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
