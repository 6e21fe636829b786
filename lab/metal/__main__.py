"""`python -m lab.metal`: the baseboard controllers of the rack, one path per MAC address.

    POST /<mac>/on      switch on; the machine boots from the network      -> {"status": "running"}
    POST /<mac>/off     cut the power                                       -> {"status": "stopped"}
    GET  /<mac>         is it on?                                           -> {"status": "running"|"stopped"}
    PUT  /<mac>         put a machine into the rack ({"name": ...}); a machine that is there stays as it is

The answers are what the default patterns of MAAS's webhook driver look for.

The lab's ESXi host has its virtual machines' insides run here too, one path per UUID:

    PUT    /vms/<uuid>/on                          boot the disk of the machine that the body describes
    POST   /vms/<uuid>/off | /shutdown | /reset
    DELETE /vms/<uuid>                             the machine and its disks are gone
    GET    /vms                                    status, address and host name of each
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import docker
import uvicorn
from docker.errors import DockerException
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.metal.boot import Firmware, boot
from lab.metal.guests import GuestError, Guests, VirtualMachine
from lab.metal.machines import Machine, Rack

logger = logging.getLogger("metal")


class Power:
    """Which machines are on. A machine that boots from the network is on though no container runs yet.

    What was switched on stays so over a power cut, as the firmware of a rack's machines is set ("last state").
    """

    def __init__(self, rack: Rack, firmware: Firmware, record: Path) -> None:
        self.rack = rack
        self.firmware = firmware
        self._record = record
        self._lock = threading.Lock()
        self._booting: dict[str, int] = {}  # mac -> which boot; a newer one, or power off, outdates it
        self._boots = 0
        recorded = json.loads(record.read_text()) if record.exists() else {}
        self.machines = {mac: Machine(mac, entry["name"]) for mac, entry in recorded.items()}
        self._switched_on = {mac for mac, entry in recorded.items() if entry["on"]}

    def put(self, mac: str, name: str) -> None:
        with self._lock:
            self.machines[mac] = Machine(mac, name)
            self._write()

    def restore(self) -> None:
        """The power is back: machines that were on boot again."""
        for mac in sorted(self._switched_on):
            self.on(self.machines[mac])

    def _switch(self, machine: Machine, *, on: bool) -> None:
        with self._lock:
            (self._switched_on.add if on else self._switched_on.discard)(machine.mac)
            self._write()

    def _write(self) -> None:
        partial = self._record.with_suffix(".partial")
        entries = {m.mac: {"name": m.name, "on": m.mac in self._switched_on} for m in self.machines.values()}
        partial.write_text(json.dumps(entries))
        partial.rename(self._record)

    def is_on(self, machine: Machine) -> bool:
        with self._lock:
            if machine.mac in self._booting:
                return True
        container = self.rack.container(machine)
        return container is not None and container.status == "running"

    def on(self, machine: Machine) -> None:
        self._switch(machine, on=True)
        if self.is_on(machine):
            return
        with self._lock:
            self._boots += 1
            self._booting[machine.mac] = number = self._boots
        threading.Thread(target=self._boot, args=(machine, number), daemon=True).start()

    def off(self, machine: Machine) -> None:
        self._switch(machine, on=False)
        with self._lock:
            self._booting.pop(machine.mac, None)
        self.rack.stop(machine)

    def _boot(self, machine: Machine, number: int) -> None:
        try:
            stays_on = boot(self.firmware, self.rack, machine)
        except Exception:
            # A machine that hangs in its boot stays on and silent: MAAS finds out by its own deadline.
            logger.exception("%s hangs in its boot", machine.name)
            return
        with self._lock:
            cut = self._booting.get(machine.mac) != number
            if not cut:
                del self._booting[machine.mac]
                if not stays_on:
                    self._switched_on.discard(machine.mac)
                    self._write()
            off = machine.mac not in self._switched_on
        if cut and off:  # a machine that was switched on anew meanwhile belongs to its newer boot
            self.rack.stop(machine)


def application(power: Power, guests: Guests, password: str) -> Starlette:
    return Starlette(
        routes=[*_guest_routes(guests), *_machine_routes(power)],
        middleware=[Middleware(_Password, expected=b"Basic " + base64.b64encode(f"bmc:{password}".encode()))],
    )


class _Password:
    """Nothing is answered without the controllers' password."""

    def __init__(self, app: ASGIApp, expected: bytes) -> None:
        self.app = app
        self.expected = expected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers") or []).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, self.expected):
            await JSONResponse({"error": "wrong user or password"}, 401)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _machine_routes(power: Power) -> list[Route]:
    async def put(request: Request) -> Response:
        mac = request.path_params["mac"]
        if mac not in power.machines:
            power.put(mac, (await request.json())["name"])
        return JSONResponse({"status": "racked"})

    def answers(action: Callable[[Machine], None] | None) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            mac = request.path_params["mac"]
            machine = power.machines.get(mac)
            if machine is None:
                return JSONResponse({"error": f"no machine with MAC address {mac} in this rack"}, 404)
            if action is not None:
                await run_in_threadpool(action, machine)
            running = await run_in_threadpool(power.is_on, machine)
            return JSONResponse({"status": "running" if running else "stopped"})

        return answer

    return [
        Route("/{mac:str}", answers(None), methods=["GET"]),
        Route("/{mac:str}", put, methods=["PUT"]),
        Route("/{mac:str}/on", answers(power.on), methods=["POST"]),
        Route("/{mac:str}/off", answers(power.off), methods=["POST"]),
    ]


def _guest_routes(guests: Guests) -> list[Route]:
    async def all_guests(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(guests.list))

    async def switch_on(request: Request) -> Response:
        try:
            vm = VirtualMachine.from_json(request.path_params["uuid"], await request.json())
            await run_in_threadpool(guests.on, vm)
        except (GuestError, DockerException) as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({"status": "running"})

    def does(action: Callable[[str], None]) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            try:
                await run_in_threadpool(action, request.path_params["uuid"])
            except DockerException as error:
                return JSONResponse({"error": str(error)}, 409)
            return JSONResponse({"status": "done"})

        return act

    return [
        Route("/vms", all_guests, methods=["GET"]),
        Route("/vms/{uuid:str}/on", switch_on, methods=["PUT"]),
        Route("/vms/{uuid:str}/off", does(guests.off), methods=["POST"]),
        Route("/vms/{uuid:str}/shutdown", does(guests.shutdown), methods=["POST"]),
        Route("/vms/{uuid:str}/reset", does(guests.reset), methods=["POST"]),
        Route("/vms/{uuid:str}", does(guests.remove), methods=["DELETE"]),
    ]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    client = docker.DockerClient(base_url="unix:///var/run/docker.sock", timeout=300)
    rack = Rack(client, os.environ["LAB_NAME"], os.environ["VM_IMAGE"], light=os.environ.get("LAB_LIGHT") == "yes")
    systems = {"vm": os.environ["VM_IMAGE"], "maas": os.environ["MAAS_IMAGE"]}
    guests = Guests(client, os.environ["LAB_NAME"], systems, os.environ["LAB_CACHE"])
    power = Power(rack, Firmware(os.environ["MAAS_URL"]), Path("/var/lib/metal/machines.json"))
    power.restore()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            application(power, guests, Path("/etc/metal/password").read_text().strip()),
            host="0.0.0.0",  # noqa: S104 - the container has the rack's network only
            port=8400,
            log_level="warning",
        )


if __name__ == "__main__":
    main()
