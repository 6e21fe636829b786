package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"sort"

	"github.com/vmware/govmomi/vim25/types"
)

// savedVM is a line of inventory.json. What the VM is like stands in its .vmx file.
type savedVM struct {
	ID    int                            `json:"vmid"`
	Path  string                         `json:"vmx"`
	Power types.VirtualMachinePowerState `json:"power"`
}

// savedHost is host.json: what a host knows besides its VMs.
type savedHost struct {
	NextID    int            `json:"next_vmid"`
	Switches  []savedSwitch  `json:"vswitches"`
	Groups    []savedGroup   `json:"port_groups"`
	Autostart savedAutostart `json:"autostart"`
}

func (h *host) statePath(name string) string { return filepath.Join(h.cfg.State, name) }

func writeJSON(path string, content interface{}) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(text, '\n'))
}

func readJSON(path string, into interface{}) (found bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	return err == nil, err
}

// saveHost and saveInventory end the process when the state cannot be kept: to go on would be to lie to clients.
func (h *host) saveHost() {
	if err := writeJSON(h.statePath("host.json"), h.saved); err != nil {
		log.Fatalf("cannot save the host's state: %s", err)
	}
}

func (h *host) saveInventory() {
	list := []savedVM{}
	for _, vm := range h.sortedVMs() {
		list = append(list, savedVM{ID: vm.id, Path: vm.path, Power: vm.power})
	}
	if err := writeJSON(h.statePath("inventory.json"), list); err != nil {
		log.Fatalf("cannot save the inventory: %s", err)
	}
}

func (h *host) sortedVMs() []*virtualMachine {
	list := make([]*virtualMachine, 0, len(h.vms))
	for _, vm := range h.vms {
		list = append(list, vm)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

// register puts a VM into the inventory under a number that was never used before.
func (h *host) register(path string) *virtualMachine {
	vm := h.newVM(h.saved.NextID, path)
	h.saved.NextID++
	h.saveHost()
	h.add(vm)
	h.saveInventory()
	return vm
}

func (h *host) add(vm *virtualMachine) {
	h.vms[vm.id] = vm
	vm.load()
	// The folder names its child before views hear of it: they look for it there.
	h.links()
	h.put(vm)
}

func (h *host) unregister(vm *virtualMachine) {
	delete(h.vms, vm.id)
	h.dropAutostart(vm.Self)
	h.saveInventory()
	h.links()
	h.registry.Remove(vm.Self)
	for _, one := range vm.snapshots.list {
		h.registry.Remove(vm.snapshotReference(one.id))
	}
}

// restore registers the VMs of an earlier run.
func (h *host) restore() error {
	var list []savedVM
	if _, err := readJSON(h.statePath("inventory.json"), &list); err != nil {
		return err
	}
	for _, saved := range list {
		vm := h.newVM(saved.ID, saved.Path)
		vm.power = saved.Power
		h.add(vm)
		if vm.file == nil {
			vm.power = types.VirtualMachinePowerStatePoweredOff
			vm.show()
		}
		// host.json may be older than the inventory after a kill.
		if saved.ID >= h.saved.NextID {
			h.saved.NextID = saved.ID + 1
		}
	}
	return nil
}

// links brings the lists of VMs that other objects hold up to date.
func (h *host) links() {
	var all []types.ManagedObjectReference
	onDatastore := map[types.ManagedObjectReference][]types.ManagedObjectReference{}
	onNetwork := map[types.ManagedObjectReference][]types.ManagedObjectReference{}
	for _, vm := range h.sortedVMs() {
		all = append(all, vm.Self)
		for _, reference := range vm.Datastore {
			onDatastore[reference] = append(onDatastore[reference], vm.Self)
		}
		for _, reference := range vm.Network {
			onNetwork[reference] = append(onNetwork[reference], vm.Self)
		}
	}
	h.vmFolder.ChildEntity, h.pool.Vm, h.system.Vm = all, all, all
	for _, object := range h.datastoreObjects {
		object.Vm = onDatastore[object.Self]
	}
	for _, object := range h.network.objects {
		object.Vm = onNetwork[object.Self]
	}
}
