package main

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// usagePeriod is how old the figures of a datastore may be when they are read.
const usagePeriod = 100 * time.Millisecond

// datastoreObject shows a datastore through the API.
type datastoreObject struct {
	mo.Datastore
	h *host
	d *datastore
}

type datastoreSystem struct {
	mo.HostDatastoreSystem
}

func (h *host) datastoreReference(d *datastore) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Datastore", Value: d.uuid()}
}

func (h *host) datastoreByName(name string) *datastore {
	for _, d := range h.datastores {
		if d.name == name || d.uuid() == name {
			return d
		}
	}
	return nil
}

func (h *host) resizeDatastore(name string, bytes int64) bool {
	d := h.datastoreByName(name)
	if d != nil {
		d.setCapacity(bytes)
	}
	return d != nil
}

func (h *host) addDatastores() {
	var references []types.ManagedObjectReference
	for _, d := range h.datastores {
		object := &datastoreObject{h: h, d: d}
		object.Self = h.datastoreReference(d)
		object.Name = d.name
		object.Parent = &h.datacenter.DatastoreFolder
		object.Host = []types.DatastoreHostMount{{Key: h.hostSystem, MountInfo: types.HostMountInfo{
			Path: d.mountPoint(), AccessMode: "readWrite", Mounted: types.NewBool(true), Accessible: types.NewBool(true),
		}}}
		object.Capability = types.DatastoreCapability{
			DirectoryHierarchySupported: true, PerFileThinProvisioningSupported: true,
			NativeSnapshotSupported: types.NewBool(false), TopLevelDirectoryCreateSupported: types.NewBool(true),
		}
		browser := newBrowser(h, "ha-"+d.uuid()+"-datastorebrowser", object.Self)
		object.Browser = browser.Self
		h.put(browser)
		h.datastoreObjects = append(h.datastoreObjects, object)
		references = append(references, object.Self)
	}
	browser := newBrowser(h, h.system.DatastoreBrowser.Value, references...)
	h.system.DatastoreBrowser = browser.Self
	h.put(browser)
	h.registry.Get(h.datacenter.DatastoreFolder).(*simulator.Folder).ChildEntity = references
	h.datacenter.Datastore, h.system.Datastore, h.compute.Datastore = references, references, references
	for _, object := range h.datastoreObjects {
		h.put(object)
	}
	system := &datastoreSystem{}
	system.Self = *h.system.ConfigManager.DatastoreSystem
	system.Datastore = references
	system.Capabilities = types.HostDatastoreSystemCapabilities{
		LocalDatastoreSupported: true, VmfsExtentExpansionSupported: types.NewBool(true),
	}
	h.put(system)
	h.showDatastores()
}

// showDatastores counts what is used. It is called before every read, but walks the files only now and then.
func (h *host) showDatastores() {
	if time.Since(h.datastoresShown) < usagePeriod {
		return
	}
	for _, object := range h.datastoreObjects {
		object.show()
	}
	h.datastoresShown = time.Now()
}

func (o *datastoreObject) show() {
	d, now := o.d, time.Now()
	self := o.Self
	url := d.mountPoint() + "/"
	free := d.free()
	o.Summary = types.DatastoreSummary{
		Datastore: &self, Name: d.name, Url: url, Capacity: d.size(), FreeSpace: free, Accessible: true,
		MultipleHostAccess: types.NewBool(false), Type: "VMFS", MaintenanceMode: "normal",
	}
	o.Info = &types.VmfsDatastoreInfo{
		DatastoreInfo: types.DatastoreInfo{
			Name: d.name, Url: url, FreeSpace: free, MaxFileSize: 64 << 40, MaxVirtualDiskCapacity: 62 << 40,
			MaxMemoryFileSize: 64 << 40, Timestamp: &now,
		},
		Vmfs: &types.HostVmfsVolume{
			HostFileSystemVolume: types.HostFileSystemVolume{Type: "VMFS", Name: d.name, Capacity: d.size()},
			BlockSizeMb:          1, BlockSize: 1024, MaxBlocks: 63963136, MajorVersion: 6, Version: "6.82", Uuid: d.uuid(),
			Extent: []types.HostScsiDiskPartition{{DiskName: "naa." + d.uuid()[:8], Partition: 1}},
			Ssd:    types.NewBool(false), Local: types.NewBool(true),
		},
	}
}

func (o *datastoreObject) RefreshDatastore(*types.RefreshDatastore) soap.HasFault {
	o.show()
	return &methods.RefreshDatastoreBody{Res: new(types.RefreshDatastoreResponse)}
}

func (o *datastoreObject) RefreshDatastoreStorageInfo(*types.RefreshDatastoreStorageInfo) soap.HasFault {
	o.show()
	return &methods.RefreshDatastoreStorageInfoBody{Res: new(types.RefreshDatastoreStorageInfoResponse)}
}
