"""The insides of virtual machines: what the ESXi host says of one, and what its guest then is."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace

import pytest
import yaml

from lab.metal.guests import CLOUD_INIT_UNITS, GuestError, Guests, VirtualMachine, _guestinfo

METADATA = {
    "instance-id": "registry",
    "local-hostname": "registry.edge.lab",
    "network": {"version": 2, "ethernets": {"nic0": {"match": {"name": "en*"}, "addresses": ["10.77.0.11/24"]}}},
}


def vm(**said):
    guestinfo = {"metadata": json.dumps(METADATA), "userdata": "#cloud-config\n{}"}
    return VirtualMachine.from_json(
        "uuid-1", {"name": "registry", "boot": "edge-lab: vm", "guestinfo": guestinfo, **said}
    )


def test_a_guest_is_what_its_metadata_says():
    assert (vm().hostname, vm().address) == ("registry", "10.77.0.11")


def test_a_guest_without_metadata_is_named_as_its_machine_and_asks_dhcp():
    bare = vm(name="Ärger im „Rack“ 2", guestinfo={})
    assert re.fullmatch(r"[a-z0-9-]+", bare.slug)
    assert (bare.hostname, bare.address) == (bare.slug, None)


def test_metadata_that_is_no_mapping_is_refused():
    with pytest.raises(GuestError, match=r"registry: guestinfo\.metadata is no mapping"):
        vm(guestinfo={"metadata": "- a list"})


def test_cloud_init_finds_what_the_hypervisor_holds():
    files = _guestinfo(vm(guestinfo={"metadata": json.dumps(METADATA), "userdata": 'a "quoted" % line\n'}))
    for unit in CLOUD_INIT_UNITS:
        lines = files[f"/etc/systemd/system/{unit}.service.d/guestinfo.conf"].splitlines()
        variables = dict(line.removeprefix("Environment=").split("=", 1) for line in lines[1:])
        assert base64.b64decode(variables["VMX_GUESTINFO_USERDATA"]).decode() == 'a "quoted" % line\n'
        assert yaml.safe_load(base64.b64decode(variables["VMX_GUESTINFO_METADATA"])) == METADATA


@pytest.mark.parametrize("boot", ["edge-lab: plan9", "PK something else"])
def test_a_disk_without_a_system_of_the_lab_does_not_boot(boot):
    client = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: []))
    with pytest.raises(GuestError, match="registry: its disk begins with"):
        Guests(client, "lab", {"vm": "image"}, "/cache").on(vm(boot=boot))
