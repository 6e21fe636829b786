# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run on machines of the simulated region: this one stands for those that answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from docker_engine import Engine
from maas_rack import Rack
from maas_region import API_KEY

from tests.unit.playbook_runs import ansible_playbook

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
SILENT = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_become": False}


class RackPlaybooks:
    """An inventory of devices, in a file of `folder`.

    Args:
        ids: system id of each device by its name.
        silent: who does not answer.
        deployed: who is in the group `status_deployed`.
        variables: of all hosts, beside those that say where the region is.
    """

    def __init__(
        self,
        rack: Rack,
        docker: Engine,
        folder: Path,
        ids: Mapping[str, str],
        silent: Iterable[str],
        deployed: Iterable[str],
        **variables: str,
    ) -> None:
        hosts = {name: {**(SILENT if name in silent else LOCAL), "maas_system_id": ids[name]} for name in ids}
        groups = {"devices": ids, "status_deployed": deployed}
        inventory = {
            "all": {
                "hosts": {"localhost": LOCAL, **hosts},
                "vars": {"maas_url": rack.region.url, "maas_api_key": API_KEY, **variables},
                "children": {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()},
            }
        }
        self._inventory, self._docker = folder / "inventory.json", docker
        self._inventory.write_text(json.dumps(inventory))

    def run(self, playbook: str, *options: str, **environment: Any) -> subprocess.CompletedProcess[str]:
        done = ansible_playbook(
            playbook,
            *options,
            stderr=subprocess.STDOUT,
            ANSIBLE_INVENTORY=str(self._inventory),
            ANSIBLE_SSH_RETRIES="0",
            DOCKER_HOST=f"tcp://127.0.0.1:{self._docker.server_port}",
            **environment,
        )
        print(done.stdout, file=sys.stderr)  # what modules print is read from stdout
        return done
