# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role registry refuses before it touches anything: refuse.yml, once for a host of each setting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken

SECRET = "hidden-hidden-hidden"  # 20 characters
GOOD = {
    "registry_accounts": [{"name": "push", "password": SECRET, "rights": "push"}],
    "registry_cache_of": "",
    "registry_host_name": "registry.example.com",
    "registry_listen_address": "0.0.0.0",
}
GIVEN: dict[str, dict[str, Any]] = {
    "good": {},
    "good-on-one-address": {"registry_listen_address": "192.0.2.1"},
    "good-on-one-address-of-ipv6": {"registry_listen_address": "[2001:db8::1]"},
    "good-cache": {"registry_cache_of": "other.example.com:5000"},
    "short": {"registry_accounts": [{"name": "eve", "password": "hidden-hidden-hidde"}]},
    "device": {"registry_accounts": [*GOOD["registry_accounts"], {"name": "device-nuc-001", "password": SECRET}]},
    "capital": {"registry_accounts": [{"name": "Eve:", "password": SECRET}]},
    "elsewhere": {"registry_listen_address": "192.0.2.9"},
    "of-itself": {"registry_cache_of": "registry.example.com:5000"},
    "of-no-port": {"registry_cache_of": "other.example.com"},
}
MESSAGES = {
    "short": "registry_accounts on short, eve: a name has",
    "device": "registry_accounts on device, device-nuc-001: a name has",
    "capital": "registry_accounts on capital, Eve:: a name has",
    "elsewhere": "registry_listen_address on elsewhere is 192.0.2.9, which is none of its addresses: "
    "name one of 0.0.0.0, [::], 192.0.2.1, [2001:db8::1].",
    "of-itself": "registry_cache_of on of-itself is registry.example.com:5000: name another machine's registry",
    "of-no-port": "registry_cache_of on of-no-port is other.example.com: name another machine's registry as host:port",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("refuses")
    hosts = {name: {**GOOD, **given, "ansible_connection": "local"} for name, given in GIVEN.items()}
    facts = {"all_ipv4_addresses": ["192.0.2.1"], "all_ipv6_addresses": ["2001:db8::1"]}
    tasks = [
        {"ansible.builtin.set_fact": {**facts, "cacheable": True}},
        {"ansible.builtin.import_role": {"name": "edge.rack.registry", "tasks_from": "refuse"}},
    ]
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "refuse.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = ansible_playbook("-i", folder / "hosts.json", folder / "refuse.json", ANSIBLE_CACHE_PLUGIN="memory")
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("host", GIVEN)
def test_what_cannot_be_is_refused_by_name_and_what_can_is_taken(said: str, host: str) -> None:
    assert_refused_or_taken(said, host, MESSAGES)


def test_no_password_is_shown(said: str) -> None:
    assert "PLAY RECAP" in said
    assert "hidden" not in said
