package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// snapshotTree is a VM's .vmsd file. Going back to a snapshot is not simulated, so the tree is a line, oldest first.
type snapshotTree struct {
	lastID int
	list   []snapshot
}

type snapshot struct {
	id          int
	name        string
	description string
	created     time.Time
	on          bool
	quiesced    bool
	disks       []snapshotDisk
}

// snapshotDisk is the file that a disk had when the snapshot was taken: from then on it is only read.
type snapshotDisk struct {
	place string // "scsi0:0"
	file  string
}

// snapshotObject is a snapshot in the API.
type snapshotObject struct {
	mo.VirtualMachineSnapshot
	vm *virtualMachine
	id int
}

func readSnapshots(path string) *snapshotTree {
	tree := &snapshotTree{}
	file, err := readVMX(path)
	if err != nil {
		return tree // a VM without the file has no snapshots
	}
	tree.lastID = file.int("snapshot.lastUID", 0)
	for number := 0; number < file.int("snapshot.numSnapshots", 0); number++ {
		prefix := fmt.Sprintf("snapshot%d.", number)
		seconds, _ := strconv.ParseInt(file.get(prefix+"createTime"), 10, 64)
		one := snapshot{
			id: file.int(prefix+"uid", 0), name: file.get(prefix + "displayName"), created: time.UnixMicro(seconds),
			description: file.get(prefix + "description"), on: file.get(prefix+"type") == "1",
			quiesced: file.bool(prefix + "quiesced"),
		}
		for disk := 0; disk < file.int(prefix+"numDisks", 0); disk++ {
			name := fmt.Sprintf("%sdisk%d.", prefix, disk)
			one.disks = append(one.disks, snapshotDisk{place: file.get(name + "node"), file: file.get(name + "fileName")})
		}
		tree.list = append(tree.list, one)
	}
	return tree
}

func (t *snapshotTree) write(path string) error {
	if len(t.list) == 0 && t.lastID == 0 {
		return writeFile(path, nil)
	}
	file := newVMX()
	file.set(".encoding", "UTF-8")
	file.set("snapshot.lastUID", strconv.Itoa(t.lastID))
	file.set("snapshot.numSnapshots", strconv.Itoa(len(t.list)))
	for number, one := range t.list {
		prefix := fmt.Sprintf("snapshot%d.", number)
		file.set("snapshot.current", strconv.Itoa(one.id))
		file.set(prefix+"uid", strconv.Itoa(one.id))
		if number > 0 {
			file.set(prefix+"parent", strconv.Itoa(t.list[number-1].id))
		}
		file.set(prefix+"displayName", one.name)
		file.set(prefix+"description", one.description)
		file.set(prefix+"createTime", strconv.FormatInt(one.created.UnixMicro(), 10))
		file.set(prefix+"type", map[bool]string{true: "1", false: "0"}[one.on])
		file.setBool(prefix+"quiesced", one.quiesced)
		file.set(prefix+"numDisks", strconv.Itoa(len(one.disks)))
		for disk, at := range one.disks {
			file.set(fmt.Sprintf("%sdisk%d.fileName", prefix, disk), at.file)
			file.set(fmt.Sprintf("%sdisk%d.node", prefix, disk), at.place)
		}
	}
	return writeFile(path, file.format())
}

func (vm *virtualMachine) snapshotReference(id int) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: fmt.Sprintf("%d-snapshot-%d", vm.id, id)}
}

