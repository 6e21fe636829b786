package main

import (
	"fmt"
	"log"
	"runtime/debug"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// recentTasks is how many tasks an object lists as its latest.
const recentTasks = 5

// keptTasks is how many finished tasks can still be read.
const keptTasks = 200

// progressSteps is in how many steps a task's time passes.
const progressSteps = 5

// middleFault is the context's key of a fault that was ordered for the middle of a task.
type middleFault struct{}

type task struct {
	mo.Task
	h       *host
	ordered *methodFault
	elapsed bool
}

type taskManager struct {
	mo.TaskManager
	count int
}

// work is what a task does, with the host's lock held. It calls elapse once, where its time should pass.
type work func(t *task) (types.AnyType, *refusal)

// start makes a task and lets it run; what it is called follows the API: "VirtualMachine.powerOn".
func (h *host) start(
	ctx *simulator.Context, entity types.ManagedObjectReference, entityName, id string, do work,
) types.ManagedObjectReference {
	h.tasks.count++
	t := &task{h: h}
	t.ordered, _ = ctx.Value(middleFault{}).(*methodFault)
	t.Self = types.ManagedObjectReference{
		Type: "Task", Value: fmt.Sprintf("haTask-%s-vim.%s-%d", entity.Value, id, h.tasks.count),
	}
	t.Info = types.TaskInfo{
		Key: t.Self.Value, Task: t.Self, DescriptionId: id, Entity: &entity, EntityName: entityName,
		State: types.TaskInfoStateQueued, QueueTime: time.Now(),
		Reason: &types.TaskReasonUser{UserName: ctx.Session.UserName},
	}
	h.put(t)
	recent := append([]types.ManagedObjectReference{}, h.tasks.RecentTask...)
	recent = append(recent, t.Self)
	if len(recent) > keptTasks {
		h.registry.Remove(recent[0])
		recent = recent[1:]
	}
	h.tasks.RecentTask = recent
	if vm, isVM := h.registry.Get(entity).(*virtualMachine); isVM {
		recent := append([]types.ManagedObjectReference{}, vm.RecentTask...)
		if recent = append(recent, t.Self); len(recent) > recentTasks {
			recent = recent[1:]
		}
		vm.RecentTask = recent
	}
	go t.run(do)
	return t.Self
}

func (t *task) run(do work) {
	time.Sleep(t.h.cfg.taskTime() / (2 * progressSteps))
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	now := time.Now()
	t.Info.StartTime, t.Info.State = &now, types.TaskInfoStateRunning
	result, refused := t.guarded(do)
	if !t.elapsed {
		if late := t.elapse(); refused == nil {
			refused = late
		}
	}
	done := time.Now()
	t.Info.CompleteTime, t.Info.Progress = &done, 0
	if refused != nil {
		t.Info.State, t.Info.Error = types.TaskInfoStateError, refused.localized()
		return
	}
	t.Info.State, t.Info.Result = types.TaskInfoStateSuccess, result
}

// guarded turns a mistake of this simulator into the task's error.
func (t *task) guarded(do work) (result types.AnyType, refused *refusal) {
	defer func() {
		if mistake := recover(); mistake != nil {
			log.Printf("PANIC in %s: %v\n%s", t.Info.DescriptionId, mistake, debug.Stack())
			refused = refuseWith(&types.InvalidRequest{}, "the simulator failed: %v", mistake)
		}
	}()
	return do(t)
}

// elapse lets the task's time pass, with progress; half way through comes the fault that a test ordered.
func (t *task) elapse() (refused *refusal) {
	t.elapsed = true
	t.unlocked(func() {
		for step := 1; step < progressSteps; step++ {
			time.Sleep(t.h.cfg.taskTime() / progressSteps)
			t.progress(100 * step / progressSteps)
			if t.ordered != nil && step >= progressSteps/2 {
				refused = &refusal{fault: t.ordered.fault, text: t.ordered.text}
				return
			}
		}
	})
	return refused
}

// unlocked runs what takes long without the host's lock.
func (t *task) unlocked(long func()) {
	t.h.mu.Unlock()
	defer t.h.mu.Lock()
	long()
}

// progress is called without the host's lock.
func (t *task) progress(percent int) {
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	t.Info.Progress = int32(percent)
}
