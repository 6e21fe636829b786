package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// start runs a task on the VM; a VM does one thing at a time.
func (vm *virtualMachine) start(ctx *simulator.Context, id string, do work) types.ManagedObjectReference {
	before := vm.busy
	self := vm.h.start(ctx, vm.Self, vm.Name, "VirtualMachine."+id, func(t *task) (types.AnyType, *refusal) {
		if before != nil {
			return nil, refuse(&types.TaskInProgress{Task: *before})
		}
		defer func() { vm.busy = nil }()
		switch {
		case vm.h.vms[vm.id] != vm:
			return nil, refuse(&types.ManagedObjectNotFound{Obj: vm.Self})
		case vm.leased:
			return nil, refuse(new(types.InvalidState))
		}
		return do(t)
	})
	if before == nil {
		vm.busy = &self
	}
	return self
}

// need refuses an operation in any other power state.
func (vm *virtualMachine) need(states ...types.VirtualMachinePowerState) *refusal {
	for _, state := range states {
		if vm.power == state {
			return nil
		}
	}
	return refuse(&types.InvalidPowerState{RequestedState: states[0], ExistingState: vm.power})
}

func (vm *virtualMachine) needValid() *refusal {
	if vm.file == nil {
		return refuse(new(types.InvalidState))
	}
	return nil
}

func (vm *virtualMachine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	self := vm.start(ctx, "reconfigure", func(t *task) (types.AnyType, *refusal) {
		return nil, vm.reconfigure(ctx, t, &req.Spec)
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) reconfigure(
	ctx *simulator.Context, t *task, spec *types.VirtualMachineConfigSpec,
) *refusal {
	if refused := vm.needValid(); refused != nil {
		return refused
	}
	if spec.ChangeVersion != "" && spec.ChangeVersion != vm.Config.ChangeVersion {
		return refuse(new(types.ConcurrentAccess))
	}
	if spec.Name != "" {
		if refused := vm.h.nameTaken(spec.Name, vm); refused != nil {
			return refused
		}
	}
	c := &change{h: vm.h, spec: spec, file: vm.file.clone(), folder: vm.folder(), on: vm.on()}
	c.given = func(element string) bool { return given(ctx, element) }
	if refused := c.apply(); refused != nil {
		return refused
	}
	if refused := t.elapse(); refused != nil {
		return refused
	}
	var made []string
	for _, work := range c.todo {
		if refused := work.do(); refused != nil {
			for _, disk := range made {
				_ = deleteDisk(disk)
			}
			return refused
		}
		if !work.grow {
			made = append(made, work.path)
		}
	}
	before := vm.file
	vm.file = c.file
	vm.generateMACs()
	if err := vm.save(); err != nil {
		vm.file = before
		return diskRefusal(err, vm.path)
	}
	for _, disk := range c.deletes {
		if err := deleteDisk(disk); err != nil {
			return diskRefusal(err, disk)
		}
	}
	vm.show()
	return nil
}

func (vm *virtualMachine) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	self := vm.start(ctx, "rename", func(t *task) (types.AnyType, *refusal) {
		return nil, vm.reconfigure(ctx, t, &types.VirtualMachineConfigSpec{Name: req.NewName})
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	self := vm.start(ctx, "destroy", func(t *task) (types.AnyType, *refusal) {
		if refused := vm.need(types.VirtualMachinePowerStatePoweredOff); refused != nil {
			return nil, refused
		}
		if refused := vm.needValid(); refused != nil {
			return nil, refused
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		var err error
		id := vm.uuid()
		t.unlocked(func() { err = vm.h.guests.delete(id) })
		if err != nil {
			return nil, refuseWith(new(types.GenericVmConfigFault), "%s", err)
		}
		if err := vm.deleteFiles(); err != nil {
			return nil, diskRefusal(err, vm.path)
		}
		vm.h.unregister(vm)
		return nil, nil
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) UnregisterVM(*types.UnregisterVM) soap.HasFault {
	refused := vm.need(types.VirtualMachinePowerStatePoweredOff)
	if refused == nil && vm.busy != nil {
		refused = refuse(&types.TaskInProgress{Task: *vm.busy})
	}
	if refused != nil {
		return answer(refused)
	}
	vm.h.unregister(vm)
	return &methods.UnregisterVMBody{Res: new(types.UnregisterVMResponse)}
}

// Reload reads the .vmx file again: what was edited in a shell becomes true.
func (vm *virtualMachine) Reload(*types.Reload) soap.HasFault {
	if vm.busy != nil {
		return answer(refuse(&types.TaskInProgress{Task: *vm.busy}))
	}
	vm.changes++
	vm.load()
	return &methods.ReloadBody{Res: new(types.ReloadResponse)}
}

func (vm *virtualMachine) RefreshStorageInfo(*types.RefreshStorageInfo) soap.HasFault {
	vm.show()
	return &methods.RefreshStorageInfoBody{Res: new(types.RefreshStorageInfoResponse)}
}