// showSnapshots builds the tree in the API and the objects in it.
func (vm *virtualMachine) showSnapshots() {
	vm.Snapshot, vm.RootSnapshot = nil, nil
	if vm.snapshots == nil || len(vm.snapshots.list) == 0 {
		return
	}
	var below []types.VirtualMachineSnapshotTree
	for number := len(vm.snapshots.list) - 1; number >= 0; number-- {
		one := vm.snapshots.list[number]
		self := vm.snapshotReference(one.id)
		object := &snapshotObject{vm: vm, id: one.id}
		object.Self, object.Vm = self, vm.Self
		for _, child := range below {
			object.ChildSnapshot = append(object.ChildSnapshot, child.Snapshot)
		}
		if vm.file != nil {
			object.Config = *vm.config()
		}
		vm.h.put(object)
		state := poweredOff
		if one.on {
			state = poweredOn
		}
		below = []types.VirtualMachineSnapshotTree{{
			Snapshot: self, Vm: vm.Self, Name: one.name, Description: one.description, Id: int32(one.id),
			CreateTime: one.created, State: state, Quiesced: one.quiesced, ReplaySupported: types.NewBool(false),
			ChildSnapshotList: below,
		}}
	}
	last := vm.snapshotReference(vm.snapshots.list[len(vm.snapshots.list)-1].id)
	vm.Snapshot = &types.VirtualMachineSnapshotInfo{CurrentSnapshot: &last, RootSnapshotList: below}
	vm.RootSnapshot = []types.ManagedObjectReference{below[0].Snapshot}
}

