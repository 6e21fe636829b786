package main

import (
	"crypto/sha1" //nolint:gosec // an identifier, not a secret
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	poweredOn  = types.VirtualMachinePowerStatePoweredOn
	poweredOff = types.VirtualMachinePowerStatePoweredOff
	suspended  = types.VirtualMachinePowerStateSuspended
)

// question is what the VM asks before it goes on.
type question struct {
	info   *types.VirtualMachineQuestionInfo
	answer chan string
}

// The choices of the moved-or-copied question.
const (
	choiceCancel = "0"
	choiceMoved  = "1"
	choiceCopied = "2"
)

func (vm *virtualMachine) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	self := vm.start(ctx, "powerOn", func(t *task) (types.AnyType, *refusal) { return nil, vm.powerOn(t) })
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) powerOn(t *task) *refusal {
	if refused := vm.needValid(); refused != nil {
		return refused
	}
	if vm.on() {
		return refuse(&types.InvalidPowerState{RequestedState: poweredOn, ExistingState: vm.power})
	}
	if refused := vm.bootable(); refused != nil {
		return refused
	}
	if refused := vm.movedOrCopied(t); refused != nil {
		return refused
	}
	if refused := t.elapse(); refused != nil {
		return refused
	}
	vm.generateMACs()
	vm.file.set("uuid.location", vmxUUID(locationUUID(vm.path)))
	if err := writeFile(vm.path, vm.file.format()); err != nil {
		return diskRefusal(err, vm.path)
	}
	if _, err := os.Stat(vm.beside(".nvram")); err != nil {
		_ = os.WriteFile(vm.beside(".nvram"), []byte("MRVN"), 0o644)
	}
	order := vm.guestOrder()
	var err error
	t.unlocked(func() { err = vm.h.guests.on(vm, order) })
	if err != nil {
		return refuseWith(new(types.GenericVmConfigFault), "%s", err)
	}
	vm.setPower(poweredOn)
	return nil
}

// setPower keeps the new state and forgets what the guest said before.
func (vm *virtualMachine) setPower(state types.VirtualMachinePowerState) {
	vm.power, vm.guest = state, guestState{}
	if state == poweredOn {
		vm.booted = time.Now()
	}
	vm.h.saveInventory()
	vm.show()
}

// bootable is what the host checks before it starts a VM.
func (vm *virtualMachine) bootable() *refusal {
	cpus := vm.file.int("numvcpus", 1)
	if vm.h.cfg.Edition == editionFree && cpus > maxFreeCPUs {
		return refuseWith(new(types.NotEnoughLicenses),
			"There are not enough licenses installed to perform the operation. The virtual machine has %d virtual CPUs; the license allows %d.", cpus, maxFreeCPUs)
	}
	if cpus > vm.h.cfg.CPUs {
		return tooManyCPUs(cpus, vm.h.cfg.CPUs)
	}
	if refused := vm.wellFormed(); refused != nil {
		return refused
	}
	for _, disk := range vm.disks() {
		if _, err := readDisk(disk); err != nil {
			return refuse(&types.FileNotFound{FileFault: types.FileFault{File: displayPath(disk)}})
		}
		if vm.h.lockedBy(disk, vm) != nil {
			return refuse(&types.FileLocked{FileFault: types.FileFault{File: displayPath(disk)}})
		}
	}
	for _, at := range places(vm.file) {
		name := at.name()
		if !isCdrom(vm.file, at) || vm.file.get(name+".deviceType") != "cdrom-image" ||
			strings.EqualFold(vm.file.get(name+".startConnected"), "false") {
			continue
		}
		path := vm.h.path(vm.folder(), vm.file.get(name+".fileName"))
		if _, err := os.Stat(path); err != nil {
			return refuse(&types.FileNotFound{FileFault: types.FileFault{File: displayPath(path)}})
		}
	}
	for number := 0; number < maxNICs; number++ {
		name := fmt.Sprintf("ethernet%d", number)
		mac := strings.ToLower(vm.file.get(name + ".address"))
		if !vm.file.bool(name+".present") || !strings.EqualFold(vm.file.get(name+".addressType"), "static") {
			continue
		}
		if !validMAC(mac) {
			return refuseWith(new(types.GenericVmConfigFault),
				"Invalid MAC address specified. %s is not a valid Ethernet address.", mac)
		}
		if reservedMAC(mac) && !strings.EqualFold(vm.file.get(name+".checkMACAddress"), "false") {
			return refuseWith(new(types.GenericVmConfigFault), "Invalid MAC address specified. %s is not an allowed static "+
				"Ethernet address. It conflicts with VMware reserved MACs.", mac)
		}
	}
	return nil
}

