"""One rack for all end-to-end tests: the files' numbers say in which order they use it.

It has its own name, network and state, so that a lab somebody is working in stays untouched.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rack import DEVICES, Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    state = Path(tempfile.mkdtemp(prefix="edge-e2e-"))
    environment = {
        "LAB_NAME": "e2e",
        "LAB_SUBNET": "10.78.0.0/24",
        "LAB_DEVICES": str(DEVICES),
        "LAB_STATE": str(state),
        "ANSIBLE_NOCOLOR": "1",
    }
    lab = Lab(state, environment)
    yield lab
    lab.run(sys.executable, "-m", "lab", "down")
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def first(lab: Lab) -> dict[str, Any]:
    """The result of the first run."""
    done = lab.up()
    assert done.returncode == 0, "the first run failed; its output stands above"
    (lab.state / "first.log").write_text(done.stdout)
    return lab.result
