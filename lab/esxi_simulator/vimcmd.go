package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// What vim-cmd prints was compared with published transcripts of hosts (getallvms, get.guest, snapshot.get and
// get_autostartseq of ESXi 6.5 to 8, faults, power operations and the licence report of ESXi 9). Where a comment says
// "not seen on a real host", it is from memory.

// vimCommand is one command of vim-cmd.
type vimCommand struct {
	usage string // its arguments
	least int    // how many must be given
	run   func(t *tool, args []string) int
}

// vimCommands are those that this host knows; vimAbsent those that only a real one has.
var vimCommands map[string]vimCommand

func init() {
	vimCommands = map[string]vimCommand{
		"vmsvc/getallvms":         {"", 0, (*tool).getAllVMs},
		"vmsvc/createdummyvm":     {"vmname datastore-path", 2, (*tool).createDummyVM},
		"vmsvc/reload":            {"vmid", 1, onVM((*tool).reload)},
		"vmsvc/unregister":        {"vmid", 1, onVM((*tool).unregister)},
		"vmsvc/destroy":           {"vmid", 1, onVM((*tool).destroy)},
		"vmsvc/message":           {"vmid [messageId] [messageChoice]", 1, onVM((*tool).message)},
		"vmsvc/power.getstate":    {"vmid", 1, onVM((*tool).powerState)},
		"vmsvc/power.on":          {"vmid", 1, onVM((*tool).powerOn)},
		"vmsvc/power.off":         {"vmid", 1, onVM((*tool).powerOff)},
		"vmsvc/power.reset":       {"vmid", 1, onVM((*tool).powerReset)},
		"vmsvc/power.shutdown":    {"vmid", 1, onVM((*tool).shutdown)},
		"vmsvc/power.reboot":      {"vmid", 1, onVM((*tool).reboot)},
		"vmsvc/get.guest":         {"vmid", 1, onVM((*tool).getGuest)},
		"vmsvc/get.summary":       {"vmid", 1, onVM((*tool).getSummary)},
		"vmsvc/get.config":        {"vmid", 1, onVM((*tool).getConfig)},
		"vmsvc/get.runtime":       {"vmid", 1, onVM((*tool).getRuntime)},
		"vmsvc/get.filelayout":    {"vmid", 1, onVM((*tool).getFileLayout)},
		"vmsvc/get.tasklist":      {"vmid", 1, onVM((*tool).getTaskList)},
		"vmsvc/device.getdevices": {"vmid", 1, onVM((*tool).getDevices)},
		"vmsvc/snapshot.get":      {"vmid", 1, onVM((*tool).getSnapshots)},
		"vmsvc/snapshot.create": {
			"vmid [snapshotName] [description] [includeMemory] [quiesced]", 1, onVM((*tool).createSnapshot),
		},
		"vmsvc/snapshot.remove":    {"vmid snapshotId [removeChildren]", 2, onVM((*tool).removeSnapshot)},
		"vmsvc/snapshot.removeall": {"vmid", 1, onVM((*tool).removeAllSnapshots)},
		"solo/registervm":          {"[cfgpath] [name] [pool]", 1, (*tool).registerVM},
		"vimsvc/license":           {"--show", 1, (*tool).license},
		"vimsvc/task_info":         {"taskid", 1, (*tool).taskInfo},
		"hostsvc/hostsummary":      {"", 0, (*tool).hostSummary},
		"hostsvc/net/info":         {"", 0, (*tool).netInfo},

		"hostsvc/datastore/listsummary": {"", 0, (*tool).datastoreSummaries},
		"hostsvc/datastore/info":        {"datastore-name", 1, (*tool).datastoreInfo},

		"hostsvc/autostartmanager/enable_autostart": {"bool", 1, (*tool).enableAutostart},
		"hostsvc/autostartmanager/get_defaults":     {"", 0, (*tool).autostartDefaults},
		"hostsvc/autostartmanager/update_defaults": {
			"startDelay stopDelay stopAction waitForHeartbeat", 4, (*tool).updateAutostartDefaults,
		},
		"hostsvc/autostartmanager/get_autostartseq": {"", 0, (*tool).autostartSequence},
		"hostsvc/autostartmanager/update_autostartentry": {
			"VmId StartAction StartDelay StartOrder StopAction StopDelay WaitForHeartbeat", 7, (*tool).updateAutostartEntry,
		},
	}
}

