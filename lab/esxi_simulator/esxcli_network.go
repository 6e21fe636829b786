package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// The words of the refusals were, but for "A portgroup with the name ... already exists", not seen on a real host.

func (t *tool) vswitches(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	result := output{shape: blocks}
	for _, found := range network.NetworkInfo.Vswitch {
		if given.has("vswitch-name") && given["vswitch-name"] != found.Name {
			continue
		}
		uplinks, groups := uplinksOf(found), groupsOf(network.NetworkInfo, found.Name)
		result.names = append(result.names, found.Name)
		result.records = append(result.records, record{
			{"Name", found.Name}, {"Class", "cswitch"}, {"Num Ports", int(found.NumPorts)},
			{"Used Ports", int(found.NumPorts - found.NumPortsAvailable)}, {"Configured Ports", int(found.Spec.NumPorts)},
			{"MTU", mtuOf(found)}, {"CDP Status", "listen"}, {"Beacon Enabled", false}, {"Beacon Interval", 1},
			{"Beacon Threshold", 3}, {"Beacon Required By", ""}, {"Uplinks", uplinks}, {"Portgroups", groups},
		})
	}
	if given.has("vswitch-name") && len(result.records) == 0 {
		return result, noSwitch(given)
	}
	return result, nil
}

func noSwitch(given esxArguments) error {
	return esxError("No such virtual switch: " + given["vswitch-name"])
}

func noGroup(given esxArguments) error {
	return esxError("No such portgroup: " + given["portgroup-name"])
}

func mtuOf(found types.HostVirtualSwitch) int {
	if found.Mtu == 0 {
		return 1500
	}
	return int(found.Mtu)
}

func uplinksOf(found types.HostVirtualSwitch) []string {
	names := []string{}
	for _, key := range found.Pnic { // "key-vim.host.PhysicalNic-vmnic0"
		names = append(names, key[strings.LastIndex(key, "-")+1:])
	}
	return names
}

func groupsOf(network *types.HostNetworkInfo, vswitch string) []string {
	names := []string{}
	for _, group := range network.Portgroup {
		if group.Spec.VswitchName == vswitch {
			names = append(names, group.Spec.Name)
		}
	}
	return names
}

// isAlreadyExists, isInUse and isNotFound tell the refusals of the API apart.
func isAlreadyExists(err error) bool {
	fault, _ := faultOf(err)
	_, is := fault.(*types.AlreadyExists)
	return is
}

func isInUse(err error) bool {
	fault, _ := faultOf(err)
	_, is := fault.(*types.ResourceInUse)
	return is
}

func isNotFound(err error) bool {
	fault, _ := faultOf(err)
	_, is := fault.(*types.NotFound)
	return is
}

func (t *tool) addVswitch(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	ports := int64(128)
	if given.has("ports") {
		if ports, err = strconv.ParseInt(given["ports"], 10, 32); err != nil || ports < 1 || ports > 4096 {
			return output{}, esxError("Invalid value for --ports: " + given["ports"])
		}
	}
	_, err = methods.AddVirtualSwitch(t.context(), t.h.rt, &types.AddVirtualSwitch{
		This: network.Self, VswitchName: given["vswitch-name"], Spec: &types.HostVirtualSwitchSpec{NumPorts: int32(ports)},
	})
	if err != nil && isAlreadyExists(err) {
		err = esxError(fmt.Sprintf("A vswitch with the name %s already exists", given["vswitch-name"]))
	}
	return output{}, err
}

// updateVswitch changes the specification of a switch.
func (t *tool) updateVswitch(
	given esxArguments, change func(network mo.HostNetworkSystem, spec *types.HostVirtualSwitchSpec) error,
) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	for _, found := range network.NetworkInfo.Vswitch {
		if found.Name != given["vswitch-name"] {
			continue
		}
		spec := found.Spec
		if err := change(network, &spec); err != nil {
			return output{}, err
		}
		_, err := methods.UpdateVirtualSwitch(t.context(), t.h.rt, &types.UpdateVirtualSwitch{
			This: network.Self, VswitchName: found.Name, Spec: spec,
		})
		return output{}, err
	}
	return output{}, noSwitch(given)
}

func (t *tool) setVswitch(given esxArguments) (output, error) {
	return t.updateVswitch(given, func(_ mo.HostNetworkSystem, spec *types.HostVirtualSwitchSpec) error {
		if given.has("cdp-status") {
			return esxError("not simulated: --cdp-status")
		}
		mtu, err := strconv.ParseInt(given["mtu"], 10, 32)
		if err != nil || mtu < 1280 || mtu > 9000 {
			return esxError("Invalid value for --mtu: " + given["mtu"])
		}
		spec.Mtu = int32(mtu)
		return nil
	})
}

func (t *tool) removeVswitch(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	_, err = methods.RemoveVirtualSwitch(t.context(), t.h.rt, &types.RemoveVirtualSwitch{
		This: network.Self, VswitchName: given["vswitch-name"],
	})
	switch {
	case err != nil && isNotFound(err):
		err = noSwitch(given)
	case err != nil && isInUse(err):
		err = esxError(fmt.Sprintf("Unable to remove vswitch %s: it is in use", given["vswitch-name"]))
	}
	return output{}, err
}

func (t *tool) addUplink(given esxArguments) (output, error) {
	return t.updateVswitch(given, func(network mo.HostNetworkSystem, spec *types.HostVirtualSwitchSpec) error {
		name := given["uplink-name"]
		if !hasNic(network.NetworkInfo, name) {
			return esxError("Unable to find a physical nic named " + name)
		}
		for _, other := range network.NetworkInfo.Vswitch {
			for _, taken := range uplinksOf(other) {
				if taken == name {
					return esxError(fmt.Sprintf("Uplink already exists: %s", name))
				}
			}
		}
		spec.Bridge = &types.HostVirtualSwitchBondBridge{NicDevice: append(nicsOf(spec), name)}
		return nil
	})
}

