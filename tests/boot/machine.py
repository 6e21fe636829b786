"""The machine: QEMU with UEFI firmware, an empty disk, one network card, and no acceleration."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from network import TAP, running
from rack import MAC

FIRMWARE = Path("/usr/share/OVMF")
MEMORY_MIB = 3072
_CONTROL = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_SIGN_OF_LIFE_SECONDS = 20


@dataclass
class Machine:
    """A running machine and its serial console."""

    process: subprocess.Popen[bytes]
    console_file: Path

    def console(self) -> str:
        """What the serial console has shown so far, without control sequences."""
        if not self.console_file.exists():
            return ""
        return _CONTROL.sub(b"", self.console_file.read_bytes()).decode(errors="replace")

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition; a machine that went off, or an installer that gave up, ends the wait at once."""
        begin = said = time.monotonic()
        while not condition():
            console = self.console()
            assert "edge-install: FAILED" not in console, f"the installer failed, waiting for: {what}"
            assert not console.rstrip().endswith("grub>"), f"GRUB had nothing to boot, waiting for: {what}"
            assert "Kernel panic" not in console, f"the kernel panicked, waiting for: {what}"
            assert self.process.poll() is None, f"QEMU ended with {self.process.returncode}, waiting for: {what}"
            now = time.monotonic()
            assert now - begin < seconds, f"after {seconds:.0f} s still not true: {what}"
            if now - said > _SIGN_OF_LIFE_SECONDS:
                said = now
                last = next((line for line in reversed(console.splitlines()) if line.strip()), "")
                print(f"    ... {now - begin:4.0f} s: {what}; console: {last[-100:].strip()}", flush=True)
            time.sleep(1)


@contextmanager
def machine(work: Path) -> Iterator[Machine]:
    """Power on; power off at the end."""
    shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", work / "efivars.fd")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", work / "disk.qcow2", "8G"], check=True)
    # No `bootindex` anywhere: it would write the firmware's boot order anew at each start.
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2",
        "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-no-user-config",
        "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}",
        "-drive", f"if=pflash,format=raw,file={work / 'efivars.fd'}",
        "-drive", f"if=virtio,format=qcow2,discard=unmap,cache=unsafe,file={work / 'disk.qcow2'}",
        "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=",
        "-device", "virtio-rng-pci",
        "-serial", f"file:{work / 'console.log'}",
    ]  # fmt: skip
    with running(*command, log=work / "qemu.log") as process:
        yield Machine(process, work / "console.log")
