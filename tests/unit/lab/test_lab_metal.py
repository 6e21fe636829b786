"""Machines of the rack: what they do when they boot, and what their baseboard controllers answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import yaml
from starlette.testclient import TestClient

from lab.metal import boot as metal_boot
from lab.metal.__main__ import Power, application
from lab.metal.boot import Firmware, boot
from lab.metal.guests import Guests
from lab.metal.machines import Machine

MACHINE = Machine("52:54:00:37:00:01", "nuc-001")
NO_GUESTS = Guests(SimpleNamespace(), "lab", {}, "/cache")
FIRMWARE = Firmware("http://maas/MAAS", tries=3, pause_seconds=0.0)
CREDENTIALS = {
    "metadata_url": "http://maas/MAAS/metadata/", "consumer_key": "ck", "token_key": "tk", "token_secret": "ts",
    "system_id": "abc123", "hostname": "nuc-001",
}  # fmt: skip
INSTALL = {
    "purpose": "xinstall", "address": "10.77.0.20/24", "image": {"sha256": "f" * 64, "url": "http://maas/image"},
}  # fmt: skip


@dataclass
class FakeMaas:
    """Tells a machine its purposes, one per boot, and remembers what it is sent."""

    purposes: list[dict[str, Any] | int]
    boots: int = 0
    enlisted: list[dict[str, str]] = field(default_factory=list)
    signals: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        sent = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if request.url.path == f"/MAAS/boot/{MACHINE.mac}":
            self.boots += 1
            purpose = self.purposes.pop(0)
            if isinstance(purpose, int):
                return httpx.Response(purpose)
            return httpx.Response(200, json={**CREDENTIALS, **purpose})
        if request.url.path == "/MAAS/api/2.0/machines/":
            self.enlisted.append(sent)
        elif request.url.path == "/MAAS/metadata/2012-03-01/maas-scripts":
            return httpx.Response(204)
        elif request.url.path == "/MAAS/metadata/2012-03-01/":
            self.signals.append(sent)
            self.authorizations.append(request.headers["Authorization"])
        else:
            return httpx.Response(404)
        return httpx.Response(200)


@dataclass
class FakeRack:
    """A disk and a power cord per machine."""

    installed: dict[str, Any] = field(default_factory=dict)
    running: bool = False

    def container(self, machine: Machine) -> Any:
        return SimpleNamespace(status="running" if self.running else "exited") if self.installed else None

    def start(self, machine: Machine) -> bool:
        self.running = bool(self.installed)
        return self.running

    def stop(self, machine: Machine) -> None:
        self.running = False

    def wipe(self, machine: Machine) -> None:
        self.installed = {}

    def run_script(self, machine: Machine, script: Any) -> Any:
        raise AssertionError(f"{script.name} is not to run")

    def image(self, sha256: str, url: str) -> str:
        return f"disk:{sha256[:12]}"

    def install(self, machine: Machine, image: str, hostname: str, address: str, files: dict[str, str]) -> None:
        self.installed = {"image": image, "hostname": hostname, "address": address, "files": files}


@pytest.fixture
def maas(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeMaas]:
    def fake(*purposes: dict[str, Any] | int) -> FakeMaas:
        region = FakeMaas(list(purposes))
        client = httpx.Client(transport=httpx.MockTransport(region.answer))
        monkeypatch.setattr(metal_boot.httpx, "get", client.get)
        monkeypatch.setattr(metal_boot.httpx, "post", client.post)
        return region

    return fake


def test_an_unknown_machine_enlists_and_switches_itself_off(maas):
    region = maas({"purpose": "enlist"})
    assert boot(FIRMWARE, FakeRack(), MACHINE) is False
    assert region.enlisted == [
        {
            "hostname": "nuc-001",
            "architecture": "amd64/generic",
            "mac_addresses": MACHINE.mac,
            "power_type": "manual",
        }
    ]


def test_a_commissioned_machine_reports_its_hardware_signed_and_switches_itself_off(maas):
    region = maas({"purpose": "commissioning"})
    assert boot(FIRMWARE, FakeRack(), MACHINE) is False
    assert [signal["status"] for signal in region.signals] == ["WORKING", "OK"]
    hardware = yaml.safe_load(region.signals[0]["hardware"])
    assert (hardware["cpu_count"], hardware["memory"], hardware["nics"]) == (
        4,
        16384,
        [{"name": "eth0", "mac": MACHINE.mac}],
    )
    assert 'oauth_consumer_key="ck"' in region.authorizations[0]
    assert 'oauth_signature="%26ts"' in region.authorizations[0]


def test_a_machine_that_is_erased_has_nothing_on_its_disk_and_says_so(maas):
    region = maas({"purpose": "commissioning", "status_name": "Disk erasing"})
    rack = FakeRack(installed={"image": "disk:1"})
    assert boot(FIRMWARE, rack, MACHINE) is False
    assert rack.installed == {}
    assert [signal["status"] for signal in region.signals] == ["OK"]


def test_hardware_is_the_same_at_every_commissioning_and_differs_between_machines():
    other = Machine("52:54:00:37:00:02", "nuc-002")
    assert metal_boot.hardware(MACHINE) == metal_boot.hardware(MACHINE)
    assert metal_boot.hardware(MACHINE)["hardware_uuid"] != metal_boot.hardware(other)["hardware_uuid"]
    assert metal_boot.hardware(MACHINE)["system_serial"] != metal_boot.hardware(other)["system_serial"]


def test_a_deploying_machine_installs_leaves_the_network_boot_and_starts_from_its_disk(maas):
    region, rack = maas(INSTALL, {"purpose": "local"}), FakeRack()
    assert boot(FIRMWARE, rack, MACHINE) is True
    assert region.signals == [{"op": "netboot_off"}]
    assert (rack.installed["image"], rack.installed["hostname"], rack.installed["address"]) == (
        "disk:ffffffffffff",
        "nuc-001",
        "10.77.0.20",
    )
    assert rack.running


def test_a_deployed_machine_starts_from_its_disk(maas):
    maas({"purpose": "local"})
    rack = FakeRack(installed={"image": "disk"})
    assert boot(FIRMWARE, rack, MACHINE) is True
    assert rack.running


def test_a_machine_nobody_wants_on_switches_itself_off(maas):
    maas({"purpose": "poweroff"})
    rack = FakeRack(installed={"image": "disk"})
    assert boot(FIRMWARE, rack, MACHINE) is False
    assert not rack.running


def test_a_region_that_is_late_is_asked_again(maas):
    region = maas(503, 502, {"purpose": "local"})
    assert boot(FIRMWARE, FakeRack(installed={"image": "disk"}), MACHINE) is True
    assert region.boots == 3


def test_without_a_network_boot_the_machine_falls_through_to_its_disk(maas):
    region, rack = maas(503, 503, 503), FakeRack(installed={"image": "disk"})
    assert boot(FIRMWARE, rack, MACHINE) is True
    assert (region.boots, rack.running) == (FIRMWARE.tries, True)


def test_the_seed_is_yaml_that_line_readers_understand_too():
    seed = metal_boot._seed({**CREDENTIALS, **INSTALL})
    assert seed.splitlines()[0] == "datasource_list: [ MAAS ]"  # ds-identify reads this line, not YAML
    document = yaml.safe_load(seed)
    assert document["datasource"]["MAAS"] == {
        "metadata_url": "http://maas/MAAS/metadata/", "consumer_key": "ck", "token_key": "tk", "token_secret": "ts",
    }  # fmt: skip
    assert document["reporting"]["maas"]["endpoint"] == "http://maas/MAAS/metadata/status/abc123"


@dataclass
class SlowFirmware:
    """Stands in boot()'s place: begins when told, ends when told."""

    began: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)
    stays_on: bool = True
    hangs: bool = False

    def __call__(self, firmware: Firmware, rack: Any, machine: Machine) -> bool:
        self.began.set()
        assert self.goes_on.wait(10)
        if self.hangs:
            raise RuntimeError("hangs")
        if self.stays_on:
            rack.start(machine)
        return self.stays_on


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowFirmware]:
    firmware = SlowFirmware()
    monkeypatch.setattr("lab.metal.__main__.boot", firmware)
    yield firmware
    firmware.goes_on.set()


