# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_vm, each behaviour on a paid host by the API and on a free host by SSH."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi import api, vm_api, vm_ssh
from ansible_collections.edge.rack.plugins.modules import esxi_vm
from ansible_collections.edge.rack.tests.unit.plugins import esxi_images as images

Vm = Callable[..., dict[str, Any]]
NETWORK = "edge-rack"
SECRET = "#cloud-config\npassword: hunter2-the-secret\n"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_api, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(vm_ssh, "POLL_SECONDS", 0.05)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """One machine per test, so that hosts can be shared."""
    return request.node.name.replace("[", "-").replace("]", "").removeprefix("test_")[:60]


@pytest.fixture
def vm(host: Any, name: str, run_module: Any) -> Vm:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module(esxi_vm, check, **{**host.options, "name": name, "datastore": "datastore1", **options})

    return run


@pytest.fixture
def own_vm(own_host: Any, name: str, run_module: Any) -> Vm:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module(esxi_vm, check, **{**own_host.options, "name": name, "datastore": "datastore1", **options})

    return run


def done(result: dict[str, Any], changed: bool = True) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    assert result["changed"] is changed, (result["changes"], result["actions"])
    return result


def refused(result: dict[str, Any]) -> str:
    assert result.get("failed"), result
    return str(result["msg"])


def files(host: Any, name: str) -> list[str]:
    folder = host.simulator.datastore() / name
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def fault(host: Any, api: str, ssh: str, kind: str, output: str = "", when: str = "middle") -> None:
    """The same mishap in the words of either way."""
    if host.transport == "api":
        host.simulator.fault(method=api, fault=kind, when=when, times=1)
    else:
        host.simulator.fault(command=ssh, when=when, output=output, code=1, times=1)


def kill_it(*_args: Any, **_more: Any) -> Any:
    raise KeyboardInterrupt


def killed_creation(
    host: Any, vm: Vm, name: str, monkeypatch: pytest.MonkeyPatch, point: str, *, aged: bool = True, **options: Any
) -> None:
    """A run that ends at a point of its creation, so long ago (`aged`) that nobody waits for it any more."""
    vms = vm_api.ApiVms if host.transport == "api" else vm_ssh.ShellVms
    with monkeypatch.context() as patched:
        patched.setattr(vms, "_take_away", lambda *_args: None)
        patched.setattr(vms, point, kill_it)
        if aged and host.transport == "api":
            patched.setattr(vms, "_now", lambda _self: 0)
        with pytest.raises(KeyboardInterrupt):
            vm(**options)
    marker = host.simulator.datastore() / name / vm_ssh.MARKER
    if aged and host.transport == "ssh":
        marker.write_text(f"{marker.read_text().split()[0]} 1\n")


# -- The life of a machine


def test_a_machine_is_created_whole(host: Any, vm: Vm, name: str) -> None:
    options = {
        "cpus": 2,
        "memory_mib": 2048,
        "firmware": "bios",
        "guest_id": "debian11_64Guest",
        "annotation": 'first "line"\nsecond | line: No space left on device',
        "disks": [{"size_gib": 2}, {"size_gib": 1, "type": "thick"}],
        "networks": [{"network": "VM Network", "mac": "00:50:56:00:00:10"}, {"network": "VM Network"}],
        "boot_order": ["network", "disk"],
        "guestinfo": {"rack": "7"},
        "autostart": {"order": 1, "start_delay_seconds": 10, "stop_action": "guestShutdown"},
    }
    result = done(vm(**options))
    made = result["vm"]
    assert made["power_state"] == "poweredoff"
    assert made["path"] == f"[datastore1] {name}/{name}.vmx"
    assert (made["cpus"], made["memory_mib"], made["firmware"]) == (2, 2048, "bios")
    assert (made["guest_id"], made["annotation"]) == (options["guest_id"], options["annotation"])
    assert [(d["size_gib"], d["type"]) for d in made["disks"]] == [(2, "thin"), (1, "thick")]
    assert [(n["network"], n["type"]) for n in made["networks"]] == [("VM Network", "vmxnet3")] * 2
    assert made["networks"][0]["mac"] == "00:50:56:00:00:10"
    assert made["boot_order"] == ["network", "disk"]
    assert made["autostart"]["enabled"] and made["autostart"]["start_delay_seconds"] == 10
    assert result["actions"] == ["create", "set_autostart"]
    assert not [file for file in files(host, name) if "creating" in file or "partial" in file]
    assert result["transport"] == host.transport

    again = done(vm(**options), changed=False)
    assert again["changes"] == [] and again["actions"] == []
    done(vm(state="absent"))
    assert files(host, name) == []


def test_a_machine_with_nothing_said_has_defaults(vm: Vm) -> None:
    made = done(vm())["vm"]
    assert (made["cpus"], made["memory_mib"], made["firmware"]) == (1, 1024, "efi")
    assert made["disks"] == [] and made["networks"] == []
    done(vm(), changed=False)


