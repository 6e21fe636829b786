package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// host is the one state behind both doors, the API and the shell.
//
// Everything in the registry is read and changed with mu held: it is taken for the length of a call (see dispatch.go)
// and given up while a task or a waiting client sleeps. Values inside managed objects are replaced, never changed in
// place, so an answer stays whole after the lock is gone.
type host struct {
	cfg        config
	mu         sync.Mutex
	control    *control
	rt         soap.RoundTripper
	content    types.ServiceContent
	datastores []*datastore
	hostSystem types.ManagedObjectReference

	registry         *simulator.Registry
	sessions         *sessions
	guests           guests
	saved            savedHost
	vms              map[int]*virtualMachine // by vmid
	drafts           map[string]bool         // names of VMs that are being made
	leases           map[string]*lease
	questions        int
	thumbprint       string // of the certificate
	datastoresShown  time.Time
	datacenter       *simulator.Datacenter
	compute          *mo.ComputeResource
	system           *simulator.HostSystem
	environment      types.ManagedObjectReference
	vmFolder         *vmFolder
	pool             *resourcePool
	network          *networkSystem
	autostart        *autostartManager
	tasks            *taskManager
	datastoreObjects []*datastoreObject
}

// resourcePool is the one that every host has.
type resourcePool struct {
	mo.ResourcePool
	h *host
}

// environmentBrowser is there to be named; what it would tell of hardware options is not simulated.
type environmentBrowser struct {
	mo.EnvironmentBrowser
}

// versions are the API version and the build of the releases that this host can play.
var versions = map[string][2]string{
	"6.7.0": {"6.7.3", "14320388"}, "7.0.0": {"7.0.0.0", "15843807"}, "7.0.3": {"7.0.3.0", "21424296"},
	"8.0.0": {"8.0.0.0", "20513097"}, "8.0.2": {"8.0.2.0", "22380479"}, "8.0.3": {"8.0.3.0", "24022510"},
}

func newHost(cfg config) (*host, error) {
	h := &host{
		cfg: cfg, control: &control{}, sessions: &sessions{open: map[string]*simulator.Session{}},
		vms: map[int]*virtualMachine{}, drafts: map[string]bool{}, leases: map[string]*lease{},
	}
	if err := os.MkdirAll(cfg.volumes(), 0o755); err != nil {
		return nil, err
	}
	for _, store := range cfg.Datastores {
		d, err := mountDatastore(cfg.volumes(), store.Name, int64(store.CapacityGiB*(1<<30)))
		if err != nil {
			return nil, err
		}
		h.datastores = append(h.datastores, d)
	}
	found, err := readJSON(h.statePath("host.json"), &h.saved)
	if err != nil {
		return nil, err
	}
	if !found {
		h.saved.NextID = 1
		h.saved.Switches, h.saved.Groups = defaultNetworks()
		h.saved.Autostart = defaultAutostart()
		h.saveHost()
	}
	if err := h.build(); err != nil {
		return nil, err
	}
	h.rt = newLocalCaller(h)
	if h.guests, err = newGuests(h); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h, h.restore()
}

// build fills the registry: the library's inventory of a fresh ESX host, with this simulator's objects in the places
// where the library's answer is not that of a real host.
func (h *host) build() error {
	version, known := versions[h.cfg.Version]
	if !known {
		return fmt.Errorf("version %s is not simulated", h.cfg.Version)
	}
	h.content = esx.ServiceContent
	about := &h.content.About
	about.Version, about.ApiVersion, about.Build = h.cfg.Version, version[0], version[1]
	about.FullName = fmt.Sprintf("VMware ESXi %s build-%s", about.Version, about.Build)
	about.LicenseProductVersion = h.cfg.Version[:3]
	simulator.NewServiceInstance(h.content, esx.RootFolder)
	h.registry = simulator.Map
	h.hostSystem = esx.HostSystem.Self
	h.datacenter = h.registry.Get(esx.Datacenter.Self).(*simulator.Datacenter)
	h.system = h.registry.Get(h.hostSystem).(*simulator.HostSystem)
	h.compute = h.registry.Get(*h.system.Parent).(*mo.ComputeResource)
	h.environment = *h.compute.EnvironmentBrowser
	h.replaceObjects()
	h.describeHardware()
	h.addDatastores()
	h.network.show()
	h.autostart.show()
	return nil
}

