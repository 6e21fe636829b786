"""A device's whole way: image from the role, network boot, installation, cloud-init, SSH with a verified key.

Not part of `make test`: it takes minutes (`make test-boot`). What stands for what: docs/nuc-image.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from conftest import Device, Image, say
from rack import MAC

built_here = pytest.mark.skipif("EDGE_BOOT_IMAGE" in os.environ, reason="the image was given by EDGE_BOOT_IMAGE")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@built_here
def test_the_same_inputs_are_not_built_twice(image: Image) -> None:
    before = image.archive.stat().st_mtime_ns
    assert "changed=0 " in image.build()
    assert image.archive.stat().st_mtime_ns == before


@built_here
def test_check_mode_says_what_it_would_build(image: Image) -> None:
    output = image.build("--check", "--diff", "-e", '{"nuc_image_extra_packages": ["tree"]}')
    assert "changed=1 " in output
    assert re.search(r'^\+ +"tree",$', output, re.MULTILINE)
    assert not (image.work / "build").exists()


@built_here
def test_two_builds_are_equal_to_the_byte(image: Image) -> None:
    say("building the image again, elsewhere")
    again = image.work / "again" / "edge-nuc.tar.gz"
    image.build(archive=again)
    assert sha256(again) == sha256(image.archive)
    again.unlink()


def test_the_image_holds_no_identity_and_no_secret(image: Image) -> None:
    with tarfile.open(image.archive, "r|gz") as tar:
        sizes = {member.name.removeprefix("./"): member.size for member in tar}
    assert sizes["etc/machine-id"] == 0
    unwanted = re.compile(r"ssh_host_|lib/systemd/random-seed$|pip\.conf|\.netrc|id_ed25519|__pycache__")
    assert not [name for name in sizes if unwanted.search(name)]
    assert not [name for name in sizes if name.startswith("var/log/") and sizes[name]]
    assert not [name for name in sizes if name.startswith("var/lib/apt/lists/") and sizes[name]]


def test_the_bill_of_materials_names_every_package(image: Image) -> None:
    bill = json.loads(image.archive.with_name("edge-nuc.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    urls = {component["purl"] for component in bill["components"]}
    assert "pkg:pypi/ansible-core@2.19.14" in urls
    with tarfile.open(image.archive, "r|gz") as tar:
        member = next(member for member in tar if member.name == "./var/lib/dpkg/status")
        content = tar.extractfile(member)
        assert content is not None
        status = content.read().decode()
    stanzas = [stanza for stanza in status.split("\n\n") if "\nStatus: install ok installed\n" in stanza]
    installed = [stanza.split(None, 2)[1] for stanza in stanzas]
    listed = {component["name"] for component in bill["components"] if component["purl"].startswith("pkg:deb/")}
    assert listed == set(installed)


def test_it_was_installed_over_the_network_and_booted_its_disk_through_it(device: Device) -> None:
    console = device.machine.console()
    xinstall, local = console.index("edge: MAAS says xinstall"), console.index("edge: MAAS says local")
    assert xinstall < console.index("edge-install: disk is finished") < local
    assert "edge: no boot loader on the disk" not in console
    assert device.run("findmnt --noheadings --output SOURCE,FSTYPE /").split() == ["/dev/vda2", "ext4"]


def test_cloud_init_finished_without_an_error(device: Device) -> None:
    status = json.loads(device.run("sudo cloud-init status --format=json"))
    assert status["status"] == "done"
    assert status["errors"] == []
    assert "Invalid cloud-config" not in device.run("sudo cat /var/log/cloud-init.log")
    assert device.run("sudo cloud-init query cloud_id").strip() == "maas"
    assert device.run("cat /etc/edge-boot-test") == "from user data"
    device.run("test -e /run/edge-boot-test")


def test_the_network_is_as_maas_described_it(device: Device) -> None:
    assert device.run("sudo cat /etc/netplan/50-cloud-init.yaml").count(device.address) == 1
    assert f"{device.address}/24" in device.run("ip -brief -4 address")
    assert device.run("hostname") == "nuc-001"


def test_what_a_device_needs_runs(device: Device) -> None:
    assert device.run("sudo docker info --format '{{.ServerVersion}}'")
    assert "ansible [core 2.19.14]" in device.run("/opt/edge/ansible/bin/ansible --version")
    answer = device.run("sudo /opt/edge/ansible/bin/ansible localhost -m ansible.builtin.ping -o")
    assert '"ping": "pong"' in answer
    assert device.run("systemctl list-units --failed --no-legend --plain") == ""
    assert device.run("systemctl is-enabled apt-daily.timer || true") == "masked"


def test_host_keys_and_machine_id_are_its_own(device: Device) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", device.run("cat /etc/machine-id"))
    # All of them; the way in was opened as soon as the first was known.
    reported = device.reported_keys()
    on_disk = set(device.run("cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f1,2").splitlines())
    # The report leaves DSA out, which OpenSSH takes no more.
    assert reported == {key for key in on_disk if not key.startswith("ssh-dss ")}
    assert len(reported) >= 3


def test_a_host_key_that_was_not_reported_is_refused(device: Device) -> None:
    other = device.known_hosts.with_name("known_hosts.other")
    key = device.known_hosts.with_name("id.pub").read_text().split()[:2]
    other.write_text(f"{device.address} {' '.join(key)}\n")
    stranger = Device(device.machine, device.region, device.address, device.identity, other)
    done = stranger.ssh("true")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_the_installers_hooks_are_gone_and_the_recipe_is_there(device: Device) -> None:
    device.run("test ! -e /curtin")
    assert json.loads(device.run("cat /usr/share/edge/recipe.json"))["suite"] == "bookworm"


def test_the_boot_order_is_changed_and_put_back_on_the_running_machine(device: Device) -> None:
    def boot_order() -> list[str]:
        return re.findall(r"^BootOrder: (.*)$", device.run("sudo efibootmgr"), re.MULTILINE)[0].split(",")

    found = boot_order()
    # The installer left the network first, as MAAS's does.
    assert re.search(rf"^Boot{found[0]}\* .*PXEv4", device.run("sudo efibootmgr"), re.MULTILINE)
    assert "changed=0 " in device.playbook("boot_order.yml", pxe_boot_state="first", pxe_boot_macs=[MAC])
    predicted = device.playbook("boot_order.yml", "--check", "--diff", pxe_boot_state="last")
    assert "changed=1 " in predicted
    assert boot_order() == found
    assert "changed=1 " in device.playbook("boot_order.yml", pxe_boot_state="last")
    assert boot_order() == [*found[1:], found[0]]
    assert "changed=0 " in device.playbook("boot_order.yml", pxe_boot_state="last")
    assert "changed=1 " in device.playbook("boot_order.yml", pxe_boot_state="restored")
    assert boot_order() == found
