package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	opAdd    = types.VirtualDeviceConfigSpecOperationAdd
	opEdit   = types.VirtualDeviceConfigSpecOperationEdit
	opRemove = types.VirtualDeviceConfigSpecOperationRemove
)

func badDevice(index int, property string) *refusal {
	return refuse(&types.InvalidDeviceSpec{
		InvalidVmConfig: types.InvalidVmConfig{Property: "virtualDeviceSpec." + property}, DeviceIndex: int32(index),
	})
}

func badBacking(index int) *refusal {
	fault := &types.InvalidDeviceBacking{}
	fault.Property, fault.DeviceIndex = "virtualDeviceSpec.device.backing", int32(index)
	return refuse(fault)
}

func (c *change) deviceChanges() *refusal {
	// A device may come before its controller in the list.
	for _, controllers := range []bool{true, false} {
		for index, item := range c.spec.DeviceChange {
			spec := item.GetVirtualDeviceConfigSpec()
			if spec.Device == nil {
				return badDevice(index, "device")
			}
			if _, isController := spec.Device.(types.BaseVirtualController); isController != controllers {
				continue
			}
			if refused := c.deviceChange(index, spec); refused != nil {
				return refused
			}
		}
	}
	return nil
}

func (c *change) deviceChange(index int, spec *types.VirtualDeviceConfigSpec) *refusal {
	switch device := spec.Device.(type) {
	case *types.VirtualDisk:
		return c.disk(index, spec, device)
	case *types.VirtualCdrom:
		return c.cdrom(index, spec, device)
	case types.BaseVirtualEthernetCard:
		return c.nic(index, spec, device)
	case types.BaseVirtualController:
		return c.controller(index, spec, device)
	case *types.VirtualKeyboard, *types.VirtualPointingDevice, *types.VirtualMachineVMCIDevice,
		*types.VirtualMachineVideoCard:
		if spec.Operation == opAdd {
			return nil // every VM has these from the start
		}
	}
	return notSimulated(fmt.Sprintf("%s %T", spec.Operation, spec.Device))
}

// controllerKind finds a controller's bus and, for SCSI, its model.
func controllerKind(device types.BaseVirtualController) (b bus, model string, known bool) {
	switch device.(type) {
	case *types.VirtualIDEController:
		return ideBus, "", true
	case *types.VirtualAHCIController:
		return sataBus, "", true
	case *types.VirtualNVMEController:
		return nvmeBus, "", true
	case *types.ParaVirtualSCSIController:
		return scsiBus, "pvscsi", true
	case *types.VirtualLsiLogicSASController:
		return scsiBus, "lsisas1068", true
	case *types.VirtualLsiLogicController:
		return scsiBus, "lsilogic", true
	case *types.VirtualBusLogicController:
		return scsiBus, "buslogic", true
	}
	return bus{}, "", false
}

func (c *change) controller(
	index int, spec *types.VirtualDeviceConfigSpec, device types.BaseVirtualController,
) *refusal {
	base := device.GetVirtualController()
	switch device.(type) {
	case *types.VirtualPS2Controller, *types.VirtualPCIController, *types.VirtualSIOController:
		return nil
	case *types.VirtualUSBController, *types.VirtualUSBXHCIController:
		name := "usb"
		if _, fast := device.(*types.VirtualUSBXHCIController); fast {
			name = "usb_xhci"
		}
		c.file.setBool(name+".present", spec.Operation != opRemove)
		return nil
	}
	b, model, known := controllerKind(device)
	if !known {
		return notSimulated(fmt.Sprintf("%T", device))
	}
	switch spec.Operation {
	case opAdd:
		number := int(base.BusNumber)
		if number < 0 || number >= b.buses || (b.prefix != "ide" && b.present(c.file, number)) {
			return badDevice(index, "device.busNumber")
		}
		c.controllers[base.Key] = place{bus: b, number: number}
		if b.prefix == "ide" {
			return nil
		}
		c.file.setBool(b.name(number)+".present", true)
		if model != "" {
			c.file.set(b.name(number)+".virtualDev", model)
		}
		return nil
	case opRemove:
		at, found := c.controllerAt(base.Key)
		if !found || at.bus.prefix == "ide" {
			return badDevice(index, "device.key")
		}
		for _, device := range places(c.file) {
			if device.bus.prefix == at.bus.prefix && device.number == at.number {
				return refuse(&types.ResourceInUse{Type: "VirtualController", Name: at.bus.name(at.number)})
			}
		}
		c.file.removeAll(at.bus.name(at.number) + ".")
		return nil
	}
	return nil
}

func (c *change) controllerAt(key int32) (place, bool) {
	if at, known := c.controllers[key]; known {
		return at, true
	}
	for _, b := range allBuses {
		number := int(key - b.controller)
		if number >= 0 && number < b.buses && b.present(c.file, number) {
			return place{bus: b, number: number}, true
		}
	}
	return place{}, false
}

