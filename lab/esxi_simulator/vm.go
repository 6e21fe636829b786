package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// hardwareVersion is the newest virtual hardware of ESXi 7.0 U3.
const hardwareVersion = 19

// virtualMachine shows a .vmx file through the API. Whatever changes, show builds the properties anew from the file, the
// power state and what the guest says.
type virtualMachine struct {
	mo.VirtualMachine
	h     *host
	id    int
	path  string // of the .vmx file on this machine
	file  *vmx   // nil when the file cannot be read: the VM is invalid
	power types.VirtualMachinePowerState

	guest     guestState
	booted    time.Time
	changes   int
	busy      *types.ManagedObjectReference // the task at work
	leased    bool                          // an import is not complete
	question  *question
	snapshots *snapshotTree
}

// guestState is what the guest told of itself.
type guestState struct {
	tools    bool
	address  string
	hostname string
}

func (h *host) newVM(id int, path string) *virtualMachine {
	vm := &virtualMachine{h: h, id: id, path: path, power: types.VirtualMachinePowerStatePoweredOff}
	vm.Self = types.ManagedObjectReference{Type: "VirtualMachine", Value: strconv.Itoa(id)}
	vm.Parent = &h.vmFolder.Self
	vm.ResourcePool = &h.pool.Self
	vm.EnvironmentBrowser = h.environment
	vm.OverallStatus, vm.ConfigStatus = types.ManagedEntityStatusGreen, types.ManagedEntityStatusGreen
	vm.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	vm.Capability = types.VirtualMachineCapability{
		SnapshotOperationsSupported: true, MultipleSnapshotsSupported: true, SnapshotConfigSupported: true,
		PoweredOffSnapshotsSupported: true, MemorySnapshotsSupported: false, ConsolePreferencesSupported: true,
		BootOptionsSupported: true, DiskSharesSupported: true, SettingVideoRamSizeSupported: true,
	}
	return vm
}

func (vm *virtualMachine) folder() string { return filepath.Dir(vm.path) }

func (vm *virtualMachine) on() bool { return vm.power == types.VirtualMachinePowerStatePoweredOn }

// load reads the .vmx again, as reload and registration do.
func (vm *virtualMachine) load() {
	file, err := readVMX(vm.path)
	if err != nil {
		log.Printf("VM %d is invalid: %s: %s", vm.id, vm.path, err)
	}
	vm.file = file
	vm.snapshots = readSnapshots(vm.snapshotList())
	vm.show()
}

// save writes the .vmx and shows it.
func (vm *virtualMachine) save() error {
	vm.changes++
	if err := writeFile(vm.path, vm.file.format()); err != nil {
		return err
	}
	vm.show()
	return nil
}

func (vm *virtualMachine) displayName() string {
	if vm.file == nil {
		return vm.path
	}
	if name := vm.file.get("displayName"); name != "" {
		return name
	}
	return strings.TrimSuffix(filepath.Base(vm.path), ".vmx")
}

func (vm *virtualMachine) uuid() string { return vmUUID(vm.file.get("uuid.bios")) }

// identify gives a VM the identity that the host writes when it first sees it.
func (vm *virtualMachine) identify() {
	if vm.uuid() == "" {
		vm.file.set("uuid.bios", vmxUUID(newVMUUID()))
	}
	vm.file.setDefault("vc.uuid", vmxUUID(uuid.New().String()))
}

// newVMUUID begins as VMware's do.
func newVMUUID() string { return "564d" + uuid.New().String()[4:] }

// generateMACs gives NICs without a fixed address the one that the host makes of the VM's UUID.
func (vm *virtualMachine) generateMACs() {
	vm.identify()
	id := strings.ReplaceAll(vm.uuid(), "-", "")
	for number := 0; number < maxNICs; number++ {
		name := fmt.Sprintf("ethernet%d", number)
		if !vm.file.bool(name+".present") || strings.EqualFold(vm.file.get(name+".addressType"), "static") {
			continue
		}
		vm.file.setDefault(name+".addressType", "generated")
		if vm.file.get(name+".generatedAddress") != "" {
			continue
		}
		tail, _ := strconv.ParseUint(id[26:], 16, 32)
		tail = (tail + uint64(10*number)) & 0xffffff
		vm.file.set(name+".generatedAddress", fmt.Sprintf("00:0c:29:%02x:%02x:%02x", tail>>16, tail>>8&0xff, tail&0xff))
		vm.file.set(name+".generatedAddressOffset", strconv.Itoa(10*number))
	}
}

