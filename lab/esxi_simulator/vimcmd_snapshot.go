package main

import (
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// getSnapshots prints the tree, with the misspelt "Desciption" and the times without leading zeros of ESXi 7.
func (t *tool) getSnapshots(ref types.ManagedObjectReference, _ []string) int {
	vm, err := t.vm(ref, "snapshot")
	if err != nil {
		return t.fail(err)
	}
	t.print("Get Snapshot:\n")
	if vm.Snapshot != nil {
		t.printSnapshots(vm.Snapshot.RootSnapshotList, "", "|-ROOT")
	}
	return 0
}

func (t *tool) printSnapshots(snapshots []types.VirtualMachineSnapshotTree, dashes, mark string) {
	for _, snapshot := range snapshots {
		field := func(name, value string) {
			t.print("%s\n", strings.TrimRight(dashes+"--Snapshot "+name+": "+value, " "))
		}
		t.print("%s%s\n", dashes, mark)
		field("Name        ", snapshot.Name)
		field("Id        ", strconv.Itoa(int(snapshot.Id)))
		field("Desciption  ", snapshot.Description)
		field("Created On  ", snapshot.CreateTime.UTC().Format("1/2/2006 ")+clock(snapshot))
		field("State       ", strings.ToLower(powerText(snapshot.State)))
		t.printSnapshots(snapshot.ChildSnapshotList, dashes+"--", "|-CHILD")
	}
}

func clock(snapshot types.VirtualMachineSnapshotTree) string {
	when := snapshot.CreateTime.UTC()
	return strconv.Itoa(when.Hour()) + ":" + strconv.Itoa(when.Minute()) + ":" + strconv.Itoa(when.Second())
}

func (t *tool) createSnapshot(vm types.ManagedObjectReference, args []string) int {
	t.print("Create Snapshot:\n")
	args = append(args, make([]string, 4)...) // what is not given is empty
	quiesce := isTrue(args[3])
	res, err := methods.CreateSnapshot_Task(t.context(), t.h.rt, &types.CreateSnapshot_Task{
		This: vm, Name: args[0], Description: args[1], Memory: isTrue(args[2]), Quiesce: quiesce,
	})
	if err == nil {
		_, err = t.wait(res.Returnval)
	}
	return t.powerFailed("Create snapshot failed", err)
}

func isTrue(word string) bool { return word == "1" || strings.EqualFold(word, "true") }

// removeSnapshot takes the number that snapshot.get shows.
func (t *tool) removeSnapshot(ref types.ManagedObjectReference, args []string) int {
	t.print("Remove Snapshot:\n")
	vm, err := t.vm(ref, "snapshot")
	if err != nil {
		return t.powerFailed("Remove snapshot failed", err)
	}
	var found *types.ManagedObjectReference
	if vm.Snapshot != nil {
		found = snapshotByID(vm.Snapshot.RootSnapshotList, args[0])
	}
	if found == nil {
		return t.powerFailed("Remove snapshot failed", notFound())
	}
	res, err := methods.RemoveSnapshot_Task(t.context(), t.h.rt, &types.RemoveSnapshot_Task{
		This: *found, RemoveChildren: len(args) > 1 && isTrue(args[1]),
	})
	if err == nil {
		_, err = t.wait(res.Returnval)
	}
	return t.powerFailed("Remove snapshot failed", err)
}

func snapshotByID(snapshots []types.VirtualMachineSnapshotTree, id string) *types.ManagedObjectReference {
	for i, snapshot := range snapshots {
		if strconv.Itoa(int(snapshot.Id)) == id {
			return &snapshots[i].Snapshot
		}
		if found := snapshotByID(snapshot.ChildSnapshotList, id); found != nil {
			return found
		}
	}
	return nil
}

func (t *tool) removeAllSnapshots(vm types.ManagedObjectReference, _ []string) int {
	t.print("Remove All Snapshots:\n")
	res, err := methods.RemoveAllSnapshots_Task(t.context(), t.h.rt, &types.RemoveAllSnapshots_Task{This: vm})
	if err == nil {
		_, err = t.wait(res.Returnval)
	}
	return t.powerFailed("Remove all snapshots failed", err)
}
