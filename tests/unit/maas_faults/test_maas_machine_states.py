# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""maas_machine's states against a region that refuses what a real one refuses."""

from __future__ import annotations

import collections
import hashlib
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine
from maas_bmc import Bmc

IMAGE = b"an image" * 10
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
def image(region: Any) -> str:
    region.upload("custom/edge-1", IMAGE, SHA256)
    return "custom/edge-1"


def test_a_machine_is_set_aside_and_fixed(rack: Any, devices: Any, run_module: Any) -> None:
    (system_id,) = rack.add("nuc-1")
    new = run_module(maas_machine, state="broken", hostname="nuc-1", comment="fan")
    assert "it is New. Only its owner may mark a machine broken, and nobody owns it" in new["msg"]
    run_module(maas_machine, state="ready", hostname="nuc-1")

    predicted = run_module(maas_machine, check=True, state="broken", hostname="nuc-1", comment="fan")
    assert predicted["diff"][0]["after"] == {"status": "Broken"}
    assert rack.region.machine(system_id)["status_name"] == "Ready"
    done = run_module(maas_machine, state="broken", hostname="nuc-1", comment="fan")
    assert done["changes"][0]["actions"] == ["allocate", "mark_broken"]
    assert done["machine"]["status"] == "Broken"
    assert rack.region.machine(system_id)["error_description"] == "fan"
    assert not run_module(maas_machine, state="broken", hostname="nuc-1")["changed"]

    refused = run_module(maas_machine, state="deployed", hostname="nuc-1")
    assert "it is Broken (fan). Repair it, then mark it fixed (`state: fixed`)" in refused["msg"]
    given_back = run_module(maas_machine, state="released", hostname="nuc-1")
    assert (given_back["changed"], given_back["machine"]["status"]) == (False, "Broken")
    assert run_module(maas_machine, state="fixed", hostname="nuc-1")["machine"]["status"] == "Ready"
    assert not run_module(maas_machine, state="fixed", hostname="nuc-1")["changed"]


def test_a_deployed_machine_is_marked_broken_only_by_force(
    rack: Any, devices: Any, run_module: Any, image: str
) -> None:
    rack.add("nuc-1")
    run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    refused = run_module(maas_machine, state="broken", hostname="nuc-1")
    assert "it is Deployed, and MAAS releases what it marks broken" in refused["msg"]
    assert run_module(maas_machine, state="broken", hostname="nuc-1", force=True)["machine"]["status"] == "Broken"


