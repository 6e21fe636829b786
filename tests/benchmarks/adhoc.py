"""One task on the controller, as a person would run it with `ansible`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


def changes(module: str, options: dict[str, Any], about: str, **environment: str) -> bool:
    """Run a module on localhost; whether it changed something. Raises SystemExit with what it said when it fails."""
    given = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_INVENTORY": "tests/inventory.yml",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        "NO_PROXY": "127.0.0.1",
        **environment,
    }
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-c", "local", "-m", module]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}", "-a", json.dumps(options)]
    done = subprocess.run(argv, cwd=CHECKOUT, env=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{module} {about} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return "localhost | CHANGED" in done.stdout
