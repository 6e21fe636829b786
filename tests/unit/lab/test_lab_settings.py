"""What may be given to `make lab`, and what a lab's addresses come to."""

from __future__ import annotations

import re

import pytest

from lab.settings import CHECKOUT, MAX_DEVICES, LabError, disown, from_environment, own


def test_defaults_are_four_devices_in_the_checkouts_own_lab():
    settings = from_environment({})
    assert (settings.devices, settings.name, str(settings.subnet)) == (4, "lab", "10.77.0.0/24")
    assert settings.state == CHECKOUT / ".lab"


@pytest.mark.parametrize("text", ["0", "abc", "-1", str(MAX_DEVICES + 1), "1000", "", "2.5", " 4", "²"])
def test_a_wrong_number_of_devices_is_refused_with_the_range(lab, text):
    with pytest.raises(LabError) as error:
        lab(LAB_DEVICES=text)
    assert f"LAB_DEVICES={text!r}" in str(error.value)
    assert f"from 1 to {MAX_DEVICES}" in str(error.value)


@pytest.mark.parametrize("text", ["1", str(MAX_DEVICES)])
def test_the_ends_of_the_range_are_accepted(lab, text):
    assert lab(LAB_DEVICES=text).devices == int(text)


@pytest.mark.parametrize("name", ["", "Lab", "2nd", "eight888", "a-b", "a_b", "lab\n"])
def test_a_name_that_no_bridge_could_bear_is_refused(lab, name):
    with pytest.raises(LabError, match=r"LAB_NAME=.*one to seven lower-case letters and digits"):
        lab(LAB_NAME=name)


def test_a_lab_is_not_named_as_the_images_that_all_labs_share(lab):
    with pytest.raises(LabError, match=r"LAB_NAME='cache' .* give another name"):
        lab(LAB_NAME="cache")


def test_the_longest_name_fits_into_a_linux_interface_name(lab):
    assert len(lab(LAB_NAME="seven77").bridge) <= 15


@pytest.mark.parametrize(
    ("subnet", "reason"),
    [
        ("rack", "is not an IPv4 network"),
        ("10.77.0.1/24", "is not an IPv4 network"),  # host bits set
        ("10.77.0.0/33", "is not an IPv4 network"),
        ("fd00::/24", "is not an IPv4 network"),
        ("10.77.0.0/16", "give a private /24"),
        ("10.77.0.0/25", "give a private /24"),
        ("8.8.8.0/24", "give a private /24"),
    ],
)
def test_a_subnet_that_is_no_private_24_is_refused(lab, subnet, reason):
    with pytest.raises(LabError) as error:
        lab(LAB_SUBNET=subnet)
    assert f"LAB_SUBNET={subnet!r}" in str(error.value)
    assert reason in str(error.value)


def test_every_address_lies_in_the_subnet_and_none_is_given_twice(lab):
    settings = lab(LAB_SUBNET="10.78.3.0/24")
    addresses = [settings.gateway, settings.esxi_address, settings.address(5), settings.address(10)]
    assert len(set(addresses)) == len(addresses)
    assert settings.maas_url == "http://10.78.3.10:5240/MAAS"
    assert settings.metal_url == "http://10.78.3.5:8400"


def test_an_esxi_edition_that_is_not_simulated_is_refused(lab):
    assert lab().esxi_edition == "free"
    with pytest.raises(LabError, match=r"LAB_ESXI_EDITION='gold'.*free or paid"):
        lab(LAB_ESXI_EDITION="gold")


def test_devices_are_named_by_number(lab):
    assert lab(LAB_DEVICES="12").device_names[0] == "nuc-001"
    assert lab(LAB_DEVICES="12").device_names[-1] == "nuc-012"


def test_mac_addresses_are_unique_in_a_rack_and_between_two(lab):
    one, two = lab(LAB_NAME="lab"), lab(LAB_NAME="two")
    numbers = range(1, MAX_DEVICES + 1)
    macs = [settings.mac(number) for settings in (one, two) for number in numbers]
    assert len(set(macs)) == 2 * MAX_DEVICES
    assert all(re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", mac) for mac in macs)


def test_mac_addresses_tell_apart_names_of_the_same_letters(lab):
    assert lab(LAB_NAME="ab").mac(1) != lab(LAB_NAME="ba").mac(1)


def test_a_folder_with_something_else_in_it_is_neither_taken_nor_deleted(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(LabError, match="holds something that is not a lab's"):
        own(tmp_path)
    with pytest.raises(LabError, match="was not made by a lab and stays"):
        disown(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_folder_of_the_labs_own_goes_with_it(tmp_path):
    folder = tmp_path / "state"
    own(folder)
    own(folder)
    (folder / "devices").write_text("2")
    disown(folder)
    disown(folder)
    assert not folder.exists()


def test_light_devices_are_asked_for_by_yes_or_no(lab):
    assert lab().light is False
    assert lab(LAB_LIGHT="yes").light is True
    with pytest.raises(LabError, match="LAB_LIGHT='1': give yes"):
        lab(LAB_LIGHT="1")
