package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// diskManager works on virtual disks that need not belong to a VM.
type diskManager struct {
	mo.VirtualDiskManager
	h *host
}

// kindOf reads the API's name of a disk type.
func kindOf(diskType string) (diskKind, *refusal) {
	switch types.VirtualDiskType(diskType) {
	case types.VirtualDiskTypeThin:
		return thin, nil
	case types.VirtualDiskTypePreallocated, types.VirtualDiskTypeThick, "":
		return zeroedThick, nil
	case types.VirtualDiskTypeEagerZeroedThick:
		return eagerZeroedThick, nil
	}
	return "", notSimulated("disk type " + diskType)
}

func (m *diskManager) CreateVirtualDiskTask(
	ctx *simulator.Context, req *types.CreateVirtualDisk_Task,
) soap.HasFault {
	self := m.h.fileTask(ctx, "VirtualDiskManager.createVirtualDisk", func(t *task) (types.AnyType, *refusal) {
		spec, ok := req.Spec.(*types.FileBackedVirtualDiskSpec)
		if !ok {
			return nil, invalid("spec")
		}
		kind, refused := kindOf(spec.DiskType)
		if refused != nil {
			return nil, refused
		}
		if spec.CapacityKb <= 0 {
			return nil, invalid("spec.capacityKb")
		}
		path, refused := m.h.filePath(req.Name)
		if refused == nil {
			refused = m.h.target(path, false)
		}
		if refused == nil {
			refused = t.elapse()
		}
		if refused != nil {
			return nil, refused
		}
		if err := createDisk(path, spec.CapacityKb*1024, kind); err != nil {
			return nil, diskRefusal(err, path)
		}
		return displayPath(path), nil
	})
	return &methods.CreateVirtualDisk_TaskBody{Res: &types.CreateVirtualDisk_TaskResponse{Returnval: self}}
}

func (m *diskManager) CopyVirtualDiskTask(ctx *simulator.Context, req *types.CopyVirtualDisk_Task) soap.HasFault {
	force := req.Force != nil && *req.Force
	self := m.h.transfer(ctx, "VirtualDiskManager.copyVirtualDisk", req.SourceName, req.DestName, force,
		func(t *task, source, destination string) error {
			wanted := ""
			if req.DestSpec != nil {
				wanted = req.DestSpec.GetVirtualDiskSpec().DiskType
			}
			kind, refused := kindOf(wanted)
			if refused != nil {
				return errDiskType
			}
			if wanted == "" {
				if disk, err := readDisk(source); err == nil {
					kind = disk.Kind
				}
			}
			return cloneDisk(source, destination, kind, t.progress)
		}, false)
	return &methods.CopyVirtualDisk_TaskBody{Res: &types.CopyVirtualDisk_TaskResponse{Returnval: self}}
}

func (m *diskManager) MoveVirtualDiskTask(ctx *simulator.Context, req *types.MoveVirtualDisk_Task) soap.HasFault {
	force := req.Force != nil && *req.Force
	self := m.h.transfer(ctx, "VirtualDiskManager.moveVirtualDisk", req.SourceName, req.DestName, force,
		func(t *task, source, destination string) error {
			if datastoreOf(source) == datastoreOf(destination) {
				return renameDisk(source, destination)
			}
			disk, err := readDisk(source)
			if err == nil {
				err = cloneDisk(source, destination, disk.Kind, t.progress)
			}
			if err != nil {
				return err
			}
			return deleteDisk(source)
		}, true)
	return &methods.MoveVirtualDisk_TaskBody{Res: &types.MoveVirtualDisk_TaskResponse{Returnval: self}}
}

func (m *diskManager) ExtendVirtualDiskTask(
	ctx *simulator.Context, req *types.ExtendVirtualDisk_Task,
) soap.HasFault {
	self := m.h.diskTask(ctx, "VirtualDiskManager.extendVirtualDisk", req.Name, func(path string) error {
		return growDisk(path, req.NewCapacityKb*1024)
	})
	return &methods.ExtendVirtualDisk_TaskBody{Res: &types.ExtendVirtualDisk_TaskResponse{Returnval: self}}
}

func (m *diskManager) DeleteVirtualDiskTask(
	ctx *simulator.Context, req *types.DeleteVirtualDisk_Task,
) soap.HasFault {
	self := m.h.diskTask(ctx, "VirtualDiskManager.deleteVirtualDisk", req.Name, deleteDisk)
	return &methods.DeleteVirtualDisk_TaskBody{Res: &types.DeleteVirtualDisk_TaskResponse{Returnval: self}}
}

// diskTask changes one disk that nobody uses.
func (h *host) diskTask(
	ctx *simulator.Context, id, name string, change func(path string) error,
) types.ManagedObjectReference {
	return h.fileTask(ctx, id, func(t *task) (types.AnyType, *refusal) {
		path, refused := h.filePath(name)
		if refused == nil {
			refused = h.changeable(path)
		}
		if refused == nil {
			refused = t.elapse()
		}
		if refused != nil {
			return nil, refused
		}
		return nil, diskRefusal(change(path), path)
	})
}
