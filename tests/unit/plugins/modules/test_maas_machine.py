# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import Answer, FakeRegion, machine

HUNDRED = [{"system_id": f"sys{n:03d}"} for n in range(1, 101)]


def uploaded(name: str) -> dict[str, Any]:
    return {"id": 9, "type": "Uploaded", "name": name, "architecture": "amd64/generic"}


def deployed(number: int, image: str = "edge-1", **changes: Any) -> dict[str, Any]:
    return machine(number, status=6, osystem="custom", distro_series=image, owner="admin", **changes)


# -- Change, no change, check mode, diff --------------------------------------------------------


def test_settings_are_changed_once(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1))
    wanted = {"hostname": "nuc-001", "name": "nuc-101", "pool": "edge", "zone": "shelf-1", "description": "slot 1"}
    wanted["tags"] = ["trainer"]

    predicted = run_module(maas_machine, check=True, **wanted)
    assert predicted["changed"]
    assert region.writes == []

    done = run_module(maas_machine, **wanted)
    assert done["changes"] == predicted["changes"]
    assert done["diff"] == predicted["diff"]
    assert done["diff"][0]["before"] == {
        "name": "nuc-001",
        "pool": "default",
        "zone": "default",
        "description": "",
        "tags": [],
    }
    assert done["diff"][0]["after"]["tags"] == ["trainer"]
    assert (done["machine"]["hostname"], done["machine"]["pool"]) == ("nuc-101", "edge")
    assert done["machine"]["tags"] == ["trainer"]

    writes = len(region.writes)
    again = run_module(maas_machine, **dict(wanted, hostname="nuc-101"))
    assert not again["changed"]
    assert again["diff"] == []
    assert len(region.writes) == writes


def test_a_new_machine_is_created_and_commissioned(region: FakeRegion, run_module: Any) -> None:
    wanted = {
        "state": "ready",
        "mac_address": "52-54-00-10-00-AA",
        "architecture": "amd64",
        "name": "nuc-new",
        "power_type": "webhook",
        "power_parameters": {
            "power_on_uri": "http://10.0.0.1/on",
            "power_off_uri": "http://10.0.0.1/off",
            "power_query_uri": "http://10.0.0.1/state",
            "power_on_regex": "on",
            "power_pass": "s3cret-pass",
        },
        "pool": "edge",
    }
    predicted = run_module(maas_machine, check=True, **wanted)
    assert predicted["changes"][0]["actions"] == ["create", "commission"]
    assert region.writes == []

    done = run_module(maas_machine, **wanted)
    assert (done["machine"]["status"], done["machine"]["pool"]) == ("Ready", "edge")
    created = region.asked("POST", "machines/")[0]
    assert created.value("commission") == "false"
    assert created.value("architecture") == "amd64/generic"
    assert created.value("power_parameters_power_pass") == "s3cret-pass"
    assert [w.params for w in region.writes if w.method == "PUT"] == [[("pool", "edge")]]

    assert not run_module(maas_machine, **wanted)["changed"]


def test_secrets_are_blanked_and_the_rest_stays_readable(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1))
    done = run_module(
        maas_machine,
        hostname="nuc-001",
        power_parameters={"power_on_regex": "on", "power_verify_ssl": "n", "power_pass": "s3cret-pass"},
        description="one of nine",
    )
    assert "s3cret-pass" not in str(done)
    assert "very-secret" not in str(done)
    assert done["machine"]["description"] == "one of nine"
    assert done["diff"][0]["after"]["power_parameters"] == {
        "power_on_regex": "on",
        "power_verify_ssl": "n",
        "power_pass": "(hidden) new",
    }