def test_settings_are_changed_while_it_is_off_and_others_left_alone(vm: Vm, host: Any) -> None:
    done(vm(cpus=2, annotation="keep", disks=[{"size_gib": 1}], networks=[{"network": "VM Network"}]))
    result = done(
        vm(
            cpus=4,
            memory_mib=4096,
            firmware="bios",
            guest_id="ubuntu64Guest",
            disks=[{"size_gib": 3}, {"size_gib": 1, "type": "eagerzeroedthick"}],
            networks=[{"network": NETWORK, "mac": "02:00:00:00:00:09"}, {"network": "VM Network"}],
            boot_order=["disk", "network"],
            guestinfo={"a": "1", "b": "2"},
        )
    )
    assert result["actions"] == ["reconfigure"]
    now = result["vm"]
    assert (now["cpus"], now["memory_mib"], now["firmware"], now["annotation"]) == (4, 4096, "bios", "keep")
    assert [d["size_gib"] for d in now["disks"]] == [3, 1]
    assert now["networks"][0]["network"] == NETWORK and now["networks"][0]["mac"] == "02:00:00:00:00:09"
    assert now["guest_id"] == "ubuntu64Guest" and now["boot_order"] == ["disk", "network"]
    result = done(vm(guestinfo={"a": ""}, networks=[{"network": "VM Network", "type": "e1000e"}]))
    assert [n["type"] for n in result["vm"]["networks"]] == ["e1000e"]
    done(vm(guestinfo={"a": "", "b": "2"}, cpus=4), changed=False)
    if host.transport == "ssh":  # the simulator's API does not tell an empty annotation from none
        assert done(vm(annotation=""))["vm"]["annotation"] == ""
        done(vm(annotation=""), changed=False)


def test_check_mode_tells_and_changes_nothing(vm: Vm, host: Any, name: str) -> None:
    told = done(vm(check=True, state="poweredon", cpus=2))
    assert told["vm"] is None and told["actions"] == ["create", "power_on"]
    assert told["diff"]["after"]["cpus"] == 2
    assert files(host, name) == []
    done(vm(cpus=2))
    told = done(vm(check=True, cpus=3))
    assert told["changes"] == [{"setting": "cpus", "old": 2, "new": 3, "power_cycle": True}]
    assert told["diff"] == {"before": {"cpus": 2}, "after": {"cpus": 3}}
    assert told["vm"]["cpus"] == 2
    done(vm(check=True, state="absent"))
    assert done(vm(), changed=False)["vm"]["cpus"] == 2


def test_a_running_machine_is_changed_with_permission_only(vm: Vm, tmp_path: Path) -> None:
    done(vm(state="poweredon", source=str(images.vmdk(tmp_path))))
    message = refused(vm(cpus=2, memory_mib=2048))
    assert "`cpus` (1 -> 2)" in message and "`memory_mib` (1024 -> 2048)" in message and "allow_power_cycle" in message
    assert done(vm(), changed=False)["vm"]["cpus"] == 1
    refused(vm(check=True, cpus=2))
    result = done(vm(cpus=2, allow_power_cycle=True))
    assert result["actions"][-2:] == ["reconfigure", "power_on"]
    assert (result["vm"]["cpus"], result["vm"]["power_state"]) == (2, "poweredon")
    message = refused(vm(state="absent"))
    assert "poweredon" in message and "allow_power_cycle" in message
    result = done(vm(state="absent", allow_power_cycle=True))
    assert result["actions"] == ["power_off", "destroy"] and result["vm"] is None
    done(vm(state="absent"), changed=False)


def test_what_a_running_machine_takes_is_told_by_the_way(vm: Vm, host: Any) -> None:
    done(vm(state="poweredon", disks=[{"size_gib": 1}], networks=[{"network": "VM Network"}]))
    options = {
        "annotation": "while it runs",
        "disks": [{"size_gib": 2}, {"size_gib": 1}],
        "networks": [{"network": NETWORK}],
        "guestinfo": {"x": "1"},
    }
    if host.transport == "ssh":
        assert "`annotation`" in refused(vm(**options))
        return
    result = done(vm(**options))
    assert not any(change["power_cycle"] for change in result["changes"])
    assert result["actions"] == ["reconfigure"]
    assert [d["size_gib"] for d in result["vm"]["disks"]] == [2, 1]
    done(vm(**options), changed=False)


def test_power_states_are_reached_and_kept(vm: Vm, tmp_path: Path) -> None:
    disk = {"source": str(images.vmdk(tmp_path)), "networks": [{"network": "VM Network"}]}
    assert done(vm(state="poweredon", **disk))["actions"] == ["upload", "create", "power_on"]
    done(vm(state="poweredon"), changed=False)
    first = done(vm(state="poweredon", wait_for_address=True), changed=False)["vm"]
    assert first["address"] and first["tools"] == "running"
    result = done(vm(state="restarted"))
    assert result["actions"] == ["shut_down", "power_on"] and result["vm"]["power_state"] == "poweredon"
    done(vm(state="present", wait_for_address=True), changed=False)
    assert done(vm(state="poweredoff"))["actions"] == ["shut_down"]
    done(vm(state="poweredoff"), changed=False)
    assert done(vm(state="restarted"))["actions"] == ["power_on"]


