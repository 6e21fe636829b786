package main

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (t *tool) systemVersion(esxArguments) (output, error) {
	about := t.h.content.About
	return single(record{
		{"Product", "VMware ESXi"}, {"Version", about.Version}, {"Build", "Releasebuild-" + about.Build},
		{"Update", updateOf(about.Version)}, {"Patch", 0},
	}), nil
}

// updateOf: 7.0.3 is 7.0 update 3.
func updateOf(version string) int {
	var major, minor, update int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &update)
	return update
}

func single(r record) output { return output{records: []record{r}, shape: structure} }

func (t *tool) systemHostname(esxArguments) (output, error) {
	name, domain, _ := strings.Cut(t.h.cfg.Hostname, ".")
	return single(record{
		{"Domain Name", domain}, {"Fully Qualified Domain Name", t.h.cfg.Hostname}, {"Host Name", name},
	}), nil
}

func (t *tool) hardware() (*types.HostHardwareInfo, error) {
	var system mo.HostSystem
	err := t.read(t.h.hostSystem, &system, "hardware")
	return system.Hardware, err
}

func (t *tool) hardwareCPU(esxArguments) (output, error) {
	hardware, err := t.hardware()
	if err != nil {
		return output{}, err
	}
	cpu := hardware.CpuInfo
	threaded := cpu.NumCpuThreads > cpu.NumCpuCores
	return single(record{
		{"CPU Packages", int(cpu.NumCpuPackages)}, {"CPU Cores", int(cpu.NumCpuCores)},
		{"CPU Threads", int(cpu.NumCpuThreads)}, {"Hyperthreading Active", threaded},
		{"Hyperthreading Supported", threaded}, {"Hyperthreading Enabled", true}, {"HV Support", 3},
		{"HV Replay Capable", true}, {"HV Replay Disabled Reasons", ""},
	}), nil
}

func (t *tool) hardwareMemory(esxArguments) (output, error) {
	hardware, err := t.hardware()
	if err != nil {
		return output{}, err
	}
	return single(record{
		{"Physical Memory", fmt.Sprintf("%d Bytes", hardware.MemorySize)}, {"Reliable Memory", "0 Bytes"},
		{"NUMA Node Count", 2},
	}), nil
}

func (t *tool) hardwarePlatform(esxArguments) (output, error) {
	hardware, err := t.hardware()
	if err != nil {
		return output{}, err
	}
	system := hardware.SystemInfo
	uuid := strings.ReplaceAll(system.Uuid, "-", "")
	var pairs []string
	for i := 0; i+1 < len(uuid); i += 2 {
		pairs = append(pairs, "0x"+strings.TrimPrefix(uuid[i:i+2], "0"))
	}
	serial := ""
	for _, info := range system.OtherIdentifyingInfo {
		if info.IdentifierType.GetElementDescription().Key == "ServiceTag" {
			serial = info.IdentifierValue
		}
	}
	result := single(record{
		{"UUID", strings.Join(pairs, " ")}, {"Product Name", system.Model}, {"Vendor Name", system.Vendor},
		{"Serial Number", serial}, {"Enclosure Serial Number", serial}, {"BIOS Asset Tag", ""}, {"IPMI Supported", true},
	})
	result.heading = "Platform Information"
	return result, nil
}

// filesystems lists where each datastore is mounted: under its UUID, not under its name. The host's own boot volumes
// are not simulated.
func (t *tool) filesystems(esxArguments) (output, error) {
	result := output{shape: table}
	for _, d := range t.h.datastores {
		result.records = append(result.records, record{
			{"Mount Point", d.mountPoint()}, {"Volume Name", d.name}, {"UUID", d.uuid()}, {"Mounted", true},
			{"Type", "VMFS-6"}, {"Size", d.size()}, {"Free", d.free()},
		})
	}
	return result, nil
}

// vmProcesses lists the VMs that are on. The world's number is made from the VM's.
func (t *tool) vmProcesses(esxArguments) (output, error) {
	vms, err := t.vms("runtime", "config")
	if err != nil {
		return output{}, err
	}
	result := output{shape: blocks}
	for _, vm := range vms {
		if vm.Config == nil || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		result.names = append(result.names, vm.Config.Name)
		result.records = append(result.records, record{
			{"World ID", 2100000 + 2*vmid(vm.Self)}, {"Process ID", 0}, {"VMX Cartel ID", 2100001 + 2*vmid(vm.Self)},
			{"UUID", spacedUUID(vm.Config.Uuid)}, {"Display Name", vm.Config.Name},
			{"Config File", t.mountedPath(vm.Config.Files.VmPathName)},
		})
	}
	return result, nil
}

// spacedUUID writes a UUID as in a .vmx: "56 4d .. ..-.. ..".
func spacedUUID(uuid string) string {
	digits := strings.ReplaceAll(uuid, "-", "")
	var text strings.Builder
	for i := 0; i+1 < len(digits); i += 2 {
		switch i {
		case 0:
		case 16:
			text.WriteString("-")
		default:
			text.WriteString(" ")
		}
		text.WriteString(digits[i : i+2])
	}
	return text.String()
}

// mountedPath is a file's path below its datastore's mount point.
func (t *tool) mountedPath(name string) string {
	for _, d := range t.h.datastores {
		if prefix := "[" + d.name + "] "; strings.HasPrefix(name, prefix) {
			return d.mountPoint() + "/" + strings.TrimPrefix(name, prefix)
		}
	}
	return name
}
