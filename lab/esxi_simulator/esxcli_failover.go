package main

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// failover shows in which order a switch uses its uplinks; one in neither list is not used.
func (t *tool) failover(given esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	for _, found := range network.NetworkInfo.Vswitch {
		if found.Name != given["vswitch-name"] {
			continue
		}
		active, standby := nicOrder(found)
		unused := without(without(uplinksOf(found), active), standby)
		return single(record{
			{"Load Balancing", "srcport"}, {"Network Failure Detection", "link"}, {"Notify Switches", true},
			{"Failback", true}, {"Active Adapters", active}, {"Standby Adapters", standby}, {"Unused Adapters", unused},
		}), nil
	}
	return output{}, noSwitch(given)
}

// nicOrder is the switch's teaming policy; without one all uplinks are active.
func nicOrder(found types.HostVirtualSwitch) (active, standby []string) {
	policy := found.Spec.Policy
	if policy == nil || policy.NicTeaming == nil || policy.NicTeaming.NicOrder == nil {
		return uplinksOf(found), []string{}
	}
	return policy.NicTeaming.NicOrder.ActiveNic, policy.NicTeaming.NicOrder.StandbyNic
}

func without(names, taken []string) []string {
	rest := []string{}
	for _, name := range names {
		if !listed(taken, name) {
			rest = append(rest, name)
		}
	}
	return rest
}

func listed(names []string, wanted string) bool {
	for _, name := range names {
		if name == wanted {
			return true
		}
	}
	return false
}

func (t *tool) setFailover(given esxArguments) (output, error) {
	return t.updateVswitch(given, func(_ mo.HostNetworkSystem, spec *types.HostVirtualSwitchSpec) error {
		order := types.HostNicOrderPolicy{ActiveNic: split(given["active-uplinks"]), StandbyNic: split(given["standby-uplinks"])}
		for _, name := range append(append([]string{}, order.ActiveNic...), order.StandbyNic...) {
			if !listed(nicsOf(spec), name) {
				return esxError(fmt.Sprintf("%s is not an uplink of %s", name, given["vswitch-name"])) // not seen on a real host
			}
		}
		policy, teaming := types.HostNetworkPolicy{}, types.HostNicTeamingPolicy{}
		if spec.Policy != nil {
			policy = *spec.Policy
		}
		if policy.NicTeaming != nil {
			teaming = *policy.NicTeaming
		}
		teaming.NicOrder = &order
		policy.NicTeaming = &teaming
		spec.Policy = &policy
		return nil
	})
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// interfaces lists the host's own network interfaces.
func (t *tool) interfaces(esxArguments) (output, error) {
	network, err := t.networkSystem()
	if err != nil {
		return output{}, err
	}
	result := output{shape: blocks}
	for _, nic := range network.NetworkInfo.Vnic {
		portset := ""
		for _, group := range network.NetworkInfo.Portgroup {
			if group.Spec.Name == nic.Portgroup {
				portset = group.Spec.VswitchName
			}
		}
		result.names = append(result.names, nic.Device)
		result.records = append(result.records, record{
			{"Name", nic.Device}, {"MAC Address", nic.Spec.Mac}, {"Enabled", true}, {"Portset", portset},
			{"Portgroup", nic.Portgroup}, {"Netstack Instance", "defaultTcpipStack"}, {"VDS Name", "N/A"},
			{"VDS UUID", "N/A"}, {"VDS Port", "N/A"}, {"VDS Connection", -1}, {"Opaque Network ID", "N/A"},
			{"Opaque Network Type", "N/A"}, {"External ID", "N/A"}, {"MTU", 1500}, {"TSO MSS", 65535},
			{"RXDispQueue Size", 4}, {"Port ID", 67108868},
		})
	}
	return result, nil
}
