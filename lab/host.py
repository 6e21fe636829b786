"""What the lab changes on the machine itself: packages and kernel limits."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import engine
from lab.command import output, run
from lab.settings import ENGINE_DIR, LabError, Settings

# program that must be there -> Debian package that brings it
PROGRAMS = {
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "iptables": "iptables",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "git": "git",
    "rsync": "rsync",
}

# A hundred devices run a hundred systemds (inotify instances) in one flat network (neighbour table).
KERNEL_LIMITS = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 1048576,
    "net/ipv4/neigh/default/gc_thresh1": 4096,
    "net/ipv4/neigh/default/gc_thresh2": 8192,
    "net/ipv4/neigh/default/gc_thresh3": 16384,
    "net/ipv4/ip_forward": 1,
}
APT_LOCK = Path("/run/lock/edge-lab-apt")
LIMITS_BEFORE = ENGINE_DIR / "kernel-limits-before.json"


def install_packages(settings: Settings, *, engine_answers: bool) -> list[str]:
    """Install what is missing; returns the packages that were installed."""
    wanted = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if engine_answers:
        wanted.discard("docker.io")
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        wanted.add("debian-archive-keyring")  # on Ubuntu; mmdebstrap checks Debian's signatures with it
    logs = settings.state / "logs"
    installed = install(wanted, logs)
    if engine.builder() is None:
        # From Docker 23 on the client, and what it builds with, are packages of their own in Debian and Ubuntu.
        installed += install({name for name in ("docker-cli", "docker-buildx") if _is_packaged(name)}, logs)
    return installed


def install(packages: set[str], logs: Path) -> list[str]:
    """Install Debian packages; returns their names."""
    if not packages:
        return []
    log = logs / "packages.log"
    apt = {"DEBIAN_FRONTEND": "noninteractive"}
    patient = "-o=DPkg::Lock::Timeout=300"
    with alone_with_apt():
        run("apt-get", patient, "update", "-q", env=apt, log=log)
        run("apt-get", patient, "install", "-q", "-y", "--no-install-recommends", *sorted(packages), env=apt, log=log)
    return sorted(packages)


@contextmanager
def alone_with_apt() -> Iterator[None]:
    """One after the other: for the lock of its lists apt-get does not wait, and tests run beside a lab."""
    with APT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_packaged(name: str) -> bool:
    return "Version:" in output("apt-cache", "show", "--no-all-versions", "--quiet=1", name, check=False)


def raise_kernel_limits() -> list[str]:
    """Raise what is too low and remember what it was; returns what changed, for people."""
    before = json.loads(LIMITS_BEFORE.read_text()) if LIMITS_BEFORE.exists() else {}
    changed = []
    for name, wanted in KERNEL_LIMITS.items():
        path = Path("/proc/sys") / name
        if not path.exists():  # in a network namespace of its own the machine's tables are out of reach
            continue
        value = int(path.read_text())
        if value >= wanted:
            continue
        before.setdefault(name, value)
        LIMITS_BEFORE.parent.mkdir(parents=True, exist_ok=True)
        LIMITS_BEFORE.write_text(json.dumps(before, indent=2))
        try:
            path.write_text(str(wanted))
        except OSError as error:
            raise LabError(f"cannot raise {name.replace('/', '.')} from {value} to {wanted}: {error}") from error
        changed.append(f"{name.replace('/', '.')} {value} -> {wanted}")
    return changed


def restore_kernel_limits() -> None:
    """Put back what raise_kernel_limits changed."""
    if not LIMITS_BEFORE.exists():
        return
    for name, value in json.loads(LIMITS_BEFORE.read_text()).items():
        (Path("/proc/sys") / name).write_text(str(value))
    LIMITS_BEFORE.unlink()