def test_locking_is_for_deployed_machines(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    rack.add("nuc-1")
    refused = run_module(maas_machine, state="locked", hostname="nuc-1")
    assert "it is New. Only a deployed machine can be locked" in refused["msg"]
    run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    assert run_module(maas_machine, check=True, state="locked", hostname="nuc-1")["changed"]
    locked = run_module(maas_machine, state="locked", hostname="nuc-1", comment="prod")
    assert locked["diff"][0]["before"] == {"locked": False}
    assert locked["machine"]["locked"]
    assert not run_module(maas_machine, state="locked", hostname="nuc-1")["changed"]
    refused = run_module(maas_machine, state="released", hostname="nuc-1")
    assert "it is locked in MAAS. Unlock it (`state: unlocked`, alone)" in refused["msg"]
    assert not run_module(maas_machine, state="unlocked", hostname="nuc-1")["machine"]["locked"]
    assert not run_module(maas_machine, state="unlocked", hostname="nuc-1")["changed"]


def test_rescue_mode_and_back(rack: Any, devices: Any, run_module: Any, bmc: Bmc, image: str) -> None:
    (system_id,) = rack.add("nuc-1", **bmc.parameters())
    assert "Only a Ready, Broken or Deployed" in run_module(maas_machine, state="rescue", hostname="nuc-1")["msg"]
    run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    in_rescue = run_module(maas_machine, state="rescue", hostname="nuc-1")
    assert (in_rescue["changed"], in_rescue["machine"]["status"]) == (True, "Rescue mode")
    assert not run_module(maas_machine, state="rescue", hostname="nuc-1")["changed"]
    refused = run_module(maas_machine, state="deployed", hostname="nuc-1")
    assert "Take it out of rescue mode (`state: rescue_exited`)" in refused["msg"]
    back = run_module(maas_machine, state="rescue_exited", hostname="nuc-1")
    assert (back["machine"]["status"], back["machine"]["image"]) == ("Deployed", image)
    assert not run_module(maas_machine, state="rescue_exited", hostname="nuc-1")["changed"]
    assert "Exited rescue mode" in rack.events(system_id)


def test_power_is_switched_and_asked_for(rack: Any, devices: Any, run_module: Any, bmc: Bmc) -> None:
    rack.add("nuc-1", **bmc.parameters())
    rack.add("nuc-2")
    by_hand = run_module(maas_machine, state="poweredon", hostname="nuc-2")
    assert "its power type is manual, so MAAS cannot switch it" in by_hand["msg"]
    refused = run_module(maas_machine, state="poweredon", hostname="nuc-1")
    assert "it is New and nobody's, and MAAS switches on only what is allocated" in refused["msg"]
    assert rack.proxy.count("POST", "machines/") == 0

    run_module(maas_machine, state="allocated", hostname="nuc-1")
    assert not run_module(maas_machine, state="allocated", hostname="nuc-1")["changed"]
    run_module(maas_machine, state="poweredoff", hostname="nuc-1")
    predicted = run_module(maas_machine, check=True, state="poweredon", hostname="nuc-1")
    assert predicted["diff"][0]["after"] == {"power_state": "on"}
    assert not bmc.on
    assert run_module(maas_machine, state="poweredon", hostname="nuc-1")["machine"]["power_state"] == "on"
    assert bmc.on
    assert not run_module(maas_machine, state="poweredon", hostname="nuc-1")["changed"]
    # What MAAS saw last is old news.
    bmc.on = False
    assert run_module(maas_machine, state="poweredon", hostname="nuc-1")["changed"]

    predicted = run_module(maas_machine, check=True, state="powercycled", hostname="nuc-1")
    assert predicted["diff"][0]["before"] == {"power_state": "on"}
    assert predicted["diff"][0]["after"] == {"power_state": "off, then on"}
    bmc.calls.clear()
    cycled = run_module(maas_machine, state="powercycled", hostname="nuc-1")
    assert cycled["changes"][0]["actions"] == ["power_off", "power_on"]
    assert [path for method, path, *_ in bmc.calls if method == "POST"] == ["/off", "/on"]
    assert run_module(maas_machine, state="poweredoff", hostname="nuc-1")["machine"]["power_state"] == "off"
    assert not run_module(maas_machine, state="poweredoff", hostname="nuc-1")["changed"]
    assert not bmc.on


def test_who_shuts_down_goes_off_by_itself_and_who_does_not_is_switched_off(
    rack: Any, devices: Any, run_module: Any, bmc: Bmc
) -> None:
    (system_id,) = rack.add("nuc-1", **bmc.parameters())
    run_module(maas_machine, state="allocated", hostname="nuc-1")
    rack.settle()
    run_module(maas_machine, state="poweredon", hostname="nuc-1")

    predicted = run_module(maas_machine, check=True, state="poweredoff", hostname="nuc-1", poweroff_after_seconds=60)
    assert predicted["diff"][0]["before"] == {"power_state": "on"}
    assert predicted["diff"][0]["after"] == {"power_state": "off"}
    assert bmc.on

    # It goes after it was asked twice: once for the plan, once while it is waited for.
    rack.proxy.asked.clear()
    bmc.goes_off_after = 2
    off = run_module(maas_machine, state="poweredoff", hostname="nuc-1", poweroff_after_seconds=60)
    assert (off["changed"], off["machine"]["power_state"]) == (True, "off")
    assert rack.proxy.count("POST", f"machines/{system_id}/?op=power_off") == 0
    assert run_module(maas_machine, state="poweredoff", hostname="nuc-1", poweroff_after_seconds=60)["changed"] is False

    run_module(maas_machine, state="poweredon", hostname="nuc-1")
    bmc.calls.clear()
    off = run_module(maas_machine, state="poweredoff", hostname="nuc-1", poweroff_after_seconds=1)
    assert (off["changed"], off["machine"]["power_state"]) == (True, "off")
    assert [path for method, path, *_ in bmc.calls if method == "POST"] == ["/off"]
    refused = run_module(maas_machine, state="poweredoff", hostname="nuc-1", poweroff_after_seconds=-1)
    assert "`poweroff_after_seconds` is -1: give 0 to switch off at once, or more" in refused["msg"]


def test_constraints_choose_machines_and_count_those_that_are_there(
    rack: Any, devices: Any, run_module: Any, image: str
) -> None:
    rack.add("nuc-1", "nuc-2", "nuc-3", "nuc-4")
    machines = [{"hostname": f"nuc-{n}"} for n in (1, 2, 3)]
    run_module(maas_machine, state="ready", machines=machines, tags=["trainer"])
    wanted = {"state": "deployed", "image": image, "constraints": {"count": 2, "tags": ["trainer"], "memory_mib": 8192}}

    predicted = run_module(maas_machine, check=True, **wanted)
    assert [change["machine"] for change in predicted["changes"]] == ["nuc-1", "nuc-2"]
    done = run_module(maas_machine, **wanted)
    assert [(m["hostname"], m["status"]) for m in done["machines"]] == [("nuc-1", "Deployed"), ("nuc-2", "Deployed")]
    assert "machine" not in done
    again = run_module(maas_machine, **wanted)
    assert not again["changed"]
    assert [m["hostname"] for m in again["machines"]] == ["nuc-1", "nuc-2"]

    more = run_module(maas_machine, **dict(wanted, constraints={"count": 3, "tags": ["trainer"]}))
    assert [change["machine"] for change in more["changes"]] == ["nuc-3"]
    too_few = run_module(maas_machine, **dict(wanted, constraints={"count": 5, "tags": ["trainer"]}))
    assert "5 machines are wanted and 3 fulfil the constraints: 3 deployed, 0 Ready." in too_few["msg"]
    assert "No such pool" in run_module(maas_machine, **dict(wanted, constraints={"count": 1, "pool": "x"}))["msg"]
    assert "for `state: deployed` only" in run_module(maas_machine, state="ready", constraints={"count": 1})["msg"]


def test_scripts_are_chosen_and_the_one_that_failed_is_quoted(rack: Any, devices: Any, run_module: Any) -> None:
    rack.add("nuc-1", "nuc-2")
    devices.failing["nuc-2"] = "checking /dev/sda\nreallocated sectors: 812\nFAILED\n"
    failed = run_module(
        maas_machine,
        state="ready",
        machines=[{"hostname": "nuc-1"}, {"hostname": "nuc-2"}],
        commissioning_scripts=[],
        testing_scripts=[],
    )
    assert failed["msg"].startswith("1 of 2 machines did not become ready:\n- nuc-2")
    assert "script disk-health ended with 3: checking /dev/sda | reallocated sectors: 812 | FAILED" in failed["msg"]
    entry = failed["failed_machines"][0]
    assert entry["scripts"][0]["last_lines"] == ["checking /dev/sda", "reallocated sectors: 812", "FAILED"]
    # Without tests a machine goes from Commissioning to Ready at once.
    assert "Performing testing" not in rack.events(failed["machines"][0]["system_id"])


def test_a_hundred_machines_are_one_task_and_one_list_request_a_round(
    rack: Any, devices: Any, run_module: Any, image: str, rounds: Any
) -> None:
    names = [f"nuc-{n:03d}" for n in range(1, 101)]
    rack.add(*names)
    done = run_module(
        maas_machine,
        state="deployed",
        image=image,
        machines=[{"hostname": name} for name in names],
        at_once=20,
        testing_scripts=[],
        wait_timeout_seconds=300,
    )
    assert {m["status"] for m in done["machines"]} == {"Deployed"}, done.get("msg")
    assert 1 < devices.most_at_once <= 20
    asked = [path.split("/")[-1] if "?" in path else path for _method, path in rack.proxy.asked]
    # One to plan, one to read back.
    assert collections.Counter(asked) == {
        "machines/": rounds.count + 2,
        "boot-resources/": 1,
        "?op=commission": 100,
        "?op=deploy": 100,
    }
    rack.proxy.asked.clear()
    again = run_module(maas_machine, state="deployed", image=image, machines=[{"hostname": n} for n in names])
    assert not again["changed"]
    assert rack.proxy.asked == [("GET", "machines/")]


def test_who_is_refused_is_left_out_and_the_rest_go_on(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    rack.region.upload("custom/other", IMAGE, SHA256)
    rack.add("nuc-1", "nuc-2", "nuc-3")
    run_module(maas_machine, state="deployed", hostname="nuc-1", image="custom/other")
    wanted = {
        "state": "deployed",
        "image": image,
        "machines": [{"hostname": "nuc-1", "tags": ["trainer"]}, {"hostname": "nuc-2"}, {"hostname": "nuc-4"}],
    }
    refused = run_module(maas_machine, **wanted)
    assert len(refused["refusals"]) == 2
    assert rack.region.machine(rack.id("nuc-2"))["status_name"] == "New"

    for check in (True, False):
        done = run_module(maas_machine, check=check, leave_out_refused=True, **wanted)
        assert done["failed"]
        assert [(m["machine"], m["reason"]) for m in done["failed_machines"]] == [
            (
                "nuc-1",
                "it is Deployed with the image custom/other, not custom/edge-1. Set `redeploy: true` to release it and"
                " deploy it anew; what is on it is lost.",
            ),
            ("nuc-4", done["failed_machines"][1]["reason"]),
        ]
        assert "there is no such machine in MAAS" in done["failed_machines"][1]["reason"]
        assert [change["machine"] for change in done["changes"]] == ["nuc-2"]
        assert rack.region.machine(rack.id("nuc-2"))["status_name"] == ("New" if check else "Deployed")
    assert rack.region.machine(rack.id("nuc-1"))["tag_names"] == []
    again = run_module(maas_machine, leave_out_refused=True, **wanted)
    assert (again["changed"], len(again["failed_machines"])) == (False, 2)


def test_a_name_that_is_taken_says_by_whom(rack: Any, run_module: Any) -> None:
    holder, _ = rack.add("nuc-1", "nuc-2")
    run_module(maas_machine, state="present", hostname="nuc-1", tags=["retired"])
    refused = run_module(maas_machine, state="present", hostname="nuc-2", name="nuc-1")
    assert f"nuc-2: the name nuc-1 belongs to the machine {holder} (New, tags: retired): give another" in refused["msg"]


def test_a_script_that_took_too_long_is_named(rack: Any, devices: Any, run_module: Any) -> None:
    rack.add("nuc-1")
    devices.slow = {"nuc-1": "disk-health"}
    failed = run_module(maas_machine, state="ready", hostname="nuc-1")
    assert failed["failed_machines"][0]["event"] == "Script: disk-health timed out"
    assert "disk-health timed out" in failed["msg"]
