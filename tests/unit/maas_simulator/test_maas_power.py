"""The webhook driver against a little BMC of our own."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from maas_bmc import Bmc
from maas_region import Region

from tests.unit.servers import running


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    with running(Bmc()) as server:
        yield server


MAC = "52:54:00:00:00:01"


def _power(region: Region, system_id: str) -> str:
    return str(region.call("GET", f"machines/{system_id}/?op=query_power_state").json()["state"])


def test_commissioning_switches_the_machine_on_and_its_end_switches_it_off(region: Region, bmc: Bmc) -> None:
    system_id = region.create("a", MAC, **bmc.parameters(power_user="u", power_pass="p"))
    while not bmc.on:
        assert region.machine(system_id)["status"] == 1
    basic = "Basic " + base64.b64encode(b"u:p").decode()
    assert ("POST", "/on", basic, system_id) in bmc.calls
    region.node(system_id).report_hardware(MAC)
    region.wait(system_id, 4)
    while bmc.on:
        region.machine(system_id)
    assert _power(region, system_id) == "off"


def test_a_token_is_used_in_place_of_user_and_password(region: Region, bmc: Bmc) -> None:
    parameters = bmc.parameters(power_token="t", power_user="u", power_pass="p")
    system_id = region.create("a", MAC, commission="false", **parameters)
    assert _power(region, system_id) == "off"
    assert bmc.calls == [("GET", "/state", "Bearer t", system_id)]


def test_a_release_waits_for_the_power_to_be_off(region: Region, bmc: Bmc) -> None:
    system_id = region.ready("a", MAC, **bmc.parameters())
    region.call("POST", "machines/?op=allocate", data={"system_id": system_id})
    region.call("POST", f"machines/{system_id}/?op=power_on", data={"comment": "x"})
    while not bmc.on:
        region.machine(system_id)
    answer = region.call("POST", f"machines/{system_id}/?op=release", data={"comment": "x"}).json()
    assert (answer["status"], answer["status_name"]) == (12, "Releasing")
    assert region.wait(system_id, 4)["power_state"] == "off"
    assert not bmc.on


def test_a_bmc_that_fails_fails_the_commissioning(region: Region, bmc: Bmc) -> None:
    bmc.broken = True
    system_id = region.create("a", MAC, **bmc.parameters())
    failed = region.wait(system_id, 2)
    assert failed["power_state"] == "error"
    assert failed["status_message"] == (
        "Failed to power on node - Power on for the node failed: Failed to complete power action:"
        " Request failed with response status code: 500."
    )
    assert _power(region, system_id) == "error"


def test_a_power_type_that_is_not_simulated_says_so_in_the_event(region: Region) -> None:
    parameters = {"power_type": "ipmi", "power_parameters_power_address": "10.99.0.3"}
    system_id = region.create("a", MAC, **parameters)
    failed = region.wait(system_id, 2)
    assert failed["power_state"] == "error"
    assert failed["status_message"].endswith("not simulated: power type ipmi")
    shown = region.call("GET", f"machines/{system_id}/?op=power_parameters").json()
    assert shown == {"power_address": "10.99.0.3"}
