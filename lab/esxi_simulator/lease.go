package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// leaseTimeout is how long a lease lives without a word from its client.
const leaseTimeout = 300 * time.Second

// lease is an import: the VM is there at once, its disks are uploaded one by one, and then it is complete or gone.
type lease struct {
	mo.HttpNfcLease
	h     *host
	vm    *virtualMachine
	disks map[string]diskWork // by the last part of the URL
	timer *time.Timer
}

func (p *resourcePool) ImportVApp(ctx *simulator.Context, req *types.ImportVApp) soap.HasFault {
	spec, isVM := req.Spec.(*types.VirtualMachineImportSpec)
	if !isVM {
		return answer(notSimulated(fmt.Sprintf("import of %T", req.Spec)))
	}
	ordered, _ := ctx.Value(middleFault{}).(*methodFault)
	l := &lease{h: p.h, disks: map[string]diskWork{}}
	l.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: uuid.New().String()}
	l.State = types.HttpNfcLeaseStateInitializing
	p.h.leases[l.Self.Value] = l
	p.h.put(l)
	go l.initialize(&spec.ConfigSpec, ordered)
	return &methods.ImportVAppBody{Res: &types.ImportVAppResponse{Returnval: l.Self}}
}

// initialize makes the VM with empty disks; ordered is a fault for the middle of that.
func (l *lease) initialize(spec *types.VirtualMachineConfigSpec, ordered *methodFault) {
	h := l.h
	time.Sleep(h.cfg.taskTime())
	h.mu.Lock()
	defer h.mu.Unlock()
	made, refused := h.draft(spec)
	if refused == nil && ordered != nil {
		made.discard()
		refused = &refusal{fault: ordered.fault, text: ordered.text}
	}
	if refused != nil {
		l.fail(refused)
		return
	}
	l.vm = made.register()
	l.vm.leased = true
	l.Info = &types.HttpNfcLeaseInfo{
		Lease: l.Self, Entity: l.vm.Self, LeaseTimeout: int32(leaseTimeout / time.Second),
	}
	for number, disk := range made.disks {
		name := fmt.Sprintf("disk-%d.vmdk", number)
		l.disks[name] = disk
		l.Info.TotalDiskCapacityInKB += disk.bytes / 1024
		l.Info.DeviceUrl = append(l.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: fmt.Sprintf("/%d/%s", l.vm.id, disk.device), ImportKey: fmt.Sprintf("/%s/%s", spec.Name, disk.device),
			// The client puts the host's name in the place of the star, as with a real host.
			Url: "https://*/nfc/" + l.Self.Value + "/" + name, Disk: types.NewBool(true), TargetId: name,
			SslThumbprint: h.thumbprint,
		})
	}
	l.timer = time.AfterFunc(leaseTimeout, l.expire)
	l.State = types.HttpNfcLeaseStateReady
}

func (l *lease) fail(refused *refusal) {
	l.State, l.Error = types.HttpNfcLeaseStateError, refused.localized()
}

func (l *lease) expire() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.State == types.HttpNfcLeaseStateReady {
		log.Printf("lease %s: no word from the client", l.Self.Value)
		l.discard(refuse(new(types.Timedout)))
	}
}

// discard ends the lease and takes the VM away.
func (l *lease) discard(why *refusal) {
	l.fail(why)
	l.timer.Stop()
	l.vm.leased = false
	if l.h.vms[l.vm.id] == l.vm {
		if err := l.vm.deleteFiles(); err != nil {
			log.Printf("lease %s: %s", l.Self.Value, err)
		}
		l.h.unregister(l.vm)
	}
}

func (l *lease) ready() *refusal {
	if l.State != types.HttpNfcLeaseStateReady {
		return refuse(new(types.InvalidState))
	}
	return nil
}

func (l *lease) HttpNfcLeaseProgress(req *types.HttpNfcLeaseProgress) soap.HasFault {
	if refused := l.ready(); refused != nil {
		return answer(refused)
	}
	if req.Percent < 0 || req.Percent > 100 {
		return answer(invalid("percent"))
	}
	l.TransferProgress = req.Percent
	l.timer.Reset(leaseTimeout)
	return &methods.HttpNfcLeaseProgressBody{Res: new(types.HttpNfcLeaseProgressResponse)}
}

func (l *lease) HttpNfcLeaseComplete(*types.HttpNfcLeaseComplete) soap.HasFault {
	if refused := l.ready(); refused != nil {
		return answer(refused)
	}
	l.State = types.HttpNfcLeaseStateDone
	l.timer.Stop()
	l.vm.leased = false
	l.vm.show()
	return &methods.HttpNfcLeaseCompleteBody{Res: new(types.HttpNfcLeaseCompleteResponse)}
}

// HttpNfcLeaseAbort also cleans up after an upload that failed.
func (l *lease) HttpNfcLeaseAbort(req *types.HttpNfcLeaseAbort) soap.HasFault {
	if l.vm == nil || l.State == types.HttpNfcLeaseStateDone {
		return answer(refuse(new(types.InvalidState)))
	}
	why := refuse(new(types.RequestCanceled))
	if req.Fault != nil && req.Fault.Fault != nil {
		why = &refusal{fault: req.Fault.Fault, text: req.Fault.LocalizedMessage}
	}
	l.discard(why)
	return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
}

// serveNFC takes an upload for a lease: a streamOptimized VMDK becomes the VM's disk.
func (h *host) serveNFC(w http.ResponseWriter, r *http.Request) {
	ordered, allowed := h.fileRequest(w, r, "/nfc")
	if !allowed {
		return
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		http.Error(w, "not simulated: "+r.Method+" /nfc", http.StatusNotImplemented)
		return
	}
	folder, name := path.Split(r.URL.Path)
	h.mu.Lock()
	l := h.leases[path.Base(folder)]
	var disk diskWork
	found := l != nil && l.State == types.HttpNfcLeaseStateReady
	if found {
		disk, found = l.disks[name]
	}
	h.mu.Unlock()
	if !found {
		http.NotFound(w, r)
		return
	}
	if err := receiveDisk(r, disk, ordered); err != nil {
		log.Printf("upload of %s failed: %s", displayPath(disk.path), err)
		h.mu.Lock()
		l.fail(diskRefusal(err, disk.path))
		h.mu.Unlock()
		if ordered != nil && ordered.drop {
			panic(http.ErrAbortHandler)
		}
		status := http.StatusInternalServerError
		if errors.Is(err, errNoSpace) {
			status = http.StatusInsufficientStorage
		}
		http.Error(w, err.Error(), status)
		return
	}
	h.mu.Lock()
	l.vm.show()
	h.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func receiveDisk(r *http.Request, disk diskWork, ordered *methodFault) error {
	body := r.Body
	if ordered != nil {
		body = http.MaxBytesReader(nil, r.Body, r.ContentLength/2)
	}
	if err := deleteDisk(disk.path); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errNoDisk) {
		return err
	}
	return importStream(body, disk.path, disk.bytes, disk.kind)
}