const vimAbsent = "hbrsvc internalsvc proxysvc vsandebug vmsvc/acquiremksticket vmsvc/acquireticket vmsvc/connect " +
	"vmsvc/convert.toTemplate vmsvc/convert.toVm vmsvc/deactivateTools vmsvc/device.connection " +
	"vmsvc/device.connusbdev vmsvc/device.ctlradd vmsvc/device.ctlrremove vmsvc/device.disconnusbdev " +
	"vmsvc/device.diskadd vmsvc/device.diskaddexisting vmsvc/device.diskextend vmsvc/device.diskremove " +
	"vmsvc/device.nvdimmadd vmsvc/device.nvdimmremove vmsvc/device.toolsSyncSet vmsvc/device.vmiadd " +
	"vmsvc/device.vmiremove vmsvc/devices.createnic vmsvc/get.capability vmsvc/get.config.cpuidmask " +
	"vmsvc/get.configoption vmsvc/get.datastores vmsvc/get.disabledmethods vmsvc/get.environment " +
	"vmsvc/get.filelayoutex vmsvc/get.guestheartbeatStatus vmsvc/get.managedentitystatus vmsvc/get.networks " +
	"vmsvc/get.snapshot vmsvc/get.snapshotinfo vmsvc/get.spaceNeededForConsolidation vmsvc/gethostconstraints " +
	"vmsvc/login vmsvc/logout vmsvc/power.hibernate vmsvc/power.suspend vmsvc/power.suspendResume " +
	"vmsvc/queryftcompat vmsvc/reconfigure vmsvc/setscreenres vmsvc/snapshot.dumpoption vmsvc/snapshot.revert " +
	"vmsvc/snapshot.setoption vmsvc/tools.cancelinstall vmsvc/tools.install vmsvc/tools.upgrade vmsvc/upgrade " +
	"solo/connecttovcenter solo/environment solo/querycfgopt solo/querycfgoptdesc hostsvc/advopt " +
	"hostsvc/connect hostsvc/cpuinfo hostsvc/datastorebrowser hostsvc/datastore hostsvc/enable_esx_shell " +
	"hostsvc/enable_ssh hostsvc/firmware hostsvc/get_service_status hostsvc/hostconfig hostsvc/hosthardware " +
	"hostsvc/hosthwinfo hostsvc/maintenance_mode_enter hostsvc/maintenance_mode_exit hostsvc/net " +
	"hostsvc/rsrc hostsvc/runtimeinfo hostsvc/start_service hostsvc/stop_service hostsvc/storage hostsvc/summary " +
	"hostsvc/vmotion vimsvc/auth vimsvc/connect vimsvc/disconnect vimsvc/property vimsvc/task_cancel vimsvc/task_list"

// vimCmd finds the command. What it prints goes to stdout, faults as well: clients have to read the text.
func (t *tool) vimCmd() int {
	if len(t.call.Args) == 0 {
		return t.listVimCommands("")
	}
	name, args := strings.Trim(t.call.Args[0], "/"), t.call.Args[1:]
	command, known := vimCommands[name]
	switch {
	case known && len(args) < command.least:
		// not seen on a real host but for its first line
		t.print("Insufficient arguments.\nUsage: %s %s\n", name[strings.LastIndex(name, "/")+1:], command.usage)
		return 1
	case known:
		return command.run(t, args)
	}
	for _, absent := range strings.Fields(vimAbsent) {
		if name == absent || strings.HasPrefix(name, absent+"/") {
			return t.notSimulated("vim-cmd " + name)
		}
	}
	if strings.HasPrefix(name, "-") {
		return t.notSimulated("vim-cmd " + name)
	}
	return t.listVimCommands(name)
}

// listVimCommands prints what stands under a name. not seen on a real host: the words for a wrong name, the exit status.
func (t *tool) listVimCommands(under string) int {
	prefix := ""
	if under != "" {
		prefix = under + "/"
	}
	entries := map[string]bool{}
	for name := range vimCommands {
		if rest := strings.TrimPrefix(name, prefix); strings.HasPrefix(name, prefix) {
			if slash := strings.Index(rest, "/"); slash >= 0 {
				rest = rest[:slash+1]
			}
			entries[rest] = true
		}
	}
	if len(entries) == 0 {
		t.print("Invalid command '%s'.\n", under)
		return 1
	}
	var names []string
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	t.print("Commands available under %s/:\n%s\n", under, strings.Join(names, "\n"))
	return 0
}

// onVM resolves the first argument, a vmid, for a command that is about one VM.
func onVM(run func(t *tool, vm types.ManagedObjectReference, args []string) int) func(*tool, []string) int {
	return func(t *tool, args []string) int {
		vm, found := t.findVM(args[0])
		if !found {
			return t.printFault(&types.NotFound{}, fmt.Sprintf("Unable to find a VM corresponding to \"%s\"", args[0]))
		}
		return run(t, vm, args[1:])
	}
}

func (t *tool) findVM(id string) (types.ManagedObjectReference, bool) {
	var system mo.HostSystem
	if err := t.read(t.h.hostSystem, &system, "vm"); err != nil {
		return types.ManagedObjectReference{}, false
	}
	for _, vm := range system.Vm {
		if vm.Value == id {
			return vm, true
		}
	}
	return types.ManagedObjectReference{}, false
}

// fail prints the fault behind an error. The exit status of a real host is not documented.
func (t *tool) fail(err error) int {
	fault, text := faultOf(err)
	return t.printFault(fault, text)
}

func (t *tool) printFault(fault types.BaseMethodFault, text string) int {
	t.print("%s\n", faultInVmodl(fault, text))
	return 1
}

// show prints a heading and a value, or why there is none.
func (t *tool) show(heading string, value interface{}, err error) int {
	if err != nil {
		return t.fail(err)
	}
	t.print("%s%s\n", heading, vmodlText(value))
	return 0
}
