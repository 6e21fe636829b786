package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (t *tool) hostSummary([]string) int {
	var system mo.HostSystem
	err := t.read(t.h.hostSystem, &system, "summary")
	return t.show("", system.Summary, err)
}

func (t *tool) networkSystem() (mo.HostNetworkSystem, error) {
	var system mo.HostSystem
	var network mo.HostNetworkSystem
	if err := t.read(t.h.hostSystem, &system, "configManager"); err != nil {
		return network, err
	}
	err := t.read(*system.ConfigManager.NetworkSystem, &network, "networkInfo")
	return network, err
}

func (t *tool) netInfo([]string) int {
	network, err := t.networkSystem()
	return t.show("", network.NetworkInfo, err)
}

func (t *tool) hostDatastores() ([]mo.Datastore, error) {
	var system mo.HostSystem
	if err := t.read(t.h.hostSystem, &system, "datastore"); err != nil {
		return nil, err
	}
	var stores []mo.Datastore
	err := t.readAll(system.Datastore, &stores, "summary", "info")
	return stores, err
}

func (t *tool) datastoreSummaries([]string) int {
	stores, err := t.hostDatastores()
	var summaries []types.DatastoreSummary
	for _, store := range stores {
		summaries = append(summaries, store.Summary)
	}
	return t.show("", summaries, err)
}

func (t *tool) datastoreInfo(args []string) int {
	stores, err := t.hostDatastores()
	if err != nil {
		return t.fail(err)
	}
	for _, store := range stores {
		if store.Summary.Name == args[0] {
			return t.show("", store.Info, nil)
		}
	}
	return t.fail(notFound())
}

// license prints the report of the installed licences as ESXi 9 was seen to.
func (t *tool) license(args []string) int {
	if args[0] != "--show" {
		return t.notSimulated("vim-cmd vimsvc/license " + strings.SplitN(args[0], "=", 2)[0])
	}
	var manager mo.LicenseManager
	if err := t.read(*t.h.content.LicenseManager, &manager, "licenses"); err != nil {
		return t.fail(err)
	}
	t.print("[200] Sending request for installed licenses...[200] Complete, result is:\n")
	for _, license := range manager.Licenses {
		t.print("   serial: %s\n   vmodl key: %s\n   name: %s\n   total: %d\n   used: %d\n   unit: %s\n   Properties:\n",
			license.LicenseKey, license.EditionKey, license.Name, license.Total, license.Used, license.CostUnit)
		for _, property := range license.Properties {
			value := property.Value
			if feature, ok := value.(types.KeyValue); ok {
				value = fmt.Sprintf("%s (\"%s\")", feature.Key, feature.Value)
			}
			t.print("     [%s] = %v\n", property.Key, value)
		}
		t.print("\n")
	}
	t.print("[200] End of report.\n")
	return 0
}

func (t *tool) autostart() (mo.HostAutoStartManager, error) {
	var system mo.HostSystem
	var manager mo.HostAutoStartManager
	if err := t.read(t.h.hostSystem, &system, "configManager"); err != nil {
		return manager, err
	}
	err := t.read(*system.ConfigManager.AutoStartManager, &manager, "config")
	return manager, err
}

func (t *tool) autostartDefaults([]string) int {
	manager, err := t.autostart()
	return t.show("", manager.Config.Defaults, err)
}

func (t *tool) autostartSequence([]string) int {
	manager, err := t.autostart()
	return t.show("", manager.Config.PowerInfo, err)
}

// reconfigureAutostart changes the manager and says so. The words were not seen on a real host.
func (t *tool) reconfigureAutostart(change types.HostAutoStartManagerConfig, done string) int {
	manager, err := t.autostart()
	if err != nil {
		return t.fail(err)
	}
	request := types.ReconfigureAutostart{This: manager.Self, Spec: change}
	if _, err := methods.ReconfigureAutostart(t.context(), t.h.rt, &request); err != nil {
		return t.fail(err)
	}
	t.print("%s\n", done)
	return 0
}

func (t *tool) enableAutostart(args []string) int {
	enabled := isTrue(args[0])
	done := "Disabled AutoStart"
	if enabled {
		done = "Enabled AutoStart"
	}
	defaults := &types.AutoStartDefaults{Enabled: &enabled}
	return t.reconfigureAutostart(types.HostAutoStartManagerConfig{Defaults: defaults}, done)
}

func (t *tool) updateAutostartDefaults(args []string) int {
	start, startErr := strconv.ParseInt(args[0], 10, 32)
	stop, stopErr := strconv.ParseInt(args[1], 10, 32)
	if startErr != nil || stopErr != nil {
		return t.printFault(&types.InvalidArgument{InvalidProperty: "spec.defaults"},
			"A specified parameter was not correct: spec.defaults")
	}
	heartbeat := isTrue(args[3])
	defaults := &types.AutoStartDefaults{
		StartDelay: int32(start), StopDelay: int32(stop), StopAction: lowerFirst(args[2]), WaitForHeartbeat: &heartbeat,
	}
	return t.reconfigureAutostart(types.HostAutoStartManagerConfig{Defaults: defaults}, "Updated AutoStart defaults.")
}

// updateAutostartEntry takes "PowerOn" and stores "powerOn", as a host's own listing shows.
func (t *tool) updateAutostartEntry(args []string) int {
	return onVM(func(t *tool, vm types.ManagedObjectReference, args []string) int {
		var numbers [3]int32 // start delay, start order, stop delay
		for i, arg := range []string{args[1], args[2], args[4]} {
			number, err := strconv.ParseInt(arg, 10, 32)
			if err != nil {
				return t.printFault(&types.InvalidArgument{InvalidProperty: "spec.powerInfo"},
					"A specified parameter was not correct: spec.powerInfo")
			}
			numbers[i] = int32(number)
		}
		entry := types.AutoStartPowerInfo{
			Key: vm, StartAction: lowerFirst(args[0]), StartDelay: numbers[0], StartOrder: numbers[1],
			StopAction: lowerFirst(args[3]), StopDelay: numbers[2], WaitForHeartbeat: heartbeatSetting(args[5]),
		}
		change := types.HostAutoStartManagerConfig{PowerInfo: []types.AutoStartPowerInfo{entry}}
		return t.reconfigureAutostart(change, "Updated AutoStart order.")
	})(t, args)
}

func heartbeatSetting(word string) types.AutoStartWaitHeartbeatSetting {
	return types.AutoStartWaitHeartbeatSetting(lowerFirst(word))
}

func lowerFirst(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToLower(word[:1]) + word[1:]
}