func (t *tool) removeUplink(given esxArguments) (output, error) {
	return t.updateVswitch(given, func(_ mo.HostNetworkSystem, spec *types.HostVirtualSwitchSpec) error {
		var kept []string
		for _, name := range nicsOf(spec) {
			if name != given["uplink-name"] {
				kept = append(kept, name)
			}
		}
		if len(kept) == len(nicsOf(spec)) {
			return esxError("No such uplink: " + given["uplink-name"])
		}
		spec.Bridge = nil
		if len(kept) > 0 {
			spec.Bridge = &types.HostVirtualSwitchBondBridge{NicDevice: kept}
		}
		return nil
	})
}

func nicsOf(spec *types.HostVirtualSwitchSpec) []string {
	if bond, ok := spec.Bridge.(*types.HostVirtualSwitchBondBridge); ok {
		return append([]string{}, bond.NicDevice...)
	}
	return nil
}

func hasNic(network *types.HostNetworkInfo, name string) bool {
	for _, nic := range network.Pnic {
		if nic.Device == name {
			return true
		}
	}
	return false
}

func (t *tool) portGroups(esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	clients, err := t.activeClients()
	if err != nil {
		return output{}, err
	}
	result := output{shape: table}
	for _, group := range network.NetworkInfo.Portgroup {
		active := clients[group.Spec.Name]
		for _, nic := range network.NetworkInfo.Vnic { // the host's own interfaces
			if nic.Portgroup == group.Spec.Name {
				active++
			}
		}
		result.records = append(result.records, record{
			{"Name", group.Spec.Name}, {"Virtual Switch", group.Spec.VswitchName}, {"Active Clients", active},
			{"VLAN ID", int(group.Spec.VlanId)},
		})
	}
	return result, nil
}

// activeClients counts the network cards of the VMs that are on.
func (t *tool) activeClients() (map[string]int, error) {
	vms, err := t.vms("runtime", "config")
	if err != nil {
		return nil, err
	}
	clients := map[string]int{}
	for _, vm := range vms {
		if vm.Config == nil || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		for _, device := range vm.Config.Hardware.Device {
			card, isCard := device.(types.BaseVirtualEthernetCard)
			if !isCard {
				continue
			}
			if backing, ok := card.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
				clients[backing.DeviceName]++
			}
		}
	}
	return clients, nil
}

func (t *tool) addPortGroup(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	_, err = methods.AddPortGroup(t.context(), t.h.rt, &types.AddPortGroup{
		This: network.Self,
		Portgrp: types.HostPortGroupSpec{
			Name: given["portgroup-name"], VswitchName: given["vswitch-name"], Policy: types.HostNetworkPolicy{},
		},
	})
	switch {
	case err != nil && isAlreadyExists(err):
		err = esxError(fmt.Sprintf("A portgroup with the name %s already exists", given["portgroup-name"]))
	case err != nil && isNotFound(err):
		err = noSwitch(given)
	}
	return output{}, err
}

func (t *tool) setPortGroup(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	vlan, err := strconv.ParseInt(given["vlan-id"], 10, 32)
	if err != nil || vlan < 0 || vlan > 4095 {
		return output{}, esxError("Invalid value for --vlan-id: " + given["vlan-id"])
	}
	for _, group := range network.NetworkInfo.Portgroup {
		if group.Spec.Name != given["portgroup-name"] {
			continue
		}
		spec := group.Spec
		spec.VlanId = int32(vlan)
		_, err := methods.UpdatePortGroup(t.context(), t.h.rt, &types.UpdatePortGroup{
			This: network.Self, PgName: group.Spec.Name, Portgrp: spec,
		})
		return output{}, err
	}
	return output{}, noGroup(given)
}

func (t *tool) removePortGroup(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	if err := standsOn(network.NetworkInfo, given); err != nil {
		return output{}, err
	}
	_, err = methods.RemovePortGroup(t.context(), t.h.rt, &types.RemovePortGroup{
		This: network.Self, PgName: given["portgroup-name"],
	})
	if err != nil && isInUse(err) {
		err = esxError(fmt.Sprintf("Unable to remove portgroup %s: it is in use", given["portgroup-name"]))
	}
	return output{}, err
}

// standsOn: the group must be there, and on the switch that was named.
func standsOn(network *types.HostNetworkInfo, given esxArguments) error {
	for _, group := range network.Portgroup {
		if group.Spec.Name == given["portgroup-name"] && group.Spec.VswitchName == given["vswitch-name"] {
			return nil
		}
	}
	return noGroup(given)
}

func (t *tool) physicalNics(esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	result := output{shape: table}
	for _, nic := range network.NetworkInfo.Pnic {
		link, speed, duplex := "Down", 0, "Half"
		if nic.LinkSpeed != nil {
			link, speed = "Up", int(nic.LinkSpeed.SpeedMb)
			if nic.LinkSpeed.Duplex {
				duplex = "Full"
			}
		}
		result.records = append(result.records, record{
			{"Name", nic.Device}, {"PCI Device", nic.Pci}, {"Driver", nic.Driver}, {"Admin Status", "Up"},
			{"Link Status", link}, {"Speed", speed}, {"Duplex", duplex}, {"MAC Address", nic.Mac}, {"MTU", 1500},
			{"Description", "Broadcom Corporation NetXtreme BCM5720 Gigabit Ethernet"},
		})
	}
	return result, nil
}
