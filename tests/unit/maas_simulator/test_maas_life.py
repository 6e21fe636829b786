"""A machine's life, through python-libmaas on one side and the machine's own requests on the other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from maas.client import bones
from maas_region import API_KEY, HTTP, Region, serve, settings, with_timeout

MAC = "52:54:00:00:00:01"
IMAGE = b"an image" * 100
SHA256 = hashlib.sha256(IMAGE).hexdigest()


def _boot(region: Region, mac: str = MAC) -> dict[str, Any]:
    return dict(HTTP.get(f"{region.url}/boot/{mac}").json())


def _bones(region: Region) -> Any:
    return asyncio.run(_connect(region))


async def _connect(region: Region) -> Any:
    _, session = await bones.SessionAPI.connect(region.url, apikey=API_KEY)
    return session


def test_bones_drives_a_machine_from_enlistment_to_release(region: Region) -> None:
    session = _bones(region)

    def run(operation: Any, **arguments: Any) -> Any:
        async def await_it() -> Any:
            return await operation(**arguments)

        return asyncio.run(await_it())

    assert _boot(region)["purpose"] == "enlist"
    enlisted = region.call(
        "POST",
        "machines/",
        auth="",
        data={"hostname": "nuc", "architecture": "amd64", "mac_addresses": MAC, "power_type": "manual"},
    ).json()
    system_id = enlisted["system_id"]
    assert run(session.Machines.read, hostname=["nuc"])[0]["status_name"] == "New"
    assert _boot(region)["purpose"] == "poweroff"

    run(session.Machine.commission, system_id=system_id, testing_scripts="")
    document = _boot(region)
    assert (document["purpose"], document["system_id"]) == ("commissioning", system_id)
    assert region.machine(system_id)["status_message"] == "Performing PXE boot"
    region.node(system_id).report_hardware(MAC)
    ready = region.wait(system_id, 4)
    assert (ready["cpu_count"], ready["memory"], ready["storage"]) == (8, 16384, 500000.0)
    assert ready["hardware_info"]["system_serial"] == "SN1"
    assert ready["boot_disk"]["partitions"][0]["size"] == 499990396928

    region.call("POST", "account/prefs/sshkeys/", data={"key": _KEY})
    region.upload("custom/edge-1", IMAGE, SHA256)
    user_data = base64.b64encode(b"#cloud-config\n").decode()
    with pytest.raises(bones.CallError) as refused:
        run(session.Machine.deploy, system_id=system_id, distro_series="custom/nope")
    assert refused.value.status == 400
    assert b"'custom/edge-1'" in refused.value.content
    run(session.Machine.deploy, system_id=system_id, distro_series="edge-1", user_data=user_data)
    document = _boot(region)
    assert document["purpose"] == "xinstall"
    assert (document["address"], document["gateway"]) == ("10.99.0.150/24", "10.99.0.1")
    assert document["image"] == {
        "name": "custom/edge-1",
        "sha256": SHA256,
        "size": len(IMAGE),
        "filetype": "root-tgz",
        "url": f"http://10.77.0.10:5240/MAAS/images/{SHA256}",
    }
    node = region.node(system_id)
    node.post("netboot_off")
    assert _boot(region)["purpose"] == "local"
    assert node.get("meta-data/instance-id").text == system_id
    assert node.get("meta-data/local-hostname").text == "nuc"
    assert node.get("meta-data/public-keys").text == _KEY
    assert node.get("meta-data/vendor-data").status_code == 404
    assert region.machine(system_id)["status_name"] == "Deploying"
    assert node.get("user-data").content == b"#cloud-config\n"
    deployed = region.wait(system_id, 6)
    assert deployed["ip_addresses"] == ["10.99.0.150"]
    assert (deployed["osystem"], deployed["distro_series"]) == ("custom", "edge-1")
    assert node.event("modules-final", "SUCCESS").status_code == 204

    run(session.Machine.set_owner_data, system_id=system_id, edge_slot="3")
    run(session.Machine.release, system_id=system_id, comment="done")
    released = region.wait(system_id, 4)
    assert (released["owner"], released["ip_addresses"], released["owner_data"]) == (None, [], {})
    assert node.get("meta-data/instance-id").status_code == 401
    assert run(session.Machine.delete, system_id=system_id) == b""


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin@edge"


def test_every_simulated_operation_is_reachable_through_bones(region: Region) -> None:
    session = _bones(region)
    for handler, actions in {
        "Machines": "read create allocate",
        "Machine": "read update delete commission deploy release abort power_on power_off query_power_state"
        " power_parameters lock unlock mark_broken mark_fixed set_owner_data",
        "Tags": "read create",
        "Tag": "read update delete update_nodes machines",
        "BootResources": "read create",
        "BootResource": "read delete",
        "ResourcePools": "read create",
        "ResourcePool": "read update delete",
        "Zones": "read create",
        "Zone": "read update delete",
        "Events": "query",
        "SSHKeys": "read create",
        "Users": "read whoami",
        "Subnets": "read",
        "MAAS": "get_config set_config",
        "Version": "read",
    }.items():
        for action in actions.split():
            assert hasattr(getattr(session, handler), action), f"{handler}.{action}"


def _deploying(region: Region) -> str:
    region.upload("custom/edge-1", IMAGE, SHA256)
    system_id = region.ready("nuc", MAC)
    answer = region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge-1"})
    assert answer.status_code == 200, answer.text
    return system_id


def test_the_token_of_one_machine_is_of_no_use_for_another(region: Region) -> None:
    one = region.create("one", "52:54:00:00:00:01")
    two = region.create("two", "52:54:00:00:00:02")
    node = region.node(one)
    # MAAS knows a machine by its token alone: the path is not looked at, so the other is not touched.
    node.event("modules-final", "FAIL", system_id=two)
    assert region.machine(two)["status"] == 1
    assert region.machine(one)["status"] == 2
    node.post("signal", status="FAILED")
    assert region.machine(two)["status"] == 1


def test_a_machines_token_does_not_open_the_api_nor_a_users_key_the_metadata(region: Region) -> None:
    node = region.node(region.create("one", MAC))
    assert HTTP.get(f"{region.url}/api/2.0/machines/", headers=node.headers).status_code == 401
    node.headers["Authorization"] = node.headers["Authorization"].replace("%26", "%26x")
    assert node.get("meta-data/instance-id").status_code == 401
    assert node.post("signal", status="OK").status_code == 401
    assert HTTP.get(f"{region.url}/metadata/2012-03-01/meta-data/instance-id").status_code == 401
    assert HTTP.post(f"{region.url}/metadata/status/x", json={}).status_code == 401


@pytest.mark.parametrize("step", ["cmd-install", "modules-final"])
def test_a_failure_that_a_deploying_machine_reports_fails_the_deployment(region: Region, step: str) -> None:
    system_id = _deploying(region)
    region.node(system_id).event(step, "FAIL")
    failed = region.machine(system_id)
    assert failed["status_name"] == "Failed deployment"
    assert failed["status_message"].startswith("Marking node failed - Installation failed")


def test_a_machine_that_only_reports_its_last_module_is_deployed_too(region: Region) -> None:
    system_id = _deploying(region)
    node = region.node(system_id)
    node.event("modules-final", "SUCCESS")
    assert region.machine(system_id)["status"] == 9  # that was the installer's own cloud-init
    node.post("netboot_off")
    node.event("modules-final", "SUCCESS")
    assert region.machine(system_id)["status"] == 6
    assert node.get("user-data").status_code == 404


def test_a_machine_that_never_reports_fails_in_time(tmp_path: Path) -> None:
    with serve(with_timeout(settings(tmp_path), 1.2)) as region:
        system_id = _deploying(region)
        failed = region.wait(system_id, 11)
    assert failed["status_message"] == (
        "Marking node failed - Node operation 'Deploying' timed out after 0.02 minutes."
    )


def test_erasing_ends_when_the_machine_says_so(region: Region) -> None:
    system_id = _deploying(region)
    node = region.node(system_id)
    node.get("user-data")
    answer = region.call("POST", f"machines/{system_id}/?op=release", data={"erase": "true"}).json()
    assert answer["status_name"] == "Disk erasing"
    document = _boot(region)
    assert (document["purpose"], document["status_name"]) == ("commissioning", "Disk erasing")
    region.node(system_id).post("signal", status="OK")
    assert region.wait(system_id, 4)["status_message"] == "Released"


def test_aborting_a_deployment_gives_the_machine_back_to_its_owner(region: Region) -> None:
    system_id = _deploying(region)
    region.call("POST", f"machines/{system_id}/?op=abort", data={"comment": "x"})
    allocated = region.wait(system_id, 10)
    assert (allocated["owner"], allocated["ip_addresses"]) == ("admin", [])


def test_without_a_network_there_is_no_deployment(region: Region) -> None:
    system_id = region.ready("nuc", MAC, skip_networking="1")
    answer = region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "jammy"})
    assert answer.status_code == 400
    assert answer.json() == {"network": ["Node must be configured to use a network"]}
    assert region.machine(system_id)["status_name"] == "Ready"


def test_machines_get_addresses_that_no_other_has(region: Region) -> None:
    region.upload("custom/edge-1", IMAGE, SHA256)
    for number in (1, 2, 3):
        system_id = region.ready(f"nuc{number}", f"52:54:00:00:00:0{number}")
        region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge-1"})
    machines = region.call("GET", "machines/").json()
    addresses = [address for machine in machines for address in machine["ip_addresses"]]
    assert addresses == ["10.99.0.150", "10.99.0.151", "10.99.0.152"]


def test_the_same_content_uploaded_again_is_complete_at_once(region: Region) -> None:
    first = region.upload("custom/edge-1", IMAGE, SHA256)
    assert region.upload("custom/edge-1", IMAGE, SHA256) == first
    sets = region.call("GET", f"boot-resources/{first}/").json()["sets"]
    assert [shown["complete"] for shown in sets.values()] == [True, True]


def test_content_that_is_not_what_was_announced_is_refused(region: Region) -> None:
    data = {"name": "x", "architecture": "amd64/generic", "sha256": SHA256, "size": "4"}
    created = region.call("POST", "boot-resources/", data=data).json()
    file = next(iter(next(iter(created["sets"].values()))["files"].values()))
    path = file["upload_uri"].removeprefix("/MAAS/api/2.0/")
    assert region.call("PUT", path, content=b"12345").text == "Too much data received."
    wrong = region.call("PUT", path, content=b"1234")
    assert (wrong.status_code, wrong.text) == (400, "Saved content does not match given SHA256 value.")
    assert HTTP.get(f"{region.url}/images/{SHA256}").status_code == 404


def test_a_hardware_report_that_cannot_be_read_changes_nothing(region: Region) -> None:
    system_id = region.create("nuc", MAC)
    answer = region.node(system_id).post("signal", status="OK", hardware='{"disks": [{}]}')
    assert answer.status_code == 400
    assert region.machine(system_id)["status"] == 1