def test_power_parameters_are_compared_with_what_maas_holds(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, power_type="ipmi"))
    region.power["sys001"] = {"power_address": "10.0.0.9", "power_pass": "s3cret-pass", "power_user": "x"}
    same = {"power_address": "10.0.0.9", "power_pass": "s3cret-pass"}
    assert not run_module(maas_machine, hostname="nuc-001", power_parameters=same)["changed"]
    done = run_module(maas_machine, hostname="nuc-001", power_parameters=dict(same, power_address="10.0.0.8"))
    assert done["changed"]
    assert sorted(region.writes[0].params) == [
        ("power_parameters_power_address", "10.0.0.8"),
        ("power_type", "ipmi"),
    ]


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("amt", {"power_pass": "s3cret-pass"}, "the power type amt needs power_address in `power_parameters`"),
        (
            "amt",
            {"power_address": "10.0.0.9", "power_user": "x"},
            "the power type amt has no parameter power_user; it has: power_address, power_pass",
        ),
        ("ipmi", {"power_address": ""}, "the power type ipmi needs power_address"),
        ("webhook", {"power_on_uri": "http://b/on"}, "the power type webhook needs power_off_uri, power_query_uri"),
        ("manual", {"power_address": "10.0.0.9"}, "the power type manual has no parameter power_address; it has: none"),
    ],
)
def test_power_parameters_that_cannot_be_are_named_before_anything_is_sent(
    region: FakeRegion, run_module: Any, kind: str, parameters: dict[str, str], expected: str
) -> None:
    region.add(machine(1, power_type=""))
    failed = run_module(maas_machine, hostname="nuc-001", power_type=kind, power_parameters=parameters)
    assert failed["failed"]
    assert expected in failed["msg"]
    assert "s3cret" not in str(failed)
    assert region.writes == []


def test_a_power_type_of_its_own_keeps_the_parameters_that_maas_holds(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, power_type="amt"))
    region.power["sys001"] = {"power_address": "10.0.0.9", "power_pass": "old"}
    done = run_module(maas_machine, hostname="nuc-001", power_type="amt", power_parameters={"power_pass": "s3cret-1"})
    assert done["diff"][0]["after"] == {"power_parameters": {"power_pass": "(hidden) new"}}
    assert region.power["sys001"] == {"power_address": "10.0.0.9", "power_pass": "s3cret-1"}
    free = run_module(maas_machine, hostname="nuc-001", power_type="redfish", power_parameters={"node_id": "1"})
    assert free["changed"]


@pytest.mark.parametrize("status", [4, 6, 9, 10, 11])
def test_ready_leaves_alone_what_is_further_on(region: FakeRegion, run_module: Any, status: int) -> None:
    region.add(machine(1, status=status))
    assert not run_module(maas_machine, state="ready", hostname="nuc-001")["changed"]
    assert region.writes == []


def test_failed_commissioning_is_commissioned_again(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=2))
    done = run_module(maas_machine, state="ready", hostname="nuc-001.maas")
    assert done["machine"]["status"] == "Ready"
    # An operation without parameters has no body at all: MAAS 3.6 refuses an empty multipart one.
    assert [(w.op, w.raw) for w in region.writes] == [("commission", b"")]
    assert not region.writes[0].content_type.startswith("multipart")


def test_deploy_sends_image_and_user_data(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1))
    region.images.append(uploaded("edge-1"))
    wanted = {"state": "deployed", "hostname": "nuc-001", "image": "custom/edge-1", "user_data": "#cloud-config\n"}
    done = run_module(maas_machine, **wanted)
    assert (done["machine"]["status"], done["machine"]["image"]) == ("Deployed", "custom/edge-1")
    assert done["diff"][0]["before"] == {"status": "Ready", "image": ""}
    assert done["diff"][0]["after"] == {"status": "Deployed", "image": "custom/edge-1"}
    assert region.writes[0].value("user_data") == "I2Nsb3VkLWNvbmZpZwo="
    assert not run_module(maas_machine, **wanted)["changed"]


def test_failed_deployment_is_released_and_deployed(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=11, osystem="custom", distro_series="edge-1"))
    done = run_module(maas_machine, state="deployed", hostname="nuc-001")
    assert [w.op for w in region.writes] == ["release", "deploy"]
    assert done["machine"]["status"] == "Deployed"


def test_another_image_needs_redeploy(region: FakeRegion, run_module: Any) -> None:
    region.add(deployed(1))
    region.images.append(uploaded("edge-2"))
    wanted = {"state": "deployed", "hostname": "nuc-001", "image": "custom/edge-2"}
    refused = run_module(maas_machine, **wanted)
    assert refused["failed"]
    assert "custom/edge-1" in refused["msg"]
    assert "custom/edge-2" in refused["msg"]
    assert "redeploy: true" in refused["msg"]
    assert region.writes == []
    done = run_module(maas_machine, redeploy=True, **wanted)
    assert (done["machine"]["status"], done["machine"]["image"]) == ("Deployed", "custom/edge-2")
    assert not run_module(maas_machine, redeploy=True, **wanted)["changed"]


