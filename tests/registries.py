# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries and caches as the role `registry` configures them: its templates, Debian's docker-registry and nginx."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from tests.debian import program

TEMPLATES = Path(__file__).resolve().parents[1] / "roles/registry/templates"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
START_SECONDS = 30
PASSWORDS = {name: f"the-password-of-{name}" for name in ("push", "pull", "metrics")}


def authority(folder: Path, *names: str) -> None:
    """An authority, and one server's certificate for the names or addresses: ca.crt, tls.crt, tls.key."""
    folder.mkdir(parents=True, exist_ok=True)
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    ca = ["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=rack", "-addext", "keyUsage=critical,keyCertSign"]
    # nginx compares an address as a name, too.
    alternatives = ",".join(f"DNS:{name}" + (f",IP:{name}" if name[0].isdigit() else "") for name in names)
    server = ["-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "tls.key", "-out", "tls.crt", "-subj", f"/CN={names[0]}"]
    own = ["-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=critical,CA:false"]
    for more in (ca, server + own):
        subprocess.run([*new, *more], cwd=folder, check=True, capture_output=True)


@dataclass
class Server:
    """One registry, or the cache of one. Its log has each answer's bytes."""

    folder: Path
    name: str
    address: str
    port: int
    cache_of: str = ""
    inside: tuple[str, ...] = ()
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    def configure(self, certificates: Path) -> None:
        """Write what the role would, with all paths in the server's own folder."""
        self.folder.mkdir()
        for part in ("state", "storage", "logs"):
            (self.folder / part).mkdir()
        for file in ("ca.crt", "tls.crt", "tls.key"):
            shutil.copy(certificates / file, self.folder)
        accounts = "".join(f"{name}:{{PLAIN}}{password}\n" for name, password in PASSWORDS.items())
        (self.folder / "htpasswd").write_text(accounts)
        front = self._rendered("front.conf.j2") + (self._rendered("uplink.conf.j2") if self.cache_of else "")
        temporary = "".join(
            f"  {kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\npid {self.folder}/nginx.pid;\n"
            f"events {{}}\nhttp {{\n{temporary}{front}}}\n"
        )
        (self.folder / "config.yml").write_text(self._rendered("config.yml.j2"))

    def start(self) -> None:
        """nginx first: a cache's registry asks through it as it starts."""
        self.run(
            program("nginx", "usr/sbin/nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", "stderr"
        )
        if self.cache_of:
            self._wait(self.port + 3)
        self.run(distribution(), "serve", self.folder / "config.yml")
        self._wait(self.port + 1)

    def run(self, *argv: str | Path) -> None:
        with (self.folder / "logs/out").open("ab") as log:
            command = [*self.inside, *map(str, argv)]
            self.running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(timeout=30)
        self.running.clear()

    def bytes_sent(self, user: str = "pull") -> int:
        """Bytes of all answers' bodies to the account."""
        log = self.folder / "logs/edge-registry.log"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return sum(line["bytes_sent"] for line in lines if line["user"] == user)

    def log(self) -> str:
        return (self.folder / "logs/out").read_text()

    def _rendered(self, name: str) -> str:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            trim_blocks=True,
            keep_trailing_newline=True,
            undefined=jinja2.StrictUndefined,
            autoescape=False,
        )
        environment.filters.update(
            to_json=json.dumps,
            split=lambda text, separator: text.split(separator),
            b64encode=lambda text: base64.b64encode(text.encode()).decode(),
            b64decode=lambda text: base64.b64decode(text).decode(),
        )
        text = environment.get_template(name).render(self._variables())
        return text.replace("/var/log/nginx", f"{self.folder}/logs").replace(
            "/run/edge-registry", f"{self.folder}/state"
        )

    def _variables(self) -> dict[str, Any]:
        return {
            "ansible_managed": "as the role has it",
            "registry_accounts": [{"name": name, "rights": name} for name in PASSWORDS],
            "registry_cache_account": {"name": "pull", "password": PASSWORDS["pull"]},
            "registry_cache_of": self.cache_of,
            "registry_cache_uplink_max_size": "1g",
            "registry_debug_port": self.port + 2,
            "registry_dir": str(self.folder),
            "registry_host_name": self.name,
            "registry_http_secret": {"content": base64.b64encode(b"secret").decode()},
            "registry_listen_address": "0.0.0.0",
            "registry_loopback_port": self.port + 1,
            "registry_port": self.port,
            "registry_state_dir": f"{self.folder}/state",
            "registry_storage_dir": f"{self.folder}/storage",
            "registry_uplink_port": self.port + 3,
        }

    def _wait(self, port: int) -> None:
        """Until it answers there; each line of its log is in the error."""
        deadline = time.monotonic() + START_SECONDS
        probe = [*self.inside, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
        while subprocess.run(probe, capture_output=True, check=False).returncode != 0:
            ended = [process.args for process in self.running if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not answer on port {port}: {self.log()}")
            time.sleep(0.05)


@dataclass
class Client:
    """Who pushes and pulls, with an account."""

    host: str
    ca: Path
    account: str = "pull"

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        """Status and body of the answer; a refusal is an answer, too."""
        url = path if path.startswith("https://") else f"https://{self.host}/v2/{path}"
        token = base64.b64encode(f"{self.account}:{PASSWORDS.get(self.account, '')}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Accept": MANIFEST, "Content-Type": kind}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        context = ssl.create_default_context(cafile=self.ca)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, answer.headers.get("Location", "").encode() or answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def push(self, repository: str, layers: list[bytes]) -> str:
        """An image of these layers; returns its digest."""
        parts = [self._upload(repository, content) for content in (b"{}", *layers)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **parts[0]},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **part} for part in parts[1:]],
        }
        content = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        status, answer = self.ask(f"{repository}/manifests/{digest}", "PUT", content, MANIFEST)
        assert status == 201, answer
        return digest

    def pull(self, repository: str, digest: str) -> int:
        """All of an image, each part held against its digest; returns its bytes."""
        content = self._fetch(f"{repository}/manifests/{digest}", digest)
        manifest = json.loads(content)
        parts = [manifest["config"], *manifest["layers"]]
        return len(content) + sum(len(self._fetch(f"{repository}/blobs/{p['digest']}", p["digest"])) for p in parts)

    def _fetch(self, path: str, digest: str) -> bytes:
        status, content = self.ask(path)
        assert status == 200, (path, status, content)
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}", path
        return content

    def _upload(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        status, location = self.ask(f"{repository}/blobs/uploads/", "POST", b"")
        assert status == 202, location
        status, answer = self.ask(f"{location.decode()}&digest={digest}", "PUT", content, "application/octet-stream")
        assert status == 201, answer
        return {"digest": digest, "size": len(content)}


def distribution() -> Path:
    """Debian's program."""
    return program("docker-registry", "usr/bin/docker-registry")


def free_ports(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens on.

    Below those that the kernel gives out, so that nobody takes them while a registry restarts.
    """
    for _attempt in range(200):
        first = random.randrange(20000, 32000)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError(f"no {count} neighbouring ports are free")
