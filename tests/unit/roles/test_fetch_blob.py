# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How models get on devices: roles/predictor/files/fetch-blob, before a registry that breaks off, lies or is away."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import registries
from tests.unit.roles.model_registry import ACCOUNT, CONTENT, DIGEST, PASSWORD, Registry, serving, trust

PROGRAM = Path(__file__).resolve().parents[3] / "roles/predictor/files/fetch-blob"


@dataclass
class Device:
    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "models" / f"{DIGEST[7:]}.tar"

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    def fetch(self, *asked: Registry | str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        hosts = [one if isinstance(one, str) else one.host for one in asked]
        named = [word for host in hosts for word in ("--registry", host)]
        docker = ["--sign-ins", self.folder / "config.json", "--authorities", self.folder / "certs.d"]
        pace = ["--backoff-seconds", "0.01", "--retries", "2"]
        done = subprocess.run(
            [sys.executable, PROGRAM, *named, *docker, *pace, *options, "edge/model", DIGEST, self.target],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        print(done.stdout, done.stderr)
        assert PASSWORD not in done.stdout + done.stderr
        assert ACCOUNT.split()[1] not in done.stdout + done.stderr
        return done

    def has_it(self) -> bool:
        return self.target.exists() and self.target.read_bytes() == CONTENT and not self.part.exists()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    registries.authority(folder, "localhost")
    return folder


@pytest.fixture
def device(tmp_path: Path) -> Device:
    (tmp_path / "models").mkdir()
    return Device(tmp_path)


@pytest.fixture
def rack(device: Device, certificates: Path) -> Iterator[list[Registry]]:
    """A registry and the cache of it."""
    both = [Registry(), Registry()]
    servers = [serving(one, certificates) for one in both]
    for one in both:
        trust(device.folder, one.host, certificates)
    yield both
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registry(rack: list[Registry]) -> Registry:
    return rack[0]


# -- On slow links --------------------------------------------------------------------------------------


def test_what_a_broken_link_has_brought_is_not_brought_again(device: Device, registry: Registry) -> None:
    registry.cuts = [150_000, 0, 100_000]
    assert device.fetch(registry).returncode == 0
    assert device.has_it()
    assert registry.asked == ["", "bytes=150000-", "bytes=150000-", "bytes=250000-"]


def test_a_further_run_goes_on_where_one_was_killed(device: Device, registry: Registry) -> None:
    device.part.write_bytes(CONTENT[:300_000])
    forgotten = device.part.with_name(".another.tar.part")
    forgotten.write_bytes(b"of a release that is no more")
    assert device.fetch(registry).returncode == 0
    assert device.has_it()
    assert registry.asked == ["bytes=300000-"]
    assert not forgotten.exists()


def test_one_that_was_killed_when_all_was_there_costs_a_question(device: Device, registry: Registry) -> None:
    device.part.write_bytes(CONTENT)
    assert device.fetch(registry).returncode == 0
    assert device.has_it()


def test_a_cache_that_sends_all_from_the_start_is_taken_at_that(device: Device, registry: Registry) -> None:
    registry.ranges = False
    registry.cuts = [150_000]
    assert device.fetch(registry).returncode == 0
    assert device.has_it()


def test_attempts_without_progress_end(device: Device, registry: Registry) -> None:
    registry.cuts = [0, 100_000, 0, 0, 0]
    done = device.fetch(registry)
    assert done.returncode == 1
    assert "the connection broke, 300000 bytes are missing" in done.stderr
    assert len(registry.asked) == 2 + 2, "two retries, and two anew after something came"
    assert not device.target.exists()


def test_the_deadline_ends_what_does_not_come_in_time(device: Device, registry: Registry) -> None:
    registry.cuts = [100_000] * 3
    done = device.fetch(registry, options=("--deadline-seconds", "0.001"))
    assert done.returncode == 1
    assert "bytes came in 0.001 seconds, the next run goes on" in done.stderr
    assert not device.target.exists()
    assert device.fetch(registry).returncode == 0
    assert registry.asked[1] != "", "it went on"


# -- What is there, and what is not ---------------------------------------------------------------------


def test_what_is_there_with_the_right_digest_is_not_asked_for(device: Device, registry: Registry) -> None:
    device.target.write_bytes(CONTENT)
    assert device.fetch(registry).returncode == 0
    assert registry.asked == []


def test_a_file_with_other_bytes_is_replaced(device: Device, registry: Registry) -> None:
    device.target.write_bytes(CONTENT[1:])
    assert device.fetch(registry).returncode == 0
    assert device.has_it()


def test_other_bytes_never_get_the_models_name(device: Device, registry: Registry) -> None:
    registry.content = CONTENT[:-1] + b"x"
    done = device.fetch(registry)
    assert done.returncode == 1
    assert (
        f"what came has the digest sha256:{hashlib.sha256(registry.content).hexdigest()}, not {DIGEST}" in done.stderr
    )
    assert not device.target.exists()
    assert device.part.stat().st_size == 0


def test_a_part_that_is_wrong_is_thrown_away(device: Device, registry: Registry) -> None:
    device.part.write_bytes(b"x" * 1000)
    assert device.fetch(registry).returncode == 0
    assert device.has_it()
    assert registry.asked == ["bytes=1000-", ""]


def test_a_blob_that_has_no_room_is_not_begun(device: Device, registry: Registry) -> None:
    registry.length = 1 << 60
    done = device.fetch(registry)
    assert done.returncode == 1
    assert f"are free in {device.target.parent}: make room there" in done.stderr
    assert len(registry.asked) == 1


def test_two_runs_do_not_write_into_one_file(device: Device, registry: Registry) -> None:
    with device.part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = device.fetch(registry)
    assert done.returncode == 1
    assert f"another run fetches {device.part}" in done.stderr
    assert registry.asked == []


# -- Who is asked, and what they say --------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_where_the_cache_does_not_help_the_registry_is_asked(device: Device, rack: list[Registry], status: int) -> None:
    origin, cache = rack
    cache.status = status
    assert device.fetch(cache, origin).returncode == 0
    assert device.has_it()
    assert (len(cache.asked), len(origin.asked)) == (1, 1)


def test_the_cache_is_asked_first_and_alone_where_it_helps(device: Device, rack: list[Registry]) -> None:
    origin, cache = rack
    assert device.fetch(cache, origin).returncode == 0
    assert (len(cache.asked), len(origin.asked)) == (1, 0)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not let this device's account in (401): configure the device again (edge.rack.configure)"),
        (403, "does not let this device's account in (403): configure the device again (edge.rack.configure)"),
        (404, f"no edge/model of the digest {DIGEST}: publish it (edge.rack.publish_model -e model_digest={DIGEST})"),
    ],
)
def test_an_answer_that_is_final_is_asked_for_once_and_says_what_to_do(
    device: Device, registry: Registry, status: int, says: str
) -> None:
    registry.status = status
    done = device.fetch(registry)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(registry.asked) == 1