// wellFormed checks what only the VM's start finds wrong in a .vmx file that was written by hand.
func (vm *virtualMachine) wellFormed() *refusal {
	file := vm.file
	wrong := func(key string) *refusal {
		return refuseWith(new(types.GenericVmConfigFault), "Value \"%s\" for variable \"%s\" is not valid.", file.get(key), key)
	}
	if file.get("config.version") != "8" {
		return wrong("config.version")
	}
	if version := file.int("virtualHW.version", 0); version < 4 || version > hardwareVersion {
		return refuseWith(&types.VirtualHardwareVersionNotSupported{
			HostName: vm.h.cfg.Hostname, Host: vm.h.hostSystem,
		}, "The virtual machine's hardware version %s is not supported by this host.", file.get("virtualHW.version"))
	}
	if memory := file.int("memsize", 0); memory < 4 || memory%4 != 0 {
		return wrong("memsize")
	}
	for number := 0; number < scsiBus.buses; number++ {
		key := scsiBus.name(number) + ".virtualDev"
		if scsiBus.present(file, number) && !oneOf(file.get(key), "", "pvscsi", "lsilogic", "lsisas1068", "buslogic") {
			return wrong(key)
		}
	}
	for number := 0; number < maxNICs; number++ {
		name := fmt.Sprintf("ethernet%d", number)
		if file.bool(name+".present") && !oneOf(file.get(name+".virtualDev"), "", "vmxnet3", "e1000", "e1000e", "vlance") {
			return wrong(name + ".virtualDev")
		}
	}
	return nil
}

// reservedMAC tells whether a fixed address lies where VMware generates its own.
func reservedMAC(mac string) bool {
	switch mac[:8] {
	case "00:0c:29", "00:05:69":
		return true
	case "00:50:56":
		third, err := strconv.ParseUint(mac[9:11], 16, 8)
		return err != nil || third > 0x3f
	}
	return false
}

// locationUUID is the place of a .vmx file as an identifier: it tells a copy from its original.
func locationUUID(path string) string {
	sum := sha1.Sum([]byte(resolve(path))) //nolint:gosec // see above
	id, _ := uuid.FromBytes(sum[:16])
	return "564d" + id.String()[4:]
}

// movedOrCopied asks what happened to a VM that is not where it was, unless uuid.action answers beforehand.
func (vm *virtualMachine) movedOrCopied(t *task) *refusal {
	known, here := vmUUID(vm.file.get("uuid.location")), locationUUID(vm.path)
	if known == "" || known == here {
		return nil
	}
	choice := map[string]string{"keep": choiceMoved, "create": choiceCopied}[strings.ToLower(vm.file.get("uuid.action"))]
	if choice == "" {
		choice = vm.ask(t)
	}
	switch choice {
	case choiceMoved:
		return nil
	case choiceCopied:
		vm.file.set("uuid.bios", vmxUUID(newVMUUID()))
		vm.file.set("vc.uuid", vmxUUID(uuid.New().String()))
		for number := 0; number < maxNICs; number++ {
			vm.file.remove(fmt.Sprintf("ethernet%d.generatedAddress", number))
		}
		return nil
	}
	return refuseWith(new(types.RequestCanceled), "The operation was canceled.")
}

// ask blocks the task until somebody answers.
func (vm *virtualMachine) ask(t *task) string {
	vm.h.questions++
	text := "This virtual machine might have been moved or copied. In order to configure certain management and " +
		"networking features, VMware ESX needs to know if this virtual machine was moved or copied. If you don't know, " +
		"answer \"I copied it\"."
	choices := []types.BaseElementDescription{}
	for key, label := range []string{"Cancel", "I Moved It", "I Copied It"} {
		choices = append(choices, &types.ElementDescription{
			Key: strconv.Itoa(key), Description: types.Description{Label: label, Summary: label},
		})
	}
	asked := &question{answer: make(chan string, 1), info: &types.VirtualMachineQuestionInfo{
		Id: strconv.Itoa(vm.h.questions), Text: text,
		Choice:  types.ChoiceOption{ChoiceInfo: choices, DefaultIndex: 2},
		Message: []types.VirtualMachineMessage{{Id: "msg.uuid.altered", Text: text}},
	}}
	vm.question = asked
	vm.show()
	var choice string
	t.unlocked(func() { choice = <-asked.answer })
	vm.question = nil
	vm.show()
	return choice
}