// free finds the place for a new device: the one it asks for or the first that is free.
func (c *change) free(index int, device *types.VirtualDevice) (place, *refusal) {
	at, found := c.controllerAt(device.ControllerKey)
	if !found {
		return at, badDevice(index, "device.controllerKey")
	}
	if c.on && at.bus.prefix == "ide" {
		return at, onlyOff()
	}
	occupied := func(unit int) bool {
		at.unit = unit
		return (at.bus.prefix == "scsi" && unit == reservedUnit) || c.file.bool(at.name()+".present")
	}
	if device.UnitNumber != nil && *device.UnitNumber >= 0 {
		if unit := int(*device.UnitNumber); unit >= at.bus.units || occupied(unit) {
			return at, badDevice(index, "device.unitNumber")
		}
		return at, nil
	}
	for unit := 0; unit < at.bus.units; unit++ {
		if !occupied(unit) {
			return at, nil
		}
	}
	return at, refuse(&types.TooManyDevices{
		InvalidVmConfig: types.InvalidVmConfig{Property: "virtualDeviceSpec.device.unitNumber"},
	})
}

func (c *change) existing(index int, key int32, cdrom bool) (place, *refusal) {
	for _, at := range places(c.file) {
		if at.key() == key && isCdrom(c.file, at) == cdrom {
			return at, nil
		}
	}
	return place{}, badDevice(index, "device.key")
}

func (c *change) disk(index int, spec *types.VirtualDeviceConfigSpec, disk *types.VirtualDisk) *refusal {
	switch spec.Operation {
	case opAdd:
		return c.addDisk(index, spec, disk)
	case opEdit:
		return c.editDisk(index, disk)
	}
	at, refused := c.existing(index, disk.Key, false)
	if refused != nil {
		return refused
	}
	if spec.FileOperation == types.VirtualDeviceConfigSpecFileOperationDestroy {
		c.deletes = append(c.deletes, c.h.path(c.folder, c.file.get(at.name()+".fileName")))
	}
	c.file.removeAll(at.name() + ".")
	return nil
}

func (c *change) addDisk(index int, spec *types.VirtualDeviceConfigSpec, disk *types.VirtualDisk) *refusal {
	backing, flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !flat {
		return notSimulated(fmt.Sprintf("disk backing %T", disk.Backing))
	}
	at, refused := c.free(index, &disk.VirtualDevice)
	if refused != nil {
		return refused
	}
	path, refused := c.diskPath(index, backing.FileName)
	if refused != nil {
		return refused
	}
	switch spec.FileOperation {
	case types.VirtualDeviceConfigSpecFileOperationCreate:
		bytes := diskBytes(disk, 0)
		if bytes <= 0 {
			return badDevice(index, "device.capacityInKB")
		}
		c.todo = append(c.todo, diskWork{
			path: path, bytes: bytes, kind: backingKind(backing), device: importName(c.file, at),
			folder: !strings.HasSuffix(backing.FileName, ".vmdk"),
		})
	case "":
		if _, err := readDisk(path); err != nil {
			return diskRefusal(err, path)
		}
	default:
		return notSimulated("fileOperation " + string(spec.FileOperation))
	}
	name := at.name()
	c.file.setBool(name+".present", true)
	if at.bus.prefix == "scsi" {
		c.file.set(name+".deviceType", "scsi-hardDisk")
	}
	c.file.set(name+".fileName", c.h.vmxFileName(c.folder, path))
	if backing.DiskMode != "" && backing.DiskMode != string(types.VirtualDiskModePersistent) {
		c.file.set(name+".mode", backing.DiskMode)
	}
	c.devices[disk.Key] = name
	return nil
}

// importName is how an OVF import names a device, after the type of its controller.
func importName(file *vmx, at place) string {
	controller := fmt.Sprintf("%T", controllerDevice(file, at.bus, at.number, nil))
	return fmt.Sprintf("%s%d:%d", strings.TrimPrefix(controller, "*types."), at.number, at.unit)
}

func backingKind(backing *types.VirtualDiskFlatVer2BackingInfo) diskKind {
	switch {
	case backing.ThinProvisioned != nil && *backing.ThinProvisioned:
		return thin
	case backing.EagerlyScrub != nil && *backing.EagerlyScrub:
		return eagerZeroedThick
	}
	return zeroedThick
}

// diskBytes is the capacity that is asked for: of the two fields the one that differs from what the disk has.
func diskBytes(disk *types.VirtualDisk, present int64) int64 {
	if disk.CapacityInBytes != 0 && disk.CapacityInBytes != present {
		return disk.CapacityInBytes
	}
	if disk.CapacityInKB != 0 {
		return disk.CapacityInKB * 1024
	}
	return present
}