@pytest.fixture
def power(tmp_path: Path) -> Power:
    switched = Power(FakeRack(installed={"image": "disk"}), FIRMWARE, tmp_path / "machines.json")
    switched.put(MACHINE.mac, MACHINE.name)
    return switched


@pytest.fixture
def bmc(power: Power) -> TestClient:
    client = TestClient(application(power, NO_GUESTS, "secret"))
    client.auth = ("bmc", "secret")
    return client


def boots_end(power: Power) -> None:
    for thread in threading.enumerate():
        if getattr(thread, "_target", None) == power._boot:
            thread.join(10)


def test_a_machine_is_on_while_it_boots(power, slow, bmc):
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "stopped"}
    assert bmc.post(f"/{MACHINE.mac}/on").json() == {"status": "running"}
    assert slow.began.wait(10)
    assert not power.rack.running
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "running"}
    slow.goes_on.set()
    boots_end(power)
    assert power.rack.running
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "running"}


def test_a_machine_that_switches_itself_off_is_off(power, slow, bmc):
    slow.stays_on = False
    slow.goes_on.set()
    bmc.post(f"/{MACHINE.mac}/on")
    boots_end(power)
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "stopped"}


def test_power_off_in_the_middle_of_a_boot_wins(power, slow, bmc):
    bmc.post(f"/{MACHINE.mac}/on")
    assert slow.began.wait(10)
    assert bmc.post(f"/{MACHINE.mac}/off").json() == {"status": "stopped"}
    slow.goes_on.set()
    boots_end(power)
    assert not power.rack.running
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "stopped"}


