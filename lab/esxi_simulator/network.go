package main

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	managementGroup = "Management Network" // the group of vmk0, through which the host itself is reached
	defaultPorts    = 128
	defaultMTU      = 1500
	physicalNICs    = 4
)

// savedSwitch and savedGroup are the standard switches and port groups as host.json keeps them.
type savedSwitch struct {
	Name    string                  `json:"name"`
	Ports   int32                   `json:"ports"`
	MTU     int32                   `json:"mtu"`
	Uplinks []string                `json:"uplinks"`
	Policy  types.HostNetworkPolicy `json:"policy"`
}

type savedGroup struct {
	Name   string                  `json:"name"`
	Switch string                  `json:"vswitch"`
	VLAN   int32                   `json:"vlan"`
	Policy types.HostNetworkPolicy `json:"policy"`
}

// networkSystem is the host's network: switches, port groups and the Network objects that VMs connect to.
type networkSystem struct {
	mo.HostNetworkSystem
	h       *host
	objects []*mo.Network
}

func defaultNetworks() ([]savedSwitch, []savedGroup) {
	return []savedSwitch{{Name: "vSwitch0", Ports: defaultPorts, MTU: defaultMTU, Uplinks: []string{"vmnic0"}}},
		[]savedGroup{{Name: "VM Network", Switch: "vSwitch0"}, {Name: managementGroup, Switch: "vSwitch0"}}
}

func networkReference(name string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Network", Value: "HaNetwork-" + name}
}

// networkReference is the object of a port group that VMs can use.
func (h *host) networkReference(name string) (types.ManagedObjectReference, bool) {
	return networkReference(name), h.network.hasPortGroup(name)
}

func (s *networkSystem) nameOf(reference types.ManagedObjectReference) string {
	for _, object := range s.objects {
		if object.Self == reference {
			return object.Name
		}
	}
	return ""
}

// hasPortGroup tells whether a VM may connect to it; the management group is the host's own.
func (s *networkSystem) hasPortGroup(name string) bool {
	return name != managementGroup && s.group(name) != nil
}

func (s *networkSystem) group(name string) *savedGroup {
	for i := range s.h.saved.Groups {
		if s.h.saved.Groups[i].Name == name {
			return &s.h.saved.Groups[i]
		}
	}
	return nil
}

func (s *networkSystem) vswitch(name string) *savedSwitch {
	for i := range s.h.saved.Switches {
		if s.h.saved.Switches[i].Name == name {
			return &s.h.saved.Switches[i]
		}
	}
	return nil
}

func (s *networkSystem) AddVirtualSwitch(req *types.AddVirtualSwitch) soap.HasFault {
	if s.vswitch(req.VswitchName) != nil {
		return answer(refuse(&types.AlreadyExists{Name: req.VswitchName}))
	}
	if req.VswitchName == "" || len(req.VswitchName) > 31 {
		return answer(invalid("vswitchName"))
	}
	added := savedSwitch{Name: req.VswitchName, Ports: defaultPorts, MTU: defaultMTU}
	if req.Spec != nil {
		if refused := s.configure(&added, *req.Spec); refused != nil {
			return answer(refused)
		}
	}
	s.h.saved.Switches = append(s.h.saved.Switches, added)
	s.changed()
	return &methods.AddVirtualSwitchBody{Res: new(types.AddVirtualSwitchResponse)}
}

// UpdateVirtualSwitch replaces the whole configuration: without a bridge in the spec the uplinks are gone.
func (s *networkSystem) UpdateVirtualSwitch(req *types.UpdateVirtualSwitch) soap.HasFault {
	found := s.vswitch(req.VswitchName)
	if found == nil {
		return answer(refuse(new(types.NotFound)))
	}
	updated := savedSwitch{Name: found.Name, Ports: found.Ports, MTU: found.MTU, Policy: found.Policy}
	if refused := s.configure(&updated, req.Spec); refused != nil {
		return answer(refused)
	}
	*found = updated
	s.changed()
	return &methods.UpdateVirtualSwitchBody{Res: new(types.UpdateVirtualSwitchResponse)}
}

