"""Bodies, signatures, what is not simulated, and the size of answers."""

from __future__ import annotations

import pytest
from maas_region import HTTP, Region, oauth


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "dhcp-snippets/", "DHCPSnippets.read"),
        ("POST", "ipaddresses/?op=reserve", "IPAddresses.reserve"),
        ("POST", "boot-sources/", "BootSources.create"),
        ("POST", "machines/abc123/?op=set_storage_layout", "Machine.set_storage_layout"),
    ],
)
def test_what_is_not_simulated_answers_501_and_names_itself(region: Region, method: str, path: str, name: str) -> None:
    answer = region.call(method, path)
    assert answer.status_code == 501
    assert answer.json()["operation"].startswith(name)


def test_an_argument_that_is_not_simulated_is_501_too(region: Region) -> None:
    system_id = region.ready("a", "52:54:00:00:00:01")
    answer = region.call("POST", f"machines/{system_id}/?op=deploy", data={"install_kvm": "true"})
    assert (answer.status_code, answer.json()["operation"]) == (501, "Machine.deploy install_kvm")
    answer = region.call("POST", "machines/?op=allocate", data={"storage": "root:10"})
    assert (answer.status_code, answer.json()["operation"]) == (501, "Machines.allocate constraint storage")
    answer = region.call("POST", "tags/", data={"name": "x", "definition": "//node"})
    assert answer.status_code == 501


def test_a_verb_the_resource_does_not_have_is_405(region: Region) -> None:
    assert region.call("DELETE", "machines/").status_code == 405


def test_an_unsigned_request_for_what_needs_a_user_is_401(region: Region) -> None:
    assert region.call("GET", "tags/", auth="").status_code == 401


def test_the_three_body_formats_mean_the_same(region: Region) -> None:
    for number, body in enumerate(
        (
            {"data": {"name": "tag0", "comment": "c"}},
            {"files": {"name": (None, "tag1"), "comment": (None, "c")}},
            {"json": {"name": "tag2", "comment": "c"}},
        )
    ):
        answer = region.call("POST", "tags/", **body)
        assert answer.json()["name"] == f"tag{number}", answer.text
        assert answer.json()["comment"] == "c"


def test_a_multipart_body_without_parts_is_refused_without_a_word(region: Region) -> None:
    system_id = region.create("a", "52:54:00:00:00:01")
    headers = oauth("consumer", "token", "secret") | {"Content-Type": "multipart/form-data; boundary=x"}
    url = f"{region.url}/api/2.0/machines/{system_id}/?op=abort"
    answer = HTTP.post(url, headers=headers, content=b"--x--\r\n")
    assert (answer.status_code, answer.content) == (400, b"")


def test_describe_is_public_and_speaks_of_the_address_it_was_asked_at(region: Region) -> None:
    answer = region.call("GET", "describe/", auth="").json()
    machine = next(r["auth"] for r in answer["resources"] if r["name"] == "MachineHandler")
    assert machine["uri"] == f"{region.url}/api/2.0/machines/{{system_id}}/"
    assert machine["params"] == ["system_id"]


def test_a_hundred_machines_are_listed_in_one_answer(region: Region) -> None:
    for number in range(100):
        mac = f"52:54:00:00:01:{number:02x}"
        system_id = region.create(f"m{number}", mac)
        region.node(system_id).report_hardware(mac)
    machines = region.call("GET", "machines/").json()
    assert len(machines) == 100
    assert {machine["cpu_count"] for machine in machines} == {8}


def test_filters_work_on_the_server(region: Region) -> None:
    one, two = (region.create(f"m{n}", f"52:54:00:00:00:0{n}", commission="false") for n in (1, 2))
    region.call("POST", "tags/", data={"name": "trainer"})
    region.call("POST", "tags/trainer/?op=update_nodes", data={"add": one})
    for query, expected in (
        ({"hostname": "m1"}, [one]),
        ({"hostname": ["m1", "m2"]}, [one, two]),
        ({"id": two}, [two]),
        ({"mac_address": "52:54:00:00:00:02"}, [two]),
        ({"tags": "trainer"}, [one]),
        ({"not_tags": "trainer"}, [two]),
        ({"status": "new", "pool": "default", "zone": "default", "domain": "maas"}, [one, two]),
        ({"status": "deployed"}, []),
    ):
        found = region.call("GET", "machines/", params=query).json()
        assert [machine["system_id"] for machine in found] == expected, query
