package main

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// bus is one kind of controller: how a .vmx file names it and how the API numbers it.
type bus struct {
	prefix     string
	buses      int
	units      int
	controller int32 // key of the controller of bus 0
	device     int32 // key of the device on 0:0
}

var (
	scsiBus  = bus{"scsi", 4, 16, 1000, 2000}
	sataBus  = bus{"sata", 4, 30, 15000, 16000}
	nvmeBus  = bus{"nvme", 4, 15, 31000, 32000}
	ideBus   = bus{"ide", 2, 2, 200, 3000}
	allBuses = []bus{ideBus, scsiBus, sataBus, nvmeBus}
)

// reservedUnit is the SCSI controller's own place.
const reservedUnit = 7

const (
	pciKey   = 100
	nicKey   = 4000
	maxNICs  = 10
	firstNIC = 7 // unit number of ethernet0 on the PCI bus
)

// place is where a disk or CD-ROM sits.
type place struct {
	bus    bus
	number int
	unit   int
}

func (p place) name() string         { return fmt.Sprintf("%s%d:%d", p.bus.prefix, p.number, p.unit) }
func (p place) key() int32           { return p.bus.device + int32(p.number*p.bus.units+p.unit) }
func (p place) controllerKey() int32 { return p.bus.controller + int32(p.number) }

func (b bus) name(number int) string { return b.prefix + strconv.Itoa(number) }

// present tells whether the controller exists; the two IDE controllers are part of the main board.
func (b bus) present(file *vmx, number int) bool {
	return b.prefix == "ide" || file.bool(b.name(number)+".present")
}

// places are the occupied ones, in the order of the host's device list.
func places(file *vmx) []place {
	var found []place
	for _, b := range allBuses {
		for number := 0; number < b.buses; number++ {
			for unit := 0; unit < b.units; unit++ {
				at := place{b, number, unit}
				if b.present(file, number) && file.bool(at.name()+".present") {
					found = append(found, at)
				}
			}
		}
	}
	return found
}

func isCdrom(file *vmx, at place) bool {
	kind := file.get(at.name() + ".deviceType")
	return strings.HasPrefix(kind, "cdrom") || strings.HasPrefix(kind, "atapi")
}

// diskPlaces are the places of hard disks, the boot disk first.
func diskPlaces(file *vmx) []place {
	var disks []place
	for _, at := range places(file) {
		if !isCdrom(file, at) {
			disks = append(disks, at)
		}
	}
	return disks
}

// path is where a file that the .vmx names lies; a relative name lies beside it.
func (h *host) path(folder, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return h.realPath(name)
	}
	return filepath.Join(folder, name)
}

// realPath finds a file by the mount points as this host reports them or as every ESXi has them, /vmfs/volumes/NAME.
func (h *host) realPath(path string) string {
	if rest := strings.TrimPrefix(path, "/vmfs/volumes/"); rest != path {
		return filepath.Join(h.cfg.volumes(), rest)
	}
	return path
}

func (h *host) devices(file *vmx, folder string) []types.BaseVirtualDevice {
	list := boardDevices()
	used := map[int32][]int32{pciKey: {500, 12000}}
	var onBuses []types.BaseVirtualDevice
	for _, at := range places(file) {
		used[at.controllerKey()] = append(used[at.controllerKey()], at.key())
		if isCdrom(file, at) {
			onBuses = append(onBuses, h.cdrom(file, folder, at))
		} else {
			onBuses = append(onBuses, h.disk(file, folder, at))
		}
	}
	var nics []types.BaseVirtualDevice
	for number := 0; number < maxNICs; number++ {
		if file.bool(fmt.Sprintf("ethernet%d.present", number)) {
			nics = append(nics, h.nic(file, number))
			used[pciKey] = append(used[pciKey], nicKey+int32(number))
		}
	}
	for _, b := range allBuses {
		for number := 0; number < b.buses; number++ {
			if !b.present(file, number) {
				continue
			}
			key := b.controller + int32(number)
			if b.prefix != "ide" {
				used[pciKey] = append(used[pciKey], key)
			}
			list = append(list, controllerDevice(file, b, number, used[key]))
		}
	}
	for _, device := range list {
		if pci, isPCI := device.(*types.VirtualPCIController); isPCI {
			pci.Device = used[pciKey]
		}
	}
	list = append(list, usbControllers(file)...)
	list = append(list, onBuses...)
	return append(list, nics...)
}