func (s *networkSystem) configure(target *savedSwitch, spec types.HostVirtualSwitchSpec) *refusal {
	if spec.NumPorts < 0 || spec.NumPorts > 4088 {
		return invalid("numPorts")
	}
	if spec.Mtu != 0 && (spec.Mtu < 1280 || spec.Mtu > 9000) {
		return invalid("mtu")
	}
	if spec.NumPorts != 0 {
		target.Ports = spec.NumPorts
	}
	if spec.Mtu != 0 {
		target.MTU = spec.Mtu
	}
	if spec.Policy != nil {
		target.Policy = *spec.Policy
	}
	switch bridge := spec.Bridge.(type) {
	case nil:
	case *types.HostVirtualSwitchBondBridge:
		target.Uplinks = bridge.NicDevice
	case *types.HostVirtualSwitchSimpleBridge:
		target.Uplinks = []string{bridge.NicDevice}
	default:
		return notSimulated(fmt.Sprintf("%T", bridge))
	}
	for _, uplink := range target.Uplinks {
		if !isPhysicalNIC(uplink) {
			return refuseWith(new(types.NotFound), "Physical NIC %s was not found.", uplink)
		}
		for _, other := range s.h.saved.Switches {
			if other.Name != target.Name && oneOf(uplink, other.Uplinks...) {
				return refuse(&types.ResourceInUse{Type: "PhysicalNic", Name: uplink})
			}
		}
	}
	return nil
}

func isPhysicalNIC(name string) bool {
	for number := 0; number < physicalNICs; number++ {
		if name == fmt.Sprintf("vmnic%d", number) {
			return true
		}
	}
	return false
}

func (s *networkSystem) RemoveVirtualSwitch(req *types.RemoveVirtualSwitch) soap.HasFault {
	if s.vswitch(req.VswitchName) == nil {
		return answer(refuse(new(types.NotFound)))
	}
	var groups []savedGroup
	for _, group := range s.h.saved.Groups {
		if group.Switch != req.VswitchName {
			groups = append(groups, group)
		} else if s.used(group.Name) {
			return answer(refuse(&types.ResourceInUse{Type: "HostVirtualSwitch", Name: req.VswitchName}))
		}
	}
	var switches []savedSwitch
	for _, vswitch := range s.h.saved.Switches {
		if vswitch.Name != req.VswitchName {
			switches = append(switches, vswitch)
		}
	}
	s.h.saved.Switches, s.h.saved.Groups = switches, groups
	s.changed()
	return &methods.RemoveVirtualSwitchBody{Res: new(types.RemoveVirtualSwitchResponse)}
}

// used tells whether a VM, or the host itself, is connected to a port group.
func (s *networkSystem) used(name string) bool {
	for _, object := range s.objects {
		if object.Name == name && len(object.Vm) > 0 {
			return true
		}
	}
	return name == managementGroup
}

func (s *networkSystem) checkGroup(spec types.HostPortGroupSpec) *refusal {
	switch {
	case spec.Name == "" || len(spec.Name) > 80:
		return invalid("portgrp.name")
	case spec.VlanId < 0 || spec.VlanId > 4095:
		return invalid("portgrp.vlanId")
	case s.vswitch(spec.VswitchName) == nil:
		return refuse(new(types.NotFound))
	}
	return nil
}

func (s *networkSystem) AddPortGroup(req *types.AddPortGroup) soap.HasFault {
	spec := req.Portgrp
	if s.group(spec.Name) != nil {
		return answer(refuse(&types.AlreadyExists{Name: spec.Name}))
	}
	if refused := s.checkGroup(spec); refused != nil {
		return answer(refused)
	}
	s.h.saved.Groups = append(s.h.saved.Groups, savedGroup{
		Name: spec.Name, Switch: spec.VswitchName, VLAN: spec.VlanId, Policy: spec.Policy,
	})
	s.changed()
	return &methods.AddPortGroupBody{Res: new(types.AddPortGroupResponse)}
}

func (s *networkSystem) UpdatePortGroup(req *types.UpdatePortGroup) soap.HasFault {
	group, spec := s.group(req.PgName), req.Portgrp
	if group == nil {
		return answer(refuse(new(types.NotFound)))
	}
	if refused := s.checkGroup(spec); refused != nil {
		return answer(refused)
	}
	if spec.Name != req.PgName {
		if s.group(spec.Name) != nil {
			return answer(refuse(&types.AlreadyExists{Name: spec.Name}))
		}
		if s.used(req.PgName) {
			return answer(refuse(&types.ResourceInUse{Type: "Network", Name: req.PgName}))
		}
	}
	*group = savedGroup{Name: spec.Name, Switch: spec.VswitchName, VLAN: spec.VlanId, Policy: spec.Policy}
	s.changed()
	return &methods.UpdatePortGroupBody{Res: new(types.UpdatePortGroupResponse)}
}

