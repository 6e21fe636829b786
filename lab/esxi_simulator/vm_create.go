package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vmFolder is the folder that all VMs of a host are in.
type vmFolder struct {
	mo.Folder
	h *host
}

// draft is a VM that is being made: everything it put on the datastore can be taken away again.
type draft struct {
	h       *host
	name    string
	path    string // of the .vmx file
	madeDir bool
	made    []string // disks
	disks   []diskWork
	file    *vmx
}

func (f *vmFolder) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	if req.Pool != f.h.pool.Self {
		return answer(refuse(&types.ManagedObjectNotFound{Obj: req.Pool}))
	}
	self := f.h.start(ctx, f.Self, f.Name, "Folder.createVm", func(t *task) (types.AnyType, *refusal) {
		made, refused := f.h.draft(&req.Config)
		if refused != nil {
			return nil, refused
		}
		if refused := t.elapse(); refused != nil {
			made.discard()
			return nil, refused
		}
		return made.register().Self, nil
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: self}}
}

// draft makes a VM's files, or nothing.
func (h *host) draft(spec *types.VirtualMachineConfigSpec) (*draft, *refusal) {
	if spec.Name == "" {
		return nil, refuse(&types.InvalidVmConfig{Property: "configSpec.name"})
	}
	if spec.Files == nil || spec.Files.VmPathName == "" {
		return nil, refuse(&types.InvalidVmConfig{Property: "configSpec.files.vmPathName"})
	}
	if refused := h.nameTaken(spec.Name, nil); refused != nil {
		return nil, refused
	}
	path, refused := h.placeVM(spec.Name, spec.Files.VmPathName)
	if refused != nil {
		return nil, refused
	}
	d := &draft{h: h, name: spec.Name, path: path, file: newVMX()}
	d.defaults()
	c := &change{h: h, spec: spec, file: d.file, folder: filepath.Dir(path), create: true}
	c.given = func(string) bool { return false } // a new VM has nothing to be emptied
	if refused := c.apply(); refused != nil {
		return nil, refused
	}
	h.drafts[spec.Name] = true
	if refused := d.write(c.todo); refused != nil {
		d.discard()
		return nil, refused
	}
	return d, nil
}

// nameTaken refuses a name that another VM has or is about to have.
func (h *host) nameTaken(name string, except *virtualMachine) *refusal {
	for _, vm := range h.sortedVMs() {
		if vm != except && vm.Name == name {
			return refuse(&types.DuplicateName{Name: name, Object: vm.Self})
		}
	}
	if h.drafts[name] {
		return refuse(&types.DuplicateName{Name: name, Object: h.vmFolder.Self})
	}
	return nil
}

// unfit are characters of a VM's name that the host keeps out of file names.
var unfit = strings.NewReplacer(
	"/", "_", "\\", "_", "\"", "_", "*", "_", ":", "_", "<", "_", ">", "_", "?", "_", "|", "_", "%", "_",
)

func fileNameOf(name string) string { return unfit.Replace(name) }

// placeVM finds the .vmx file's path: in a new folder when only the datastore is given, else where the client says.
func (h *host) placeVM(name, wanted string) (string, *refusal) {
	var parsed object.DatastorePath
	if !parsed.FromString(wanted) {
		return "", refuse(&types.InvalidDatastorePath{
			InvalidDatastore: types.InvalidDatastore{Name: wanted}, DatastorePath: wanted,
		})
	}
	d := h.datastoreByName(parsed.Datastore)
	if d == nil {
		return "", refuse(&types.InvalidDatastore{Name: parsed.Datastore})
	}
	fileName := fileNameOf(name)
	inside := strings.TrimPrefix(filepath.Join("/", parsed.Path), "/")
	if filepath.Ext(inside) == ".vmx" {
		path := filepath.Join(d.dir, inside)
		if _, err := os.Lstat(path); err == nil {
			for _, vm := range h.vms {
				if vm.path == path {
					return "", refuse(&types.AlreadyExists{Name: displayPath(path)})
				}
			}
			return "", refuse(&types.FileAlreadyExists{FileFault: types.FileFault{File: displayPath(path)}})
		}
		return path, nil
	}
	if inside != "" {
		return filepath.Join(d.dir, inside, fileName+".vmx"), nil
	}
	for number := 0; ; number++ {
		folder := fileName
		if number > 0 {
			folder += "_" + strconv.Itoa(number)
		}
		if _, err := os.Lstat(filepath.Join(d.dir, folder)); os.IsNotExist(err) {
			return filepath.Join(d.dir, folder, fileName+".vmx"), nil
		}
	}
}