def test_a_deaf_guest_is_switched_off_hard(vm: Vm, tmp_path: Path) -> None:
    deaf = {"guestinfo": {"simulator.deaf": "1"}, "source": str(images.vmdk(tmp_path))}
    networks = [{"network": "VM Network"}]
    done(vm(state="poweredon", networks=networks, wait_for_address=True, **deaf))
    result = done(vm(state="poweredoff", shutdown_timeout_seconds=1))
    assert result["actions"] == ["shut_down", "power_off"]
    assert result["vm"]["power_state"] == "poweredoff"


def test_the_deadline_for_an_address_is_kept(vm: Vm, tmp_path: Path) -> None:
    silent = {"guestinfo": {"simulator.silent": "1"}, "source": str(images.vmdk(tmp_path))}
    silent["networks"] = [{"network": "VM Network"}]
    message = refused(vm(state="poweredon", wait_for_address=True, address_timeout_seconds=1, **silent))
    assert "waiting for its address" in message and "within 1 s" in message
    done(vm(state="poweredon"), changed=False)


def test_autostart_is_set_kept_and_taken_away(vm: Vm) -> None:
    done(vm(autostart={"order": 1}))
    result = done(vm(autostart={"stop_delay_seconds": 60}))
    assert result["actions"] == ["set_autostart"]
    assert result["vm"]["autostart"]["order"] == 1 and result["vm"]["autostart"]["stop_delay_seconds"] == 60
    done(vm(autostart={"enabled": False}))
    done(vm(autostart={"enabled": False}), changed=False)


@pytest.mark.parametrize("odd", ["with  blanks", 'it\'s "quoted" $HOME;&|', "grüße ✓ 株", "-rf [x] {y} #z"])
def test_names_may_be_odd(vm: Vm, host: Any, odd: str) -> None:
    odd = f"{odd} {host.transport}"
    options = {"name": odd, "disks": [{"size_gib": 1}], "annotation": odd, "autostart": {"order": 1}}
    made = done(vm(state="poweredon", **options))["vm"]
    assert made["name"] == odd and made["annotation"] == odd
    done(vm(state="poweredon", **options), changed=False)
    done(vm(state="poweredoff", **{**options, "disks": [{"size_gib": 2}, {"size_gib": 1}]}))
    done(vm(state="absent", name=odd))
    assert files(host, odd) == []


# -- From an image


@pytest.mark.parametrize("kind", ["vmdk", "ovf", "ova"])
def test_the_first_disk_has_the_content_of_the_image(vm: Vm, host: Any, name: str, tmp_path: Path, kind: str) -> None:
    source = getattr(images, kind)(tmp_path, b"debian 12\n", 64)
    options = {"source": str(source), "disks": [{"size_gib": 1}, {"size_gib": 1}]}
    result = done(vm(**options))
    assert result["actions"] == ["upload", "create"]
    assert [(d["size_gib"], d["type"]) for d in result["vm"]["disks"]] == [(1, "thin"), (1, "thin")]
    disk = host.simulator.datastore() / name / result["vm"]["disks"][0]["path"].rsplit("/", 1)[1]
    assert disk.with_name(disk.stem + "-flat.vmdk").read_bytes()[:10] == b"debian 12\n"
    assert not [file for file in files(host, name) if "upload" in file or "creating" in file]
    source.unlink()
    done(vm(**options), changed=False)


@pytest.mark.parametrize("host", ["api"], indirect=True)
def test_the_host_hears_how_far_an_upload_is(
    vm: Vm, host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_api, "PROGRESS_SECONDS", 0)
    done(vm(source=str(images.vmdk(tmp_path))))
    assert "HttpNfcLeaseProgress" in host.asked()


def test_an_image_that_is_not_what_its_manifest_says_is_refused(vm: Vm, host: Any, name: str, tmp_path: Path) -> None:
    message = refused(vm(source=str(images.ova(tmp_path, broken=True))))
    assert "SHA256 of disk.vmdk" in message
    assert files(host, name) == []


def test_an_image_of_another_kind_is_refused_with_the_way_to_convert_it(vm: Vm, tmp_path: Path) -> None:
    path = tmp_path / "x.vmdk"
    path.write_bytes(b"QFI\xfb" + b"\0" * 1000)
    assert "qemu-img convert" in refused(vm(source=str(path)))
    assert "No such file" in refused(vm(source=str(tmp_path / "none.ova")))