func (s *networkSystem) RemovePortGroup(req *types.RemovePortGroup) soap.HasFault {
	if s.group(req.PgName) == nil {
		return answer(refuse(new(types.NotFound)))
	}
	if s.used(req.PgName) {
		return answer(refuse(&types.ResourceInUse{Type: "Network", Name: req.PgName}))
	}
	var groups []savedGroup
	for _, group := range s.h.saved.Groups {
		if group.Name != req.PgName {
			groups = append(groups, group)
		}
	}
	s.h.saved.Groups = groups
	s.changed()
	return &methods.RemovePortGroupBody{Res: new(types.RemovePortGroupResponse)}
}

func (s *networkSystem) RefreshNetworkSystem(*types.RefreshNetworkSystem) soap.HasFault {
	return &methods.RefreshNetworkSystemBody{Res: new(types.RefreshNetworkSystemResponse)}
}

// changed saves the network and shows it everywhere: to VMs a network may have come or gone.
func (s *networkSystem) changed() {
	s.h.saveHost()
	s.show()
	for _, vm := range s.h.sortedVMs() {
		vm.show()
	}
}

func (s *networkSystem) show() {
	info := &types.HostNetworkInfo{}
	if old := s.NetworkInfo; old != nil {
		*info = *old
	}
	info.Vswitch, info.Portgroup, info.Pnic = nil, nil, nil
	for number := 0; number < physicalNICs; number++ {
		info.Pnic = append(info.Pnic, physicalNIC(number))
	}
	for _, vswitch := range s.h.saved.Switches {
		info.Vswitch = append(info.Vswitch, s.showSwitch(vswitch))
	}
	for _, group := range s.h.saved.Groups {
		info.Portgroup = append(info.Portgroup, s.showGroup(group))
	}
	s.NetworkInfo = info
	config := *s.h.system.Config
	config.Network = info
	s.h.system.Config = &config
	s.showObjects()
}

func (s *networkSystem) showSwitch(saved savedSwitch) types.HostVirtualSwitch {
	policy := filled(saved.Policy, types.HostNetworkPolicy{}, saved.Uplinks)
	spec := types.HostVirtualSwitchSpec{NumPorts: saved.Ports, Policy: &policy, Mtu: saved.MTU}
	shown := types.HostVirtualSwitch{
		Name: saved.Name, Key: "key-vim.host.VirtualSwitch-" + saved.Name, NumPorts: 11776, NumPortsAvailable: 11766,
		Mtu: saved.MTU,
	}
	if len(saved.Uplinks) > 0 {
		spec.Bridge = &types.HostVirtualSwitchBondBridge{
			NicDevice: saved.Uplinks, Beacon: &types.HostVirtualSwitchBeaconConfig{Interval: 1},
			LinkDiscoveryProtocolConfig: &types.LinkDiscoveryProtocolConfig{Protocol: "cdp", Operation: "listen"},
		}
	}
	for _, uplink := range saved.Uplinks {
		shown.Pnic = append(shown.Pnic, "key-vim.host.PhysicalNic-"+uplink)
	}
	for _, group := range s.h.saved.Groups {
		if group.Switch == saved.Name {
			shown.Portgroup = append(shown.Portgroup, "key-vim.host.PortGroup-"+group.Name)
		}
	}
	shown.Spec = spec
	return shown
}

func (s *networkSystem) showGroup(saved savedGroup) types.HostPortGroup {
	shown := types.HostPortGroup{
		Key: "key-vim.host.PortGroup-" + saved.Name, Vswitch: "key-vim.host.VirtualSwitch-" + saved.Switch,
		Spec: types.HostPortGroupSpec{
			Name: saved.Name, VlanId: saved.VLAN, VswitchName: saved.Switch, Policy: saved.Policy,
		},
	}
	if vswitch := s.vswitch(saved.Switch); vswitch != nil {
		shown.ComputedPolicy = filled(saved.Policy, vswitch.Policy, vswitch.Uplinks)
	}
	return shown
}

