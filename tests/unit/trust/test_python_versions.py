# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the device run with the Python of Ubuntu 22.04, which is 3.10: the oldest that a device has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from released_device import CHECKOUT, PACKAGE

PROGRAMS = [
    PACKAGE / "edge_trust",
    CHECKOUT / "roles/health_gate/files/edge_commit",
    CHECKOUT / "roles/pull_agent/files/edge_converge",
    CHECKOUT / "roles/docker_engine/files/report-images",
    CHECKOUT / "roles/predictor/files/fetch-blob",
]


def test_the_devices_programs_need_nothing_newer_than_python_3_10(tmp_path: Path) -> None:
    """By what typeshed says each version has."""
    options = ["--config-file=", "--python-version=3.10", "--explicit-package-bases", "--scripts-are-modules"]
    options.append("--disable-error-code=import-untyped")  # docker brings no types
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path}", *PROGRAMS],
        env={**os.environ, "MYPYPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
