"""A machine that cannot hold the lab is told what is missing and what mends it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import preflight
from lab.settings import LabError

GIB = 2**30
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
DEFAULT_ROUTE = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


def meminfo(gib: float) -> str:
    return f"MemTotal:       99999999 kB\nMemFree:          100000 kB\nMemAvailable:   {int(gib * 2**20)} kB\n"


def route(device: str, destination: str, mask: str) -> str:
    def kernel(address: str) -> str:
        return bytes(reversed([int(part) for part in address.split(".")])).hex().upper()

    return f"{device}\t{kernel(destination)}\t00000000\t0001\t0\t0\t0\t{kernel(mask)}\t0\t0\t0\n"


def disk(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=gib * GIB))


def test_enough_memory_is_no_finding(lab):
    assert preflight._memory(lab(), meminfo(64)) == []


def test_too_little_memory_names_the_number_of_devices_that_fit(lab):
    available = preflight.BASE_MEMORY_GIB + 10.5 * preflight.DEVICE_MEMORY_GIB
    (finding,) = preflight._memory(lab(LAB_DEVICES="100"), meminfo(available))
    assert "memory: 100 devices want" in finding
    assert "set LAB_DEVICES=10 or fewer" in finding
    assert preflight._memory(lab(LAB_DEVICES="10"), meminfo(available)) == []


def test_memory_that_holds_no_device_at_all_is_not_answered_with_zero_devices(lab):
    (finding,) = preflight._memory(lab(), meminfo(1))
    assert "larger machine" in finding
    assert "LAB_DEVICES" not in finding


def test_too_little_disk_names_the_folder_and_the_fix(monkeypatch, lab):
    disk(monkeypatch, 5)
    (finding,) = preflight._disk(lab(), Path("/var/lib"))
    assert finding.startswith("disk: 4 devices want")
    assert "5.0 GiB are free" in finding
    assert "/var/lib" in finding
    assert "make lab-purge" in finding


def test_light_devices_are_proposed_and_want_less(monkeypatch, lab):
    disk(monkeypatch, preflight.BASE_DISK_GIB + 20 * preflight.LIGHT_DEVICE_DISK_GIB)
    (finding,) = preflight._disk(lab(LAB_DEVICES="20"), Path("/var/lib"))
    assert "or LAB_LIGHT=yes" in finding
    assert preflight._disk(lab(LAB_DEVICES="20", LAB_LIGHT="yes"), Path("/var/lib")) == []
    (finding,) = preflight._disk(lab(LAB_DEVICES="40", LAB_LIGHT="yes"), Path("/var/lib"))
    assert "LAB_LIGHT" not in finding


def test_enough_disk_is_no_finding(monkeypatch, lab):
    disk(monkeypatch, 5000)
    assert preflight._disk(lab(), Path("/var/lib")) == []


@pytest.mark.parametrize(
    ("destination", "mask"),
    [("10.77.0.0", "255.255.255.0"), ("10.0.0.0", "255.0.0.0"), ("10.77.0.128", "255.255.255.128")],
)
def test_a_subnet_that_is_routed_elsewhere_is_refused_with_another_to_choose(lab, destination, mask):
    (finding,) = preflight._routes(lab(), ROUTES + DEFAULT_ROUTE + route("tun0", destination, mask))
    assert "subnet 10.77.0.0/24 is taken" in finding
    assert "tun0" in finding
    assert "make lab LAB_SUBNET=" in finding


def test_the_default_route_and_foreign_networks_are_nobodys_business(lab):
    assert preflight._routes(lab(), ROUTES + DEFAULT_ROUTE + route("eth0", "192.168.0.0", "255.255.255.0")) == []


def test_the_labs_own_bridge_may_hold_the_subnet(lab):
    assert preflight._routes(lab(), ROUTES + route("br-edge-lab", "10.77.0.0", "255.255.255.0")) == []


def test_who_is_not_root_learns_it_first(monkeypatch):
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    assert preflight._system()[0].startswith("not root: run it as root")


def test_everything_that_is_missing_is_said_at_once(monkeypatch, lab):
    monkeypatch.setattr(preflight, "_system", lambda: ["not root"])
    monkeypatch.setattr(preflight, "_memory", lambda *_: ["memory: too little"])
    monkeypatch.setattr(preflight, "_disk", lambda *_: ["disk: too little"])
    monkeypatch.setattr(preflight, "_routes", lambda *_: [])
    with pytest.raises(LabError) as error:
        preflight.check(lab())
    assert str(error.value).splitlines()[1:] == ["  - not root", "  - memory: too little", "  - disk: too little"]


def test_free_space_is_asked_of_the_folder_that_is_there(tmp_path):
    assert preflight._existing(tmp_path / "not" / "yet") == tmp_path