func (vm *virtualMachine) AnswerVM(req *types.AnswerVM) soap.HasFault {
	asked := vm.question
	if asked == nil || asked.info.Id != req.QuestionId {
		return answer(invalid("questionId"))
	}
	switch req.AnswerChoice {
	case choiceCancel, choiceMoved, choiceCopied:
	default:
		return answer(invalid("answerChoice"))
	}
	select {
	case asked.answer <- req.AnswerChoice:
	default: // somebody was quicker
		return answer(invalid("questionId"))
	}
	return &methods.AnswerVMBody{Res: new(types.AnswerVMResponse)}
}

func (vm *virtualMachine) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	self := vm.start(ctx, "powerOff", func(t *task) (types.AnyType, *refusal) {
		if refused := vm.need(poweredOn, suspended); refused != nil {
			refused.fault.(*types.InvalidPowerState).RequestedState = poweredOff
			return nil, refused
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		return nil, vm.guestAction(t, "off", poweredOff)
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) ResetVMTask(ctx *simulator.Context, _ *types.ResetVM_Task) soap.HasFault {
	self := vm.start(ctx, "reset", func(t *task) (types.AnyType, *refusal) {
		if refused := vm.need(poweredOn); refused != nil {
			return nil, refused
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		return nil, vm.guestAction(t, "reset", poweredOn)
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) SuspendVMTask(ctx *simulator.Context, _ *types.SuspendVM_Task) soap.HasFault {
	self := vm.start(ctx, "suspend", func(t *task) (types.AnyType, *refusal) {
		if refused := vm.need(poweredOn); refused != nil {
			return nil, refused
		}
		if vm.h.cfg.Guest != nil {
			return nil, notSimulated("suspending a guest behind a driver")
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		return nil, vm.guestAction(t, "off", suspended)
	})
	return &methods.SuspendVM_TaskBody{Res: &types.SuspendVM_TaskResponse{Returnval: self}}
}

func (vm *virtualMachine) guestAction(t *task, action string, state types.VirtualMachinePowerState) *refusal {
	var err error
	id := vm.uuid()
	t.unlocked(func() { err = vm.h.guests.act(id, action) })
	if err != nil {
		return refuseWith(new(types.GenericVmConfigFault), "%s", err)
	}
	vm.setPower(state)
	if state == poweredOn {
		vm.h.guests.booted(vm)
	}
	return nil
}

// needTools refuses what only a guest with running tools can do.
func (vm *virtualMachine) needTools() *refusal {
	if refused := vm.need(poweredOn); refused != nil {
		return refused
	}
	if !vm.guest.tools {
		return refuse(new(types.ToolsUnavailable))
	}
	return nil
}

func (vm *virtualMachine) ShutdownGuest(*types.ShutdownGuest) soap.HasFault {
	if refused := vm.needTools(); refused != nil {
		return answer(refused)
	}
	vm.h.guests.ask(vm, "shutdown")
	return &methods.ShutdownGuestBody{Res: new(types.ShutdownGuestResponse)}
}

func (vm *virtualMachine) RebootGuest(*types.RebootGuest) soap.HasFault {
	if refused := vm.needTools(); refused != nil {
		return answer(refused)
	}
	vm.h.guests.ask(vm, "reset")
	return &methods.RebootGuestBody{Res: new(types.RebootGuestResponse)}
}

// nicInfo is a network card as the guest driver needs it.
type nicInfo struct {
	Network string `json:"network"`
	MAC     string `json:"mac"`
	number  int
}

// nics are the cards that are connected: one on a port group that does not exist is not.
func (vm *virtualMachine) nics() []nicInfo {
	list := []nicInfo{}
	for number := 0; number < maxNICs; number++ {
		name := fmt.Sprintf("ethernet%d", number)
		network := vm.file.get(name + ".networkName")
		if !vm.file.bool(name+".present") || strings.EqualFold(vm.file.get(name+".startConnected"), "false") ||
			!vm.h.network.hasPortGroup(network) {
			continue
		}
		mac := vm.file.get(name + ".generatedAddress")
		if strings.EqualFold(vm.file.get(name+".addressType"), "static") {
			mac = vm.file.get(name + ".address")
		}
		list = append(list, nicInfo{Network: network, MAC: mac, number: number})
	}
	return list
}

// startsFromSomewhere tells whether there is anything to boot: a disk with content, an ISO image, or the network when
// the boot order names it.
func (vm *virtualMachine) startsFromSomewhere(boot string) bool {
	if boot != "" {
		return true
	}
	for _, at := range places(vm.file) {
		if isCdrom(vm.file, at) && vm.file.get(at.name()+".deviceType") == "cdrom-image" {
			return true
		}
	}
	return len(vm.nics()) > 0 && (strings.Contains(vm.file.get("bios.bootOrder"), "ethernet") ||
		strings.Contains(vm.file.get("bios.bootDeviceClasses"), "net"))
}