func (d *draft) defaults() {
	for _, line := range [][2]string{
		{".encoding", "UTF-8"}, {"config.version", "8"}, {"virtualHW.version", strconv.Itoa(hardwareVersion)},
		{"displayName", d.name}, {"guestOS", "other"}, {"numvcpus", "1"}, {"memsize", "128"},
		{"nvram", strings.TrimSuffix(filepath.Base(d.path), ".vmx") + ".nvram"},
		{"pciBridge0.present", "TRUE"}, {"svga.present", "TRUE"}, {"vmci0.present", "TRUE"}, {"floppy0.present", "FALSE"},
		{"uuid.bios", vmxUUID(newVMUUID())},
	} {
		d.file.set(line[0], line[1])
	}
}

func (d *draft) write(todo []diskWork) *refusal {
	folder := filepath.Dir(d.path)
	parent := filepath.Dir(folder)
	if _, err := os.Stat(parent); err != nil {
		return refuse(&types.FileNotFound{FileFault: types.FileFault{File: displayPath(parent)}})
	}
	switch err := os.Mkdir(folder, 0o755); {
	case err == nil:
		d.madeDir = true
	case !errors.Is(err, fs.ErrExist):
		return diskRefusal(err, folder)
	}
	if store := datastoreOf(d.path); store != nil {
		if err := store.reserve(1 << 20); err != nil {
			return diskRefusal(err, d.path)
		}
	}
	for _, work := range todo {
		d.disks = append(d.disks, work)
		if refused := work.do(); refused != nil {
			return refused
		}
		d.made = append(d.made, work.path)
	}
	vm := d.h.newVM(0, d.path)
	vm.file = d.file
	vm.file.set("uuid.location", vmxUUID(locationUUID(d.path)))
	vm.generateMACs()
	if err := writeFile(d.path, d.file.format()); err != nil {
		return diskRefusal(err, d.path)
	}
	if err := writeFile(vm.snapshotList(), nil); err != nil {
		return diskRefusal(err, d.path)
	}
	return nil
}

// discard takes away what write made.
func (d *draft) discard() {
	delete(d.h.drafts, d.name)
	for _, disk := range d.made {
		_ = deleteDisk(disk)
		_ = os.Remove(filepath.Dir(disk)) // only an empty folder goes
	}
	_ = os.Remove(d.path)
	_ = os.Remove(strings.TrimSuffix(d.path, ".vmx") + ".vmsd")
	if d.madeDir {
		_ = os.Remove(filepath.Dir(d.path))
	}
}

func (d *draft) register() *virtualMachine {
	delete(d.h.drafts, d.name)
	return d.h.register(d.path)
}

func (f *vmFolder) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) soap.HasFault {
	self := f.h.start(ctx, f.Self, f.Name, "Folder.registerVm", func(*task) (types.AnyType, *refusal) {
		return f.h.registerVM(req)
	})
	return &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: self}}
}

func (h *host) registerVM(req *types.RegisterVM_Task) (types.AnyType, *refusal) {
	switch {
	case req.AsTemplate:
		return nil, notSimulated("templates on a host")
	case req.Pool == nil:
		return nil, invalid("pool")
	}
	path, refused := h.filePath(req.Path)
	if refused != nil {
		return nil, refused
	}
	for _, vm := range h.vms {
		if vm.path == path {
			return nil, refuse(&types.AlreadyExists{Name: displayPath(path)})
		}
	}
	file, err := readVMX(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse(&types.NotFound{})
	case err != nil:
		return nil, refuse(&types.InvalidVmConfig{Property: err.Error()})
	}
	name := req.Name
	if name == "" {
		name = file.get("displayName")
	}
	if refused := h.nameTaken(name, nil); name != "" && refused != nil {
		return nil, refused
	}
	vm := h.register(path)
	if req.Name != "" {
		vm.file.set("displayName", req.Name)
	}
	vm.identify()
	if err := vm.save(); err != nil {
		return nil, diskRefusal(err, path)
	}
	return vm.Self, nil
}
