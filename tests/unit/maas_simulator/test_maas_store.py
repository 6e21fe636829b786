"""A killed region has lost nothing it acknowledged."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from maas_region import API_KEY, HTTP, Region, serve, settings, with_timeout

_ROOT = Path(__file__).parents[3]


@contextmanager
def _process(folder: Path, port: int) -> Iterator[tuple[Region, subprocess.Popen[bytes]]]:
    key = folder / "key"
    key.write_text(API_KEY + "\n")
    command = [sys.executable, "-m", "lab.maas_simulator", "--port", str(port)]
    command += ["--data", str(folder / "data"), "--api-key-file", str(key)]
    process = subprocess.Popen(command, cwd=_ROOT)
    region = Region(f"http://127.0.0.1:{port}/MAAS", folder / "data")
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                region.call("GET", "version/", auth="")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
        yield region, process
    finally:
        process.kill()
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_a_stream_of_creates_it_keeps_every_acknowledged_machine(tmp_path: Path, unused_port: int) -> None:
    acknowledged: list[str] = []
    with _process(tmp_path, unused_port) as (region, process):
        timer = threading.Timer(0.7, _kill, [process])
        timer.start()
        try:
            for number in range(10_000):
                mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
                acknowledged.append(region.create(f"m{number}", mac))
        except httpx.TransportError:
            pass
        timer.join()
    assert acknowledged
    with _process(tmp_path, unused_port) as (region, _):
        kept = {machine["system_id"]: machine for machine in region.call("GET", "machines/").json()}
        assert set(acknowledged) <= set(kept)
        # At most the one create that was not answered is there besides.
        assert len(kept) - len(acknowledged) in (0, 1)
        assert {kept[system_id]["status"] for system_id in acknowledged} == {1}


def test_killed_in_an_upload_it_goes_on_after_the_last_acknowledged_chunk(tmp_path: Path, unused_port: int) -> None:
    content = os.urandom(3_000_000)
    digest = hashlib.sha256(content).hexdigest()
    data = {"name": "custom/edge", "architecture": "amd64/generic", "sha256": digest, "size": str(len(content))}
    with _process(tmp_path, unused_port) as (region, process):
        created = region.call("POST", "boot-resources/", data=data).json()
        path = _file(created)["upload_uri"].removeprefix("/MAAS/api/2.0/")
        assert region.call("PUT", path, content=content[:1_000_000]).text == "OK"

        def half() -> Iterator[bytes]:
            yield content[1_000_000:1_600_000]
            time.sleep(0.3)
            _kill(process)
            yield content[1_600_000:2_000_000]

        with pytest.raises(httpx.TransportError):
            region.call("PUT", path, content=half())
    with _process(tmp_path, unused_port) as (region, _):
        after = _file(region.call("GET", f"boot-resources/{created['id']}/").json())
        assert (after["complete"], round(after["progress"])) == (False, 33)
        assert region.call("PUT", path, content=content[1_000_000:]).text == "OK"
        assert _file(region.call("GET", f"boot-resources/{created['id']}/").json())["complete"] is True
        assert HTTP.get(f"{region.url}/images/{digest}").content == content


def _file(resource: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]) -> dict[str, object]:
    newest = next(iter(resource["sets"].values()))
    return dict(next(iter(newest["files"].values())))


def test_a_deadline_outlives_a_restart(tmp_path: Path) -> None:
    chosen = with_timeout(settings(tmp_path), 1.5)
    with serve(chosen) as region:
        system_id = region.create("a", "52:54:00:00:00:01")
    with serve(chosen) as region:
        failed = region.wait(system_id, 2)
    assert failed["status_message"] == (
        "Marking node failed - Node operation 'Commissioning' timed out after 0.025 minutes."
    )


@pytest.mark.parametrize(("key", "complaint"), [("only:two", "consumer:token:secret"), (None, "cannot read")])
def test_an_unusable_key_file_is_named_and_exits_with_2(tmp_path: Path, key: str | None, complaint: str) -> None:
    file = tmp_path / "key"
    if key:
        file.write_text(key)
    command = [sys.executable, "-m", "lab.maas_simulator", "--data", str(tmp_path), "--api-key-file", str(file)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert complaint in done.stderr and str(file) in done.stderr