def test_released_and_absent(region: FakeRegion, run_module: Any) -> None:
    region.add(deployed(1))
    refused = run_module(maas_machine, state="absent", hostname="nuc-001")
    assert "force: true" in refused["msg"]
    done = run_module(maas_machine, state="released", hostname="nuc-001", erase=True, comment="fan")
    assert sorted(region.writes[0].params) == [("comment", "fan"), ("erase", "true")]
    assert done["machine"]["status"] == "Ready"
    assert not run_module(maas_machine, state="released", hostname="nuc-001")["changed"]
    writes = len(region.writes)
    assert run_module(maas_machine, check=True, state="absent", hostname="nuc-001")["changed"]
    assert len(region.writes) == writes
    gone = run_module(maas_machine, state="absent", hostname="nuc-001")
    assert gone["changed"]
    assert gone["diff"][0]["after"] == {}
    assert gone["machines"] == []
    assert not run_module(maas_machine, state="absent", hostname="nuc-001")["changed"]


def test_tags_purge_leaves_the_tags_maas_sets(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, tag_names=["old", "virtual", "trainer"]))
    region.tags["virtual"] = "//node[@class='x']"
    done = run_module(maas_machine, hostname="nuc-001", tags=["trainer"], tags_purge=True)
    assert done["machine"]["tags"] == ["trainer", "virtual"]


# -- Many at once -------------------------------------------------------------------------------


def test_a_hundred_machines_are_one_request_a_round(region: FakeRegion, run_module: Any) -> None:
    region.add(*(machine(n, status=0) for n in range(1, 101)))
    done = run_module(maas_machine, state="ready", machines=HUNDRED, tags=["trainer"])
    assert {m["status"] for m in done["machines"]} == {"Ready"}
    assert [m["system_id"] for m in done["machines"]] == [m["system_id"] for m in HUNDRED]
    # One to plan, two rounds of waiting, one to read back.
    assert len(region.asked("GET", "machines/")) == 4
    assert len(region.writes) == 100 + 2
    assert len(region.asked("POST", "tags/trainer/", "update_nodes")[0].values("add")) == 100

    before = len(region.requests)
    assert not run_module(maas_machine, state="ready", machines=HUNDRED, tags=["trainer"])["changed"]
    assert len(region.requests) == before + 1


def test_options_of_a_machine_go_before_those_of_the_task(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1), machine(2))
    entries = [{"hostname": "nuc-001", "pool": "default", "tags": ["a"]}, {"mac_address": "52:54:00:10:00:02"}]
    done = run_module(maas_machine, machines=entries, pool="edge", tags=["b"])
    assert [(m["pool"], m["tags"]) for m in done["machines"]] == [("default", ["a", "b"]), ("edge", ["b"])]


def test_all_refusals_come_before_any_change(region: FakeRegion, run_module: Any) -> None:
    region.add(
        machine(1),
        machine(2, status=8, error_description="fan is dead"),
        deployed(3, locked=True),
        machine(4),
        deployed(5, locked=True),
    )
    entries = [{"hostname": f"nuc-{n:03d}"} for n in (1, 2, 3, 4, 7)]
    entries += [{"system_id": "sys004"}, {"hostname": "nuc-005", "image": "edge-1"}]
    failed = run_module(
        maas_machine, state="deployed", machines=entries, image="custom/nope", pool="nope", redeploy=True
    )
    text = failed["msg"]
    assert region.writes == []
    for expected in (
        "nuc-001: there is no image custom/nope in MAAS; there are: ubuntu/noble",
        "nuc-001: there is no pool nope in MAAS; there are: default, edge",
        "nuc-002: it is Broken (fan is dead). Repair it, then mark it fixed",
        "nuc-003: it is locked",
        "nuc-004: it is given twice (as nuc-004 and as system_id sys004)",
        "nuc-007: there is no such machine in MAAS",
    ):
        assert expected in text, expected
    assert failed["changes"] == []


