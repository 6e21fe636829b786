"""What a link carries, measured by real processes and sockets; only SSH is left out."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from edge_training import links

THREE = [{"name": f"nuc-{n}", "address": f"127.0.0.{n}"} for n in (1, 2, 3)]


@pytest.fixture
def without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "ssh", lambda _address, _port, command: ["sh", "-c", command])
    monkeypatch.setenv("PYTHONPATH", str(Path(links.__file__).parents[1]))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


def test_each_worker_sends_to_the_next_and_the_last_to_the_first() -> None:
    assert [(link.sender["name"], link.receiver["name"]) for link in links.ring(THREE)] == [
        ("nuc-1", "nuc-2"),
        ("nuc-2", "nuc-3"),
        ("nuc-3", "nuc-1"),
    ]
    assert links.ring(THREE[:1]) == []


@pytest.mark.usefixtures("without_ssh")
def test_all_links_of_the_ring_are_measured() -> None:
    found = links.measure_all({"workers": THREE, "ssh_port": 2222, "seconds": 0.2})
    assert [(one["from"], one["to"]) for one in found] == [("nuc-1", "nuc-2"), ("nuc-2", "nuc-3"), ("nuc-3", "nuc-1")]
    # The kernel's own loop carries more than any cable that devices of this kind have.
    assert all(one["bits_per_second"] > 10_000_000 for one in found)


@pytest.mark.usefixtures("without_ssh")
def test_a_link_that_takes_no_connection_says_why() -> None:
    # No such address on this host: the receiver cannot listen there.
    away = {"name": "nuc-9", "address": "203.0.113.9"}
    found = links.measure_all({"workers": [THREE[0], away], "ssh_port": 2222, "seconds": 0.2})
    assert [(one["from"], one["to"]) for one in found] == [("nuc-1", "nuc-9"), ("nuc-9", "nuc-1")]
    assert all("Cannot assign requested address" in one["error"] for one in found)


@pytest.mark.parametrize("command", [["sleep", "60"], ["sh", "-c", "echo 1; sleep 60"]])
def test_a_worker_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """It does not begin; or it does, and then nothing comes through."""
    monkeypatch.setattr(links, "ssh", lambda *_asked: command)
    monkeypatch.setattr(links, "GRACE_SECONDS", 0.5)
    began = time.monotonic()
    (found, _back) = links.measure_all({"workers": THREE[:2], "ssh_port": 2222, "seconds": 0.1})
    assert found["error"] in ("it said nothing", "no sample came through (TimeoutExpired)")
    assert time.monotonic() - began < 30


def _paced(address: tuple[str, int], source: str, bytes_per_second: int, seconds: float) -> None:
    with socket.create_connection(address, source_address=(source, 0)) as connection:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            connection.sendall(bytes(bytes_per_second // 100))
            time.sleep(0.01)


def test_it_is_the_receiver_that_counts_and_a_stranger_is_not_listened_to(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = threading.Thread(target=links.receive, args=("127.0.0.1", "127.0.0.2", 1.0))
    receiver.start()
    said = ""
    while not said.strip():
        time.sleep(0.01)
        said += capsys.readouterr().out
    port = int(said)
    socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.3", 0)).close()
    _paced(("127.0.0.1", port), "127.0.0.2", 1_000_000, 0.5)
    receiver.join(timeout=30)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    # A sender that pauses sends no more than its pace; how much less, its processor decides.
    assert 0 < 8 * found["bytes"] / found["seconds"] <= 1.1 * 8_000_000
