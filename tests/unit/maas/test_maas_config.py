# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_config
from maas_region import Region

# As people write them, and as MAAS keeps them.
SETTINGS = {
    "upstream_dns": (["10.77.0.1", "10.77.0.2"], "10.77.0.1 10.77.0.2"),
    "ntp_servers": ("a.example.com, b.example.com", "a.example.com b.example.com"),
    "ntp_external_only": ("yes", True),
    "enable_http_proxy": (False, False),
    "http_proxy": ("proxy.example.com:3128", "http://proxy.example.com:3128"),
    "remote_syslog": ("log.example.com", "log.example.com:514"),
    "dnssec_validation": ("no", "no"),
    "network_discovery": ("disabled", "disabled"),
    "maas_internal_domain": ("rack.internal", "rack.internal"),
    "node_timeout": (45, 45),
    "kernel_opts": ("console=tty0", "console=tty0"),
    "commissioning_distro_series": ("jammy", "jammy"),
    "default_distro_series": ("jammy", "jammy"),
    "enable_disk_erasing_on_release": (True, True),
    "maas_name": ("rack 1", "rack 1"),
}


def get(region: Region, name: str) -> Any:
    return region.call("GET", "maas/", params={"op": "get_config", "name": name}).json()


def test_many_settings_are_set_in_one_task(region: Region, cycle: Any) -> None:
    done = cycle(maas_config, settings={name: given for name, (given, _) in SETTINGS.items()})
    kept = {name: value for name, (_, value) in SETTINGS.items()}
    assert done["settings"] == kept
    assert {name: get(region, name) for name in SETTINGS} == kept
    assert done["diff"]["before"]["ntp_servers"] == "ntp.ubuntu.com"
    # 3.4's default is jammy: what is as wanted is not sent.
    assert set(SETTINGS) - set(done["changed_settings"]) <= {"commissioning_distro_series", "default_distro_series"}


def test_a_setting_is_cleared(region: Region, run_module: Any, cycle: Any) -> None:
    run_module(maas_config, settings={"upstream_dns": "10.77.0.1", "kernel_opts": "quiet"})
    cycle(maas_config, settings={"upstream_dns": None, "kernel_opts": ""})
    assert not get(region, "upstream_dns")
    assert not run_module(maas_config, settings={"upstream_dns": [], "http_proxy": ""})["changed"]


def test_a_number_that_is_kept_as_text_is_the_same_number(region: Region, cycle: Any) -> None:
    cycle(maas_config, settings={"active_discovery_interval": 3600})


@pytest.mark.parametrize("check", [True, False])
def test_an_unknown_name_is_refused_with_near_ones_before_anything_is_sent(
    run_module: Any, writes: list[str], check: bool
) -> None:
    refused = run_module(maas_config, check=check, settings={"upstream_dsn": "10.77.0.1", "maas_name": "x"})
    assert refused["failed"]
    assert "MAAS has no setting upstream_dsn (most like it: upstream_dns" in refused["msg"]
    assert "Nothing was changed" in refused["msg"]
    assert writes == []


@pytest.mark.parametrize(("name", "value"), [("ntp_external_only", "maybe"), ("node_timeout", "long")])
def test_a_value_of_the_wrong_kind_is_refused_before_anything_is_sent(
    run_module: Any, writes: list[str], name: str, value: str
) -> None:
    refused = run_module(maas_config, settings={"maas_name": "x", name: value})
    assert refused["failed"]
    assert f"{name}: it is" in refused["msg"]
    assert writes == []


def test_what_maas_refuses_is_named_with_its_reason(run_module: Any) -> None:
    refused = run_module(maas_config, settings={"upstream_dns": "nowhere"})
    assert refused["failed"]
    assert "upstream_dns: Invalid IP address: nowhere" in refused["msg"]


def test_a_secret_is_set_and_never_shown(region: Region, run_module: Any, writes: list[str]) -> None:
    secret = {"vcenter_password": "hunter-two"}
    results = [
        run_module(maas_config, check=True, secret_settings=secret),
        run_module(maas_config, secret_settings=secret),
        run_module(maas_config, secret_settings=secret),
        run_module(maas_config, secret_settings={"vcenter_password": "another-one"}),
    ]
    assert [result["changed"] for result in results] == [True, True, False, True]
    assert get(region, "vcenter_password") == "another-one"
    assert "hunter-two" not in json.dumps(results)
    assert "another-one" not in json.dumps(results)
    assert results[1]["settings"] == {"vcenter_password": "hidden"}


def test_a_secret_among_the_settings_is_refused_and_not_shown(run_module: Any, writes: list[str]) -> None:
    refused = run_module(maas_config, settings={"vcenter_password": "hunter-two"})
    assert refused["failed"]
    assert "`secret_settings`" in refused["msg"]
    assert "hunter-two" not in json.dumps(refused)
    assert writes == []
