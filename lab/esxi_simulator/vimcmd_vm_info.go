package main

import (
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (t *tool) vm(ref types.ManagedObjectReference, properties ...string) (mo.VirtualMachine, error) {
	var vm mo.VirtualMachine
	err := t.read(ref, &vm, properties...)
	return vm, err
}

func (t *tool) getGuest(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "guest")
	return t.show("Guest information:\n\n", vm.Guest, err)
}

func (t *tool) getSummary(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "summary")
	return t.show("Listsummary:\n\n", vm.Summary, err)
}

func (t *tool) getConfig(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "config")
	return t.show("Configuration:\n\n", vm.Config, err)
}

func (t *tool) getRuntime(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "runtime")
	return t.show("Runtime information\n\n", vm.Runtime, err)
}

// getFileLayout: its heading was not seen on a real host.
func (t *tool) getFileLayout(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "layout")
	return t.show("File layout:\n\n", vm.Layout, err)
}

// getDevices: its heading was not seen on a real host.
func (t *tool) getDevices(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "config")
	if err != nil || vm.Config == nil {
		return t.show("Devices:\n\n", (*types.VirtualHardware)(nil), err)
	}
	return t.show("Devices:\n\n", vm.Config.Hardware, nil)
}

func (t *tool) getTaskList(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "recentTask")
	return t.show("", vm.RecentTask, err)
}

func (t *tool) taskInfo(args []string) int {
	var task mo.Task
	err := t.read(types.ManagedObjectReference{Type: "Task", Value: args[0]}, &task, "info")
	return t.show("", task.Info, err)
}