// show builds every property of the VM.
func (vm *virtualMachine) show() {
	vm.Name = vm.displayName()
	vm.Runtime = types.VirtualMachineRuntimeInfo{
		Host: &vm.h.hostSystem, PowerState: vm.power, ConnectionState: types.VirtualMachineConnectionStateConnected,
		MaxCpuUsage: 0, FaultToleranceState: types.VirtualMachineFaultToleranceStateNotConfigured,
		CleanPowerOff: types.NewBool(true), ConsolidationNeeded: types.NewBool(false), Paused: types.NewBool(false),
	}
	if vm.on() {
		booted := vm.booted
		vm.Runtime.BootTime = &booted
	}
	if vm.question != nil {
		vm.Runtime.Question = vm.question.info
	}
	vm.showSnapshots()
	vm.Config, vm.Layout, vm.LayoutEx, vm.Storage = nil, nil, nil, nil
	vm.Guest = vm.guestInfo()
	self := vm.Self
	vm.Summary = types.VirtualMachineSummary{
		Vm: &self, Runtime: vm.Runtime, OverallStatus: types.ManagedEntityStatusGreen,
		Config:     types.VirtualMachineConfigSummary{Name: vm.Name, VmPathName: displayPath(vm.path)},
		QuickStats: types.VirtualMachineQuickStats{GuestHeartbeatStatus: vm.GuestHeartbeatStatus},
	}
	vm.Datastore, vm.Network = nil, nil
	if vm.file == nil {
		vm.Runtime.ConnectionState = types.VirtualMachineConnectionStateInvalid
		vm.Summary.Runtime = vm.Runtime
		vm.h.links()
		return
	}
	vm.Config = vm.config()
	vm.showFiles()
	vm.showSummary()
	vm.h.links()
}

func (vm *virtualMachine) config() *types.VirtualMachineConfigInfo {
	file := vm.file
	id := guestID(file.get("guestOS"))
	folder := displayPath(vm.folder())
	if !strings.HasSuffix(folder, "/") {
		folder += "/"
	}
	modified := time.Now()
	if info, err := os.Stat(vm.path); err == nil {
		modified = info.ModTime()
	}
	allocation := types.DefaultResourceConfigSpec()
	boot := &types.VirtualMachineBootOptions{
		BootDelay: int64(file.int("bios.bootDelay", 0)), EnterBIOSSetup: types.NewBool(file.bool("bios.forceSetupOnce")),
		EfiSecureBootEnabled: types.NewBool(file.bool("uefi.secureBoot.enabled")), NetworkBootProtocol: "ipv4",
		BootRetryEnabled: types.NewBool(false), BootRetryDelay: 10000, BootOrder: bootOrder(file),
	}
	firmware := file.get("firmware")
	if firmware == "" {
		firmware = "bios"
	}
	return &types.VirtualMachineConfigInfo{
		ChangeVersion: fmt.Sprintf("%s-%d", modified.UTC().Format("20060102T150405.000000"), vm.changes),
		Modified:      modified,
		Name:          vm.Name, GuestId: id, GuestFullName: guestFullName(id), Version: "vmx-" + file.get("virtualHW.version"),
		Uuid: vm.uuid(), InstanceUuid: vmUUID(file.get("vc.uuid")), LocationId: vmUUID(file.get("uuid.location")),
		Annotation: file.get("annotation"), AlternateGuestName: file.get("guestOSAltName"),
		Files: types.VirtualMachineFileInfo{
			VmPathName: displayPath(vm.path), SnapshotDirectory: folder, SuspendDirectory: folder, LogDirectory: folder,
		},
		Tools: &types.ToolsConfigInfo{
			AfterPowerOn: types.NewBool(true), AfterResume: types.NewBool(true), BeforeGuestStandby: types.NewBool(true),
			BeforeGuestShutdown: types.NewBool(true), SyncTimeWithHost: types.NewBool(false), ToolsUpgradePolicy: "manual",
		},
		Hardware: types.VirtualHardware{
			NumCPU: int32(file.int("numvcpus", 1)), NumCoresPerSocket: int32(file.int("cpuid.coresPerSocket", 1)),
			MemoryMB: int32(file.int("memsize", 32)), VirtualICH7MPresent: types.NewBool(false),
			VirtualSMCPresent: types.NewBool(false), Device: vm.h.devices(file, vm.folder()),
		},
		CpuAllocation: &allocation.CpuAllocation, MemoryAllocation: &allocation.MemoryAllocation,
		MemoryHotAddEnabled: types.NewBool(file.bool("mem.hotadd")),
		CpuHotAddEnabled:    types.NewBool(file.bool("vcpu.hotadd")),
		CpuHotRemoveEnabled: types.NewBool(file.bool("vcpu.hotremove")),
		NestedHVEnabled:     types.NewBool(file.bool("vhv.enable")),
		ExtraConfig:         extraConfig(file), BootOptions: boot, Firmware: firmware, SwapPlacement: "inherit",
		DefaultPowerOps: types.VirtualMachineDefaultPowerOpInfo{
			PowerOffType: "soft", SuspendType: "hard", ResetType: "soft", DefaultPowerOffType: "soft",
			DefaultSuspendType: "hard", DefaultResetType: "soft", StandbyAction: "checkpoint",
		},
		ChangeTrackingEnabled: types.NewBool(false), GuestAutoLockEnabled: types.NewBool(false),
		MemoryReservationLockedToMax: types.NewBool(false), MaxMksConnections: 40,
		LatencySensitivity: &types.LatencySensitivity{Level: types.LatencySensitivitySensitivityLevelNormal},
	}
}

