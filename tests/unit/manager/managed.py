# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device with a Device Manager, which is asked over HTTPS."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.unit.health_gate.device import CHECKOUT, NAME, WORKER, Device
from tests.unit.health_gate.steps import PACKAGE

from edge_training import bundle  # isort: skip - its folder is known by now
from edge_training.manager.app import create_app  # isort: skip
from edge_training.manager.settings import Settings  # isort: skip

TOKEN = "0123456789abcdef" * 4
JOB = "digits-1"


def model(name: str) -> bytes:
    """A bundle that is whole; nothing here loads its graph."""
    onnx = name.encode()
    manifest = bundle.Manifest(
        format=1,
        task=name,
        classes=["a"],
        input={"name": "input", "shape": [1]},
        output={},
        preprocessing="none",
        metrics={},
        trained={},
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    return bundle.pack(manifest, onnx, [bundle.Sample([0], 0, 0)])


class Managed:
    def __init__(self, device: Device, folder: Path, certificates: Path) -> None:
        self.device, self.config = device, folder / "config"
        self.root, self.keys = folder / "edge", folder / "jobs"
        for one in (self.config, self.keys, *(self.root / name for name in ("data", "models", "checkpoints", "state"))):
            one.mkdir(parents=True)
        for file in ("tls.crt", "tls.key", "ca.crt"):
            shutil.copy(certificates / file, self.config)
        (self.config / "token").write_text(f"{TOKEN}\n")
        self.models = {name: bundle.write(self.root / "models", model(name))[0] for name in ("first", "second")}
        self.release("first")
        self.environment = {
            "EDGE_DEVICE_ADDRESS": "127.0.0.1",
            "EDGE_WORKER_MEMORY": "64m",
            "EDGE_WORKER_CPUS": "1.5",
            "EDGE_HEALTH_INTERVAL_SECONDS": "0.1",
            "EDGE_MANAGER_CONFIG": str(self.config),
            "EDGE_MANAGER_ADDRESS": "127.0.0.1",
            "EDGE_ROOT": str(self.root),
            "EDGE_JOB_KEYS": str(self.keys),
        }
        self.client: httpx.Client

    def release(self, model: str | None, **images: str) -> None:
        """What the device may run."""
        digests = {"predictor": self.device.images["new"], "worker": self.device.images["new"], **images}
        document = {
            "name": "2026.11",
            "images": {name: one.partition("@")[2] for name, one in digests.items()},
            "model": self.models.get(model or "", ""),
        }
        (self.config / "release.json").write_text(json.dumps(document))

    def breaks(self, model: str) -> Path:
        """The mark by which a Predictor with this model is not ready."""
        mark = self.root / "models" / f"{self.models[model].removeprefix('sha256:')}.tar.broken"
        mark.touch()
        return mark

    def job(self, name: str = JOB) -> None:
        (self.keys / name).mkdir()
        (self.keys / name / "authorized_keys").touch()

    def asked(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        """The answer, which must have this status."""
        answer = self.client.request(method, path, json=body or None)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail"} <= set(answer.json())
        return answer.json() if answer.content else None

    def deploy(self, name: str, status: int = 200, **more: Any) -> Any:
        return self.asked("PUT", "/model", status, digest=self.models[name], **more)

    def train(self) -> None:
        """The worker's ranks run."""
        self.job()
        self.asked("POST", "/training", job=JOB)
        launched = self.device.api.exec_create(WORKER, ["mpirun"])["Id"]
        self.device.api.exec_start(launched, detach=True)
        until(lambda: self.asked("GET", "/training")["state"] == "training")

    def predictor(self) -> str:
        """The Predictor's container, by id."""
        return str(self.device.inspect(NAME)["Id"])


def until(done: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def served(managed: Managed, **environment: str) -> Iterator[None]:
    """The Device Manager runs in a thread."""
    config = managed.config
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(Settings.from_environment({**managed.environment, **environment})),
            host="127.0.0.1",
            port=0,
            ssl_certfile=config / "tls.crt",
            ssl_keyfile=config / "tls.key",
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with client(managed, port) as managed.client:
            yield
    finally:
        server.should_exit = True
        thread.join(30)


def client(managed: Managed, port: int) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        verify=ssl.create_default_context(cafile=str(managed.config / "ca.crt")),
        timeout=60,
    )


def process(managed: Managed, port: int, log: Path) -> subprocess.Popen[bytes]:
    """The Device Manager as its image runs it; it answers."""
    with log.open("ab") as file:
        started = subprocess.Popen(
            [sys.executable, "-m", "edge_training.manager"],
            cwd=managed.root,
            env={
                **os.environ,
                **managed.environment,
                "EDGE_MANAGER_PORT": str(port),
                "PYTHONPATH": f"{CHECKOUT / 'training'}:{PACKAGE}",
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )

    def answers() -> bool:
        assert started.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return managed.client.get("/healthz").status_code == 200
        return False

    managed.client = client(managed, port)
    until(answers)
    return started
