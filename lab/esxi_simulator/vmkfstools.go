package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// vmkfstools works on the files of the datastores. What is wrong goes to stderr, with exit status 255.
func (t *tool) vmkfstools() int {
	options, ok := t.parseDiskOptions()
	if !ok {
		return 1
	}
	switch {
	case options.create != "":
		return t.createVirtualDisk(options)
	case options.source != "":
		return t.cloneVirtualDisk(options)
	case options.extend != "":
		return t.extendVirtualDisk(options)
	case options.remove:
		return t.deleteVirtualDisk(options)
	case options.rename != "":
		return t.renameVirtualDisk(options)
	}
	return t.diskUsage("no action given")
}

// diskOptions are the options of vmkfstools that this host knows.
type diskOptions struct {
	create, source, extend, rename string
	remove                         bool
	kind                           diskKind
	file                           string
	files                          []string
}

// argument names for every option the field that its value goes to; the long names are as good as the short.
func (o *diskOptions) argument(option string) *string {
	switch option {
	case "-c", "--createvirtualdisk":
		return &o.create
	case "-i", "--clonevirtualdisk":
		return &o.source
	case "-X", "--extendvirtualdisk":
		return &o.extend
	case "-E", "--renamevirtualdisk":
		return &o.rename
	case "-d", "--diskformat":
		return (*string)(&o.kind)
	}
	return nil
}

func (t *tool) parseDiskOptions() (diskOptions, bool) {
	options := diskOptions{kind: zeroedThick}
	for args := t.call.Args; len(args) > 0; args = args[1:] {
		option := args[0]
		value := options.argument(option)
		switch {
		case value != nil && len(args) < 2:
			t.complain("vmkfstools: option requires an argument -- '%s'\n", strings.TrimLeft(option, "-"))
			return options, false
		case value != nil:
			*value = args[1]
			args = args[1:]
		case option == "-U" || option == "--deletevirtualdisk":
			options.remove = true
		case strings.HasPrefix(option, "-") && option != "-":
			t.notSimulated("vmkfstools " + option)
			return options, false
		default:
			options.files = append(options.files, t.path(option))
		}
	}
	if len(options.files) != 1 {
		t.diskUsage("one file must be named")
		return options, false
	}
	options.file = options.files[0]
	switch options.kind {
	case thin, zeroedThick, eagerZeroedThick:
		return options, true
	}
	t.complain("Invalid disk format '%s'.\n", options.kind) // not seen on a real host
	return options, false
}

// diskUsage: the real usage is four pages long.
func (t *tool) diskUsage(reason string) int {
	t.complain("vmkfstools: %s\nOPTIONS FOR VIRTUAL DISKS:\nvmkfstools -c [ --createvirtualdisk ] #[bBsSkKmMgGtT]\n"+
		"           -d [ --diskformat ] [zeroedthick|thin|eagerzeroedthick]\n           -U [ --deletevirtualdisk ]\n"+
		"           -E [ --renamevirtualdisk ] srcDisk\n           -i [ --clonevirtualdisk ] srcDisk\n"+
		"           -X [ --extendvirtualdisk ] #[bBsSkKmMgGtT]\n", reason)
	return 1
}

// diskFailed is how a failure ends: what was tried, then why.
func (t *tool) diskFailed(tried string, err error) int {
	t.complain("%s: %s\n", tried, diskReason(err))
	return 255
}

func diskReason(err error) string {
	switch {
	case errors.Is(err, errNoSpace):
		return "No space left on device (1835017)."
	case errors.Is(err, os.ErrNotExist):
		return errNoDisk.Error()
	}
	return err.Error()
}