# -- Refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"networks": [{"network": "lan"}]}, "no network lan"),
        ({"datastore": "nope"}, "no such datastore"),
        ({"iso": "[datastore1] iso/none.iso"}, "there is no [datastore1] iso/none.iso"),
        ({"guest_id": "ms-dos"}, "`guest_id`"),
        ({"datastore": None}, "Set `datastore`"),
        ({"boot_order": ["network"]}, "it has none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    vm: Vm, host: Any, name: str, options: dict[str, Any], said: str
) -> None:
    message = refused(vm(**options))
    assert said in message and (f"VM {name}" in message or "datastore nope" in message)
    assert files(host, name) == []
    done(vm(state="absent"), changed=False)


def test_a_guest_that_the_host_does_not_know_is_refused(vm: Vm, host: Any, name: str) -> None:
    refused(vm(guest_id="bogus64Guest", disks=[{"size_gib": 1}]))
    assert files(host, name) == []
    done(vm(state="absent"), changed=False)


def test_disks_do_not_shrink_or_go(vm: Vm, name: str) -> None:
    done(vm(disks=[{"size_gib": 2}, {"size_gib": 1}]))
    message = refused(vm(disks=[{"size_gib": 1}, {"size_gib": 1}]))
    assert f"VM {name}" in message and "from 2 GiB to 1 GiB" in message
    assert "never removed" in refused(vm(disks=[{"size_gib": 2}]))


def test_an_iso_is_inserted_changed_and_taken_out(vm: Vm, host: Any) -> None:
    for file in ("a.iso", "b c.iso"):
        path = host.simulator.datastore() / "iso" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 4096)
    assert done(vm(iso="[datastore1] iso/a.iso"))["vm"]["iso"] == "[datastore1] iso/a.iso"
    done(vm(iso="[datastore1] iso/a.iso"), changed=False)
    assert done(vm(iso="[datastore1] iso/b c.iso"))["vm"]["iso"] == "[datastore1] iso/b c.iso"
    assert done(vm(iso=""))["vm"]["iso"] == ""
    done(vm(iso=""), changed=False)


def test_a_free_licence_has_8_cpus(vm: Vm, host: Any) -> None:
    if host.transport == "api":
        done(vm(cpus=9))
        return
    message = refused(vm(cpus=9))
    assert "8 virtual CPUs" in message and "esxBasic" in message
    done(vm(state="absent"), changed=False)


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_the_api_of_a_free_host_is_a_clear_refusal(host: Any, run_module: Any, name: str) -> None:
    options = {**host.options, "name": name, "datastore": "datastore1", "transport": "api"}
    for check in (True, False):
        message = refused(run_module(esxi_vm, check, **options))
        assert "allows the API to read only" in message and "transport: auto" in message
    done(run_module(esxi_vm, False, **{**options, "state": "absent"}), changed=False)


def test_a_folder_that_is_not_ours_is_never_touched(vm: Vm, host: Any, name: str) -> None:
    folder = host.simulator.datastore() / name
    folder.mkdir()
    (folder / "precious.txt").write_text("x")
    result = vm(disks=[{"size_gib": 1}])
    if host.transport == "ssh":
        assert f"the folder [datastore1] {name} is there already" in refused(result)
    else:
        done(result)
        done(vm(state="absent"))
    assert (folder / "precious.txt").exists()


def test_a_name_that_two_machines_have_is_refused(vm: Vm, host: Any, name: str) -> None:
    made = done(vm())["vm"]
    with host.shell() as session:
        store = str(host.simulator.datastore().resolve())
        text = session.run("cat", f"{store}/{name}/{name}.vmx").checked()
        session.run("mkdir", f"{store}/{name}-2").checked()
        other = f"{store}/{name}-2/x.vmx"
        session.write(other, [text.replace(f'displayName = "{name}"', f'displayName = "{name} 2"').encode()])
        vmid = session.run("vim-cmd", "solo/registervm", other).checked().strip()
        session.write(other, [text.encode()])
        session.run("vim-cmd", "vmsvc/reload", vmid).checked()
    message = refused(vm())
    assert "2 machines have this name" in message and made["id"] in message


# -- Secrets


def test_user_data_is_seen_nowhere(vm: Vm, host: Any, name: str, tmp_path: Path) -> None:
    seen = []
    data = {"user_data": SECRET, "meta_data": {"local-hostname": "registry"}}
    seen.append(vm(check=True, cloud_init=data))
    seen.append(done(vm(cloud_init=data)))
    seen.append(done(vm(cloud_init=data), changed=False))
    seen.append(done(vm(cloud_init={"user_data": SECRET + "more: 1\n"})))
    seen.append(done(vm(cloud_init={"user_data": SECRET + "# " + "x" * 40000})))
    seen.append(vm(cloud_init={"user_data": SECRET}, networks=[{"network": "none"}]))
    text = json.dumps([seen, host.simulator.counts()])
    encoded = "cGFzc3dvcmQ6IGh1bnRlcjI"  # "password: hunter2" in base64, as it may lie
    assert "hunter2" not in text and encoded not in text and "cloud-config" not in text
    change = next(c for c in seen[3]["changes"] if c["setting"] == "cloud_init.user_data")
    assert change["old"].startswith("sha256:") and change["new"] != change["old"]
    assert [c["setting"] for c in seen[3]["changes"]] == ["cloud_init.user_data", "cloud_init.meta_data"]
    done(vm(cloud_init={"user_data": SECRET + "# " + "x" * 40000}), changed=False)
    vmx = (host.simulator.datastore() / name / f"{name}.vmx").read_text()
    assert 'guestinfo.userdata.encoding = "gzip+base64"' in vmx
    done(vm(cloud_init={"user_data": "", "meta_data": {}}))
    assert "guestinfo.userdata" not in (host.simulator.datastore() / name / f"{name}.vmx").read_text()


