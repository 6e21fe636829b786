"""What a run that changes nothing costs an ESXi host: requests counted by the host, seconds side by side.

    python -m tests.benchmarks.esxi_calls          (make bench)

One VM among 1 and among 50, by edge.rack.esxi_vm on either way, and by community.vmware.vmware_guest where the licence
lets it work. Writes .bench/esxi_calls.md and .json.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paramiko

from lab import esxi
from tests.benchmarks import adhoc, results
from tests.unit.esxi_simulator.esxi_host import PASSWORD, USER, EsxiHost

RUNS = 3
SIZES = (1, 50)


@dataclass
class Cost:
    """The median of RUNS runs of one task that changes nothing."""

    module: str
    edition: str
    vms: int
    api_calls: int
    ssh_commands: int
    seconds: float


def ansible(host: EsxiHost, module: str, options: dict[str, Any]) -> bool:
    """One task on the controller; whether it changed something."""
    connection = {"hostname": "127.0.0.1", "username": USER, "port": host.https_port}
    about = f"on the {host.edition} edition"
    return adhoc.changes(module, {**connection, **options}, about, VMWARE_PASSWORD=PASSWORD)


def ours(host: EsxiHost, name: str) -> dict[str, Any]:
    return {
        "ca_path": str(host.certificate),
        "ssh_port": host.ssh_port,
        "ssh_host_key": host.ready["ssh_host_key"],
        "name": name,
        "state": "present",
        "cpus": 2,
        "memory_mib": 1024,
        "guest_id": "debian11_64Guest",
        "datastore": "datastore1",
        "disks": [{"size_gib": 10}],
        "networks": [{"network": "VM Network"}],
    }


def theirs(name: str) -> dict[str, Any]:
    return {
        "validate_certs": False,  # it has no option for a certificate of one's own
        "name": name,
        "state": "present",
        "datacenter": "ha-datacenter",
        "folder": "/",
        "esxi_hostname": "esxi.edge.lab",
        "hardware": {"num_cpus": 2, "memory_mb": 1024, "scsi": "paravirtual"},
        "guest_id": "debian11_64Guest",
        "disk": [{"size_gb": 10, "type": "thin", "datastore": "datastore1"}],
        "networks": [{"name": "VM Network", "device_type": "vmxnet3"}],
    }


def fill(host: EsxiHost, vms: int) -> None:
    """Other VMs, so that the host has `vms` of them."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(host.known_hosts))
    client.connect("127.0.0.1", port=host.ssh_port, username=USER, password=PASSWORD, look_for_keys=False)
    with client:
        for number in range(vms):
            _, out, _ = client.exec_command(f"vim-cmd vmsvc/createdummyvm other-{number} '[datastore1]'")
            if out.channel.recv_exit_status() != 0:
                raise SystemExit(f"the host made no VM other-{number}: {out.read().decode()}")


def measure(host: EsxiHost, module: str, options: dict[str, Any], vms: int) -> Cost:
    runs = []
    for _ in range(RUNS):
        host.reset_counts()
        begin = time.monotonic()
        if ansible(host, module, options):
            raise SystemExit(f"{module} changed something in a run that should change nothing")
        counts = host.counts()
        runs.append((time.monotonic() - begin, len(counts["api"]), len(counts["ssh"])))
    seconds, api, ssh = sorted(runs)[RUNS // 2]
    return Cost(module, host.edition, vms, api, ssh, round(seconds, 2))


def costs(folder: Path) -> list[Cost]:
    found = []
    for edition in ("paid", "free"):
        host = EsxiHost(esxi.binary(), folder / edition, edition).start()
        tasks = {"edge.rack.esxi_vm": ours(host, "ours")}
        if edition == "paid":
            tasks["community.vmware.vmware_guest"] = theirs("theirs")
        try:
            for module, options in tasks.items():
                ansible(host, module, options)
            there = len(tasks)
            for size in SIZES:
                fill(host, max(0, size - there))
                there = max(there, size)
                found += [measure(host, module, options, there) for module, options in tasks.items()]
        finally:
            host.stop()
    return found


def report(found: list[Cost]) -> str:
    lines = [
        "| module | edition | VMs on the host | API calls | SSH commands | seconds |",
        "|---|---|---|---|---|---|",
        *(f"| {c.module} | {c.edition} | {c.vms} | {c.api_calls} | {c.ssh_commands} | {c.seconds} |" for c in found),
    ]
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        found = costs(Path(folder))
    results.write("esxi_calls", [asdict(cost) for cost in found], report(found))


if __name__ == "__main__":
    main()
