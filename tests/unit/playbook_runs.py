# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run as a person would run them, with this checkout's Ansible and collection."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
TIMEOUT_SECONDS = 200
# Not that of MAAS, which no test here asks: it is loaded at each start, whatever the inventory is, and takes as long as
# a third of the start.
INVENTORIES = "ansible.builtin.yaml,ansible.builtin.host_list"
# Modules find their utilities compiled, which halves what each costs.
PRELOADED = CHECKOUT / "tests/unit/preloaded"


def ansible_playbook(
    *argv: str | Path, seconds: float = TIMEOUT_SECONDS, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What became of `ansible-playbook ARGV...` in the checkout; with stderr=STDOUT errors stand among its output."""
    return subprocess.run(
        [PROGRAM, *argv],
        cwd=CHECKOUT,
        env=playbook_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=seconds,
        check=False,
    )


def playbook_environment(**environment: str) -> dict[str, str]:
    """This process's, with what makes a run the checkout's own."""
    always = {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_INVENTORY_ENABLED": INVENTORIES,
        # Nor the callback of ansible.cfg, but by its own test: here stands the one that is there anyway.
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.default",
        # Not looked for, and one that has the bytecode.
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "EDGE_ANSIBLE_PACKAGES": sysconfig.get_path("purelib"),
    }
    environment = {**os.environ, **always, **environment}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PRELOADED), environment.get("PYTHONPATH")]))
    return environment


def assert_refused_or_taken(said: str, host: str, messages: Mapping[str, str]) -> None:
    """Of a run's words, in one line: a host failed with its message, and one that has none did not fail."""
    (failed,) = re.findall(rf" {host} : ok=\d+ .*?failed=(\d)", said)
    assert failed == ("1" if host in messages else "0"), said
    assert messages.get(host, "") in said