// parseDiskSize reads "20G"; a bare number is bytes.
func parseDiskSize(text string) (int64, bool) {
	digits := strings.TrimRight(text, "bBsSkKmMgGtT")
	unit := map[string]int64{"": 1, "b": 1, "s": sectorSize, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
	factor, known := unit[strings.ToLower(text[len(digits):])]
	number, err := strconv.ParseInt(digits, 10, 64)
	// A disk is at most 62 TiB.
	if !known || err != nil || number <= 0 || number > (62<<40)/factor {
		return 0, false
	}
	return number * factor / sectorSize * sectorSize, true
}

func (t *tool) createVirtualDisk(o diskOptions) int {
	size, ok := parseDiskSize(o.create)
	if !ok || size < copyBlock {
		t.complain("Invalid disk size '%s'.\n", o.create) // not seen on a real host
		return 1
	}
	if t.call.Half {
		// Killed while it zeroes: the extent is there, the descriptor is not.
		_ = makeSparse(strings.TrimSuffix(o.file, ".vmdk")+"-flat.vmdk", size)
		return 1
	}
	if err := createDisk(o.file, size, o.kind); err != nil {
		return t.diskFailed("Failed to create virtual disk", err)
	}
	t.print("Create: 100%% done.\n")
	return 0
}

func (t *tool) cloneVirtualDisk(o diskOptions) int {
	src := t.path(o.source)
	if t.lockedForReading(src) {
		return t.locked(o.source)
	}
	if !isHosted(src) {
		if _, err := readDisk(src); err != nil {
			t.complain("DiskLib_Check() failed for source disk %s\n", diskReason(err))
			return 255
		}
	}
	t.print("Destination disk format: VMFS %s\nCloning disk '%s'...\n", formatName(o.kind), o.source)
	err := copyDisk(src, o.file, o.kind, func(percent int) error {
		if t.call.Half && percent >= 50 {
			return errKilled
		}
		// Nobody reads any more: the program was killed or the connection is gone.
		if _, err := t.stdout.Write([]byte("\rClone: " + strconv.Itoa(percent) + "% done.")); err != nil {
			return errKilled
		}
		return nil
	})
	if errors.Is(err, errKilled) {
		return 1
	}
	if err != nil {
		t.print("\n")
		return t.diskFailed("Failed to clone disk", err)
	}
	t.print("\n")
	return 0
}

func formatName(kind diskKind) string {
	if kind == thin {
		return "thin-provisioned"
	}
	return string(kind)
}

func (t *tool) extendVirtualDisk(o diskOptions) int {
	size, ok := parseDiskSize(o.extend)
	if !ok {
		t.complain("Invalid disk size '%s'.\n", o.extend) // not seen on a real host
		return 1
	}
	if t.lockedForWriting(o.file) {
		return t.locked(o.file)
	}
	if err := growDisk(o.file, size); err != nil {
		return t.diskFailed("Failed to extend disk", err)
	}
	t.print("Grow: 100%% done.\n")
	return 0
}

func (t *tool) deleteVirtualDisk(o diskOptions) int {
	if t.lockedForWriting(o.file) {
		return t.locked(o.file)
	}
	if err := deleteDisk(o.file); err != nil {
		return t.diskFailed("Failed to delete virtual disk", err)
	}
	return 0
}

func (t *tool) renameVirtualDisk(o diskOptions) int {
	old := t.path(o.rename)
	if t.lockedForWriting(old) {
		return t.locked(o.rename)
	}
	err := renameDisk(old, o.file)
	if errors.Is(err, syscall.EXDEV) {
		err = errDiskType
	}
	if err != nil {
		return t.diskFailed("Failed to rename virtual disk", err)
	}
	return 0
}

func (t *tool) locked(name string) int {
	t.complain("Failed to open '%s': Failed to lock the file (16392).\n", name)
	return 255
}

// lockedForReading: a VM that is on writes to the top of its disk's chain, which nobody else may open. The disks below
// it, kept by a snapshot, can be read.
func (t *tool) lockedForReading(path string) bool {
	for _, top := range t.openDisks() {
		if resolve(path) == resolve(top) {
			return true
		}
	}
	return false
}

// lockedForWriting: the disks below are locked against changes as well.
func (t *tool) lockedForWriting(path string) bool {
	for _, top := range t.openDisks() {
		for disk := top; disk != ""; {
			if resolve(path) == resolve(disk) {
				return true
			}
			info, err := readDisk(disk)
			if err != nil {
				break
			}
			disk = info.Parent
		}
	}
	return false
}

// openDisks are the disks that running VMs write to.
func (t *tool) openDisks() []string {
	vms, err := t.vms("runtime", "config")
	if err != nil {
		return nil
	}
	var paths []string
	for _, vm := range vms {
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
			paths = append(paths, t.disksOf(vm)...)
		}
	}
	return paths
}

// locks refuses, in rm's words, to remove what a running VM has open.
func (t *tool) locks() int {
	for _, top := range t.openDisks() {
		chain, err := diskChain(top)
		if err != nil {
			continue
		}
		for _, disk := range chain {
			extent := resolve(disk.Flat)
			for _, name := range t.call.Args {
				path := resolve(t.path(name))
				if !strings.HasPrefix(name, "-") && (extent == path || strings.HasPrefix(extent, path+"/")) {
					t.complain("rm: can't remove '%s': Device or resource busy\n", name)
					return 1
				}
			}
		}
	}
	return 0
}

func (t *tool) disksOf(vm mo.VirtualMachine) []string {
	if vm.Config == nil {
		return nil
	}
	var paths []string
	for _, device := range vm.Config.Hardware.Device {
		disk, isDisk := device.(*types.VirtualDisk)
		if !isDisk {
			continue
		}
		backing, isFile := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo)
		if isFile {
			paths = append(paths, t.filePath(backing.GetVirtualDeviceFileBackingInfo().FileName))
		}
	}
	return paths
}

// filePath turns "[datastore1] x/x.vmdk" into a path of the file system.
func (t *tool) filePath(name string) string {
	for _, d := range t.h.datastores {
		if prefix := "[" + d.name + "] "; strings.HasPrefix(name, prefix) {
			return filepath.Join(d.dir, strings.TrimPrefix(name, prefix))
		}
	}
	return name
}
