"""What the machine must have, looked at before anything is started, so that a run fails in its first second."""

from __future__ import annotations

import ipaddress
import os
import shutil
from pathlib import Path

from lab.settings import ENGINE_DIR, LabError, Settings

# Measured on Debian 12 (docs/lab.md): what the three VMs, the engine and a build of the images take,
# and what each device takes while it trains (its own engine, worker and predictor, and their images).
BASE_MEMORY_GIB = 3.0
DEVICE_MEMORY_GIB = 0.45
BASE_DISK_GIB = 14.0
DEVICE_DISK_GIB = 2.5
# Of a light one, whose images' layers are there once.
LIGHT_DEVICE_MEMORY_GIB = 0.35
LIGHT_DEVICE_DISK_GIB = 0.4


def check(settings: Settings) -> None:
    """Collect everything that is missing and say it all at once.

    Raises LabError with one line per finding, each with its fix.
    """
    racked = settings.state / "devices"
    new = settings.devices - (int(racked.read_text()) if racked.exists() else 0)
    # A rack that stands has taken its share already.
    space = [
        *_memory(settings, Path("/proc/meminfo").read_text()),
        *_disk(settings, _existing(ENGINE_DIR)),
    ]
    findings = [
        *_system(),
        *(space if new > 0 else []),
        *_routes(settings, Path("/proc/net/route").read_text()),
    ]
    if findings:
        raise LabError("This machine cannot hold the lab yet:\n" + "\n".join(f"  - {finding}" for finding in findings))


def _system() -> list[str]:
    findings = []
    if os.geteuid() != 0:
        findings.append("not root: run it as root (the lab starts a Docker Engine and makes networks)")
    if not shutil.which("apt-get"):
        findings.append("no apt-get: the lab runs on Debian and Ubuntu")
    filesystems = Path("/proc/filesystems").read_text()
    if "\toverlay\n" not in filesystems and not _loads("overlay"):
        findings.append("the kernel has no overlay file system: load or build the module `overlay`")
    if not Path("/sys/fs/cgroup").is_dir():
        findings.append("no /sys/fs/cgroup: mount the control groups (Debian's package cgroupfs-mount does it)")
    return findings


def _loads(module: str) -> bool:
    modprobe = shutil.which("modprobe")
    return modprobe is not None and os.system(f"{modprobe} {module} 2>/dev/null") == 0  # noqa: S605


def _memory(settings: Settings, meminfo: str) -> list[str]:
    devices, each = settings.devices, LIGHT_DEVICE_MEMORY_GIB if settings.light else DEVICE_MEMORY_GIB
    available = next(int(line.split()[1]) for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    gib = available / 2**20
    wanted = BASE_MEMORY_GIB + devices * each
    if gib >= wanted:
        return []
    fitting = int((gib - BASE_MEMORY_GIB) / each)
    fix = (
        f"set LAB_DEVICES={fitting} or fewer{_lighter(settings)}"
        if fitting >= 1
        else "free some or use a larger machine"
    )
    return [f"memory: {devices} devices want {wanted:.1f} GiB and {gib:.1f} GiB are available: {fix}"]


def _lighter(settings: Settings) -> str:
    return "" if settings.light else ", or LAB_LIGHT=yes for devices that share their images' layers"


def _disk(settings: Settings, directory: Path) -> list[str]:
    devices, each = settings.devices, LIGHT_DEVICE_DISK_GIB if settings.light else DEVICE_DISK_GIB
    gib = shutil.disk_usage(directory).free / 2**30
    wanted = BASE_DISK_GIB + devices * each
    if gib >= wanted:
        return []
    return [
        f"disk: {devices} devices want {wanted:.0f} GiB under {directory} and {gib:.1f} GiB are free: "
        f"free some (make lab-purge drops the lab's caches) or set a smaller LAB_DEVICES{_lighter(settings)}"
    ]


def _routes(settings: Settings, table: str) -> list[str]:
    """The lab's subnet must not be somebody else's: an address there would answer in the rack's name."""
    findings = []
    for line in table.splitlines()[1:]:
        device, destination, _gateway, _flags, _refcnt, _use, _metric, mask = line.split()[:8]
        network = ipaddress.IPv4Network((_address(destination), _address(mask)))
        if network.prefixlen > 0 and network.overlaps(settings.subnet) and device != settings.bridge:
            findings.append(
                f"subnet {settings.subnet} is taken: {network} is routed through {device}; "
                "choose another, for example: make lab LAB_SUBNET=10.78.0.0/24"
            )
    return findings


def _address(kernel_hex: str) -> str:
    """/proc/net/route prints addresses as little-endian hexadecimal."""
    return str(ipaddress.IPv4Address(bytes.fromhex(kernel_hex)[::-1]))


def _existing(directory: Path) -> Path:
    while not directory.exists():
        directory = directory.parent
    return directory