// filled is a policy with what it leaves open taken from the switch and from the host's defaults.
func filled(own, inherited types.HostNetworkPolicy, uplinks []string) types.HostNetworkPolicy {
	security := types.HostNetworkSecurityPolicy{
		AllowPromiscuous: types.NewBool(false), MacChanges: types.NewBool(false), ForgedTransmits: types.NewBool(false),
	}
	policy := types.HostNetworkPolicy{
		NicTeaming: &types.HostNicTeamingPolicy{
			Policy: "loadbalance_srcid", ReversePolicy: types.NewBool(true), NotifySwitches: types.NewBool(true),
			RollingOrder: types.NewBool(false),
			FailureCriteria: &types.HostNicFailureCriteria{
				CheckSpeed: "minimum", Speed: 10, CheckBeacon: types.NewBool(false),
			},
			NicOrder: &types.HostNicOrderPolicy{ActiveNic: uplinks},
		},
		OffloadPolicy: &types.HostNetOffloadCapabilities{
			CsumOffload: types.NewBool(true), TcpSegmentation: types.NewBool(true), ZeroCopyXmit: types.NewBool(true),
		},
		ShapingPolicy: &types.HostNetworkTrafficShapingPolicy{Enabled: types.NewBool(false)},
	}
	for _, layer := range []types.HostNetworkPolicy{inherited, own} {
		if layer.Security != nil {
			for _, field := range [][2]**bool{
				{&security.AllowPromiscuous, &layer.Security.AllowPromiscuous},
				{&security.MacChanges, &layer.Security.MacChanges},
				{&security.ForgedTransmits, &layer.Security.ForgedTransmits},
			} {
				if *field[1] != nil {
					*field[0] = *field[1]
				}
			}
		}
		if layer.NicTeaming != nil && layer.NicTeaming.Policy != "" {
			policy.NicTeaming = layer.NicTeaming
		}
		if layer.ShapingPolicy != nil && layer.ShapingPolicy.Enabled != nil {
			policy.ShapingPolicy = layer.ShapingPolicy
		}
	}
	policy.Security = &security
	return policy
}

func physicalNIC(number int) types.PhysicalNic {
	name := fmt.Sprintf("vmnic%d", number)
	speed := types.PhysicalNicLinkInfo{SpeedMb: 1000, Duplex: true}
	mac := fmt.Sprintf("d0:94:66:20:00:%02x", number)
	nic := types.PhysicalNic{
		Key: "key-vim.host.PhysicalNic-" + name, Device: name, Pci: fmt.Sprintf("0000:%02x:00.%d", 2+number/2, number%2),
		Driver: "ntg3", LinkSpeed: &speed, ValidLinkSpecification: []types.PhysicalNicLinkInfo{speed}, Mac: mac,
		WakeOnLanSupported: true, Spec: types.PhysicalNicSpec{Ip: &types.HostIpConfig{}},
		AutoNegotiateSupported: types.NewBool(true),
	}
	return nic
}

// showObjects makes the Network objects follow the port groups, in every place that lists them.
func (s *networkSystem) showObjects() {
	known := map[string]*mo.Network{}
	for _, object := range s.objects {
		known[object.Name] = object
	}
	s.objects = nil
	var references []types.ManagedObjectReference
	var added []*mo.Network
	for _, group := range s.h.saved.Groups {
		if group.Name == managementGroup {
			continue
		}
		object := known[group.Name]
		delete(known, group.Name)
		if object == nil {
			object = s.newObject(group.Name)
			added = append(added, object)
		}
		s.objects = append(s.objects, object)
		references = append(references, object.Self)
	}
	folder := s.h.registry.Get(s.h.datacenter.NetworkFolder).(*simulator.Folder)
	folder.ChildEntity = references
	s.h.datacenter.Network, s.h.system.Network, s.h.compute.Network = references, references, references
	for _, object := range added {
		s.h.put(object)
	}
	for _, object := range known {
		s.h.registry.Remove(object.Self)
	}
}

func (s *networkSystem) newObject(name string) *mo.Network {
	object := &mo.Network{Name: name, Host: []types.ManagedObjectReference{s.h.hostSystem}}
	object.Self = networkReference(name)
	object.ManagedEntity.Name = name
	object.Parent = &s.h.datacenter.NetworkFolder
	object.OverallStatus = types.ManagedEntityStatusGreen
	self := object.Self
	object.Summary = &types.NetworkSummary{Network: &self, Name: name, Accessible: true}
	return object
}

// domainOf splits a host name as the host's DNS configuration has it.
func domainOf(hostname string) (name, domain string) {
	if dot := strings.IndexByte(hostname, '.'); dot > 0 {
		return hostname[:dot], hostname[dot+1:]
	}
	return hostname, ""
}