func boardDevices() []types.BaseVirtualDevice {
	return []types.BaseVirtualDevice{
		&types.VirtualPS2Controller{VirtualController: board(300, 0, "PS2 controller 0", 600, 700)},
		&types.VirtualPCIController{VirtualController: board(pciKey, 0, "PCI controller 0")},
		&types.VirtualSIOController{VirtualController: board(400, 0, "SIO controller 0")},
		&types.VirtualKeyboard{VirtualDevice: child(600, 300, 0, "Keyboard", "Keyboard")},
		&types.VirtualPointingDevice{VirtualDevice: child(700, 300, 1, "Pointing device", "Pointing device; Device")},
		&types.VirtualMachineVideoCard{
			VirtualDevice:    child(500, pciKey, 0, "Video card ", "Video card"),
			VideoRamSizeInKB: 4096, NumDisplays: 1, UseAutoDetect: types.NewBool(false),
		},
		&types.VirtualMachineVMCIDevice{
			VirtualDevice: child(12000, pciKey, 17, "VMCI device", "Device on the virtual machine PCI bus"),
		},
	}
}

func board(key, number int32, label string, devices ...int32) types.VirtualController {
	return types.VirtualController{
		VirtualDevice: types.VirtualDevice{Key: key, DeviceInfo: &types.Description{Label: label, Summary: label}},
		BusNumber:     number, Device: devices,
	}
}

func child(key, controller, unit int32, label, summary string) types.VirtualDevice {
	return types.VirtualDevice{
		Key: key, ControllerKey: controller, UnitNumber: &unit,
		DeviceInfo: &types.Description{Label: label, Summary: summary},
	}
}

func controllerDevice(file *vmx, b bus, number int, devices []int32) types.BaseVirtualDevice {
	base := board(b.controller+int32(number), int32(number), "", devices...)
	info := base.DeviceInfo.(*types.Description)
	label := func(name, summary string) {
		info.Label, info.Summary = fmt.Sprintf("%s %d", name, number), summary
	}
	if b.prefix != "ide" {
		base.ControllerKey = pciKey
	}
	switch b.prefix {
	case "ide":
		label("IDE", fmt.Sprintf("IDE %d", number))
		return &types.VirtualIDEController{VirtualController: base}
	case "sata":
		label("SATA controller", "AHCI")
		return &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: base}}
	case "nvme":
		label("NVME controller", "NVME controller")
		return &types.VirtualNVMEController{VirtualController: base}
	}
	scsi := types.VirtualSCSIController{
		VirtualController: base, HotAddRemove: types.NewBool(true), ScsiCtlrUnitNumber: reservedUnit,
		SharedBus: types.VirtualSCSISharingNoSharing,
	}
	switch strings.ToLower(file.get(b.name(number) + ".virtualDev")) {
	case "pvscsi":
		label("SCSI controller", "VMware paravirtual SCSI")
		return &types.ParaVirtualSCSIController{VirtualSCSIController: scsi}
	case "lsisas1068":
		label("SCSI controller", "LSI Logic SAS")
		return &types.VirtualLsiLogicSASController{VirtualSCSIController: scsi}
	case "buslogic":
		label("SCSI controller", "BusLogic")
		return &types.VirtualBusLogicController{VirtualSCSIController: scsi}
	}
	label("SCSI controller", "LSI Logic")
	return &types.VirtualLsiLogicController{VirtualSCSIController: scsi}
}

