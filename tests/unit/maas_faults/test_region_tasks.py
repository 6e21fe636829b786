# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role maas_server where MAAS is there already: the region's settings, and the images it is waited for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from maas_region import API_KEY

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]


def run(rack: Any, folder: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["edge.rack.maas_server"]}
    (folder / "region.yml").write_text(json.dumps([play]))
    variables = {
        "maas_url": rack.region.url,
        "maas_api_key": API_KEY,
        "maas_server_install_enabled": False,
        "maas_server_scripts": [],
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    return ansible_playbook("-i", "localhost,", folder / "region.yml", "-e", json.dumps(variables))


def test_settings_come_before_the_images_and_the_series_after_them(rack: Any, tmp_path: Path) -> None:
    wanted = {"commissioning_distro_series": "jammy", "http_proxy": "http://proxy.example.com:3128/"}
    done = run(rack, tmp_path, maas_server_settings=wanted)
    assert done.returncode == 0, done.stdout
    said = done.stdout
    assert said.index("but for the series") < said.index("has fetched its images") < said.index("Series are the rack's")
    for name, value in wanted.items():
        assert rack.region.call("GET", f"maas/?op=get_config&name={name}").json() == value

    done = run(
        rack, tmp_path, maas_server_synced_images=["ubuntu/noble", "ubuntu/plucky"], maas_server_images_wait_seconds=1
    )
    assert done.returncode != 0
    assert "MAAS has no ubuntu/plucky after 1 s" in " ".join(done.stdout.split())
