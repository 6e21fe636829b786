package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// change is one application of a config spec to a .vmx file: first everything is checked and noted, then done.
type change struct {
	h      *host
	spec   *types.VirtualMachineConfigSpec
	file   *vmx   // a copy, already changed
	folder string // where the VM lies
	on     bool   // the VM runs
	create bool
	given  func(element string) bool // tells a zero that was sent from nothing

	controllers map[int32]place // by the key that the spec uses, which for new ones is made up
	devices     map[int32]string
	todo        []diskWork
	deletes     []string
}

// diskWork is a disk to be made or to be grown.
type diskWork struct {
	path   string
	bytes  int64
	kind   diskKind
	grow   bool
	folder bool   // its folder may have to be made
	device string // a new disk's device as an import names it: "ParaVirtualSCSIController0:0"
}

// do makes or grows the disk.
func (w diskWork) do() *refusal {
	folder := filepath.Dir(w.path)
	if w.folder {
		_ = os.Mkdir(folder, 0o755) // if it cannot be made, the disk cannot either
	}
	if w.grow {
		return diskRefusal(growDisk(w.path, w.bytes), w.path)
	}
	if !exists(folder) {
		return missing(folder)
	}
	return diskRefusal(createDisk(w.path, w.bytes, w.kind), w.path)
}

// handledFields are the settings of a config spec that this host knows. Others are refused, not forgotten.
var handledFields = map[string]bool{
	"DynamicData": true, "ChangeVersion": true, "Name": true, "Version": true, "Uuid": true, "InstanceUuid": true,
	"GuestId": true, "Annotation": true, "Files": true, "NumCPUs": true, "NumCoresPerSocket": true, "MemoryMB": true,
	"MemoryHotAddEnabled": true, "CpuHotAddEnabled": true, "CpuHotRemoveEnabled": true, "DeviceChange": true,
	"ExtraConfig": true, "BootOptions": true, "Firmware": true, "NestedHVEnabled": true, "CreateDate": true,
	"AlternateGuestName": true,
}

func (c *change) apply() *refusal {
	c.controllers, c.devices = map[int32]place{}, map[int32]string{}
	for _, step := range []func() *refusal{c.known, c.identity, c.hardware, c.deviceChanges, c.boot, c.extra} {
		if refused := step(); refused != nil {
			return refused
		}
	}
	return nil
}

func (c *change) known() *refusal {
	fields := reflect.ValueOf(*c.spec)
	for i := 0; i < fields.NumField(); i++ {
		name := fields.Type().Field(i).Name
		if !handledFields[name] && !fields.Field(i).IsZero() {
			return notSimulated("configSpec." + strings.ToLower(name[:1]) + name[1:])
		}
	}
	return nil
}

func (c *change) identity() *refusal {
	spec := c.spec
	if len(spec.Name) > 80 {
		return invalid("configSpec.name")
	}
	if spec.GuestId != "" && !knownGuest(spec.GuestId) {
		return invalid("configSpec.guestId")
	}
	if spec.GuestId != "" {
		if refused := c.cold("guestOS", vmxGuestOS(spec.GuestId)); refused != nil {
			return refused
		}
	}
	for key, value := range map[string]string{"uuid.bios": spec.Uuid, "vc.uuid": spec.InstanceUuid} {
		if value == "" {
			continue
		}
		if vmUUID(value) == "" {
			return invalid("configSpec.uuid")
		}
		if refused := c.cold(key, vmxUUID(value)); refused != nil {
			return refused
		}
	}
	if spec.Name != "" {
		c.file.set("displayName", spec.Name)
	}
	if spec.Annotation != "" {
		c.file.set("annotation", spec.Annotation)
	} else if c.given("spec/annotation") {
		c.file.remove("annotation")
	}
	if spec.AlternateGuestName != "" {
		c.file.set("guestOSAltName", spec.AlternateGuestName)
	}
	return nil
}

// onlyOff refuses what a running VM does not allow.
func onlyOff() *refusal {
	return refuse(&types.InvalidPowerState{RequestedState: poweredOff, ExistingState: poweredOn})
}

// cold sets what cannot be changed while the VM runs.
func (c *change) cold(key, value string) *refusal {
	if c.on && c.file.get(key) != value {
		return onlyOff()
	}
	c.file.set(key, value)
	return nil
}

func (c *change) coldBool(key string, value *bool) *refusal {
	if value == nil {
		return nil
	}
	return c.cold(key, strings.ToUpper(strconv.FormatBool(*value)))
}

func (c *change) hardware() *refusal {
	spec, file := c.spec, c.file
	if spec.Version != "" {
		number, err := strconv.Atoi(strings.TrimPrefix(spec.Version, "vmx-"))
		if err != nil || number < 4 || number > hardwareVersion {
			return invalid("configSpec.version")
		}
		if refused := c.cold("virtualHW.version", strconv.Itoa(number)); refused != nil {
			return refused
		}
	}
	if spec.Firmware != "" {
		if spec.Firmware != "bios" && spec.Firmware != "efi" {
			return invalid("configSpec.firmware")
		}
		if c.on || !c.create || spec.Firmware != "bios" {
			file.setDefault("firmware", "bios")
			if refused := c.cold("firmware", spec.Firmware); refused != nil {
				return refused
			}
		}
	}
	if refused := c.cpus(); refused != nil {
		return refused
	}
	if memory := spec.MemoryMB; memory != 0 {
		if memory < 4 || memory%4 != 0 {
			return invalid("configSpec.memoryMB")
		}
		before := int64(file.int("memsize", 0))
		if c.on && memory != before && !(file.bool("mem.hotadd") && memory > before) {
			return refuseWith(new(types.MemoryHotPlugNotSupported),
				"Memory hot plug is not supported for this virtual machine.")
		}
		file.set("memsize", strconv.FormatInt(memory, 10))
	}
	for key, value := range map[string]*bool{
		"mem.hotadd": spec.MemoryHotAddEnabled, "vcpu.hotadd": spec.CpuHotAddEnabled,
		"vcpu.hotremove": spec.CpuHotRemoveEnabled, "vhv.enable": spec.NestedHVEnabled,
	} {
		if refused := c.coldBool(key, value); refused != nil {
			return refused
		}
	}
	return nil
}

