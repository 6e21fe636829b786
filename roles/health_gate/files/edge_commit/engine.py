# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device's Docker Engine, by its API."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import docker
import requests

from .errors import CommitError, EngineAwayError
from .wanted import LABEL, Wanted

TIMEOUT_SECONDS = 60
LOG_LINES = 20
NO_RESTART = {"Name": "no", "MaximumRetryCount": 0}
NANOSECONDS = 1_000_000_000
T = TypeVar("T")


class Engine:
    """Containers are dictionaries as `docker inspect` shows them."""

    def __init__(self, wait_seconds: float = 0) -> None:
        """Raises EngineAwayError where the engine does not answer for that long."""
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                # DOCKER_HOST as the docker command has it.
                self.api = docker.APIClient(version="auto", timeout=TIMEOUT_SECONDS, **docker.utils.kwargs_from_env())
                return
            except (docker.errors.DockerException, requests.RequestException) as error:
                if time.monotonic() >= deadline:
                    raise EngineAwayError(
                        f"the Docker Engine does not answer ({error}): see `systemctl status docker`"
                    ) from error
                time.sleep(0.5)

    def container(self, name_or_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = _found(lambda: self.api.inspect_container(name_or_id))
        return found

    def image(self, reference: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = _found(lambda: self.api.inspect_image(reference))
        return found

    def digest(self, container: dict[str, Any]) -> str:
        """Of the container's image; empty where none is known, as of an image that was built here."""
        _name, _at, digest = container["Config"]["Image"].partition("@")
        if digest:
            return str(digest)
        image = _found(lambda: self.api.inspect_image(container["Image"])) or {}
        return next((one.partition("@")[2] for one in image.get("RepoDigests") or []), "")

    def create(self, wanted: Wanted, name: str) -> str:
        """A container that does not start, not at boot either; its id."""
        return str(_asked(lambda: self._create(wanted, name))["Id"])

    def _create(self, wanted: Wanted, name: str) -> Any:
        options = wanted.options
        ports = _ports(options.get("published_ports") or [])
        host = self.api.create_host_config(
            binds=options.get("volumes"),
            port_bindings={f"{port}/{protocol}": places for (port, protocol), places in ports.items()},
            restart_policy=NO_RESTART,
            network_mode=options.get("network_mode"),
            mem_limit=options.get("memory"),
            nano_cpus=int(options["cpus"] * NANOSECONDS) if options.get("cpus") else None,
            pids_limit=options.get("pids_limit"),
            read_only=options.get("read_only"),
            tmpfs=options.get("tmpfs"),
            cap_drop=options.get("cap_drop"),
            security_opt=options.get("security_opts"),
            init=options.get("init"),
        )
        return self.api.create_container(
            wanted.image,
            command=options.get("command"),
            name=name,
            user=options.get("user"),
            environment=options.get("env"),
            ports=list(ports),
            labels={**(options.get("labels") or {}), LABEL: wanted.label},
            healthcheck=_healthcheck(options.get("healthcheck")),
            host_config=host,
        )

    def start(self, container: str) -> None:
        _asked(lambda: self.api.start(container))

    def restart(self, container: str, seconds: int) -> None:
        _asked(lambda: self.api.restart(container, timeout=seconds))

    def stop(self, container: str, seconds: int) -> None:
        _asked(lambda: self.api.stop(container, timeout=seconds))

    def rename(self, container: str, name: str) -> None:
        _asked(lambda: self.api.rename(container, name))

    def remove(self, container: str) -> None:
        """Running or not, with the volumes that have no name."""
        _found(lambda: self.api.remove_container(container, force=True, v=True))

    def set_restart(self, container: str, policy: dict[str, Any]) -> None:
        _asked(lambda: self.api.update_container(container, restart_policy=policy))

    def log(self, container: str) -> list[str]:
        """Its last lines; none where it has none to tell."""
        try:
            text: bytes = self.api.logs(container, tail=LOG_LINES)
        except (docker.errors.DockerException, requests.RequestException):
            return []
        return text.decode(errors="replace").splitlines()

    def run(self, container: str, command: list[str]) -> tuple[int, str]:
        """Run a program in it to its end: its exit status and its words."""

        def ran() -> tuple[int, str]:
            one = self.api.exec_create(container, command)["Id"]
            said: bytes = self.api.exec_start(one)
            return int(self.api.exec_inspect(one)["ExitCode"]), said.decode(errors="replace").strip()

        return _asked(ran)

    def processes(self, container: str) -> list[str]:
        """Names of the programs that run in it."""
        top = _found(lambda: self.api.top(container, ps_args="-o pid,comm")) or {}
        return [row[-1] for row in top.get("Processes") or []]


def _asked(call: Callable[[], T]) -> T:
    try:
        return call()
    except docker.errors.APIError as error:
        raise CommitError(f"the Docker Engine refuses: {error.explanation or error}") from error
    except OSError as error:  # requests' errors are some, too
        raise EngineAwayError(f"the Docker Engine went away: {error}") from error
    except (docker.errors.DockerException, TypeError, ValueError) as error:
        raise CommitError(f"no container can be made of these options: {error}") from error


def _found(call: Callable[[], T]) -> T | None:
    def unless_gone() -> T | None:
        try:
            return call()
        except docker.errors.NotFound:
            return None

    return _asked(unless_gone)


def _ports(published: list[str]) -> dict[tuple[str, str], list[Any]]:
    """`[ADDRESS:]PORT:CONTAINER_PORT[/PROTOCOL]`: by the container's port, where each is published."""
    ports: dict[tuple[str, str], list[Any]] = {}
    for text in published:
        places, _slash, protocol = text.partition("/")
        *place, port = places.rsplit(":", 2)
        if not place:
            raise CommitError(f"published_ports: {text} is not [ADDRESS:]PORT:CONTAINER_PORT[/PROTOCOL].")
        at = place[0] if len(place) == 1 else (place[0].strip("[]"), place[1])
        ports.setdefault((port, protocol or "tcp"), []).append(at)
    return ports


def _healthcheck(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if not given:
        return None
    seconds = {"interval": "interval_seconds", "timeout": "timeout_seconds", "start_period": "start_period_seconds"}
    durations = {key: int(given[name] * NANOSECONDS) for key, name in seconds.items() if given.get(name)}
    return dict(docker.types.Healthcheck(test=given["test"], retries=given.get("retries"), **durations))
