package main

import (
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// searchIndex finds VMs by what they are known by. A host of its own has few other things to find.
type searchIndex struct {
	mo.SearchIndex
	h *host
}

func (s *searchIndex) all(matches func(*virtualMachine) bool) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, vm := range s.h.sortedVMs() {
		if vm.Config != nil && matches(vm) {
			found = append(found, vm.Self)
		}
	}
	return found
}

func first(found []types.ManagedObjectReference) *types.ManagedObjectReference {
	if len(found) == 0 {
		return nil
	}
	return &found[0]
}

func (s *searchIndex) byUUID(wanted string, vmSearch bool, instance *bool) []types.ManagedObjectReference {
	if !vmSearch {
		return nil
	}
	return s.all(func(vm *virtualMachine) bool {
		if instance != nil && *instance {
			return strings.EqualFold(vm.Config.InstanceUuid, wanted)
		}
		return strings.EqualFold(vm.Config.Uuid, wanted)
	})
}

func (s *searchIndex) FindByUuid(req *types.FindByUuid) soap.HasFault {
	found := s.byUUID(req.Uuid, req.VmSearch, req.InstanceUuid)
	return &methods.FindByUuidBody{Res: &types.FindByUuidResponse{Returnval: first(found)}}
}

func (s *searchIndex) FindAllByUuid(req *types.FindAllByUuid) soap.HasFault {
	found := s.byUUID(req.Uuid, req.VmSearch, req.InstanceUuid)
	return &methods.FindAllByUuidBody{Res: &types.FindAllByUuidResponse{Returnval: found}}
}

func (s *searchIndex) FindByDatastorePath(req *types.FindByDatastorePath) soap.HasFault {
	found := s.all(func(vm *virtualMachine) bool { return vm.Config.Files.VmPathName == req.Path })
	return &methods.FindByDatastorePathBody{Res: &types.FindByDatastorePathResponse{Returnval: first(found)}}
}

func (s *searchIndex) FindByDnsName(req *types.FindByDnsName) soap.HasFault {
	found := s.all(func(vm *virtualMachine) bool { return req.VmSearch && vm.Guest.HostName == req.DnsName })
	return &methods.FindByDnsNameBody{Res: &types.FindByDnsNameResponse{Returnval: first(found)}}
}

func (s *searchIndex) FindByIp(req *types.FindByIp) soap.HasFault {
	found := s.all(func(vm *virtualMachine) bool { return req.VmSearch && vm.Guest.IpAddress == req.Ip })
	return &methods.FindByIpBody{Res: &types.FindByIpResponse{Returnval: first(found)}}
}

// FindByInventoryPath walks from the root: "ha-datacenter/vm/NAME".
func (s *searchIndex) FindByInventoryPath(req *types.FindByInventoryPath) soap.HasFault {
	body := &methods.FindByInventoryPathBody{Res: new(types.FindByInventoryPathResponse)}
	place := &s.h.content.RootFolder
	for _, name := range strings.Split(strings.Trim(req.InventoryPath, "/"), "/") {
		if place = s.child(*place, name); place == nil {
			return body
		}
	}
	body.Res.Returnval = place
	return body
}

func (s *searchIndex) FindChild(req *types.FindChild) soap.HasFault {
	return &methods.FindChildBody{Res: &types.FindChildResponse{Returnval: s.child(req.Entity, req.Name)}}
}

func (s *searchIndex) child(parent types.ManagedObjectReference, name string) *types.ManagedObjectReference {
	for _, entity := range s.h.registry.All("") {
		of := entity.Entity().Parent
		if of != nil && *of == parent && entityName(entity) == name {
			self := entity.Reference()
			return &self
		}
	}
	return nil
}

// entityName is the name of an object; networks and datastores keep theirs elsewhere.
func entityName(entity mo.Entity) string {
	switch e := entity.(type) {
	case *mo.Network:
		return e.Name
	}
	return entity.Entity().Name
}