// bootOrder reads "ethernet0,hdd,cdrom" with the disks of hddOrder in hdd's place.
func bootOrder(file *vmx) []types.BaseVirtualMachineBootOptionsBootableDevice {
	var order []types.BaseVirtualMachineBootOptionsBootableDevice
	keys := map[string]int32{}
	for _, at := range places(file) {
		keys[at.name()] = at.key()
	}
	for _, entry := range strings.Split(file.get("bios.bootOrder"), ",") {
		switch entry = strings.ToLower(strings.TrimSpace(entry)); {
		case entry == "cdrom":
			order = append(order, &types.VirtualMachineBootOptionsBootableCdromDevice{})
		case entry == "hdd":
			for _, disk := range strings.Split(file.get("bios.hddOrder"), ",") {
				if key, exists := keys[strings.TrimSpace(disk)]; exists {
					order = append(order, &types.VirtualMachineBootOptionsBootableDiskDevice{DeviceKey: key})
				}
			}
		case strings.HasPrefix(entry, "ethernet") && file.bool(entry+".present"):
			number, _ := strconv.Atoi(strings.TrimPrefix(entry, "ethernet"))
			order = append(order, &types.VirtualMachineBootOptionsBootableEthernetDevice{DeviceKey: nicKey + int32(number)})
		}
	}
	return order
}

func (vm *virtualMachine) guestInfo() *types.GuestInfo {
	info := &types.GuestInfo{
		ToolsStatus: types.VirtualMachineToolsStatusToolsNotRunning, ToolsVersionStatus: "guestToolsUnmanaged",
		ToolsVersionStatus2: "guestToolsUnmanaged", ToolsRunningStatus: "guestToolsNotRunning", ToolsVersion: "11365",
		GuestState: "notRunning", GuestOperationsReady: types.NewBool(false),
		InteractiveGuestOperationsReady: types.NewBool(false), GuestStateChangeSupported: types.NewBool(false),
	}
	vm.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	if vm.file == nil || !vm.on() || !vm.guest.tools {
		return info
	}
	id := guestID(vm.file.get("guestOS"))
	vm.GuestHeartbeatStatus = types.ManagedEntityStatusGreen
	info.ToolsStatus, info.ToolsRunningStatus = types.VirtualMachineToolsStatusToolsOk, "guestToolsRunning"
	info.GuestState, info.GuestId, info.GuestFullName, info.GuestFamily = "running", id, guestFullName(id), "linuxGuest"
	info.GuestOperationsReady, info.GuestStateChangeSupported = types.NewBool(true), types.NewBool(true)
	info.HostName, info.IpAddress = vm.guest.hostname, vm.guest.address
	for number, nic := range vm.nics() {
		entry := types.GuestNicInfo{
			Network: nic.Network, MacAddress: nic.MAC, Connected: true, DeviceConfigId: nicKey + int32(nic.number),
		}
		if number == 0 && vm.guest.address != "" {
			entry.IpAddress = []string{vm.guest.address}
			entry.IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{
				{IpAddress: vm.guest.address, PrefixLength: 24, State: "preferred"},
			}}
		}
		info.Net = append(info.Net, entry)
	}
	return info
}