func (vm *virtualMachine) CreateSnapshotTask(ctx *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	self := vm.start(ctx, "createSnapshot", func(t *task) (types.AnyType, *refusal) {
		if refused := vm.needValid(); refused != nil {
			return nil, refused
		}
		if req.Memory && vm.on() {
			return nil, notSimulated("snapshots with memory")
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		return vm.takeSnapshot(req)
	})
	return &methods.CreateSnapshot_TaskBody{Res: &types.CreateSnapshot_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) takeSnapshot(req *types.CreateSnapshot_Task) (types.AnyType, *refusal) {
	tree := vm.snapshots
	taken := snapshot{
		id: tree.lastID + 1, name: req.Name, description: req.Description, created: time.Now(), on: vm.on(),
		quiesced: req.Quiesce && vm.on(),
	}
	file := vm.file.clone()
	var made []string
	for _, at := range diskPlaces(vm.file) {
		key := at.name() + ".fileName"
		path := vm.h.path(vm.folder(), vm.file.get(key))
		delta := vm.deltaName(path)
		if err := createDelta(delta, path); err != nil {
			for _, disk := range made {
				_ = deleteDisk(disk)
			}
			return nil, diskRefusal(err, delta)
		}
		made = append(made, delta)
		taken.disks = append(taken.disks, snapshotDisk{place: at.name(), file: filepath.Base(path)})
		file.set(key, vm.h.vmxFileName(vm.folder(), delta))
	}
	// The list first: should the host die here, the .vmx still names the disks it always did.
	updated := &snapshotTree{lastID: taken.id, list: append(append([]snapshot{}, tree.list...), taken)}
	if err := updated.write(vm.snapshotList()); err != nil {
		return nil, diskRefusal(err, vm.snapshotList())
	}
	vm.snapshots, vm.file = updated, file
	if err := vm.save(); err != nil {
		return nil, diskRefusal(err, vm.path)
	}
	return vm.snapshotReference(taken.id), nil
}

// deltaName is the next free x-000001.vmdk beside a disk.
func (vm *virtualMachine) deltaName(path string) string {
	base := strings.TrimSuffix(path, ".vmdk")
	if tail := len(base) - len("-000001"); tail > 0 && base[tail] == '-' {
		if _, err := strconv.Atoi(base[tail+1:]); err == nil {
			base = base[:tail]
		}
	}
	for number := 1; ; number++ {
		delta := fmt.Sprintf("%s-%06d.vmdk", base, number)
		if _, err := os.Lstat(delta); os.IsNotExist(err) {
			return delta
		}
	}
}

func (s *snapshotObject) RemoveSnapshotTask(ctx *simulator.Context, req *types.RemoveSnapshot_Task) soap.HasFault {
	self := s.vm.start(ctx, "removeSnapshot", func(t *task) (types.AnyType, *refusal) {
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		if req.RemoveChildren {
			return nil, s.vm.removeSnapshots(t, func(one snapshot) bool { return one.id >= s.id })
		}
		return nil, s.vm.removeSnapshots(t, func(one snapshot) bool { return one.id == s.id })
	})
	return &methods.RemoveSnapshot_TaskBody{Res: &types.RemoveSnapshot_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) RemoveAllSnapshotsTask(
	ctx *simulator.Context, _ *types.RemoveAllSnapshots_Task,
) soap.HasFault {
	self := vm.start(ctx, "removeAllSnapshots", func(t *task) (types.AnyType, *refusal) {
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		return nil, vm.removeSnapshots(t, func(snapshot) bool { return true })
	})
	return &methods.RemoveAllSnapshots_TaskBody{Res: &types.RemoveAllSnapshots_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) removeSnapshots(t *task, chosen func(snapshot) bool) *refusal {
	if refused := vm.needValid(); refused != nil {
		return refused
	}
	// From the newest: a layer that goes into the one below it has at most one above it.
	for number := len(vm.snapshots.list) - 1; number >= 0; number-- {
		if !chosen(vm.snapshots.list[number]) {
			continue
		}
		if refused := vm.removeSnapshot(t, number); refused != nil {
			return refused
		}
	}
	return nil
}

func (vm *virtualMachine) removeSnapshot(t *task, number int) *refusal {
	file, tree := vm.file.clone(), &snapshotTree{lastID: vm.snapshots.lastID}
	tree.list = append(tree.list, vm.snapshots.list...)
	for _, disk := range tree.list[number].disks {
		base := filepath.Join(vm.folder(), disk.file)
		delta, above := "", ""
		if number+1 < len(tree.list) {
			delta = fileAt(tree.list[number+1].disks, disk.place)
			if number+2 < len(tree.list) {
				above = fileAt(tree.list[number+2].disks, disk.place)
			} else {
				above = filepath.Base(file.get(disk.place + ".fileName"))
			}
		} else {
			delta = filepath.Base(file.get(disk.place + ".fileName"))
		}
		if delta == "" || delta == disk.file {
			continue // the disk was detached since
		}
		var err error
		t.unlocked(func() { err = commitDelta(filepath.Join(vm.folder(), delta)) })
		if err == nil && above != "" {
			err = reparent(filepath.Join(vm.folder(), above), delta, disk.file)
		}
		if err != nil {
			return diskRefusal(err, base)
		}
		if number+1 < len(tree.list) {
			tree.list[number+1].disks = withFile(tree.list[number+1].disks, disk.place, disk.file)
		} else {
			file.set(disk.place+".fileName", disk.file)
		}
	}
	gone := tree.list[number].id
	tree.list = append(tree.list[:number:number], tree.list[number+1:]...)
	vm.file, vm.snapshots = file, tree
	if err := vm.save(); err != nil {
		return diskRefusal(err, vm.path)
	}
	if err := tree.write(vm.snapshotList()); err != nil {
		return diskRefusal(err, vm.snapshotList())
	}
	vm.h.registry.Remove(vm.snapshotReference(gone))
	return nil
}

func fileAt(disks []snapshotDisk, place string) string {
	for _, disk := range disks {
		if disk.place == place {
			return disk.file
		}
	}
	return ""
}

func withFile(disks []snapshotDisk, place, file string) []snapshotDisk {
	changed := append([]snapshotDisk{}, disks...)
	for i := range changed {
		if changed[i].place == place {
			changed[i].file = file
		}
	}
	return changed
}

// reparent lets a delta build on another file.
func reparent(descriptor, from, to string) error {
	content, err := os.ReadFile(descriptor)
	if err != nil {
		return err
	}
	hint := `parentFileNameHint="%s"`
	text := strings.Replace(string(content), fmt.Sprintf(hint, from), fmt.Sprintf(hint, to), 1)
	return writeFile(descriptor, []byte(text))
}