// diskPath is where a disk of the spec lies; without a name the host finds one beside the VM.
func (c *change) diskPath(index int, name string) (string, *refusal) {
	folder := c.folder
	var parsed object.DatastorePath
	if name != "" {
		if !parsed.FromString(name) {
			return "", refuse(&types.InvalidDatastorePath{
				InvalidDatastore: types.InvalidDatastore{Name: name}, DatastorePath: name,
			})
		}
		d := c.h.datastoreByName(parsed.Datastore)
		if d == nil {
			return "", refuse(&types.InvalidDatastore{Name: parsed.Datastore})
		}
		if parsed.Path != "" {
			path := filepath.Join(d.dir, filepath.Join("/", parsed.Path))
			if filepath.Ext(path) != ".vmdk" {
				return "", badBacking(index)
			}
			return path, nil
		}
		if d != datastoreOf(c.folder) {
			folder = filepath.Join(d.dir, filepath.Base(c.folder))
		}
	}
	base := fileNameOf(c.file.get("displayName"))
	for number := 0; ; number++ {
		path := filepath.Join(folder, base+".vmdk")
		if number > 0 {
			path = filepath.Join(folder, fmt.Sprintf("%s_%d.vmdk", base, number))
		}
		if _, err := os.Lstat(path); os.IsNotExist(err) && !c.planned(path) {
			return path, nil
		}
	}
}

func (c *change) planned(path string) bool {
	for _, work := range c.todo {
		if work.path == path {
			return true
		}
	}
	return false
}

// vmxFileName is how a .vmx names a file: relative when it lies beside it.
func (h *host) vmxFileName(folder, path string) string {
	if filepath.Dir(path) == folder {
		return filepath.Base(path)
	}
	if d := datastoreOf(path); d != nil {
		return filepath.Join(d.mountPoint(), d.relative(path))
	}
	return path
}

func (c *change) editDisk(index int, disk *types.VirtualDisk) *refusal {
	at, refused := c.existing(index, disk.Key, false)
	if refused != nil {
		return refused
	}
	path := c.h.path(c.folder, c.file.get(at.name()+".fileName"))
	present, err := readDisk(path)
	if err != nil {
		return diskRefusal(err, path)
	}
	if backing, flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); flat {
		if backing.FileName != "" && backing.FileName != displayPath(path) {
			return notSimulated("another file behind a disk")
		}
		if backing.DiskMode != "" && backing.DiskMode != c.diskMode(at) {
			if c.on {
				return badDevice(index, "device.backing.diskMode")
			}
			c.file.set(at.name()+".mode", backing.DiskMode)
		}
	}
	bytes := diskBytes(disk, present.Bytes)
	switch {
	case bytes == present.Bytes:
		return nil
	case bytes < present.Bytes || present.Parent != "":
		return badDevice(index, "device.capacityInKB")
	}
	c.todo = append(c.todo, diskWork{path: path, bytes: bytes, grow: true})
	return nil
}

func (c *change) diskMode(at place) string {
	if mode := c.file.get(at.name() + ".mode"); mode != "" {
		return mode
	}
	return string(types.VirtualDiskModePersistent)
}

func (c *change) cdrom(index int, spec *types.VirtualDeviceConfigSpec, cdrom *types.VirtualCdrom) *refusal {
	var at place
	var refused *refusal
	if spec.Operation == opAdd {
		at, refused = c.free(index, &cdrom.VirtualDevice)
	} else {
		at, refused = c.existing(index, cdrom.Key, true)
	}
	if refused != nil {
		return refused
	}
	name := at.name()
	if spec.Operation == opRemove {
		if c.on {
			return onlyOff()
		}
		c.file.removeAll(name + ".")
		return nil
	}
	switch backing := cdrom.Backing.(type) {
	case *types.VirtualCdromIsoBackingInfo:
		path, refused := c.h.filePath(backing.FileName)
		if refused != nil {
			return refused
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return refuse(&types.FileNotFound{FileFault: types.FileFault{File: backing.FileName}})
		}
		c.file.set(name+".deviceType", "cdrom-image")
		c.file.set(name+".fileName", c.h.vmxFileName(c.folder, path))
	case *types.VirtualCdromRemotePassthroughBackingInfo, *types.VirtualCdromRemoteAtapiBackingInfo:
		c.file.set(name+".deviceType", "cdrom-raw")
		c.file.set(name+".clientDevice", "TRUE")
		c.file.remove(name + ".fileName")
	case *types.VirtualCdromAtapiBackingInfo:
		c.file.set(name+".deviceType", "atapi-cdrom")
		c.file.set(name+".fileName", backing.DeviceName)
	case nil:
		if spec.Operation == opAdd {
			return badBacking(index)
		}
	default:
		return notSimulated(fmt.Sprintf("CD-ROM backing %T", backing))
	}
	c.file.setBool(name+".present", true)
	if cdrom.Connectable != nil {
		c.file.setBool(name+".startConnected", cdrom.Connectable.StartConnected)
	}
	c.devices[cdrom.Key] = name
	return nil
}

