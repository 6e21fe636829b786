# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi import guestinfo
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import Datastore
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiError
from ansible_collections.edge.rack.plugins.module_utils.esxi.guest_address import usable_address
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import (
    GIB,
    Autostart,
    Disk,
    Host,
    Nic,
    VmState,
    Wanted,
    changed_keys,
    plan,
    tools_word,
    with_defaults,
)

HOST = Host(("VM Network", "rack"), {"ds": Datastore("ds", "/m", "VMFS", 1, 1)})
STATE = VmState(
    "maas",
    "11",
    "[ds] maas/maas.vmx",
    "poweredon",
    cpus=2,
    memory_mib=2048,
    firmware="efi",
    guest_id="ubuntu64Guest",
    disks=(Disk(20 * GIB, "thin", "", "scsi0:0"),),
    nics=(Nic("rack", "00:0c:29:00:00:01", "vmxnet3", "ethernet0"),),
    has_drive=True,
    tools="running",
)
OFF = replace(STATE, power_state="poweredoff")
OPTIONS: dict[str, Any] = dict.fromkeys(
    (
        "cpus",
        "memory_mib",
        "firmware",
        "guest_id",
        "annotation",
        "datastore",
        "disks",
        "networks",
        "iso",
        "boot_order",
        "cloud_init",
        "guestinfo",
        "autostart",
    )
)


def settings(state: VmState, wanted: Wanted, transport: str = "api") -> list[tuple[str, bool]]:
    return [(c.setting, c.power_cycle) for c in plan(state, wanted, HOST, transport).changes]


def test_what_is_not_given_is_left_alone() -> None:
    assert plan(STATE, Wanted("maas"), HOST, "ssh").steps == ()


def test_what_is_so_already_is_no_change() -> None:
    wanted = Wanted("maas", "poweredon", cpus=2, disks=(Disk(20 * GIB, "thin"),), nics=(Nic("rack"),))
    assert plan(STATE, wanted, HOST, "ssh").changes == ()


def test_the_api_changes_more_of_a_running_machine_than_ssh_does() -> None:
    wanted = Wanted("maas", annotation="x", disks=(Disk(30 * GIB),), cpus=4, allow_power_cycle=True)
    assert settings(STATE, wanted, "api") == [("cpus", True), ("annotation", False), ("disks[0].size_gib", False)]
    assert settings(STATE, wanted, "ssh") == [("cpus", True), ("annotation", True), ("disks[0].size_gib", True)]


def test_a_change_that_needs_the_machine_off_is_refused_with_all_that_do() -> None:
    with pytest.raises(EsxiError) as error:
        plan(STATE, Wanted("maas", cpus=4, memory_mib=4096, annotation="x"), HOST, "api")
    text = str(error.value)
    assert "VM maas" in text and "`cpus` (2 -> 4)" in text and "`memory_mib` (2048 -> 4096)" in text
    assert "annotation" not in text and "allow_power_cycle" in text


def test_with_permission_it_is_shut_down_changed_and_started_again() -> None:
    wanted = Wanted("maas", cpus=4, allow_power_cycle=True)
    assert plan(STATE, wanted, HOST, "api").steps == ("shut_down", "reconfigure", "power_on")
    assert plan(OFF, wanted, HOST, "api").steps == ("reconfigure",)


@pytest.mark.parametrize(
    ("state", "before", "steps"),
    [
        ("poweredon", OFF, ("power_on",)),
        ("poweredon", STATE, ()),
        ("poweredoff", STATE, ("shut_down",)),
        ("poweredoff", OFF, ()),
        ("restarted", STATE, ("shut_down", "power_on")),
        ("restarted", OFF, ("power_on",)),
        ("poweredon", replace(STATE, power_state="suspended"), ("power_on",)),
        ("present", replace(STATE, power_state="suspended"), ()),
        ("absent", OFF, ("destroy",)),
        ("absent", None, ()),
    ],
)
def test_power_states(state: str, before: VmState | None, steps: tuple[str, ...]) -> None:
    assert plan(before, Wanted("maas", state), HOST, "ssh").steps == steps