func usbControllers(file *vmx) []types.BaseVirtualDevice {
	var found []types.BaseVirtualDevice
	if file.bool("usb.present") {
		base := board(7000, 0, "USB controller")
		base.ControllerKey = pciKey
		found = append(found, &types.VirtualUSBController{VirtualController: base})
	}
	if file.bool("usb_xhci.present") {
		base := board(14000, 0, "USB xHCI controller")
		base.ControllerKey = pciKey
		found = append(found, &types.VirtualUSBXHCIController{VirtualController: base})
	}
	return found
}

func (h *host) disk(file *vmx, folder string, at place) types.BaseVirtualDevice {
	path := h.path(folder, file.get(at.name()+".fileName"))
	mode := file.get(at.name() + ".mode")
	if mode == "" {
		mode = string(types.VirtualDiskModePersistent)
	}
	disk := &types.VirtualDisk{
		VirtualDevice: child(at.key(), at.controllerKey(), int32(at.unit), "", ""),
	}
	info, err := readDisk(path)
	if err == nil {
		disk.CapacityInBytes, disk.CapacityInKB = info.Bytes, info.Bytes/1024
	}
	backing := h.diskBacking(path, mode)
	if backing.Parent != nil {
		backing.ThinProvisioned = nil
	}
	disk.Backing = backing
	disk.Shares = &types.SharesInfo{Shares: 1000, Level: types.SharesLevelNormal}
	disk.StorageIOAllocation = &types.StorageIOAllocationInfo{
		Limit: types.NewInt64(-1), Shares: disk.Shares, Reservation: types.NewInt32(0),
	}
	number := 1
	for _, other := range diskPlaces(file) {
		if other.name() == at.name() {
			break
		}
		number++
	}
	disk.DeviceInfo = &types.Description{
		Label: fmt.Sprintf("Hard disk %d", number), Summary: thousands(disk.CapacityInKB) + " KB",
	}
	return disk
}

// diskBacking describes a disk's file and, for a snapshot's delta, the files that it builds on.
func (h *host) diskBacking(path, mode string) *types.VirtualDiskFlatVer2BackingInfo {
	backing := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: h.fileBacking(path), DiskMode: mode, Split: types.NewBool(false),
		WriteThrough: types.NewBool(false), DigestEnabled: types.NewBool(false),
	}
	info, err := readDisk(path)
	if err != nil {
		return backing
	}
	backing.ThinProvisioned = types.NewBool(info.Kind == thin)
	if info.Kind == eagerZeroedThick {
		backing.EagerlyScrub = types.NewBool(true)
	}
	if info.Parent != "" {
		backing.Parent = h.diskBacking(info.Parent, mode)
	}
	return backing
}

func (h *host) fileBacking(path string) types.VirtualDeviceFileBackingInfo {
	backing := types.VirtualDeviceFileBackingInfo{FileName: displayPath(path)}
	if d := datastoreOf(path); d != nil {
		self := h.datastoreReference(d)
		backing.Datastore = &self
	}
	return backing
}

func (h *host) cdrom(file *vmx, folder string, at place) types.BaseVirtualDevice {
	name := at.name()
	connected := !strings.EqualFold(file.get(name+".startConnected"), "false")
	cdrom := &types.VirtualCdrom{VirtualDevice: child(at.key(), at.controllerKey(), int32(at.unit), "", "")}
	cdrom.Connectable = &types.VirtualDeviceConnectInfo{
		StartConnected: connected, AllowGuestControl: true, Status: "untried",
	}
	number := 1
	for _, other := range places(file) {
		if other.name() == name {
			break
		}
		if isCdrom(file, other) {
			number++
		}
	}
	summary := "Remote device"
	switch file.get(name + ".deviceType") {
	case "cdrom-image":
		backing := h.fileBacking(h.path(folder, file.get(name+".fileName")))
		cdrom.Backing = &types.VirtualCdromIsoBackingInfo{VirtualDeviceFileBackingInfo: backing}
		summary = "ISO " + backing.FileName
	case "atapi-cdrom":
		cdrom.Backing = &types.VirtualCdromAtapiBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: file.get(name + ".fileName")},
		}
		summary = "ATAPI"
	default:
		cdrom.Backing = &types.VirtualCdromRemotePassthroughBackingInfo{
			VirtualDeviceRemoteDeviceBackingInfo: types.VirtualDeviceRemoteDeviceBackingInfo{
				UseAutoDetect: types.NewBool(false),
			},
		}
	}
	cdrom.DeviceInfo = &types.Description{Label: fmt.Sprintf("CD/DVD drive %d", number), Summary: summary}
	return cdrom
}

