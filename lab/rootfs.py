"""Root file systems from Debian's packages, where no registry of images is reachable.

`base` stands for the public image a Dockerfile would start from; `nuc` is the operating system of devices and
VMs: what MAAS deploys. Neither holds a secret, a host key or a machine id.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab import cache
from lab.command import run
from lab.settings import Settings

SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
# pigz: where it is there, the engine unpacks layers with it.
NUC_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "kmod", "procps", "iproute2", "iptables", "iputils-ping", "curl",
    "ca-certificates", "openssh-server", "sudo", "cloud-init",
    "python3", "python3-apt", "python3-venv", "python3-yaml", "git",
    "docker.io", "pigz", "cgroupfs-mount", "python3-docker",
)  # fmt: skip

# In a container there is no disk, clock or console of its own to look after.
NUC_MASKED_UNITS = (
    "systemd-udevd.service", "systemd-timesyncd.service", "systemd-networkd.service", "console-getty.service",
    "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service",
)  # fmt: skip

NUC_CLOUD_CFG = r"locale: false\nnetwork: {config: disabled}\n"  # the format string of printf

_LEAN = (
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)


def base(settings: Settings) -> Path:
    """The tar of the file system that images are built from."""
    recipe = (SUITE, *BASE_PACKAGES, *_LEAN)
    target = settings.cache / "rootfs" / f"base-{cache.key(*recipe)}.tar"
    cache.made(target, lambda out: _bootstrap(settings, out, BASE_PACKAGES))
    return target


def nuc(settings: Settings) -> Path:
    """The compressed tar of the device operating system, as it is uploaded to MAAS (file type `tgz`)."""
    hooks = (
        'rm -f "$1"/etc/ssh/ssh_host_*_key* && : > "$1"/etc/machine-id',
        f"printf '{NUC_CLOUD_CFG}' > \"$1\"/etc/cloud/cloud.cfg.d/80_edge.cfg",
        f'chroot "$1" systemctl mask {" ".join(NUC_MASKED_UNITS)}',
    )
    recipe = (SUITE, *NUC_PACKAGES, *_LEAN, *hooks)
    target = settings.cache / "rootfs" / f"nuc-{cache.key(*recipe)}.tar.gz"

    def make(out: Path) -> None:
        plain = out.with_suffix("")
        _bootstrap(settings, plain, NUC_PACKAGES, hooks)
        run("gzip", "-1", "-f", plain)
        plain.with_name(plain.name + ".gz").rename(out)

    cache.made(target, make)
    return target


def _bootstrap(settings: Settings, out: Path, packages: tuple[str, ...], hooks: tuple[str, ...] = ()) -> None:
    run(
        # Python's bytecode belongs beside the modules of that system, wherever the person's own keeps it.
        *("env", "-u", "PYTHONPYCACHEPREFIX", "-u", "PYTHONDONTWRITEBYTECODE", "mmdebstrap"),
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(packages)}",
        *_LEAN,
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
        out,
        env={"TMPDIR": os.environ.get("TMPDIR", "/var/tmp")},  # noqa: S108 - half a gigabyte is too much for a tmpfs
        log=settings.state / "logs" / f"rootfs-{out.name}.log",
    )
