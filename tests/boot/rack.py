"""What stands around the machine: MAAS, and what a rack controller hands to a machine that boots from the network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import IO, Any

import httpx
import yaml
from network import HERE, PREFIX, SUBNET, running

from lab.oauth import authorization

CHECKOUT = Path(__file__).resolve().parents[2]
MAC = "52:54:00:ed:9e:01"
NAME = "nuc-001"
IMAGE = "edge-nuc"
BOOT_PORT = 8080
_KEY = "boot:test:secret"
_CHUNK = 4 << 20
_CONSOLE = "console=tty0 console=ttyS0,115200"
# What the installer does without; it lies in the machine's memory, and software emulation unpacks slowly.
_NOT_FOR_THE_INSTALLER = (
    "boot/", "opt/edge/", "usr/bin/docker", "usr/bin/containerd", "usr/bin/ctr", "usr/sbin/dockerd", "usr/bin/dnet",
    "usr/sbin/ovrouter", "usr/lib/udev/hwdb", "usr/share/doc/", "usr/lib/python3/dist-packages/",
)  # fmt: skip
_DRIVERS = re.compile(r"usr/lib/modules/[^/]+/kernel/(drivers/(?!block|firmware)|sound/|net/)")


@dataclass
class Maas:
    """The lab's MAAS simulator, and the one machine it knows."""

    url: str = f"http://{HERE}:5240/MAAS"
    system_id: str = ""

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=60, trust_env=False)

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = authorization(*_KEY.split(":"))
        answer = self._http.request(method, f"{self.url}/api/2.0/{path}", headers=headers, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def boot_document(self) -> dict[str, Any]:
        """What MAAS says to this MAC."""
        return dict(self._http.get(f"{self.url}/boot/{MAC}").raise_for_status().json())

    def status(self) -> str:
        return str(self.call("GET", f"machines/{self.system_id}/")["status_name"])

    def events(self) -> list[str]:
        found = self.call("GET", f"events/?op=query&level=DEBUG&limit=1000&id={self.system_id}")["events"]
        return [event["description"] for event in found]

    def upload(self, archive: Path) -> None:
        """The image, as edge.rack.maas_boot_resource sends it."""
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        data = {"name": f"custom/{IMAGE}", "architecture": "amd64/generic", "filetype": "tgz", "sha256": sha256}
        created = self.call("POST", "boot-resources/", data={**data, "size": str(archive.stat().st_size)})
        file = next(iter(next(iter(created["sets"].values()))["files"].values()))
        path = file["upload_uri"].removeprefix("/MAAS/api/2.0/")
        with archive.open("rb") as content:
            for chunk in iter(partial(content.read, _CHUNK), b""):
                self.call("PUT", path, content=chunk)

    def deploy(self, user_data: str) -> None:
        """Enlist and commission the machine as the ephemeral environment would, then deploy the image to it."""
        import base64

        data = {"hostname": NAME, "architecture": "amd64/generic", "mac_addresses": MAC, "power_type": "manual"}
        self.system_id = self.call("POST", "machines/", data=data)["system_id"]
        document = self.boot_document()
        report = {
            "cpu_count": 2, "memory": 3072, "hardware_uuid": "0a9ecb4c-0001-4f8f-9a61-3b8f52f3c001",
            "system_vendor": "QEMU", "system_product": "q35", "system_serial": "1",
            "disks": [{"name": "vda", "size": 8 << 30, "model": "virtio", "serial": "1"}],
            "nics": [{"name": "enp0s2", "mac": MAC}],
        }  # fmt: skip
        self._http.post(
            f"{document['metadata_url']}2012-03-01/",
            data={"op": "signal", "status": "OK", "hardware": json.dumps(report)},
            headers=_signed(document),
        ).raise_for_status()
        wait_until(lambda: self.status() == "Ready", 60, "the machine is Ready")
        self.call(
            "POST",
            f"machines/{self.system_id}/?op=deploy",
            data={"distro_series": IMAGE, "user_data": base64.b64encode(user_data.encode()).decode()},
        )
        wait_until(lambda: "address" in self.boot_document(), 30, "the machine has its address")


def _signed(document: dict[str, Any]) -> dict[str, str]:
    return authorization(document["consumer_key"], document["token_key"], document["token_secret"])


def wait_until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not true: {what}"
        time.sleep(0.5)


@contextmanager
def maas(work: Path) -> Iterator[Maas]:
    """The simulator on the test's bridge."""
    (work / "maas-key").write_text(_KEY)
    command = [
        sys.executable, "-m", "lab.maas_simulator", "--listen", HERE, "--data", work / "maas",
        "--api-key-file", work / "maas-key", "--subnet", SUBNET, "--gateway", HERE,
        "--dynamic-range", f"{PREFIX}.100-{PREFIX}.199", "--external-url", f"http://{HERE}:5240/MAAS",
        "--node-timeout-seconds", "7200",
    ]  # fmt: skip
    with running(*command, log=work / "maas.log", cwd=CHECKOUT) as process:
        region = Maas()

        def answers() -> bool:
            assert process.poll() is None, (work / "maas.log").read_text()
            try:
                region.call("GET", "version/")
            except httpx.TransportError:
                return False
            return True

        wait_until(answers, 60, "MAAS answers")
        yield region


def boot_files(archive: Path, folder: Path) -> None:
    """Kernel, initial RAM disk and network boot loader of the image, and a root file system for the installer."""
    modules = folder / "grub" / "x86_64-efi"
    modules.mkdir(parents=True)
    wanted = {
        "boot/vmlinuz-": "kernel",
        "boot/initrd.img-": "initrd",
        "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed": "bootx64.efi",
    }
    with tarfile.open(archive, "r|gz") as tar, tarfile.open(folder / "ephemeral.tar", "w") as ephemeral:
        for member in tar:
            name = member.name.removeprefix("./")
            target = next((target for prefix, target in wanted.items() if name.startswith(prefix)), None)
            # Debian's loader has HTTP as a module; it asks for its modules over TFTP.
            if name.startswith("usr/lib/grub/x86_64-efi/") and name.endswith((".mod", ".lst")):
                target = f"grub/x86_64-efi/{Path(name).name}"
            content: IO[bytes] | None = None
            if member.isreg():
                content = tar.extractfile(member)
                assert content is not None
                if target is not None:
                    data = content.read()
                    (folder / target).write_bytes(data)
                    content = io.BytesIO(data)
            if not name.startswith(_NOT_FOR_THE_INSTALLER) and not _DRIVERS.match(name):
                ephemeral.addfile(member, content)
    missing = [target for target in wanted.values() if not (folder / target).exists()]
    assert not missing, f"{archive} has no {missing}"
    overlay = folder / "overlay" / "scripts"
    overlay.mkdir(parents=True)
    (overlay / "edge").write_text((CHECKOUT / "tests/boot/installer/mountroot").read_text())
    packed = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet"],
        cwd=overlay.parent,
        input=b"scripts\nscripts/edge\n",
        stdout=subprocess.PIPE,
        check=True,
    )
    (folder / "overlay.cpio.gz").write_bytes(gzip.compress(packed.stdout))
    (folder / "grub" / "grub.cfg").write_text(
        f"set timeout=0\nconfigfile (http,{HERE}:{BOOT_PORT})/grub.cfg-$net_default_mac\n"
    )


