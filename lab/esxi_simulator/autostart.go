package main

import (
	"context"
	"log"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// savedAutostart is what starts by itself, as host.json keeps it.
type savedAutostart struct {
	Defaults types.AutoStartDefaults    `json:"defaults"`
	Entries  []types.AutoStartPowerInfo `json:"entries"`
}

type autostartManager struct {
	mo.HostAutoStartManager
	h *host
}

func defaultAutostart() savedAutostart {
	return savedAutostart{Defaults: types.AutoStartDefaults{
		Enabled: types.NewBool(false), StartDelay: 120, StopDelay: 120, WaitForHeartbeat: types.NewBool(false),
		StopAction: "PowerOff",
	}}
}

func (m *autostartManager) show() {
	saved := m.h.saved.Autostart
	defaults := saved.Defaults
	m.Config = types.HostAutoStartManagerConfig{
		Defaults: &defaults, PowerInfo: append([]types.AutoStartPowerInfo{}, saved.Entries...),
	}
	config, shown := *m.h.system.Config, m.Config
	config.AutoStart = &shown
	m.h.system.Config = &config
}

// ReconfigureAutostart changes what the spec names and leaves the rest: defaults field by field, VMs one by one.
func (m *autostartManager) ReconfigureAutostart(
	ctx *simulator.Context, req *types.ReconfigureAutostart,
) soap.HasFault {
	for _, entry := range req.Spec.PowerInfo {
		if refused := m.check(entry); refused != nil {
			return answer(refused)
		}
	}
	saved := &m.h.saved.Autostart
	if wanted := req.Spec.Defaults; wanted != nil {
		defaults := saved.Defaults
		if wanted.Enabled != nil {
			defaults.Enabled = wanted.Enabled
		}
		if wanted.WaitForHeartbeat != nil {
			defaults.WaitForHeartbeat = wanted.WaitForHeartbeat
		}
		if wanted.StartDelay != 0 || given(ctx, "spec/defaults/startDelay") {
			defaults.StartDelay = wanted.StartDelay
		}
		if wanted.StopDelay != 0 || given(ctx, "spec/defaults/stopDelay") {
			defaults.StopDelay = wanted.StopDelay
		}
		if wanted.StopAction != "" {
			defaults.StopAction = wanted.StopAction
		}
		saved.Defaults = defaults
	}
	for _, entry := range req.Spec.PowerInfo {
		saved.Entries = placed(saved.Entries, entry)
	}
	m.h.saveHost()
	m.show()
	return &methods.ReconfigureAutostartBody{Res: new(types.ReconfigureAutostartResponse)}
}

func (m *autostartManager) check(entry types.AutoStartPowerInfo) *refusal {
	known := false
	for _, vm := range m.h.vms {
		known = known || vm.Self == entry.Key
	}
	switch {
	case !known:
		return invalid("spec.powerInfo.key")
	case entry.StartOrder < -1 || entry.StartOrder == 0:
		return invalid("spec.powerInfo.startOrder")
	case entry.StartDelay < -1 || entry.StopDelay < -1:
		return invalid("spec.powerInfo.startDelay")
	case !oneOf(entry.StartAction, "none", "powerOn"):
		return invalid("spec.powerInfo.startAction")
	case !oneOf(entry.StopAction, "none", "systemDefault", "powerOff", "suspend", "guestShutdown"):
		return invalid("spec.powerInfo.stopAction")
	}
	return nil
}

func oneOf(value string, allowed ...string) bool {
	for _, one := range allowed {
		if strings.EqualFold(value, one) {
			return true
		}
	}
	return false
}

// placed puts an entry at its place in the order and moves the later ones on. What neither starts nor has a place is
// forgotten.
func placed(entries []types.AutoStartPowerInfo, entry types.AutoStartPowerInfo) []types.AutoStartPowerInfo {
	var ordered, any []types.AutoStartPowerInfo
	for _, other := range entries {
		switch {
		case other.Key == entry.Key:
		case other.StartOrder > 0:
			ordered = append(ordered, other)
		default:
			any = append(any, other)
		}
	}
	starts := !strings.EqualFold(entry.StartAction, "none")
	switch {
	case !starts:
	case entry.StartOrder > 0:
		at := int(entry.StartOrder) - 1
		if at > len(ordered) {
			at = len(ordered)
		}
		ordered = append(ordered[:at:at], append([]types.AutoStartPowerInfo{entry}, ordered[at:]...)...)
	default:
		any = append(any, entry)
	}
	for i := range ordered {
		ordered[i].StartOrder = int32(i + 1)
	}
	return append(ordered, any...)
}

func (h *host) dropAutostart(vm types.ManagedObjectReference) {
	entries := h.saved.Autostart.Entries
	h.saved.Autostart.Entries = placed(entries, types.AutoStartPowerInfo{Key: vm, StartAction: "none"})
	if len(h.saved.Autostart.Entries) != len(entries) {
		h.saveHost()
		h.autostart.show()
	}
}

func (m *autostartManager) AutoStartPowerOn(*types.AutoStartPowerOn) soap.HasFault {
	go m.h.startAutomatically()
	return &methods.AutoStartPowerOnBody{Res: new(types.AutoStartPowerOnResponse)}
}

// startAutomatically powers VMs on in their order, as the host does after its own start. The delays between them are
// left out: nothing in a lab needs them.
func (h *host) startAutomatically() {
	h.mu.Lock()
	defer h.mu.Unlock()
	saved := h.saved.Autostart
	if saved.Defaults.Enabled == nil || !*saved.Defaults.Enabled {
		return
	}
	entries := append([]types.AutoStartPowerInfo{}, saved.Entries...)
	sort.SliceStable(entries, func(i, j int) bool {
		return entries[i].StartOrder > 0 && (entries[j].StartOrder <= 0 || entries[i].StartOrder < entries[j].StartOrder)
	})
	ctx := &simulator.Context{Context: context.Background(), Session: h.newSession("root"), Map: h.registry}
	for _, entry := range entries {
		vm, isVM := h.registry.Get(entry.Key).(*virtualMachine)
		if !isVM || vm.file == nil || vm.on() {
			continue
		}
		log.Printf("autostart: powering on VM %d", vm.id)
		self := vm.start(ctx, "powerOn", func(t *task) (types.AnyType, *refusal) { return nil, vm.powerOn(t) })
		h.await(self)
		if started := h.registry.Get(self).(*task); started.Info.Error != nil {
			log.Printf("autostart: VM %d: %s", vm.id, started.Info.Error.LocalizedMessage)
		}
	}
}