def test_the_password_is_never_shown(vm: Vm, host: Any) -> None:
    result = vm(networks=[{"network": "none"}])
    assert host.options["password"] not in json.dumps(result)


# -- Mishaps


def test_a_wrong_password_is_told_as_such(vm: Vm) -> None:
    message = refused(vm(password="wrong"))
    assert "password" in message and "reach" not in message


def test_an_unknown_certificate_and_an_unknown_key_are_told_as_such(vm: Vm, host: Any, tmp_path: Path) -> None:
    assert "certificate" in refused(vm(ca_path=None))
    known = tmp_path / "known_hosts"
    known.write_text("")
    message = refused(vm(transport="ssh", ssh_host_key=None, ssh_known_hosts=str(known)))
    assert "key is not known" in message and "ssh_host_key" in message


def test_a_host_that_is_not_there_is_told_as_such(vm: Vm) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "cannot be reached" in refused(vm(port=port))
    refused(vm(transport="ssh", ssh_port=port))


@pytest.mark.parametrize("host", ["api"], indirect=True)
def test_a_session_that_expires_in_the_middle_is_opened_anew(
    vm: Vm, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = vm_api.ApiVms.find

    def expiring(self: Any, name: str) -> Any:
        found = find(self, name)
        host.simulator.expire_sessions()
        return found

    monkeypatch.setattr(vm_api.ApiVms, "find", expiring)
    done(vm(disks=[{"size_gib": 1}]))
    done(vm(state="poweredon"))


def test_a_connection_that_breaks_is_told_and_the_next_run_mends_it(vm: Vm, host: Any, name: str) -> None:
    if host.transport == "api":
        host.simulator.fault(method="CreateVM_Task", fault="drop", when="start", times=1)
    else:
        host.simulator.fault(command="vmkfstools -c", output="drop", when="middle", times=1)
    message = refused(vm(disks=[{"size_gib": 1}]))
    assert "broke" in message or "reached" in message
    if host.transport == "ssh":
        assert "another run may be creating it" in refused(vm(disks=[{"size_gib": 1}]))
        (host.simulator.datastore() / name / vm_ssh.MARKER).write_text("token 1\n")
    result = done(vm(disks=[{"size_gib": 1}]))
    if host.transport == "ssh":
        assert result["actions"] == ["remove_remains", "create"]
    done(vm(disks=[{"size_gib": 1}]), changed=False)


@pytest.mark.parametrize("with_image", [False, True])
def test_a_full_datastore_leaves_nothing(
    own_vm: Vm, own_host: Any, name: str, tmp_path: Path, with_image: bool
) -> None:
    own_host.simulator.capacity("datastore1", 1)
    source = {"source": str(images.vmdk(tmp_path, mib=64))} if with_image else {}
    message = refused(own_vm(disks=[{"size_gib": 2, "type": "thick"}], **source))
    assert "space" in message and "esxi_host_info" in message
    assert files(own_host, name) == []
    done(own_vm(state="absent"), changed=False)
    own_host.simulator.capacity("datastore1", 10)
    done(own_vm(disks=[{"size_gib": 2, "type": "thick"}], **source))


@pytest.mark.parametrize("with_image", [False, True])
def test_a_task_that_fails_in_the_middle_leaves_nothing(
    vm: Vm, host: Any, name: str, tmp_path: Path, with_image: bool
) -> None:
    source = {"source": str(images.vmdk(tmp_path))} if with_image else {}
    api = "ReconfigVM_Task" if with_image else "CreateVM_Task"
    fault(host, api, "vmkfstools -i" if with_image else "vmkfstools -c", "NoDiskSpace", "No space left on device")
    assert "space" in refused(vm(disks=[{"size_gib": 1}], **source))
    assert files(host, name) == []
    done(vm(state="absent"), changed=False)
    fault(
        host, "ReconfigVM_Task", "vim-cmd solo/registervm", "GenericVmConfigFault", "(vim.fault.GenericVmConfigFault) {"
    )
    refused(vm(disks=[{"size_gib": 1}], **source))
    assert files(host, name) == []
    done(vm(state="absent"), changed=False)


def test_an_upload_that_breaks_off_leaves_nothing(
    vm: Vm, host: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = images.vmdk(tmp_path)
    size = source.stat().st_size

    def broken(self: Any) -> Any:
        yield b"K" * (size // 2)
        raise OSError("the disk of the controller broke")

    monkeypatch.setattr("ansible_collections.edge.rack.plugins.module_utils.esxi.image.Image.chunks", broken)
    refused(vm(source=str(source)))
    assert files(host, name) == []
    monkeypatch.undo()


def test_a_change_that_fails_leaves_the_machine_as_it_was_and_running(vm: Vm, host: Any, name: str) -> None:
    done(vm(state="poweredon", disks=[{"size_gib": 1}], cpus=1))
    fault(host, "ReconfigVM_Task", "vim-cmd vmsvc/reload", "GenericVmConfigFault", "(vim.fault.InvalidVmConfig) {")
    refused(vm(cpus=2, disks=[{"size_gib": 1}, {"size_gib": 1}], allow_power_cycle=True))
    now = done(vm(), changed=False)["vm"]
    assert (now["cpus"], len(now["disks"]), now["power_state"]) == (1, 1, "poweredon")
    assert not [file for file in files(host, name) if "_1" in file]


def test_what_a_killed_creation_left_is_removed_by_the_next_run(
    vm: Vm, host: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"source": str(images.vmdk(tmp_path)), "disks": [{"size_gib": 1}]}

    for point in {"api": ["_reconfigure"], "ssh": ["_disk_tool", "_register"]}[host.transport]:
        killed_creation(host, vm, name, monkeypatch, point, **options)
        assert files(host, name) != []
        told = done(vm(check=True, **options))
        assert told["actions"] == ["remove_remains", "upload", "create"] and told["vm"] is None
        assert files(host, name) != []
        assert done(vm(state="absent"))["actions"] == ["remove_remains"]
        assert files(host, name) == []
        killed_creation(host, vm, name, monkeypatch, point, **options)
        result = done(vm(state="poweredon", **options))
        assert result["actions"] == ["remove_remains", "upload", "create", "power_on"]
        done(vm(state="poweredon", **options), changed=False)
        done(vm(state="absent", allow_power_cycle=True))


LAST_POINT = {"api": "_reconfigure", "ssh": "_register"}


@pytest.mark.parametrize("how", ["on", "was on"])
def test_a_machine_with_the_marker_that_somebody_uses_is_kept(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    options = {"disks": [{"size_gib": 1}]}
    killed_creation(host, vm, name, monkeypatch, LAST_POINT[host.transport], **options)
    path = host.simulator.datastore() / name
    with host.shell() as session:
        rows = session.run("vim-cmd", "vmsvc/getallvms").checked().splitlines()
        vmid = next((row.split()[0] for row in rows if f" {name} " in row), "")
        if not vmid:
            vmid = session.run("vim-cmd", "solo/registervm", f"{path.resolve()}/{name}.vmx").checked().strip()
        if how == "on":
            session.run("vim-cmd", "vmsvc/power.on", vmid).checked()
        else:
            (path / "vmware.log").write_text("it ran")
    for state in ("poweredon", "absent"):
        for check in (True, False):
            message = refused(vm(check=check, state=state, allow_power_cycle=True, **options))
            assert ("it is poweredon" if how == "on" else "it was on already") in message
    assert f"{name}.vmdk" in files(host, name)


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_marked_folder_with_a_machine_of_another_name_is_kept(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_creation(host, vm, name, monkeypatch, "_register", disks=[{"size_gib": 1}])
    vmx = host.simulator.datastore() / name / f"{name}.vmx"
    vmx.write_text(vmx.read_text().replace(f'displayName = "{name}"', 'displayName = "prod"'))
    with host.shell() as session:
        vmid = session.run("vim-cmd", "solo/registervm", str(vmx.resolve())).checked().strip()
        for state in ("absent", "present"):
            assert "the VM prod lies in its folder" in refused(vm(state=state))
        assert f"{name}.vmdk" in files(host, name)
        session.run("vim-cmd", "vmsvc/destroy", vmid)


def test_a_creation_that_may_still_go_on_is_left_alone(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"disks": [{"size_gib": 1}]}
    killed_creation(host, vm, name, monkeypatch, LAST_POINT[host.transport], aged=False, **options)
    there = files(host, name)
    for state in ("present", "absent"):
        message = refused(vm(state=state, **options))
        assert "another run may be creating it until" in message and "If it is dead" in message
    assert files(host, name) == there


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
@pytest.mark.parametrize("point", ["_create_disks", "_release", "_register"])
def test_a_run_that_lost_its_folder_leaves_it_to_the_other(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Another run took the folder for a rest, and has it now."""
    folder = host.simulator.datastore() / name
    real = getattr(vm_ssh.ShellVms, point)

    def loses(self: Any, *args: Any) -> Any:
        (folder / vm_ssh.MARKER).write_text("other 9999999999\n")
        (folder / "of the other").write_text("x")
        found = real(self, *args)
        if point == "_release":
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(vm_ssh.ShellVms, point, loses)
    if point == "_release":
        with pytest.raises(KeyboardInterrupt):
            vm(disks=[{"size_gib": 1}])
    else:
        assert "another run" in refused(vm(disks=[{"size_gib": 1}]))
    assert (folder / "of the other").exists()
    with host.shell() as session:
        assert f" {name} " not in session.run("vim-cmd", "vmsvc/getallvms").checked()


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_machine_is_finished_with_its_registration(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends right after it leaves nothing that the next one would take for a rest."""
    with monkeypatch.context() as patched:
        patched.setattr(vm_ssh.ShellVms, "_take_away", lambda *_args: None)
        patched.setattr(vm_ssh.ShellVms, "_whole", kill_it)
        with pytest.raises(KeyboardInterrupt):
            vm(disks=[{"size_gib": 1}])
    assert vm_ssh.MARKER not in files(host, name)
    done(vm(disks=[{"size_gib": 1}]), changed=False)


@pytest.mark.parametrize("host", ["api"], indirect=True)
def test_an_import_that_was_cut_off_is_removed_when_its_lease_ends(
    vm: Vm, host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = []

    def half_import(self: Any, asked: str, spec: Any, folder: Any, pool: Any, _image: Any) -> None:
        lease = self.session.call(asked, pool.ImportVApp, vm_api.vim.vm.VmImportSpec(configSpec=spec), folder)
        self._ready(asked, lease)
        leases.append(lease._moId)
        raise KeyboardInterrupt

    options = {"source": str(images.vmdk(tmp_path))}
    with monkeypatch.context() as patched:
        patched.setattr(vm_api.ApiVms, "_import", half_import)
        patched.setattr(vm_api.ApiVms, "_now", lambda _self: 0)
        with pytest.raises(KeyboardInterrupt):
            vm(**options)
    monkeypatch.setattr(vm_api, "LEASE_SECONDS", 0)
    assert "its upload still goes on" in refused(vm(**options))
    monkeypatch.undo()
    again = vm_api.ApiVms.again

    def lease_ends(self: Any, name: str) -> Any:
        for moid in leases:
            vm_api.vim.HttpNfcLease(moid, self.session.stub).Abort()
        leases.clear()
        return again(self, name)

    monkeypatch.setattr(vm_api.ApiVms, "again", lease_ends)
    assert done(vm(**options))["actions"] == ["remove_remains", "upload", "create"]


def test_a_machine_that_was_created_meanwhile_is_not_harmed(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run makes it between our reading and our creating."""
    vms = vm_api.ApiVms if host.transport == "api" else vm_ssh.ShellVms
    create = vms.create

    def late(self: Any, *args: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(vms, "create", create)
            other = vms(self.session, 60)
            other.host()
            other.create(*args)
        return create(self, *args)

    monkeypatch.setattr(vms, "create", late)
    message = refused(vm(disks=[{"size_gib": 1}]))
    assert "another name" in message
    monkeypatch.setattr(vms, "create", create)
    assert done(vm(), changed=False)["vm"]["disks"]


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_vmx_that_the_host_cannot_read_is_written_back(
    vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(vm(disks=[{"size_gib": 1}]))
    ids = vm_ssh.ShellVms._ids_at
    monkeypatch.setattr(vm_ssh.ShellVms, "_ids_at", lambda *_args: [])
    assert "does not read its .vmx any more" in refused(vm(cpus=2))
    monkeypatch.setattr(vm_ssh.ShellVms, "_ids_at", ids)
    assert done(vm(), changed=False)["vm"]["cpus"] == 1


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_vmx_in_another_encoding_is_not_rewritten(vm: Vm, host: Any, name: str) -> None:
    done(vm())
    vmx = host.simulator.datastore() / name / f"{name}.vmx"
    content = vmx.read_text().replace("UTF-8", "windows-1252").encode() + b'sched.note = "gr\xfcn"\n'
    vmx.write_bytes(content)
    for check in (True, False):
        assert "it is written in windows-1252" in refused(vm(check=check, cpus=2))
    assert vmx.read_bytes() == content


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_shell_that_breaks_off_shows_nothing_of_what_it_read(vm: Vm, host: Any, name: str) -> None:
    done(vm(guestinfo={"token": "hunter2"}))
    with host.shell() as session:
        path = host.simulator.datastore().resolve() / name / f"{name}.vmx"
        with pytest.raises(vm_ssh.EsxiError) as caught:
            session.run_all(("cat", str(path)), ("sh", "-c", "kill -9 $PPID"))
    assert "broke off after 1 of 2" in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_what_a_killed_change_wrote_goes_with_the_machine(vm: Vm, host: Any, name: str) -> None:
    done(vm())
    (host.simulator.datastore() / name / f"{name}.vmx.partial").write_text("guestinfo")
    done(vm(state="absent"))
    assert files(host, name) == []


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_notes_that_look_like_a_machine_are_none(vm: Vm, name: str) -> None:
    path = f"[datastore1] {name}/{name}.vmx"
    done(vm(annotation=f"old:\n99     not-there     {path}     otherGuest     vmx-19     x"))
    assert f"belongs to the VM {name}" in refused(vm(name="not-there", state="absent"))


@pytest.mark.parametrize("host", ["ssh"], indirect=True)
def test_a_question_of_the_host_is_told_soon(vm: Vm, host: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever copied a machine's files is asked for it at the first start."""
    done(vm(state="poweredon"))
    done(vm(state="poweredoff"))
    store = host.simulator.datastore().resolve()
    with host.shell() as session:
        vmid = done(vm(), changed=False)["vm"]["id"]
        session.run("vim-cmd", "vmsvc/unregister", vmid).checked()
        session.run("mv", f"{store}/{name}", f"{store}/{name}-moved").checked()
        vmx = f"{store}/{name}-moved/{name}.vmx"
        session.run("sed", "-i", "/uuid.action/d", vmx).checked()
        session.run("vim-cmd", "solo/registervm", vmx).checked()
    monkeypatch.setattr(vm_ssh, "QUESTION_SECONDS", 1)
    begin = time.monotonic()
    assert "moved or copied" in refused(vm(state="poweredon", timeout_seconds=30))
    assert time.monotonic() - begin < 20


def test_a_start_that_takes_long_is_waited_for(vm: Vm, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done(vm())
    monkeypatch.setattr(vm_ssh, "QUESTION_SECONDS", 0)
    assert done(vm(state="poweredon"))["vm"]["power_state"] == "poweredon"


def test_the_snapshot_that_keeps_a_disk_from_growing_is_named(vm: Vm, host: Any) -> None:
    made = done(vm(disks=[{"size_gib": 1}]))["vm"]
    with host.shell() as session:
        session.run("vim-cmd", "vmsvc/snapshot.create", made["id"], "before the upgrade").checked()
    assert "it has the snapshot before the upgrade" in refused(vm(check=True, disks=[{"size_gib": 2}]))


def test_check_mode_tells_the_actions_of_the_run(vm: Vm, tmp_path: Path) -> None:
    broken = {"source": str(images.ova(tmp_path, broken=True))}
    assert "SHA256" in refused(vm(check=True, **broken))
    options = {"state": "poweredon", "source": str(images.vmdk(tmp_path))}
    assert done(vm(check=True, **options))["actions"] == done(vm(**options))["actions"]
    # Its guest comes up between two runs as it likes, and is then asked in place of being switched off.
    deadline = time.monotonic() + 60
    while done(vm(**options), changed=False)["vm"]["tools"] != "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    off = {"state": "poweredoff"}
    told = done(vm(check=True, **off))["actions"]
    assert told == ["shut_down"] == done(vm(**off))["actions"]


def test_the_host_key_may_be_a_line_of_ssh_keyscan(vm: Vm, host: Any) -> None:
    key = host.options["ssh_host_key"]
    for line in (key, f"127.0.0.1 {key}", f"[127.0.0.1]:22 {key} a comment"):
        done(vm(transport="ssh", ssh_host_key=line, state="absent"), changed=False)


def test_a_certificate_with_another_name_is_told_as_such() -> None:
    error = ssl.SSLCertVerificationError("no")
    error.verify_code, error.verify_message = 62, "Hostname mismatch"
    connection = SimpleNamespace(hostname="esxi", port=443)
    with pytest.raises(api.EsxiUntrusted) as caught, api._readable_errors("Connecting", connection):
        raise error
    assert "`hostname`" in str(caught.value) and "ca_path" not in str(caught.value)


@pytest.mark.parametrize(("free", "said"), [(True, "free edition"), (False, "permission")])
def test_a_refused_request_is_the_free_edition_only_on_a_free_host(free: bool, said: str) -> None:
    assert said in str(api._http_error("Writing", "esxi:443", 403, "Forbidden", free))


# -- Cost


@pytest.mark.parametrize("others", [0, 50])
def test_a_run_without_change_costs_as_little_however_many_machines_there_are(
    own_vm: Vm, own_host: Any, others: int
) -> None:
    options = {
        "state": "poweredon",
        "disks": [{"size_gib": 1}, {"size_gib": 1}],
        "networks": [{"network": "VM Network"}],
        "autostart": {"order": 1},
        "cloud_init": {"user_data": SECRET},
    }
    with own_host.shell() as session:
        store = str(own_host.simulator.datastore())
        session.script(
            f"for i in $(seq {others}); do vim-cmd vmsvc/createdummyvm other$i {store}; done", "fifty", 300
        ).checked()
    done(own_vm(**options))
    own_host.simulator.reset_counts()
    done(own_vm(**options), changed=False)
    counts = own_host.simulator.counts()
    if own_host.transport == "api":
        assert len(counts["api"]) <= 6 and counts["ssh"] == [], counts["api"]
    else:
        assert len(counts["ssh"]) <= 4 and len(counts["api"]) <= 5, counts
