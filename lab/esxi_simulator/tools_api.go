package main

import (
	"context"
	"errors"
	"sort"
	"strconv"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The programs of the shell act through the host's own API, so that both doors lead to one behaviour.

func (t *tool) context() context.Context { return context.Background() }

// read fetches properties of one object into a struct of package mo.
func (t *tool) read(ref types.ManagedObjectReference, into interface{}, properties ...string) error {
	return t.readAll([]types.ManagedObjectReference{ref}, into, properties...)
}

// readAll fetches properties of several objects of one type; into points to a struct or to a slice of them.
func (t *tool) readAll(refs []types.ManagedObjectReference, into interface{}, properties ...string) error {
	if len(refs) == 0 {
		return nil
	}
	filter := types.PropertyFilterSpec{PropSet: []types.PropertySpec{{Type: refs[0].Type, PathSet: properties}}}
	for _, ref := range refs {
		filter.ObjectSet = append(filter.ObjectSet, types.ObjectSpec{Obj: ref})
	}
	request := types.RetrieveProperties{This: t.h.content.PropertyCollector, SpecSet: []types.PropertyFilterSpec{filter}}
	return mo.RetrievePropertiesForRequest(t.context(), t.h.rt, request, into)
}

// vms returns the registered VMs in the order of their ids.
func (t *tool) vms(properties ...string) ([]mo.VirtualMachine, error) {
	var system mo.HostSystem
	if err := t.read(t.h.hostSystem, &system, "vm"); err != nil {
		return nil, err
	}
	var vms []mo.VirtualMachine
	if err := t.readAll(system.Vm, &vms, properties...); err != nil {
		return nil, err
	}
	sort.Slice(vms, func(i, j int) bool { return vmid(vms[i].Self) < vmid(vms[j].Self) })
	return vms, nil
}

func vmid(ref types.ManagedObjectReference) int {
	id, _ := strconv.Atoi(ref.Value)
	return id
}

// wait follows a task to its end. A task that waits for an answer of the user waits here as well.
func (t *tool) wait(task types.ManagedObjectReference) (types.TaskInfo, error) {
	for {
		var now mo.Task
		if err := t.read(task, &now, "info"); err != nil {
			return types.TaskInfo{}, err
		}
		switch now.Info.State {
		case types.TaskInfoStateSuccess:
			return now.Info, nil
		case types.TaskInfoStateError:
			return now.Info, &taskFault{now.Info.Error}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// taskFault is why a task failed.
type taskFault struct {
	reason *types.LocalizedMethodFault
}

func (f *taskFault) Error() string { return f.reason.LocalizedMessage }

// faultOf returns the fault behind an error of the API and its text.
func faultOf(err error) (types.BaseMethodFault, string) {
	var failed *taskFault
	if errors.As(err, &failed) {
		return failed.reason.Fault, failed.reason.LocalizedMessage
	}
	if soap.IsSoapFault(err) {
		fault := soap.ToSoapFault(err)
		if known, ok := fault.VimFault().(types.BaseMethodFault); ok {
			return known, fault.String
		}
		return &types.RuntimeFault{}, fault.String
	}
	return &types.RuntimeFault{}, err.Error()
}

// vmFolder and pool are where a VM is registered; a host has one of each.
func (t *tool) vmFolder() (types.ManagedObjectReference, error) {
	var root mo.Folder
	if err := t.read(t.h.content.RootFolder, &root, "childEntity"); err != nil {
		return types.ManagedObjectReference{}, err
	}
	var center mo.Datacenter
	err := t.read(root.ChildEntity[0], &center, "vmFolder")
	return center.VmFolder, err
}

func (t *tool) pool() (types.ManagedObjectReference, error) {
	var system mo.HostSystem
	if err := t.read(t.h.hostSystem, &system, "parent"); err != nil {
		return types.ManagedObjectReference{}, err
	}
	var compute mo.ComputeResource
	if err := t.read(*system.Parent, &compute, "resourcePool"); err != nil {
		return types.ManagedObjectReference{}, err
	}
	return *compute.ResourcePool, nil
}
