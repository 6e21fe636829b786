# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's docker-registry on a port of loopback, and a stand-in for systemctl that starts and stops it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests import registries
from tests.unit import collection

collection.find()

from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.connection import RegistryConnection  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import (  # noqa: E402
    IMAGE_TYPES,
    INDEX_TYPES,
    digest_of,
)
from ansible_collections.edge.rack.plugins.module_utils.registry.settings import Settings  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.storage import Storage  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIG = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
LAYER = ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip")
OCI, DOCKER = 0, 1
"""Which of the two vocabularies."""

# Restarts as systemd does, with the environment of the drop-ins, and notes how.
SYSTEMCTL = """#!/bin/sh
set -eu
case $1 in daemon-reload | reset-failed) exit 0 ;; restart) ;; *) echo "unknown: $*" >&2; exit 2 ;; esac
cd {folder}
# Gone is who has no threads left: a zombie's others may still hold the port.
alive() {{ [ -d "/proc/$1" ] && {{ threads "$1" || ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }}; }}
threads() {{ [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -gt 1 ]; }}
if [ -f pid ]; then
  pid=$(cat pid)
  ! alive "$pid" || kill "$pid"
  while alive "$pid"; do sleep 0.01; done
fi
setting=$(cat units/docker-registry.service.d/*.conf 2>/dev/null | sed -n "s/^Environment='\\(.*\\)'$/\\1/p")
echo "${{setting:-read-write}}" >> restarts
setsid env ${{setting:+"$setting"}} {program} serve config.yml >> log 2>&1 < /dev/null &
echo $! > pid
"""


class Rack:
    """A registry with records, as the clean-up meets them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = str(registries.distribution())
        self.url = f"http://127.0.0.1:{registries.free_ports()}"
        self.records = folder / "records"
        self.storage = Storage(str(folder / "storage"))
        self.settings_file = folder / "clean.json"
        for name in ("bin", "records/releases", "records/devices", "storage"):
            (folder / name).mkdir(parents=True)
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "storage")},
                "delete": {"enabled": True},
                # It remembers blobs that garbage collection removed: the clean-up has to cope.
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {"addr": self.url.removeprefix("http://")},
        }
        (folder / "config.yml").write_text(json.dumps(config))
        systemctl = folder / "bin" / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(folder=folder, program=self.program))
        systemctl.chmod(0o755)
        self.settings()

    def settings(self, **changes: Any) -> Settings:
        """Write the settings' file."""
        chosen = {
            "registry": self.url,
            "repositories": ["edge/*"],
            "records": str(self.records),
            "keep_releases": 2,
            "keep_pushed_seconds": 0,
            "storage": str(self.folder / "storage"),
            "config": str(self.folder / "config.yml"),
            "program": self.program,
            "lock": str(self.folder / "state" / "clean.lock"),
            "state": str(self.folder / "state"),
            "switch": str(self.folder / "run" / "cleaning"),
            "units": str(self.folder / "units"),
            "quiet_seconds": 0,
            **changes,
        }
        self.settings_file.write_text(json.dumps(chosen))
        return Settings.load(str(self.settings_file))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def restart(self) -> None:
        subprocess.run(["systemctl", "restart", "docker-registry"], check=True, env=self.environment, timeout=60)
        with self.client() as client:
            client.check()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)

    def client(self) -> RegistryClient:
        return RegistryClient(RegistryConnection(self.url, retry_seconds=60))

    def restarts(self) -> list[str]:
        return (self.folder / "restarts").read_text().split()

    # -- Images ---------------------------------------------------------------------------------

    def push(
        self,
        name: str,
        tag: str | None = None,
        layers: Sequence[bytes] = (b"a layer",),
        architecture: str = "amd64",
        words: int = OCI,
        **more: Any,
    ) -> str:
        """Push an image of the given layers; its digest."""
        config = json.dumps(
            {"os": "linux", "architecture": architecture, "created": "2026-11-01T10:00:00Z"}, sort_keys=True
        )
        with self.client() as client:
            client.put_blob(name, config.encode())
            for layer in layers:
                client.put_blob(name, layer)
            manifest = {
                "schemaVersion": 2,
                "mediaType": IMAGE_TYPES[words],
                "config": descriptor(config.encode(), CONFIG[words]),
                "layers": [descriptor(layer, LAYER[words]) for layer in layers],
                **more,
            }
            return put(client, name, tag, manifest)

    def push_index(self, name: str, tag: str | None, children: dict[str, str], words: int = OCI) -> str:
        """Push an index of architecture -> digest."""
        with self.client() as client:
            manifests = []
            for architecture, digest in children.items():
                child = client.manifest(name, digest)
                assert child is not None
                platform = {"os": "linux", "architecture": architecture}
                manifests.append({**descriptor(child.content, child.media_type), "platform": platform})
            return put(client, name, tag, {"schemaVersion": 2, "mediaType": INDEX_TYPES[words], "manifests": manifests})

    def whole(self, name: str, digest: str) -> bool:
        """Whether a client that knows nothing could pull all of it."""
        with self.client() as client:
            manifest = client.manifest(name, digest)
            if manifest is None:
                return False
            for blob in manifest.blobs:
                assert client.read_blob(name, blob.digest) == blob.size
        return all(self.whole(name, child["digest"]) for child in manifest.children)

    def images(self) -> set[str]:
        """Digests of all manifests in all repositories."""
        return {digest for name in self.storage.repositories() for digest in self.storage.revisions(name)}

    # -- Records --------------------------------------------------------------------------------

    def release(self, name: str, released: str, **digests: str) -> Path:
        images = {image: {"tag": name, "digest": digest} for image, digest in digests.items()}
        path = self.records / "releases" / f"{name}.json"
        path.write_text(json.dumps({"name": name, "released": released, "images": images}))
        return path

    def device(self, name: str, running: Sequence[str] = (), rollback: Sequence[str] = ()) -> Path:
        path = self.records / "devices" / f"device-{name}.json"
        record = {"device": name, "reported": "2024-01-01T00:00:00Z"}
        path.write_text(json.dumps({**record, "running": list(running), "rollback": list(rollback)}))
        return path


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def put(client: RegistryClient, name: str, tag: str | None, manifest: dict[str, Any]) -> str:
    content = json.dumps(manifest).encode()
    return client.put_manifest(name, tag or digest_of(content), content, manifest["mediaType"])


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rack]:
    rack = Rack(folder)
    rack.restart()
    try:
        yield rack
    finally:
        rack.stop()


def wait_until(true: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
