# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.inventory import maas
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import API_KEY, Answer, FakeRegion, machine

GOLDEN = Path(__file__).parent / "maas_golden.json"
COLLECTIONS = str(Path(maas.__file__).parents[5])

SOURCE = """
plugin: edge.rack.maas
maas_url: "{{ lookup('ansible.builtin.env', 'RACK_URL') }}/api/2.0/"
maas_api_key_file: maas.key
"""


@pytest.fixture
def inventory(region: FakeRegion, tmp_path: Path) -> Callable[..., Any]:
    """`ansible-inventory` on a source, as a person runs it."""
    command = Path(sys.executable).with_name("ansible-inventory")
    program = str(command) if command.exists() else shutil.which("ansible-inventory")
    if program is None:
        pytest.skip("ansible-inventory is not installed")
    (tmp_path / "ansible.cfg").write_text("[inventory]\nany_unparsed_is_failed = True\n")

    def run(more: str = "", *arguments: str, name: str = "maas.yml") -> Any:
        (tmp_path / "maas.key").write_text(API_KEY + "\n")
        source = tmp_path / name
        source.write_text(SOURCE + more)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MAAS_"))}
        environment.update(
            ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=COLLECTIONS,
            ANSIBLE_HOME=str(tmp_path / "home"),
            RACK_URL=region.url,
        )
        done = subprocess.run(
            [program, "-i", str(source), *(arguments or ("--list",))],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 and not arguments else done

    return run


def plain(value: Any) -> Any:
    """Without the marks by which ansible-inventory tells that a string is no template."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: plain(item) for key, item in value.items() if key != "profile"}
    return [plain(item) for item in value] if isinstance(value, list) else value


def rack() -> list[dict[str, Any]]:
    return [
        machine(
            1,
            status=6,
            osystem="custom",
            distro_series="edge-1",
            owner="admin",
            tag_names=["trainer", "SSD-fast"],
            pool={"name": "edge"},
            ip_addresses=["fe80::1", "10.99.0.7", "10.77.0.20"],
            owner_data={"slot": "3"},
            description="not a {{ template }}",
            hardware_info={"system_vendor": "Intel", "system_product": "NUC", "system_serial": "Unknown"},
            interface_set=[
                {"mac_address": "52:54:00:10:00:01", "vlan": None, "links": []},
                {
                    "mac_address": "52:54:00:10:01:01",
                    "vlan": {"vid": 0, "fabric": "Rack fabric"},
                    "links": [{"mode": "auto", "subnet": {"cidr": "10.77.0.0/16"}}],
                    "discovered": [{"subnet": {"cidr": "10.77.0.0/16"}}, {"subnet": {"cidr": "10.99.0.0/24"}}],
                },
            ],
        ),
        machine(2, status=11, ip_addresses=["fd00::2", "10.99.0.8"], zone={"name": "shelf-1"}),
        machine(3, status=0, pool=None),
    ]


def test_the_inventory_is_the_golden_one(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    region.add(*rack())
    found = inventory(
        """
subnet: 10.77.0.0/16
strict: true
compose:
  slot: maas_owner_data.slot | default(0) | int
groups:
  trainers: "'trainer' in maas_tags"
keyed_groups:
  - key: maas_distro_series
    prefix: image
    default_value: none
"""
    )
    # After a wanted change: write `plain(found)` there and read the difference.
    assert found["_meta"]["hostvars"]["nuc-001"]["maas_description"] == {"__ansible_unsafe": "not a {{ template }}"}
    assert plain(found) == json.loads(GOLDEN.read_text())
    assert [(r.method, r.path) for r in region.requests] == [("GET", "machines/")]


def test_a_thousand_machines_are_one_request(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    region.add(*(machine(n, status=6, ip_addresses=[f"10.77.1.{n % 250}"]) for n in range(1, 1001)))
    found = inventory()
    assert len(found["devices"]["hosts"]) == 1000
    assert len(region.requests) == 1


def test_the_region_filters(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    region.add(*rack())
    found = inventory("filters: {status: [Deployed, failed_deployment], pool: edge}\n", "--list", name="x.maas.yaml")
    assert json.loads(found.stdout)["devices"]["hosts"] == ["nuc-001"]
    asked = region.requests[0].params
    assert asked == [("status", "deployed"), ("status", "failed_deployment"), ("pool", "edge")]


def test_hosts_are_named_by_the_template(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    region.add(*rack())
    template = 'hostname_template: "{{ maas_hostname }}.{{ maas_zone }}"\n'
    assert inventory(template)["devices"]["hosts"] == ["nuc-001.default", "nuc-002.shelf-1", "nuc-003.default"]
    clash = inventory('hostname_template: "{{ maas_zone }}"\n', "--list")
    assert clash.returncode != 0
    assert "would both be the host default" in clash.stderr


def test_a_second_run_is_answered_by_the_cache(
    region: FakeRegion, inventory: Callable[..., Any], tmp_path: Path
) -> None:
    region.add(*rack())
    cached = "cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: %s\n" % (tmp_path / "cache")
    first = inventory(cached)
    assert inventory(cached) == first
    assert len(region.requests) == 1
    # Another question has another answer.
    inventory(cached + "filters: {status: [deployed]}\n")
    assert len(region.requests) == 2
    # What is composed is not cached.
    assert inventory(cached + "compose: {x: 1 + 1}\n")["_meta"]["hostvars"]["nuc-001"]["x"] == 2
    assert len(region.requests) == 2
    inventory(cached, "--list", "--flush-cache")
    assert len(region.requests) == 3


def test_an_empty_rack_has_the_group_devices(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    found = inventory("", "--graph")
    assert "@devices:" in found.stdout


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("maas_url: http://127.0.0.1:9/MAAS\n", "http://127.0.0.1:9/MAAS cannot be reached"),
        ("maas_api_key_file: ~\nmaas_api_key: a:b:c\n", "Check `maas_api_key`"),
        ("maas_api_key_file: other.key\n", "other.key"),
        ("filters: {colour: red}\n", "there is no filter colour"),
        ("subnet: 10.0.0.0/99\n", "`subnet`"),
        ("strict: true\ncompose: {x: nothing_like_it}\n", "nothing_like_it"),
    ],
)
def test_an_inventory_that_cannot_be_read_ends_the_run(
    region: FakeRegion, inventory: Callable[..., Any], more: str, expected: str
) -> None:
    region.add(*rack())
    done = inventory(more, "--list")
    assert done.returncode != 0
    assert expected in " ".join(done.stderr.split())
    assert "very-secret" not in done.stderr


def test_a_region_that_does_not_answer_yet_may_be_gone_without(
    region: FakeRegion, inventory: Callable[..., Any]
) -> None:
    away = inventory("maas_url: http://127.0.0.1:9/MAAS\nunreachable: warn\n", "--graph")
    assert away.returncode == 0
    assert "@devices:" in away.stdout
    assert "There are no devices until it answers" in " ".join(away.stderr.split())
    # What the region's installation will make is not there yet either.
    for option in ("maas_api_key_file", "ca_path"):
        early = inventory(f"maas_url: https://127.0.0.1:9/MAAS\n{option}: absentfile\nunreachable: warn\n", "--graph")
        assert early.returncode == 0
        assert "absentfile" in early.stderr
        assert "There are no devices until it answers" in " ".join(early.stderr.split())
    refused = inventory("maas_api_key_file: ~\nmaas_api_key: a:b:c\nunreachable: warn\n", "--graph")
    assert refused.returncode != 0


def test_a_refused_filter_says_what_maas_says(region: FakeRegion, inventory: Callable[..., Any]) -> None:
    region.canned["GET", "machines/"] = [Answer(400, {"pool": ["No such pool(s): nope."]})]
    done = inventory("filters: {pool: nope}\n", "--list")
    assert "pool: No such pool(s): nope" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("addresses", "subnet", "expected"),
    [
        ([], None, None),
        (["fd00::1", "10.0.0.1"], None, "10.0.0.1"),
        (["fe80::1", "fd00::1"], None, "fd00::1"),
        (["10.0.0.1", "10.77.0.1"], "10.77.0.0/16", "10.77.0.1"),
        (["10.0.0.1", "fd00::1"], "fd00::/64", "fd00::1"),
        (["10.0.0.1"], "10.77.0.0/16", "10.0.0.1"),
    ],
)
def test_the_address_is_the_preferred_one(addresses: list[str], subnet: str | None, expected: str | None) -> None:
    network = ipaddress.ip_network(subnet) if subnet else None
    assert maas.preferred_address(addresses, network) == expected