def test_a_failure_names_the_machine_its_status_and_the_event(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1), machine(2), machine(3))
    region.ways["nuc-002", "deploy"] = [9, 11]
    region.events["nuc-002"] = [
        {"type": "Node changed status", "description": "From Deploying", "level": "INFO"},
        {"type": "Marking node failed", "description": "Installation failed", "level": "ERROR"},
    ]
    region.canned["POST", "machines/sys003/"] = [Answer(409, "Can't deploy: no address is left")]
    failed = run_module(maas_machine, state="deployed", machines=[{"hostname": f"nuc-{n:03d}"} for n in (1, 2, 3)])
    assert failed["failed"]
    assert failed["changed"]
    assert failed["msg"].startswith(
        "2 of 3 machines did not become deployed:\n- nuc-002 (sys002): it is Failed deployment"
    )
    assert "Marking node failed: Installation failed" in failed["msg"]
    assert "it is released and deployed anew" in failed["msg"]
    assert "nuc-003 (sys003): Machine.deploy(system_id=sys003): MAAS answered 409: Can't deploy" in failed["msg"]
    assert [m["status"] for m in failed["machines"]] == ["Deployed", "Failed deployment", "Ready"]


def test_the_deadline_names_who_is_late(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=0), machine(2, status=0))
    region.ways["nuc-002", "commission"] = [1]
    failed = run_module(
        maas_machine,
        state="ready",
        machines=[{"hostname": "nuc-001"}, {"hostname": "nuc-002"}],
        wait_timeout_seconds=1,
    )
    assert "1 of 2 machines did not become ready, 1 of them not within 1 seconds" in failed["msg"]
    assert "nuc-002 (sys002): it is still Commissioning. Raise `wait_timeout_seconds` (now 1)" in failed["msg"]


def test_without_wait_the_first_step_is_taken(
    region: FakeRegion, run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(maas_machine.AnsibleModule, "warn", lambda self, text, **rest: warnings.append(text))
    region.add(machine(1, status=0))
    done = run_module(maas_machine, state="deployed", hostname="nuc-001", wait=False)
    assert [w.op for w in region.writes] == ["commission"]
    assert done["machine"]["status"] in ("Commissioning", "Testing")
    assert warnings == ["`wait` is false: deploy is left for a further run."]


def test_at_most_so_many_are_commissioned_or_deployed_at_once(region: FakeRegion, run_module: Any) -> None:
    region.add(*(machine(n, status=0) for n in range(1, 8)))
    region.images.append(uploaded("edge-1"))
    region.ways["nuc-002", "commission"] = [1, 1, 1, 1, 21, 4]
    entries = [{"hostname": f"nuc-{n:03d}"} for n in range(1, 8)]
    done = run_module(maas_machine, state="deployed", machines=entries, image="edge-1", at_once=2)
    assert {m["status"] for m in done["machines"]} == {"Deployed"}
    assert max(region.busy) == 2
    # A machine that has been commissioned is deployed before another one is begun.
    order = [(w.op, w.path) for w in region.writes]
    assert order.index(("deploy", "machines/sys001/")) < order.index(("commission", "machines/sys004/"))


def test_who_had_no_turn_is_named(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=0), machine(2, status=0))
    region.ways["nuc-001", "commission"] = [1]
    entries = [{"hostname": "nuc-001"}, {"hostname": "nuc-002"}]
    failed = run_module(maas_machine, state="ready", machines=entries, at_once=1, wait_timeout_seconds=1)
    assert "nuc-001 (sys001): it is still Commissioning" in failed["msg"]
    assert "nuc-002 (sys002): its turn did not come, it is still New (`at_once` is 1)" in failed["msg"]
    assert run_module(maas_machine, state="ready", hostname="nuc-001", at_once=0)["msg"].startswith("`at_once` is 0")


def test_what_is_under_way_is_waited_for_and_no_change(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=9, osystem="custom", distro_series="edge-1"))
    region._ahead["sys001"] = [9, 9, 6]
    done = run_module(maas_machine, state="deployed", hostname="nuc-001", image="custom/edge-1")
    assert not done["changed"]
    assert done["machine"]["status"] == "Deployed"


def test_a_wait_outlives_a_restart_of_the_region(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1, status=0))
    gateway = Answer(502, "<html><body>Bad gateway</body></html>", content_type="text/html")
    answers = [Answer(200, [region.machines["sys001"]])] + [gateway] * 7
    region.canned["GET", "machines/"] = answers
    assert run_module(maas_machine, state="ready", hostname="nuc-001")["machine"]["status"] == "Ready"
