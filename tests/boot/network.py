"""A network of the test's own, without a name, that ends with the last process in it.

After `kill -9` of the test that may be its dnsmasq: end it by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "10.99.0"
HERE = f"{PREFIX}.1"
SUBNET = f"{PREFIX}.0/24"
TAP = "tap0"
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and what it starts, is in a network namespace with a bridge at HERE and a tap device on it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _call(_LIBC.unshare(_CLONE_NEWNET), "unshare")
    try:
        for command in (
            "ip link set lo up",
            "ip link add br0 type bridge",
            f"ip address add {HERE}/24 dev br0",
            "ip link set br0 up",
            f"ip tuntap add {TAP} mode tap",
            f"ip link set {TAP} master br0 up",
        ):
            subprocess.run(command.split(), check=True)
        # GRUB begins with the same ports and sequence numbers at each start; what lingers would refuse it.
        Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")
        yield
    finally:
        _call(_LIBC.setns(before, _CLONE_NEWNET), "setns")
        os.close(before)


def _call(status: int, name: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}; the test needs root")


def _die_with_the_test() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def running(*argv: str | Path, log: Path, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program for as long as the block lasts; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_the_test,
            **more,  # type: ignore[call-overload]
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
