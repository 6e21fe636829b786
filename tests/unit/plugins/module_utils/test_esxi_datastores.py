# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    clean_path,
    datastore_named,
    datastores_from_csv,
    gib,
    split_datastore_path,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiNotFound, EsxiSettingsError
from ansible_collections.edge.rack.plugins.module_utils.esxi.network import network_from_csv

FILESYSTEMS = """Free,MountPoint,Mounted,Size,Type,UUID,VolumeName,
1000,/vmfs/volumes/5f3a,true,4000,VMFS-6,5f3a,datastore1,
2000,/vmfs/volumes/nfs1,true,8000,NFS,nfs1,"the backup, 2",
0,,false,0,VMFS-6,dead,gone,
10,/vmfs/volumes/aaaa,true,100,vfat,aaaa,BOOTBANK1,
10,/vmfs/volumes/bbbb,true,100,VMFS-L,bbbb,OSDATA-bbbb,
10,/vmfs/volumes/cccc,true,100,vfat,cccc,,
"""


def test_only_mounted_datastores_of_people_count() -> None:
    found = datastores_from_csv(FILESYSTEMS)
    assert sorted(found) == ["datastore1", "the backup, 2"]
    assert found["datastore1"].host_path("maas/maas.vmx") == "/vmfs/volumes/5f3a/maas/maas.vmx"
    assert found["datastore1"].datastore_path("maas/maas.vmx") == "[datastore1] maas/maas.vmx"
    assert (found["datastore1"].capacity_bytes, found["datastore1"].free_bytes) == (4000, 1000)


def test_an_unknown_datastore_is_named_with_those_there_are() -> None:
    with pytest.raises(EsxiNotFound, match=r"datastore9.*it has datastore1, the backup, 2\. Correct `datastore`"):
        datastore_named(datastores_from_csv(FILESYSTEMS), "datastore9")


def test_paths() -> None:
    assert clean_path("/iso//debian 12.iso") == "iso/debian 12.iso"
    assert split_datastore_path("[my ds] a b/c.vmx") == ("my ds", "a b/c.vmx")
    for path in ("", "/", "a/../b", "a\nb"):
        with pytest.raises(EsxiSettingsError, match="`path`"):
            clean_path(path)
    with pytest.raises(EsxiSettingsError):
        split_datastore_path("/vmfs/volumes/ds/a")


def test_sizes_in_messages() -> None:
    assert gib(3 * 2**30) == "3.0 GiB"
    assert gib(5 * 2**20) == "5.0 MiB"


def test_networks_from_tables() -> None:
    network = network_from_csv(
        'ConfiguredPorts,MTU,Name,NumPorts,Portgroups,Uplinks,\n128,1500,vSwitch0,2560,"a,","vmnic1,vmnic0,",\n',
        "ActiveClients,Name,VLANID,VirtualSwitch,\n1,Management Network,0,vSwitch0,\n0,rack,77,vSwitch0,\n",
        "Enabled,MTU,Name,Portgroup,Portset,\ntrue,1500,vmk0,Management Network,vSwitch0,\n",
        "AdminStatus,Name,\nUp,vmnic0,\nUp,vmnic1,\n",
    )
    assert network.switches["vSwitch0"].uplinks == ("vmnic0", "vmnic1")
    assert network.switches["vSwitch0"].ports == 128
    assert network.port_groups["rack"].vlan_id == 77
    assert network.adapters_of("vSwitch0") == ["vmk0 (Management Network)"]
    assert network.adapters_on("rack") == []
    assert network.nics == ("vmnic0", "vmnic1")
