# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ESXi modules against simulated hosts: one with a paid licence, asked by its API, and a free one, by SSH."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")
pytest.importorskip("paramiko", reason="paramiko is not installed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "esxi_simulator"))
from esxi_host import PASSWORD, USER, EsxiHost

from lab import esxi
from tests.unit import collection
from tests.unit.module_runs import RunModule, runner

collection.find()


@dataclass
class Way:
    """A host, and the way by which its licence lets it be changed."""

    simulator: EsxiHost
    transport: str

    @property
    def options(self) -> dict[str, Any]:
        """How a module connects: free hosts are left by `transport: auto` to SSH."""
        return {
            "hostname": "127.0.0.1",
            "username": USER,
            "password": PASSWORD,
            "port": self.simulator.https_port,
            "ca_path": str(self.simulator.certificate),
            "ssh_port": self.simulator.ssh_port,
            "ssh_host_key": self.simulator.ready["ssh_host_key"],
        }

    def shell(self) -> Any:
        """A shell on the host, which every licence has."""
        from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
            EsxiConnection,
            connection_argument_spec,
        )
        from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import ShellSession

        defaults = {name: option.get("default") for name, option in connection_argument_spec().items()}
        options = {**defaults, **self.options, "transport": "ssh"}
        return contextlib.closing(ShellSession(EsxiConnection.from_options(options), ""))

    def asked(self) -> list[str]:
        """What the host was asked for since the counts were reset, by this way."""
        return self.simulator.counts()[self.transport]


@pytest.fixture(scope="session")
def binary() -> Path:
    """The simulator, built once."""
    return esxi.binary()


@pytest.fixture(scope="session")
def paid(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EsxiHost]:
    host = _with_network(EsxiHost(binary, tmp_path_factory.mktemp("paid"), "paid").start())
    yield host
    host.stop()


@pytest.fixture(scope="session")
def free(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EsxiHost]:
    host = _with_network(EsxiHost(binary, tmp_path_factory.mktemp("free"), "free").start())
    yield host
    host.stop()


def _with_network(host: EsxiHost) -> EsxiHost:
    """A second network, `edge-rack`, beside the `VM Network` that every host has."""
    with Way(host, "ssh").shell() as session:
        words = ("network", "vswitch", "standard", "portgroup", "add", "-v", "vSwitch0", "-p", "edge-rack")
        session.run("esxcli", *words).checked()
    return host


@pytest.fixture(params=["api", "ssh"])
def host(request: pytest.FixtureRequest) -> Way:
    """Both ways: a test that asks for it runs twice."""
    way = Way(request.getfixturevalue("paid" if request.param == "api" else "free"), request.param)
    way.simulator.reset_counts()
    return way


@pytest.fixture(params=["api", "ssh"])
def own_host(request: pytest.FixtureRequest, binary: Path, tmp_path: Path) -> Iterator[Way]:
    """Both ways to a host that no other test sees, to fill it up or break it."""
    edition = "paid" if request.param == "api" else "free"
    simulator = EsxiHost(binary, tmp_path / "host", edition)
    simulator.start()
    yield Way(simulator, request.param)
    simulator.stop()


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunModule:
    names = ("HOST", "USER", "PASSWORD", "PORT", "VALIDATE_CERTS")
    return runner(monkeypatch, capsys, unset=(f"VMWARE_{name}" for name in names))
