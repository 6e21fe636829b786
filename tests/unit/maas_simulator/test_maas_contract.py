"""The simulator answers what real regions answered, call by call, for both recorded versions."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from maas_contract import VERSIONS, answer_problems, expectations, filled, saved, unmet
from maas_region import API_KEY, Region, serve, settings

_CONTENT = bytes(range(250)) * 4
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_simulator_answers_as_the_recorded_regions(tmp_path: Path, version: str) -> None:
    problems: list[str] = []
    with serve(settings(tmp_path, version)) as region:
        # subnet: the lab has one; the recorded region had another by then.
        names = {"subnet": "1", "sha256": _SHA256}
        for call in expectations(version):
            found = _replay(region, call, names)
            problems += [f"{call['note']}: {problem}" for problem in found]
    assert problems == []


def _replay(region: Region, call: dict[str, Any], names: dict[str, str]) -> list[str]:
    if "sequence" in call:
        return _play(region, filled(call["machine"], names), call["sequence"])
    if "keys" in call:
        machine = region.machine(names["nuc1"])
        names["nic1"] = str(machine["boot_interface"]["id"])
        names["nic2"] = str(region.machine(names["nuc2"])["boot_interface"]["id"])
        return unmet(call["keys"], sorted(machine), "keys")
    response = _send(region, call, names)
    try:
        body = response.json() if "json" in response.headers["content-type"] else response.text
    except ValueError:
        body = response.text
    if call.get("simulated") is False:
        named = response.status_code == 501 and response.json()["operation"]
        return [] if named else [f"{response.status_code} instead of a 501 that names itself"]
    names |= saved(call, body)
    problems = answer_problems(call, response.status_code, response.headers["content-type"], body)
    for name, value in call.get("headers", {}).items():
        problems += unmet(value, response.headers.get(name), name)
    return problems


def _send(region: Region, call: dict[str, Any], names: dict[str, str]) -> Any:
    method, path = filled(call["call"], names).split(" ", 1)
    auth = {"none": "", "wrong": "no:such:key"}.get(call.get("auth", ""), API_KEY)
    params = filled(call.get("params"), names)
    if "raw_bytes" in call:
        start = {600: 0, 400: 600}.get(call["raw_bytes"], 0)
        return region.call(method, path, auth, content=_CONTENT[start : start + call["raw_bytes"]])
    if method == "GET":
        path, _, op = path.partition("?op=")
        query = ({"op": op} if op else {}) | dict(params or {})
        return region.call(method, path, auth, params=query)
    if isinstance(params, list):
        grouped: dict[str, list[str]] = {}
        for name, value in params:
            grouped.setdefault(name, []).append(value)
        params = grouped
    return region.call(method, path, auth, data=params)


def _play(region: Region, system_id: str, sequence: list[list[Any]]) -> list[str]:
    """Be the machine, and look after every step, as whoever recorded the sequence did."""
    for step, expected in enumerate(sequence):
        if step:
            _act(region, system_id, sequence[step - 1], expected)
        # What follows by itself may have followed already: a poll does not see every step.
        following = sequence[step + 1 : step + 2] if _comes_by_itself(sequence, step) else []
        deadline = time.monotonic() + 5
        while (shown := _shown(region, system_id)) not in [expected, *following]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        if shown not in [expected, *following]:
            return [f"step {step} is {shown}, not {expected}"]
    return []


def _comes_by_itself(sequence: list[list[Any]], step: int) -> bool:
    """Only the power state differs in the next step; the answer to deploy showed it as it was before."""
    return step + 1 < len(sequence) and sequence[step][:3] == sequence[step + 1][:3]


def _shown(region: Region, system_id: str) -> list[Any]:
    machine = region.machine(system_id)
    keys = ("status", "status_name", "status_message", "power_state", "status_action")
    return [machine[key] for key in keys]


def _act(region: Region, system_id: str, before: list[Any], after: list[Any]) -> None:
    message = str(after[2])
    if (before[0], after[0]) == (1, 21):
        mac = region.machine(system_id)["boot_interface"]["mac_address"]
        region.node(system_id).report_hardware(mac, address="10.99.0.152")
    elif message.startswith("Script - "):
        script = message.removeprefix("Script - ").removesuffix(" failed")
        region.node(system_id).post("signal", status="WORKING", script_name=script, exit_status="1")
    elif after[0] == 2:
        region.node(system_id).post("signal", status="FAILED")
    elif after[0] == 6:
        node = region.node(system_id)
        assert node.post("netboot_off").text == "OK"
        # The installed system asks for its user data: that is what ends a deployment.
        assert node.get("user-data").content == b"#cloud-config\n"
    elif after[0] == 11:
        region.node(system_id).post("signal", status="FAILED")
