package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ownedFile is a file that belongs to a VM and goes away with it.
type ownedFile struct {
	path string
	kind string // as VirtualMachineFileLayoutEx names it
}

func (vm *virtualMachine) beside(extension string) string {
	return strings.TrimSuffix(vm.path, ".vmx") + extension
}

func (vm *virtualMachine) snapshotList() string { return vm.beside(".vmsd") }

// files are the VM's own: the configuration, what the host wrote beside it, and the disks with all their layers. An
// ISO image in a CD-ROM drive is not among them.
func (vm *virtualMachine) files() []ownedFile {
	owned := []ownedFile{
		{vm.path, "config"}, {vm.snapshotList(), "snapshotList"}, {vm.beside(".nvram"), "nvram"},
		{vm.beside(".vmxf"), "extendedConfig"}, {filepath.Join(vm.folder(), "vmware.log"), "log"},
	}
	seen := map[string]bool{}
	for _, disk := range vm.allDisks() {
		for path := disk; path != "" && !seen[path]; {
			seen[path] = true
			owned = append(owned, ownedFile{path, "diskDescriptor"})
			info, err := readDisk(path)
			if err != nil {
				break
			}
			owned = append(owned, ownedFile{info.Flat, "diskExtent"})
			path = info.Parent
		}
	}
	return owned
}

// disks are the descriptors of the attached disks.
func (vm *virtualMachine) disks() []string {
	var disks []string
	for _, at := range diskPlaces(vm.file) {
		disks = append(disks, vm.h.path(vm.folder(), vm.file.get(at.name()+".fileName")))
	}
	return disks
}

// allDisks are the attached disks and those that only snapshots know.
func (vm *virtualMachine) allDisks() []string {
	disks := vm.disks()
	for _, snapshot := range vm.snapshots.list {
		for _, disk := range snapshot.disks {
			disks = append(disks, filepath.Join(vm.folder(), disk.file))
		}
	}
	return disks
}

// deleteFiles removes the VM from its datastores; the folder goes if nothing else is in it.
func (vm *virtualMachine) deleteFiles() error {
	for _, owned := range vm.files() {
		if err := os.Remove(owned.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_ = os.Remove(vm.folder()) // fails when other files are left in it, and they stay
	return nil
}

// lockedBy is the VM that runs and writes to a file, nil when there is none. Layers below a snapshot are only read.
func (h *host) lockedBy(path string, except *virtualMachine) *virtualMachine {
	path = resolve(path)
	for _, vm := range h.sortedVMs() {
		if vm == except || vm.file == nil || !vm.on() {
			continue
		}
		if resolve(vm.path) == path {
			return vm
		}
		for _, disk := range vm.disks() {
			if resolve(disk) == path {
				return vm
			}
			if info, err := readDisk(disk); err == nil && resolve(info.Flat) == path {
				return vm
			}
		}
	}
	return nil
}

// usedBelow is a running VM with a file in a folder.
func (h *host) usedBelow(folder string) *virtualMachine {
	prefix := resolve(folder) + "/"
	for _, vm := range h.sortedVMs() {
		if vm.file == nil || !vm.on() {
			continue
		}
		for _, owned := range vm.files() {
			if strings.HasPrefix(resolve(owned.path), prefix) {
				return vm
			}
		}
	}
	return nil
}

// allocated is what a file takes on its datastore: a thick disk all of it.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}

// writeFile replaces a file as a whole, so that a kill leaves the old or the new one.
func writeFile(path string, content []byte) error {
	partial := path + "~"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		os.Remove(partial)
	}
	return err
}