def test_removing_a_running_machine_needs_permission() -> None:
    with pytest.raises(EsxiError, match="allow_power_cycle"):
        plan(STATE, Wanted("maas", "absent"), HOST, "api")
    allowed = Wanted("maas", "absent", allow_power_cycle=True)
    assert plan(STATE, allowed, HOST, "api").steps == ("power_off", "destroy")


def test_powering_off_is_the_occasion_for_changes_that_need_it() -> None:
    assert plan(STATE, Wanted("maas", "poweredoff", cpus=4), HOST, "api").steps == ("shut_down", "reconfigure")


def test_what_a_creation_left_is_removed_first() -> None:
    wanted = with_defaults(Wanted("maas", "poweredon"), HOST, None)
    assert plan(None, wanted, HOST, "ssh", remains=True).steps == ("remove_remains", "create", "power_on")
    unfinished = replace(OFF, unfinished=True)
    assert plan(unfinished, wanted, HOST, "api").steps == ("remove_remains", "create", "power_on")
    assert plan(None, Wanted("maas", "absent"), HOST, "ssh", remains=True).steps == ("remove_remains",)


def test_a_disk_never_shrinks_and_is_never_removed() -> None:
    with pytest.raises(EsxiError, match=r"VM maas: shrinking `disks\[0\]` from 20 GiB to 10 GiB.*to 20 or more"):
        plan(OFF, Wanted("maas", disks=(Disk(10 * GIB),)), HOST, "api")
    with pytest.raises(EsxiError, match=r"VM maas: removing `disks\[0\]`"):
        plan(OFF, Wanted("maas", disks=()), HOST, "api")


def test_places_are_checked_before_anything_is_changed() -> None:
    with pytest.raises(EsxiError, match=r"no network lan, it has VM Network, rack.*esxi_network"):
        plan(OFF, Wanted("maas", nics=(Nic("lan"),)), HOST, "api")
    with pytest.raises(EsxiError, match=r"no such datastore, it has ds"):
        plan(None, Wanted("new", datastore="nope"), HOST, "api")
    with pytest.raises(EsxiError, match="moves nothing"):
        plan(OFF, Wanted("maas", datastore="other"), HOST, "api")
    with pytest.raises(EsxiError, match="Set `datastore`"):
        with_defaults(Wanted("new"), replace(HOST, datastores={**HOST.datastores, "b": HOST.datastores["ds"]}), None)
    with pytest.raises(EsxiError, match="booting from network"):
        plan(OFF, Wanted("maas", nics=(), boot_order=("network",)), HOST, "api")


def test_an_image_gives_the_first_disk_and_must_fit_it() -> None:
    image = Image("x.ova", "x.vmdk", 0, 1, 10 * GIB)
    assert with_defaults(Wanted("new"), HOST, image).disks == (Disk(10 * GIB, "thin"),)
    with pytest.raises(EsxiError, match=r"Set `disks\[0\].size_gib` to 10 or more"):
        with_defaults(Wanted("new", disks=(Disk(5 * GIB),)), HOST, image)


def test_adapters_beyond_the_list_are_removed_and_macs_kept() -> None:
    assert settings(STATE, Wanted("maas", nics=())) == [("networks[0]", False)]
    changes = plan(OFF, Wanted("maas", nics=(Nic("VM Network", "", ""), Nic("rack"))), HOST, "ssh").changes
    assert [(c.setting, c.new) for c in changes] == [
        ("networks[0].network", "VM Network"),
        ("networks[1]", {"network": "rack", "mac": "", "type": "vmxnet3"}),
    ]


def test_user_data_is_shown_as_a_sum_only() -> None:
    wanted = Wanted("maas", texts={"userdata": "#cloud-config\npassword: secret"}, guestinfo={"guestinfo.k": "hidden"})
    planned = plan(OFF, wanted, HOST, "api")
    assert "secret" not in str(planned) and "hidden" not in str(planned)
    assert planned.changes[0].new.startswith("sha256:")
    assert "secret" not in repr(wanted)


