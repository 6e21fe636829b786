package main

import (
	"errors"
	"fmt"
	"log"
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// refusal is a fault with the text that stands beside it, if that is not the fault's usual one.
type refusal struct {
	fault types.BaseMethodFault
	text  string
}

func refuse(fault types.BaseMethodFault) *refusal { return &refusal{fault: fault} }

func refuseWith(fault types.BaseMethodFault, text string, args ...interface{}) *refusal {
	return &refusal{fault: fault, text: fmt.Sprintf(text, args...)}
}

func (r *refusal) message() string {
	if r.text != "" {
		return r.text
	}
	return faultText(r.fault)
}

// soap is the refusal as the answer to a call.
func (r *refusal) soap() *soap.Fault { return simulator.Fault(r.message(), r.fault) }

// localized is the refusal as the error of a task.
func (r *refusal) localized() *types.LocalizedMethodFault {
	return &types.LocalizedMethodFault{Fault: r.fault, LocalizedMessage: r.message()}
}

// invalid refuses an argument by its name in the API.
func invalid(property string) *refusal {
	return refuse(&types.InvalidArgument{InvalidProperty: property})
}

// notSimulated is how this host refuses what a real one would do: loudly, in the answer and in the log.
func notSimulated(name string) *refusal {
	log.Printf("not simulated: %s", name)
	return refuseWith(&types.NotSupported{}, "not simulated: %s", name)
}

// diskRefusal turns an error of the disk layer into the fault of the API.
func diskRefusal(err error, file string) *refusal {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoSpace):
		name := ""
		if d := datastoreOf(file); d != nil {
			name = d.name
		}
		return refuse(&types.NoDiskSpace{FileFault: types.FileFault{File: displayPath(file)}, Datastore: name})
	case errors.Is(err, errExists):
		return refuse(&types.FileAlreadyExists{FileFault: types.FileFault{File: displayPath(file)}})
	case errors.Is(err, errNoDisk):
		return refuse(&types.FileNotFound{FileFault: types.FileFault{File: displayPath(file)}})
	case errors.Is(err, errShrink):
		return invalid("capacity")
	}
	return refuseWith(&types.FileFault{File: displayPath(file)}, "%s", err)
}

// displayPath is a file as the API names it.
func displayPath(file string) string {
	if d := datastoreOf(file); d != nil {
		return d.datastorePath(file)
	}
	return file
}

// faultText is the English text that the host puts beside a fault.
func faultText(fault types.BaseMethodFault) string {
	switch f := fault.(type) {
	case *types.RestrictedVersion:
		return "Current license or ESXi version prohibits execution of the requested operation."
	case *types.NotAuthenticated:
		return "The session is not authenticated."
	case *types.InvalidLogin:
		return "Cannot complete login due to an incorrect user name or password."
	case *types.InvalidPowerState:
		return fmt.Sprintf("The attempted operation cannot be performed in the current state (%s).",
			powerText(f.ExistingState))
	case *types.InvalidState:
		return "The operation is not allowed in the current state."
	case *types.ToolsUnavailable:
		return "Cannot complete operation because VMware Tools is not running in this virtual machine."
	case *types.TaskInProgress:
		return "The operation cannot be allowed at the current time because the virtual machine has a task in progress."
	case *types.InvalidArgument:
		return "A specified parameter was not correct: " + f.InvalidProperty
	case *types.InvalidDeviceSpec:
		return fmt.Sprintf("Invalid configuration for device '%d'.", f.DeviceIndex)
	case *types.InvalidDeviceBacking:
		return fmt.Sprintf("Incompatible device backing specified for device '%d'.", f.DeviceIndex)
	case *types.DuplicateName:
		return fmt.Sprintf("The name '%s' already exists.", f.Name)
	case *types.AlreadyExists:
		return fmt.Sprintf("The specified key, name, or identifier '%s' already exists.", f.Name)
	case *types.NotFound:
		return "The object or item referred to could not be found."
	case *types.ResourceInUse:
		return fmt.Sprintf("The resource '%s' is in use.", f.Name)
	case *types.FileAlreadyExists:
		return fmt.Sprintf("Cannot complete the operation because the file or folder %s already exists", f.File)
	case *types.FileNotFound:
		return fmt.Sprintf("File %s was not found", f.File)
	case *types.FileLocked:
		return fmt.Sprintf("Unable to access file %s since it is locked", f.File)
	case *types.CannotDeleteFile:
		return fmt.Sprintf("Cannot delete file %s", f.File)
	case *types.NoDiskSpace:
		return fmt.Sprintf("Insufficient disk space on datastore '%s'.", f.Datastore)
	case *types.InsufficientMemoryResourcesFault:
		return "The host does not have sufficient memory resources to satisfy the reservation."
	case *types.InvalidDatastorePath:
		return fmt.Sprintf("Invalid datastore path '%s'.", f.DatastorePath)
	case *types.InvalidDatastore:
		return fmt.Sprintf("Invalid datastore '%s'.", f.Name)
	case *types.ManagedObjectNotFound:
		return fmt.Sprintf("The object '%s:%s' has already been deleted or has not been completely created",
			"vim."+f.Obj.Type, f.Obj.Value)
	case *types.ConcurrentAccess:
		return "The operation could not be completed due to a conflict with another operation."
	case *types.Timedout:
		return "Operation timed out."
	}
	return "fault." + faultName(fault) + ".summary"
}

func faultName(fault types.BaseMethodFault) string { return reflect.TypeOf(fault).Elem().Name() }

func powerText(state types.VirtualMachinePowerState) string {
	switch state {
	case types.VirtualMachinePowerStatePoweredOn:
		return "Powered on"
	case types.VirtualMachinePowerStateSuspended:
		return "Suspended"
	}
	return "Powered off"
}

func sameType(a, b interface{}) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }
