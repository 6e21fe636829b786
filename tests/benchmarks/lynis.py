"""What an outside auditor says of a device before and after the role edge_base: Lynis, from Debian's packages.

    python -m tests.benchmarks.lynis          (as root; not part of make bench: it takes minutes)

The machine is that of the role's molecule scenario, a container with systemd and sshd. Writes .bench/lynis.md.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MACHINE = "edge-lynis-nuc-001"
STATE = CHECKOUT / "tests/output/lynis"
ENVIRONMENT = {
    **os.environ,
    "LAB_NAME": "lynis",
    "LAB_STATE": str(STATE.relative_to(CHECKOUT)),
    "ANSIBLE_INVENTORY": "tests/inventory.yml",
}
INSTALL = "apt-get update -qq && apt-get install -qq -y --no-install-recommends lynis >/dev/null"
AUDIT = "lynis audit system --quick --no-colors --quiet >/dev/null; cat /var/log/lynis-report.dat"


def molecule(step: str) -> None:
    command = ["molecule", step, "--scenario-name", "edge_base"]
    subprocess.run(command, cwd=CHECKOUT, env=ENVIRONMENT, check=True, stdin=subprocess.DEVNULL)


def inside(script: str) -> list[str]:
    engine = (STATE / "engine").read_text().strip()
    command = ["docker", "--host", engine, "exec", MACHINE, "sh", "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def audit() -> tuple[str, list[str], list[str]]:
    """The hardening index, warnings and suggestions."""
    report = [line.partition("=") for line in inside(AUDIT)]
    index = next(value for name, _, value in report if name == "hardening_index")
    warnings, suggestions = (
        sorted(" ".join(value.split("|")[:2]) for name, _, value in report if name == kind)
        for kind in ("warning[]", "suggestion[]")
    )
    return index, warnings, suggestions


def main() -> None:
    try:
        molecule("create")
        molecule("prepare")
        inside(INSTALL)
        before = audit()
        molecule("converge")
        after = audit()
    finally:
        molecule("destroy")
    lines = ["| Lynis | before | after |", "|---|---|---|", f"| hardening index | {before[0]} | {after[0]} |"]
    for title, one, other in (("warnings", before[1], after[1]), ("suggestions", before[2], after[2])):
        lines.append(f"| {title} | {len(one)} | {len(other)} |")
    lines += ["", "What is left:", "", *(f"- {text}" for text in after[1] + after[2])]
    folder = CHECKOUT / ".bench"
    folder.mkdir(exist_ok=True)
    (folder / "lynis.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
