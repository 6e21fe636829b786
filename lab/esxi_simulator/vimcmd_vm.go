package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// getAllVMs prints the table as a real host does: headings in the middle of columns that are as wide as their widest
// value, notes with their line breaks.
func (t *tool) getAllVMs([]string) int {
	vms, err := t.vms("summary", "runtime", "config")
	if err != nil {
		return t.fail(err)
	}
	rows := [][]string{{"Vmid", "Name", "File", "Guest OS", "Version", "Annotation"}}
	for _, vm := range vms {
		if vm.Config == nil || vm.Runtime.ConnectionState == types.VirtualMachineConnectionStateInvalid {
			t.print("Skipping invalid VM '%s'\n", vm.Self.Value)
			continue
		}
		rows = append(rows, []string{
			vm.Self.Value, vm.Config.Name, vm.Config.Files.VmPathName, vm.Config.GuestId, vm.Config.Version,
			vm.Config.Annotation,
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if width := len([]rune(cell)); width > widths[i] {
				widths[i] = width
			}
		}
	}
	for i, row := range rows {
		cells := make([]string, len(row))
		for j, cell := range row {
			gap := widths[j] - len([]rune(cell))
			left := 0
			if i == 0 && j > 0 {
				left = gap / 2
			}
			cells[j] = strings.Repeat(" ", left) + cell + strings.Repeat(" ", gap-left)
		}
		t.print("%s\n", strings.Join(cells, "   "))
	}
	return 0
}

func (t *tool) powerState(vm types.ManagedObjectReference, _ []string) int {
	found, err := t.vm(vm, "runtime")
	if err != nil {
		return t.fail(err)
	}
	t.print("Retrieved runtime info\n%s\n", powerText(found.Runtime.PowerState))
	return 0
}

// powerOn blocks while the host waits for an answer to the moved-or-copied question.
func (t *tool) powerOn(vm types.ManagedObjectReference, _ []string) int {
	t.print("Powering on VM:\n")
	res, err := methods.PowerOnVM_Task(t.context(), t.h.rt, &types.PowerOnVM_Task{This: vm})
	if err != nil {
		return t.powerFailed("Power on failed", err)
	}
	_, err = t.wait(res.Returnval)
	return t.powerFailed("Power on failed", err)
}

func (t *tool) powerOff(vm types.ManagedObjectReference, _ []string) int {
	t.print("Powering off VM:\n")
	res, err := methods.PowerOffVM_Task(t.context(), t.h.rt, &types.PowerOffVM_Task{This: vm})
	if err != nil {
		return t.powerFailed("Power off failed", err)
	}
	_, err = t.wait(res.Returnval)
	return t.powerFailed("Power off failed", err)
}

func (t *tool) powerReset(vm types.ManagedObjectReference, _ []string) int {
	t.print("Reset VM:\n")
	res, err := methods.ResetVM_Task(t.context(), t.h.rt, &types.ResetVM_Task{This: vm})
	if err != nil {
		return t.powerFailed("Reset failed", err)
	}
	_, err = t.wait(res.Returnval)
	return t.powerFailed("Reset failed", err)
}

// powerFailed exits with 0 all the same: only the text tells.
func (t *tool) powerFailed(text string, err error) int {
	if err != nil {
		fault, message := faultOf(err)
		t.print("%s: %s\n", text, faultInVmodl(fault, message))
	}
	return 0
}

func (t *tool) shutdown(vm types.ManagedObjectReference, _ []string) int {
	if _, err := methods.ShutdownGuest(t.context(), t.h.rt, &types.ShutdownGuest{This: vm}); err != nil {
		return t.fail(err)
	}
	return 0
}

func (t *tool) reboot(vm types.ManagedObjectReference, _ []string) int {
	if _, err := methods.RebootGuest(t.context(), t.h.rt, &types.RebootGuest{This: vm}); err != nil {
		return t.fail(err)
	}
	return 0
}

func (t *tool) reload(vm types.ManagedObjectReference, _ []string) int {
	if _, err := methods.Reload(t.context(), t.h.rt, &types.Reload{This: vm}); err != nil {
		return t.fail(err)
	}
	return 0
}

func (t *tool) unregister(vm types.ManagedObjectReference, _ []string) int {
	if _, err := methods.UnregisterVM(t.context(), t.h.rt, &types.UnregisterVM{This: vm}); err != nil {
		return t.fail(err)
	}
	return 0
}

func (t *tool) destroy(vm types.ManagedObjectReference, _ []string) int {
	res, err := methods.Destroy_Task(t.context(), t.h.rt, &types.Destroy_Task{This: vm})
	if err == nil {
		_, err = t.wait(res.Returnval)
	}
	if err != nil {
		return t.fail(err)
	}
	return 0
}

// message shows the question that a VM waits with, or answers it.
func (t *tool) message(vm types.ManagedObjectReference, args []string) int {
	found, err := t.vm(vm, "runtime")
	if err != nil {
		return t.fail(err)
	}
	question := found.Runtime.Question
	switch {
	case question == nil:
		t.print("No message.\n")
		return 0
	case len(args) >= 2:
		answer := types.AnswerVM{This: vm, QuestionId: args[0], AnswerChoice: args[1]}
		if _, err := methods.AnswerVM(t.context(), t.h.rt, &answer); err != nil {
			return t.fail(err)
		}
		return 0
	}
	t.print("Virtual machine message %s:\n%s\n", question.Id, question.Text)
	for i, choice := range question.Choice.ChoiceInfo {
		info := choice.GetElementDescription()
		mark := ""
		if int32(i) == question.Choice.DefaultIndex {
			mark = " [default]"
		}
		t.print("   %s. %s (%s)%s\n", info.Key, info.Label, info.Summary, mark)
	}
	return 0
}

// registerVM takes the path of a .vmx in either form and prints the id that the VM gets.
func (t *tool) registerVM(args []string) int {
	path, found := t.datastorePath(args[0])
	if !found {
		return t.fail(notFound())
	}
	folder, err := t.vmFolder()
	if err != nil {
		return t.fail(err)
	}
	pool, err := t.pool()
	if err != nil {
		return t.fail(err)
	}
	request := types.RegisterVM_Task{This: folder, Path: path, Pool: &pool, Host: &t.h.hostSystem}
	if len(args) > 1 {
		request.Name = args[1]
	}
	res, err := methods.RegisterVM_Task(t.context(), t.h.rt, &request)
	if err != nil {
		return t.fail(err)
	}
	return t.printNewVM(res.Returnval)
}

func (t *tool) printNewVM(task types.ManagedObjectReference) int {
	info, err := t.wait(task)
	if err != nil {
		return t.fail(err)
	}
	t.print("%s\n", info.Result.(types.ManagedObjectReference).Value)
	return 0
}

func notFound() error {
	return &taskFault{&types.LocalizedMethodFault{
		Fault: &types.NotFound{}, LocalizedMessage: "The object or item referred to could not be found.",
	}}
}

// datastorePath turns the path of an existing file into the form "[datastore] folder/file".
func (t *tool) datastorePath(name string) (string, bool) {
	if strings.HasPrefix(name, "[") {
		return name, true
	}
	path := t.path(name)
	d := datastoreOf(path)
	if d == nil {
		return "", false
	}
	if _, err := os.Stat(path); err != nil {
		return "", false
	}
	return d.datastorePath(path), true
}

// createDummyVM makes a VM of one CPU with a small disk, which scripts then replace. Its exact hardware was not seen on
// a real host.
func (t *tool) createDummyVM(args []string) int {
	name, place := args[0], t.path(args[1])
	var d *datastore
	for _, candidate := range t.h.datastores {
		if args[1] == "["+candidate.name+"]" || resolve(place) == resolve(candidate.dir) {
			d = candidate
		}
	}
	if d == nil {
		return t.fail(notFound())
	}
	taken := &types.AlreadyExists{Name: name}
	if _, err := os.Stat(filepath.Join(d.dir, fileNameOf(name), fileNameOf(name)+".vmx")); err == nil {
		return t.printFault(taken, faultText(taken))
	}
	folder, err := t.vmFolder()
	if err != nil {
		return t.fail(err)
	}
	pool, err := t.pool()
	if err != nil {
		return t.fail(err)
	}
	res, err := methods.CreateVM_Task(t.context(), t.h.rt, &types.CreateVM_Task{
		This: folder, Pool: pool, Host: &t.h.hostSystem, Config: dummyVM(name, d.name),
	})
	if err == nil {
		return t.printNewVM(res.Returnval)
	}
	if fault, _ := faultOf(err); faultName(fault) == "DuplicateName" {
		return t.printFault(taken, faultText(taken))
	}
	return t.fail(err)
}

func dummyVM(name, store string) types.VirtualMachineConfigSpec {
	const controllerKey, diskKiB = 1000, 4096
	thinDisk := true
	unit := int32(0)
	return types.VirtualMachineConfigSpec{
		Name: name, GuestId: "otherGuest", NumCPUs: 1, MemoryMB: 32,
		Files: &types.VirtualMachineFileInfo{VmPathName: "[" + store + "]"},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd,
				Device: &types.VirtualLsiLogicController{VirtualSCSIController: types.VirtualSCSIController{
					SharedBus: types.VirtualSCSISharingNoSharing,
					VirtualController: types.VirtualController{
						VirtualDevice: types.VirtualDevice{Key: controllerKey},
					},
				}},
			},
			&types.VirtualDeviceConfigSpec{
				Operation:     types.VirtualDeviceConfigSpecOperationAdd,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
				Device: &types.VirtualDisk{
					CapacityInKB: diskKiB,
					VirtualDevice: types.VirtualDevice{
						Key: -1, ControllerKey: controllerKey, UnitNumber: &unit,
						Backing: &types.VirtualDiskFlatVer2BackingInfo{
							DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: &thinDisk,
						},
					},
				},
			},
		},
	}
}