@pytest.mark.parametrize("size", [10, 100_000])
def test_texts_are_packed_when_large_and_equal_texts_are_no_change(size: int) -> None:
    text = "#cloud-config\n" + "ä" * size
    keys = guestinfo.encoded("userdata", text)
    assert guestinfo.decoded("userdata", keys) == text
    assert ("gzip" in keys["guestinfo.userdata.encoding"]) == (size > 10_000)
    state = replace(OFF, guestinfo=keys)
    assert plan(state, Wanted("maas", texts={"userdata": text}), HOST, "api").changes == ()


def test_keys_are_deleted_by_an_empty_text_where_they_are() -> None:
    state = replace(OFF, guestinfo={**guestinfo.encoded("userdata", "x"), "guestinfo.a": "1"})
    wanted = Wanted("maas", texts={"userdata": ""}, guestinfo={"guestinfo.a": "", "guestinfo.b": ""})
    assert changed_keys(state, wanted) == {
        "guestinfo.userdata": "",
        "guestinfo.userdata.encoding": "",
        "guestinfo.a": "",
    }
    assert len(plan(state, wanted, HOST, "api").changes) == 2


def test_metadata_names_the_machine_unless_told_otherwise() -> None:
    assert guestinfo.metadata_text({}, "maas") == '{"instance-id": "maas", "local-hostname": "maas"}'
    assert guestinfo.metadata_text({"instance-id": "7"}, "a b") == '{"instance-id": "7"}'


def test_autostart_switches_on_that_of_the_host() -> None:
    wanted = Wanted("maas", autostart={"enabled": True, "order": 1})
    changes = plan(OFF, wanted, HOST, "ssh", autostart_enabled=False).changes
    assert [c.setting for c in changes] == ["autostart.enabled", "autostart.order", "autostart of the host"]
    assert not any(c.power_cycle for c in changes)
    has = replace(OFF, autostart=Autostart(True, 1, 30))
    assert plan(has, wanted, HOST, "ssh").changes == ()
    assert plan(has, Wanted("maas", autostart={"enabled": False}), HOST, "ssh").steps == ("set_autostart",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a/b"}, "`name`"),
        ({"name": " a"}, "`name`"),
        ({"name": "x" * 81}, "`name`"),
        ({"cpus": 0}, "`cpus`"),
        ({"memory_mib": 1023}, "`memory_mib`"),
        ({"guest_id": "Ubuntu Linux"}, "`guest_id`"),
        ({"disks": [{"size_gib": 0, "type": "thin"}]}, "`disks`"),
        ({"networks": [{"network": "x", "mac": "01:00:00:00:00:01", "type": None}]}, "`networks`"),
        ({"networks": [{"network": "x", "mac": "190:1", "type": None}]}, "`networks`"),
        ({"iso": "/vmfs/x.iso"}, "`iso`"),
        ({"boot_order": ["disk", "disk"]}, "`boot_order`"),
        ({"guestinfo": {"userdata": "x"}}, "`cloud_init`"),
        ({"guestinfo": {"a b": "x"}}, "`guestinfo`"),
    ],
)
def test_options_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(EsxiError) as error:
        Wanted.from_options({**OPTIONS, "name": "maas", "state": "present", "allow_power_cycle": False, **given})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("addresses", "usable"),
    [
        (["", "169.254.1.1", "fe80::1"], ""),
        (["fe80::1", "fd00::5", "10.0.0.4"], "10.0.0.4"),
        (["fd00::5"], "fd00::5"),
        (["10.0.0.9", "10.0.0.4"], "10.0.0.9"),
    ],
)
def test_an_address_is_one_to_reach_it_by(addresses: list[str], usable: str) -> None:
    assert usable_address(addresses) == usable


def test_tools_are_told_in_words() -> None:
    assert [tools_word(s) for s in ("guestToolsRunning", "guestToolsNotRunning", None)] == [
        "running",
        "not_running",
        "not_running",
    ]