// showFiles lists what belongs to the VM, with sizes as they are on the datastore.
func (vm *virtualMachine) showFiles() {
	layout := &types.VirtualMachineFileLayoutEx{Timestamp: time.Now()}
	plain := &types.VirtualMachineFileLayout{}
	storage := &types.VirtualMachineStorageInfo{Timestamp: time.Now()}
	usage := map[*datastore]*types.VirtualMachineUsageOnDatastore{}
	for _, owned := range vm.files() {
		info, err := os.Stat(owned.path)
		if err != nil {
			continue
		}
		size := allocated(info)
		layout.File = append(layout.File, types.VirtualMachineFileLayoutExFileInfo{
			Key: int32(len(layout.File)), Name: displayPath(owned.path), Type: owned.kind, Size: size, UniqueSize: size,
			Accessible: types.NewBool(true),
		})
		if owned.kind == "config" || owned.kind == "nvram" || owned.kind == "snapshotList" {
			plain.ConfigFile = append(plain.ConfigFile, filepath.Base(owned.path))
		}
		if d := datastoreOf(owned.path); d != nil {
			if usage[d] == nil {
				usage[d] = &types.VirtualMachineUsageOnDatastore{Datastore: vm.h.datastoreReference(d)}
				vm.Datastore = append(vm.Datastore, vm.h.datastoreReference(d))
			}
			usage[d].Committed += size
			usage[d].Unshared += size
			if strings.HasSuffix(owned.path, "-flat.vmdk") {
				usage[d].Uncommitted += info.Size() - size
			}
		}
	}
	for _, d := range vm.h.datastores {
		if usage[d] != nil {
			storage.PerDatastoreUsage = append(storage.PerDatastoreUsage, *usage[d])
		}
	}
	vm.Layout, vm.LayoutEx, vm.Storage = plain, layout, storage
}

func (vm *virtualMachine) showSummary() {
	config, summary := vm.Config, &vm.Summary
	for _, device := range config.Hardware.Device {
		switch d := device.(type) {
		case *types.VirtualDisk:
			summary.Config.NumVirtualDisks++
		case types.BaseVirtualEthernetCard:
			summary.Config.NumEthernetCards++
			if backing, ok := d.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
				if backing.Network != nil && !contains(vm.Network, *backing.Network) {
					vm.Network = append(vm.Network, *backing.Network)
				}
			}
		}
	}
	summary.Config.MemorySizeMB, summary.Config.NumCpu = config.Hardware.MemoryMB, config.Hardware.NumCPU
	summary.Config.Uuid, summary.Config.InstanceUuid = config.Uuid, config.InstanceUuid
	summary.Config.GuestId, summary.Config.GuestFullName = config.GuestId, config.GuestFullName
	summary.Config.Annotation = config.Annotation
	summary.Guest = &types.VirtualMachineGuestSummary{
		GuestId: vm.Guest.GuestId, GuestFullName: vm.Guest.GuestFullName, ToolsStatus: vm.Guest.ToolsStatus,
		ToolsVersionStatus: vm.Guest.ToolsVersionStatus, ToolsVersionStatus2: vm.Guest.ToolsVersionStatus2,
		ToolsRunningStatus: vm.Guest.ToolsRunningStatus, HostName: vm.Guest.HostName, IpAddress: vm.Guest.IpAddress,
	}
	summary.QuickStats.GuestHeartbeatStatus = vm.GuestHeartbeatStatus
	summary.Storage = &types.VirtualMachineStorageSummary{Timestamp: vm.Storage.Timestamp}
	for _, usage := range vm.Storage.PerDatastoreUsage {
		summary.Storage.Committed += usage.Committed
		summary.Storage.Uncommitted += usage.Uncommitted
		summary.Storage.Unshared += usage.Unshared
	}
}

func contains(list []types.ManagedObjectReference, wanted types.ManagedObjectReference) bool {
	for _, reference := range list {
		if reference == wanted {
			return true
		}
	}
	return false
}
