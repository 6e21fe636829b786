package main

import (
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// maxFreeCPUs is how many virtual CPUs one VM may have on the free edition.
const maxFreeCPUs = 8

// readPrefixes and readMethods are what the free edition lets pass. What is in neither list counts as a write, so that
// a method nobody thought of is refused rather than allowed.
var readPrefixes = []string{"Retrieve", "Read", "Query", "Find", "Wait", "Fetch"}

var readMethods = map[string]bool{
	"Login": true, "Logout": true, "CurrentTime": true, "SessionIsActive": true,
	"CreateFilter": true, "DestroyPropertyFilter": true, "CreatePropertyCollector": true,
	"DestroyPropertyCollector": true, "CancelWaitForUpdates": true, "CheckForUpdates": true,
	"ContinueRetrievePropertiesEx": true, "CancelRetrievePropertiesEx": true,
	"CreateContainerView": true, "CreateListView": true, "DestroyView": true, "ModifyListView": true,
	"CreateCollectorForEvents": true, "CreateCollectorForTasks": true, "DestroyCollector": true,
	"ResetCollector": true, "RewindCollector": true, "SetCollectorPageSize": true,
	"ResetListView": true, "SearchDatastore_Task": true, "SearchDatastoreSubFolders_Task": true,
	"RefreshDatastore": true, "HttpNfcLeaseGetManifest": true, "ParseDescriptor": true,
}

func isRead(method string) bool {
	if readMethods[method] {
		return true
	}
	for _, prefix := range readPrefixes {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

type licenseManager struct {
	mo.LicenseManager
}

// newLicenseManager reports a licence as the host's own pages show it; the keys are made up and open nothing.
func newLicenseManager(self types.ManagedObjectReference, edition string) *licenseManager {
	info := types.LicenseManagerLicenseInfo{
		LicenseKey: "00000-00000-00000-00000-00001", EditionKey: "esx.enterprisePlus.cpuPackage",
		Name: "VMware vSphere 7 Enterprise Plus", Total: 0, CostUnit: "cpuPackage:32core",
	}
	features := []types.KeyValue{
		{Key: "vimapi", Value: "vSphere API"}, {Key: "vsmp:128", Value: "Up to 128-way virtual SMP"},
	}
	if edition == editionFree {
		info.LicenseKey, info.EditionKey = "00000-00000-00000-00000-00002", "esxBasic"
		info.Name, info.CostUnit = "VMware vSphere 7 Hypervisor", "cpuPackage"
		features = []types.KeyValue{{Key: "vsmp:8", Value: "Up to 8-way virtual SMP"}}
	}
	for _, feature := range features {
		info.Properties = append(info.Properties, types.KeyAnyValue{Key: "feature", Value: feature})
	}
	info.Properties = append(info.Properties,
		types.KeyAnyValue{Key: "ProductName", Value: "VMware ESX Server"},
		types.KeyAnyValue{Key: "ProductVersion", Value: "7.0"})
	manager := &licenseManager{}
	manager.Self = self
	manager.Licenses = []types.LicenseManagerLicenseInfo{info}
	manager.LicensedEdition = info.EditionKey
	manager.Evaluation.Properties = []types.KeyAnyValue{{Key: "diagnostic", Value: "licensed"}}
	return manager
}