func tooManyCPUs(wanted, present int) *refusal {
	return refuseWith(&types.NumVirtualCpusNotSupported{
		MaxSupportedVcpusDest: int32(present), NumCpuVm: int32(wanted),
	}, "Virtual machine requires %d CPUs to operate, but the host hardware only provides %d.", wanted, present)
}

func (c *change) cpus() *refusal {
	spec, file := c.spec, c.file
	before := int32(file.int("numvcpus", 1))
	wanted, perSocket := before, int32(file.int("cpuid.coresPerSocket", 1))
	if spec.NumCPUs != 0 {
		wanted = spec.NumCPUs
	}
	if spec.NumCoresPerSocket != 0 {
		perSocket = spec.NumCoresPerSocket
	}
	if wanted < 1 || perSocket < 1 || wanted%perSocket != 0 {
		return invalid("configSpec.numCPUs")
	}
	if int(wanted) > c.h.cfg.CPUs {
		return tooManyCPUs(int(wanted), c.h.cfg.CPUs)
	}
	if c.on && wanted != before && !(file.bool("vcpu.hotadd") && wanted > before) {
		return refuseWith(new(types.CpuHotPlugNotSupported), "CPU hot plug is not supported for this virtual machine.")
	}
	file.set("numvcpus", strconv.Itoa(int(wanted)))
	if spec.NumCoresPerSocket == 0 {
		return nil
	}
	file.setDefault("cpuid.coresPerSocket", "1")
	return c.cold("cpuid.coresPerSocket", strconv.Itoa(int(perSocket)))
}

func (c *change) boot() *refusal {
	options, file := c.spec.BootOptions, c.file
	if options == nil {
		return nil
	}
	if options.EfiSecureBootEnabled != nil {
		if *options.EfiSecureBootEnabled && file.get("firmware") != "efi" {
			return refuse(&types.InvalidVmConfig{Property: "configSpec.bootOptions.efiSecureBootEnabled"})
		}
		file.setBool("uefi.secureBoot.enabled", *options.EfiSecureBootEnabled)
	}
	if options.BootDelay != 0 || c.given("spec/bootOptions/bootDelay") {
		file.set("bios.bootDelay", strconv.FormatInt(options.BootDelay, 10))
	}
	if options.EnterBIOSSetup != nil {
		file.setBool("bios.forceSetupOnce", *options.EnterBIOSSetup)
	}
	var order, disks []string
	for _, device := range options.BootOrder {
		name, kind := "", ""
		switch d := device.(type) {
		case *types.VirtualMachineBootOptionsBootableCdromDevice:
			order = append(order, "cdrom")
			continue
		case *types.VirtualMachineBootOptionsBootableDiskDevice:
			name, kind = c.deviceName(d.DeviceKey), "hdd"
		case *types.VirtualMachineBootOptionsBootableEthernetDevice:
			name, kind = c.deviceName(d.DeviceKey), "ethernet"
		default:
			return notSimulated(fmt.Sprintf("boot device %T", device))
		}
		switch {
		case name == "" || (kind == "ethernet") != strings.HasPrefix(name, "ethernet"):
			return invalid("configSpec.bootOptions.bootOrder")
		case kind == "ethernet":
			order = append(order, name)
		default:
			if len(disks) == 0 {
				order = append(order, "hdd")
			}
			disks = append(disks, name)
		}
	}
	if len(order) > 0 {
		file.set("bios.bootOrder", strings.Join(order, ","))
		file.remove("bios.hddOrder")
		if len(disks) > 0 {
			file.set("bios.hddOrder", strings.Join(disks, ","))
		}
	}
	return nil
}

// deviceName is "scsi0:0" or "ethernet0", by the key of a present device or by the one a new device has in this spec.
func (c *change) deviceName(key int32) string {
	if name, known := c.devices[key]; known {
		return name
	}
	for _, at := range places(c.file) {
		if at.key() == key {
			return at.name()
		}
	}
	name := fmt.Sprintf("ethernet%d", key-nicKey)
	if key >= nicKey && c.file.bool(name+".present") {
		return name
	}
	return ""
}

// extra sets the free keys; an empty value deletes one.
func (c *change) extra() *refusal {
	for _, option := range c.spec.ExtraConfig {
		key := option.GetOptionValue().Key
		value := option.GetOptionValue().Value
		switch {
		case key == "" || strings.ContainsAny(key, " =\"\n"):
			return invalid("configSpec.extraConfig.key")
		case isStructured(key):
			return invalid(fmt.Sprintf("configSpec.extraConfig[\"%s\"]", key))
		case value == nil || fmt.Sprint(value) == "":
			c.file.remove(key)
		default:
			c.file.set(key, fmt.Sprint(value))
		}
	}
	return nil
}

var macAddress = regexp.MustCompile(`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`)

// validMAC is a unicast address.
func validMAC(mac string) bool {
	if !macAddress.MatchString(mac) || mac == "00:00:00:00:00:00" {
		return false
	}
	head, err := strconv.ParseUint(mac[:2], 16, 8)
	return err == nil && head&1 == 0
}