var nicModels = map[string]string{
	"VirtualVmxnet3": "vmxnet3", "VirtualE1000": "e1000", "VirtualE1000e": "e1000e", "VirtualPCNet32": "vlance",
}

func (c *change) nic(
	index int, spec *types.VirtualDeviceConfigSpec, device types.BaseVirtualEthernetCard,
) *refusal {
	card := device.GetVirtualEthernetCard()
	model, known := nicModels[strings.TrimPrefix(fmt.Sprintf("%T", device), "*types.")]
	if !known {
		return notSimulated(fmt.Sprintf("%T", device))
	}
	name := ""
	if spec.Operation == opAdd {
		for number := 0; number < maxNICs && name == ""; number++ {
			if candidate := fmt.Sprintf("ethernet%d", number); !c.file.bool(candidate + ".present") {
				name = candidate
			}
		}
		if name == "" {
			return refuse(&types.TooManyDevices{
				InvalidVmConfig: types.InvalidVmConfig{Property: "virtualDeviceSpec.device.unitNumber"},
			})
		}
		c.file.removeAll(name + ".")
		c.file.setBool(name+".present", true)
		c.file.set(name+".virtualDev", model)
	} else {
		name = c.deviceName(card.Key)
		if !strings.HasPrefix(name, "ethernet") {
			return badDevice(index, "device.key")
		}
	}
	if spec.Operation == opRemove {
		c.file.removeAll(name + ".")
		return nil
	}
	if c.file.get(name+".virtualDev") != model {
		return badDevice(index, "device")
	}
	if refused := c.nicNetwork(index, name, card, spec.Operation == opAdd); refused != nil {
		return refused
	}
	if card.Connectable != nil {
		c.file.setBool(name+".startConnected", card.Connectable.StartConnected)
	}
	if card.WakeOnLanEnabled != nil {
		c.file.setBool(name+".wakeOnPcktRcv", *card.WakeOnLanEnabled)
	}
	c.devices[card.Key] = name
	return c.nicAddress(index, name, card)
}

func (c *change) nicNetwork(index int, name string, card *types.VirtualEthernetCard, add bool) *refusal {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		network := backing.DeviceName
		if network == "" && backing.Network != nil {
			network = c.h.network.nameOf(*backing.Network)
		}
		if !c.h.network.hasPortGroup(network) {
			return badBacking(index)
		}
		c.file.set(name+".networkName", network)
		return nil
	case nil:
		if add {
			return badBacking(index)
		}
		return nil
	default:
		return notSimulated(fmt.Sprintf("network backing %T", backing))
	}
}

func (c *change) nicAddress(index int, name string, card *types.VirtualEthernetCard) *refusal {
	kind := strings.ToLower(card.AddressType)
	if kind == "" && card.MacAddress != "" {
		kind = "manual"
	}
	switch kind {
	case "manual":
		if !validMAC(card.MacAddress) {
			return badDevice(index, "device.macAddress")
		}
		mac := strings.ToLower(card.MacAddress)
		if refused := c.coldIfPresent(name+".address", mac); refused != nil {
			return refused
		}
		c.file.set(name+".addressType", "static")
		c.file.remove(name + ".generatedAddress")
		c.file.remove(name + ".generatedAddressOffset")
	case "", "generated", "assigned":
		if strings.EqualFold(c.file.get(name+".addressType"), "static") && kind == "" {
			return nil
		}
		if c.on && c.file.has(name+".address") {
			return c.cold(name+".addressType", "generated")
		}
		c.file.set(name+".addressType", "generated")
		c.file.remove(name + ".address")
	default:
		return badDevice(index, "device.addressType")
	}
	return nil
}

// coldIfPresent lets a new device have its value at once and an old one only while the VM is off.
func (c *change) coldIfPresent(key, value string) *refusal {
	if !c.file.has(key) && !c.file.has(strings.TrimSuffix(key, "address")+"addressType") {
		c.file.set(key, value)
		return nil
	}
	return c.cold(key, value)
}

// filePath finds "[datastore1] folder/file" on this host.
func (h *host) filePath(name string) (string, *refusal) {
	var parsed object.DatastorePath
	if !parsed.FromString(name) {
		return "", refuse(&types.InvalidDatastorePath{
			InvalidDatastore: types.InvalidDatastore{Name: name}, DatastorePath: name,
		})
	}
	d := h.datastoreByName(parsed.Datastore)
	if d == nil {
		return "", refuse(&types.InvalidDatastore{Name: parsed.Datastore})
	}
	return filepath.Join(d.dir, filepath.Join("/", parsed.Path)), nil
}