func (h *host) replaceObjects() {
	h.vmFolder = &vmFolder{h: h}
	h.vmFolder.Folder = h.registry.Get(h.datacenter.VmFolder).(*simulator.Folder).Folder
	h.put(h.vmFolder)
	h.pool = &resourcePool{ResourcePool: esx.ResourcePool, h: h}
	h.put(h.pool)
	h.tasks = &taskManager{}
	h.tasks.Self, h.tasks.Description = *h.content.TaskManager, esx.Description
	h.put(h.tasks)
	h.put(newPropertyCollector(h, h.content.PropertyCollector))
	h.put(newLicenseManager(*h.content.LicenseManager, h.cfg.Edition))
	h.put(&searchIndex{SearchIndex: mo.SearchIndex{Self: *h.content.SearchIndex}, h: h})
	h.put(&fileManager{FileManager: mo.FileManager{Self: *h.content.FileManager}, h: h})
	h.put(&diskManager{VirtualDiskManager: mo.VirtualDiskManager{Self: *h.content.VirtualDiskManager}, h: h})
	h.put(&environmentBrowser{mo.EnvironmentBrowser{Self: h.environment}})
	// The library numbers these two; a host has names for them.
	h.system.ConfigManager.NetworkSystem = esx.HostSystem.ConfigManager.NetworkSystem
	h.system.ConfigManager.DatastoreSystem = esx.HostSystem.ConfigManager.DatastoreSystem
	h.network = &networkSystem{h: h}
	h.network.Self = *h.system.ConfigManager.NetworkSystem
	h.put(h.network)
	h.autostart = &autostartManager{h: h}
	h.autostart.Self = *h.system.ConfigManager.AutoStartManager
	h.put(h.autostart)
}

// describeHardware makes the host a PowerEdge T430 of the configured size.
func (h *host) describeHardware() {
	const mhz, packages = 2097, 2
	threads, memory := int16(h.cfg.CPUs), int64(h.cfg.MemoryGiB)<<30
	cores := threads / 2
	if cores == 0 {
		cores = 1
	}
	summary := *h.system.Summary.Hardware
	summary.Vendor, summary.Model = "Dell Inc.", "PowerEdge T430"
	summary.CpuModel = "Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz"
	summary.MemorySize, summary.CpuMhz, summary.NumCpuPkgs = memory, mhz, packages
	summary.NumCpuCores, summary.NumCpuThreads, summary.NumNics = cores, threads, physicalNICs
	summary.Uuid, summary.OtherIdentifyingInfo = "4c4c4544-0034-3510-8052-b4c04f4d3732", nil
	h.system.Summary.Hardware = &summary
	hardware := *h.system.Hardware
	hardware.SystemInfo = types.HostSystemInfo{
		Vendor: summary.Vendor, Model: summary.Model, Uuid: summary.Uuid, SerialNumber: "4T5RM72",
	}
	hardware.CpuInfo = types.HostCpuInfo{
		NumCpuPackages: packages, NumCpuCores: cores, NumCpuThreads: threads, Hz: mhz * 1e6,
	}
	hardware.MemorySize = memory
	h.system.Hardware = &hardware
	h.system.Name = h.cfg.Hostname
	h.system.Summary.Config.Name = h.cfg.Hostname
	product := h.content.About
	h.system.Summary.Config.Product = &product
	config := *h.system.Config
	config.Product = product
	h.system.Config = &config
	self := h.hostSystem
	h.system.Summary.Host = &self
	h.compute.Name = h.cfg.Hostname
	totals := types.ComputeResourceSummary{
		TotalCpu: int32(cores) * mhz, TotalMemory: memory, NumCpuCores: cores, NumCpuThreads: threads,
		EffectiveCpu: int32(cores) * mhz, EffectiveMemory: memory >> 20, NumHosts: 1, NumEffectiveHosts: 1,
		OverallStatus: types.ManagedEntityStatusGreen,
	}
	h.compute.Summary = &totals
	info := *config.Network
	info.Vswitch, info.Portgroup = nil, nil
	if len(info.Vnic) > 0 {
		vnic := info.Vnic[0]
		vnic.Spec.Ip = &types.HostIpConfig{Dhcp: false, IpAddress: h.cfg.Address, SubnetMask: "255.255.255.0"}
		info.Vnic = []types.HostVirtualNic{vnic}
	}
	name, domain := domainOf(h.cfg.Hostname)
	info.DnsConfig = &types.HostDnsConfig{HostName: name, DomainName: domain}
	h.network.NetworkInfo = &info
}

func (h *host) put(object mo.Reference) { h.registry.Put(object) }

// await waits for a task's end, with the host's lock held.
func (h *host) await(self types.ManagedObjectReference) {
	for {
		running, exists := h.registry.Get(self).(*task)
		if !exists || running.Info.CompleteTime != nil {
			return
		}
		h.mu.Unlock()
		time.Sleep(updatePeriod)
		h.mu.Lock()
	}
}

// resume brings the guests back after a start of the host: those that still run are on, and what starts by itself does.
func (h *host) resume() {
	driver, external := h.guests.(*guestDriver)
	if external {
		states, err := driver.awaited()
		h.mu.Lock()
		for _, vm := range h.sortedVMs() {
			if err == nil && vm.file != nil {
				vm.power = poweredOff
				if states[vm.uuid()].Status == "running" {
					vm.power, vm.booted = poweredOn, time.Now()
				}
				vm.show()
			}
		}
		h.saveInventory()
		h.mu.Unlock()
		h.startAutomatically()
		driver.watch()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, vm := range h.sortedVMs() {
		if vm.on() {
			vm.booted = time.Now()
			vm.show()
			h.guests.booted(vm)
		}
	}
}