@contextmanager
def boot_server(region: Maas, archive: Path, folder: Path, work: Path) -> Iterator[None]:
    """DHCP and TFTP by dnsmasq, HTTP by us: as a rack controller, it asks the region what a MAC shall boot."""
    address = region.boot_document()["address"].split("/")[0]
    dnsmasq = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0", "--leasefile-ro",
        "--pid-file", "--interface=br0", "--bind-interfaces", "--log-dhcp", "--log-facility=-",
        f"--dhcp-range={PREFIX}.100,static,255.255.255.0", f"--dhcp-host={MAC},{address}",
        f"--dhcp-option=option:router,{HERE}", "--dhcp-boot=bootx64.efi", "--enable-tftp", f"--tftp-root={folder}",
    ]  # fmt: skip
    handler = partial(_BootHandler, region, archive, folder)
    server = ThreadingHTTPServer((HERE, BOOT_PORT), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with running(*dnsmasq, log=work / "dnsmasq.log"):
            yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _BootHandler(BaseHTTPRequestHandler):
    """`/grub.cfg-MAC`, the files it names, and what the installer asks for."""

    protocol_version = "HTTP/1.1"  # GRUB takes no other

    def __init__(self, region: Maas, archive: Path, folder: Path, *rest: Any) -> None:
        self.region, self.archive, self.folder = region, archive, folder
        super().__init__(*rest)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"    boot server: {self.path} {args[1] if len(args) > 1 else ''}", flush=True)

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        files = {name: self.folder / name for name in ("kernel", "initrd", "overlay.cpio.gz", "ephemeral.tar")}
        files["image.tar.gz"] = self.archive
        files["install"] = CHECKOUT / "tests/boot/installer/install"
        if name in files:
            self._send(files[name])
        elif name == f"grub.cfg-{MAC}":
            self._send(grub_cfg(self.region.boot_document()).encode())
        elif name == "target.json":
            self._send(json.dumps(target_files(self.region.boot_document())).encode())
        else:
            self.send_error(404)

    def _send(self, content: bytes | Path) -> None:
        length = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        # A machine that starts again uses the same ports again: no connection may outlive its answer.
        self.send_header("Connection", "close")
        self.end_headers()
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with content.open("rb") as file:
            for chunk in iter(partial(file.read, 1 << 20), b""):
                self.wfile.write(chunk)