func (h *host) nic(file *vmx, number int) types.BaseVirtualDevice {
	name := fmt.Sprintf("ethernet%d", number)
	network := file.get(name + ".networkName")
	backing := &types.VirtualEthernetCardNetworkBackingInfo{}
	backing.DeviceName = network
	if self, exists := h.networkReference(network); exists {
		backing.Network = &self
	}
	card := types.VirtualEthernetCard{
		VirtualDevice: child(nicKey+int32(number), pciKey, int32(firstNIC+number),
			fmt.Sprintf("Network adapter %d", number+1), network),
		AddressType: "generated", MacAddress: file.get(name + ".generatedAddress"),
		WakeOnLanEnabled: types.NewBool(file.bool(name + ".wakeOnPcktRcv")),
	}
	if strings.EqualFold(file.get(name+".addressType"), "static") {
		card.AddressType, card.MacAddress = "manual", file.get(name+".address")
	}
	card.Backing = backing
	card.Connectable = &types.VirtualDeviceConnectInfo{
		StartConnected:    !strings.EqualFold(file.get(name+".startConnected"), "false"),
		AllowGuestControl: true, Status: "untried",
	}
	switch strings.ToLower(file.get(name + ".virtualDev")) {
	case "vmxnet3":
		return &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}}
	case "e1000":
		return &types.VirtualE1000{VirtualEthernetCard: card}
	case "e1000e":
		return &types.VirtualE1000e{VirtualEthernetCard: card}
	}
	return &types.VirtualPCNet32{VirtualEthernetCard: card}
}

// thousands writes 1048576 as 1,048,576.
func thousands(number int64) string {
	text := strconv.FormatInt(number, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// structured are the prefixes of keys that the API shows as settings of their own rather than as extraConfig.
var structured = []string{
	"displayname", "guestos", "memsize", "numvcpus", "cpuid.corespersocket", "firmware", "uefi.secureboot.enabled",
	"annotation", "config.version", "virtualhw.version", ".encoding", "uuid.bios", "uuid.location", "vc.uuid",
	"bios.bootorder", "bios.hddorder", "bios.bootdelay", "bios.forcesetuponce", "vcpu.hotadd", "vcpu.hotremove",
	"mem.hotadd", "vhv.enable",
}

// extraConfig are the remaining keys, in a stable order.
func extraConfig(file *vmx) []types.BaseOptionValue {
	var options []types.BaseOptionValue
	keys := append([]string{}, file.keys...)
	sort.Strings(keys)
	for _, key := range keys {
		if !isStructured(key) {
			options = append(options, &types.OptionValue{Key: key, Value: file.get(key)})
		}
	}
	return options
}

func isStructured(key string) bool {
	key = strings.ToLower(key)
	for _, name := range structured {
		if key == name {
			return true
		}
	}
	for _, prefix := range []string{"scsi", "sata", "nvme", "ide", "ethernet", "usb.", "usb_xhci."} {
		if rest := strings.TrimPrefix(key, prefix); rest != key && strings.ContainsAny(rest, ".:") {
			return !strings.HasSuffix(key, ".checkmacaddress") && !strings.HasSuffix(key, ".filtername")
		}
	}
	return false
}