def test_a_machine_that_hangs_in_its_boot_stays_on_until_it_is_switched_off(power, slow, bmc):
    slow.hangs = True
    slow.goes_on.set()
    bmc.post(f"/{MACHINE.mac}/on")
    boots_end(power)
    assert bmc.get(f"/{MACHINE.mac}").json() == {"status": "running"}
    assert bmc.post(f"/{MACHINE.mac}/off").json() == {"status": "stopped"}


def test_switching_on_twice_boots_once(power, slow, bmc):
    bmc.post(f"/{MACHINE.mac}/on")
    assert slow.began.wait(10)
    slow.began.clear()
    bmc.post(f"/{MACHINE.mac}/on")
    assert not slow.began.is_set()
    slow.goes_on.set()
    boots_end(power)


@pytest.mark.parametrize("auth", [("bmc", "wrong"), ("root", "secret")])
def test_wrong_credentials_are_refused_for_every_request(bmc, power, auth):
    for method, path in (("GET", ""), ("POST", "/on"), ("POST", "/off"), ("PUT", "")):
        answer = bmc.request(method, f"/{MACHINE.mac}{path}", auth=auth, json={"name": "intruder"})
        assert (answer.status_code, answer.json()) == (401, {"error": "wrong user or password"})
    assert power.machines[MACHINE.mac].name == "nuc-001"


def test_who_shows_no_credentials_is_refused(power):
    assert TestClient(application(power, NO_GUESTS, "secret")).get(f"/{MACHINE.mac}").status_code == 401


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/on"), ("POST", "/off")])
def test_an_unknown_machine_is_named_in_the_refusal(bmc, method, path):
    answer = bmc.request(method, f"/52:54:00:00:00:99{path}")
    assert answer.status_code == 404
    assert "52:54:00:00:00:99" in answer.json()["error"]


def test_a_machine_put_into_the_rack_is_known_after_a_restart_too(bmc, power, tmp_path):
    assert bmc.put("/52:54:00:37:00:02", json={"name": "nuc-002"}).json() == {"status": "racked"}
    again = Power(FakeRack(), FIRMWARE, tmp_path / "machines.json")
    assert {machine.name for machine in again.machines.values()} == {"nuc-001", "nuc-002"}


def test_what_was_on_comes_on_again_after_a_power_cut_and_nothing_else(power, slow, tmp_path):
    slow.goes_on.set()
    power.put("52:54:00:37:00:02", "nuc-002")
    power.on(MACHINE)
    boots_end(power)
    after = Power(FakeRack(installed={"image": "disk"}), FIRMWARE, tmp_path / "machines.json")
    slow.began.clear()
    after.restore()
    boots_end(after)
    assert slow.began.is_set()
    assert after._switched_on == {MACHINE.mac}