def grub_cfg(document: dict[str, Any]) -> str:
    """As MAAS's templates: the ephemeral environment to install, and then on to the disk's own boot loader."""
    if document["purpose"] == "xinstall":
        base = f"(http,{HERE}:{BOOT_PORT})"
        return (
            f"echo 'edge: MAAS says xinstall'\n"
            f"linux {base}/kernel boot=edge ip=dhcp init=/edge-install edge_url=http://{HERE}:{BOOT_PORT} {_CONSOLE}\n"
            f"initrd {base}/initrd {base}/overlay.cpio.gz\nboot\n"
        )
    if document["purpose"] == "local":
        return (
            "echo 'edge: MAAS says local'\n"
            "if search --no-floppy --set=root --file /efi/debian/grubx64.efi; then\n"
            "  chainloader /efi/debian/grubx64.efi\n  boot\nfi\n"
            "echo 'edge: no boot loader on the disk'\nexit\n"
        )
    return f"echo 'edge: MAAS says {document['purpose']}'\nhalt\n"


def target_files(document: dict[str, Any]) -> dict[str, Any]:
    """What MAAS has curtin write to the disk: the network, cloud-init's data source and its reporting."""
    network = {
        "version": 1,
        "config": [
            {
                "type": "physical",
                "name": "enp0s2",
                "mac_address": MAC,
                "subnets": [{"type": "static", "address": document["address"], "gateway": document["gateway"]}],
            }
        ],
    }
    key = {name: document[name] for name in ("consumer_key", "token_key", "token_secret")}
    status = f"{document['metadata_url']}status/{document['system_id']}"
    config = "/etc/cloud/cloud.cfg.d/50-"
    return {
        "files": {
            f"{config}curtin-networking.cfg": yaml.safe_dump({"network": network}),
            f"{config}cloudconfig-maas-datasource.cfg": "datasource_list: [ MAAS ]\n",
            f"{config}cloudconfig-maas-cloud-config.cfg": yaml.safe_dump(
                {"datasource": {"MAAS": {"metadata_url": document["metadata_url"], **key}}}
            ),
            f"{config}cloudconfig-maas-reporting.cfg": yaml.safe_dump(
                {"reporting": {"maas": {"type": "webhook", "endpoint": status, **key}}}
            ),
            "/etc/default/grub.d/50-curtin-settings.cfg": f'GRUB_CMDLINE_LINUX="{_CONSOLE}"\nGRUB_TERMINAL=console\n',
        },
        "netboot_off": {"url": f"{document['metadata_url']}2012-03-01/", "headers": _signed(document)},
    }