def test_what_the_registry_says_last_is_final_whatever_its_cache_says(device: Device, rack: list[Registry]) -> None:
    origin, cache = rack
    cache.status, origin.status = 500, 404
    done = device.fetch(cache, origin)
    assert f"{cache.host} answers 500 Internal Server Error; {origin.host} holds no edge/model" in done.stderr
    assert (len(cache.asked), len(origin.asked)) == (1, 1)


def test_a_redirect_takes_the_password_nowhere(device: Device, rack: list[Registry]) -> None:
    origin, _other = rack
    origin.status = 307
    done = device.fetch(origin, options=("--retries", "0"))
    assert done.returncode == 1
    assert f"{origin.host} answers 307" in done.stderr


def test_a_device_that_is_not_configured_is_told_so(device: Device, registry: Registry) -> None:
    done = device.fetch("registry.rack:5000")
    assert "has no sign-in for it: configure the device again" in done.stderr
    (device.folder / "certs.d" / registry.host / "ca.crt").unlink()
    done = device.fetch(registry)
    assert done.returncode == 1
    assert f"certs.d/{registry.host}/ca.crt cannot be used" in done.stderr


def test_a_certificate_of_another_authority_gets_no_password(
    device: Device, registry: Registry, tmp_path: Path
) -> None:
    registries.authority(tmp_path / "others", "localhost")
    (device.folder / "certs.d" / registry.host / "ca.crt").write_bytes((tmp_path / "others/ca.crt").read_bytes())
    done = device.fetch(registry)
    assert done.returncode == 1
    assert "its certificate is not trusted" in done.stderr
    assert registry.asked == []


def test_a_registry_that_is_away_is_named(device: Device, certificates: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"localhost:{nobody.getsockname()[1]}"
        trust(device.folder, host, certificates)
        done = device.fetch(host)
    assert done.returncode == 1
    assert f"{host}: [Errno 111] Connection refused" in done.stderr


# -- As the role `registry` has it ----------------------------------------------------------------------


def test_the_registry_and_a_cache_of_it_send_the_rest_of_a_model(
    device: Device, certificates: Path, tmp_path: Path
) -> None:
    servers: list[registries.Server] = []
    try:
        origin = start(servers, device, certificates, tmp_path / "origin")
        registries.Client(origin.host, certificates / "ca.crt", "push").push("edge/model", [CONTENT])
        assert rest_comes_from(origin, device)
        cache = start(servers, device, certificates, tmp_path / "cache", origin.host)
        assert device.fetch(cache.host).returncode == 0, "what it does not hold yet"
        assert rest_comes_from(cache, device)
    finally:
        for server in servers:
            server.stop()


def start(
    servers: list[registries.Server], device: Device, certificates: Path, folder: Path, cache_of: str = ""
) -> registries.Server:
    server = registries.Server(folder, "localhost", "localhost", registries.free_ports(4), cache_of)
    servers.append(server)
    server.configure(certificates)
    server.start()
    trust(device.folder, server.host, certificates)
    return server


def rest_comes_from(server: registries.Server, device: Device) -> bool:
    """A cache has a blob on its disk some moments after the device does, and until then sends all of it."""
    half = len(CONTENT) // 2
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        device.target.unlink(missing_ok=True)
        device.part.write_bytes(CONTENT[:half])
        before = server.bytes_sent()
        assert device.fetch(server.host).returncode == 0
        assert device.has_it()
        if server.bytes_sent() - before == len(CONTENT) - half:
            return True
    return False
