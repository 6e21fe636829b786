package main

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// updatePeriod is how often a waiting collector looks for changes.
const updatePeriod = 10 * time.Millisecond

// pageSize is how many objects one answer holds.
const pageSize = 100

// propertyCollector reads with the library's code but watches with its own: it compares what a filter selects now with
// what its client was told last, so nothing has to announce its changes.
type propertyCollector struct {
	simulator.PropertyCollector
	h       *host
	filters []*propertyFilter
	version int
	gone    bool
	cancel  bool
	pages   map[string][]types.ObjectContent // what is left of an answer, by its token
}

type propertyFilter struct {
	mo.PropertyFilter
	collector *propertyCollector
	told      map[types.ManagedObjectReference]map[string]string
}

func newPropertyCollector(h *host, self types.ManagedObjectReference) *propertyCollector {
	pc := &propertyCollector{h: h, pages: map[string][]types.ObjectContent{}}
	pc.Self = self
	return pc
}

func sessionReference(kind string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: uuid.New().String()}
}

// read answers in one piece.
func (pc *propertyCollector) read(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	return pc.PropertyCollector.RetrievePropertiesEx(ctx, req)
}

// RetrievePropertiesEx answers in pages, as the host does even when nobody asks for it.
func (pc *propertyCollector) RetrievePropertiesEx(
	ctx *simulator.Context, req *types.RetrievePropertiesEx,
) soap.HasFault {
	for _, spec := range req.SpecSet {
		for _, object := range spec.ObjectSet {
			if ctx.Session.Get(object.Obj) == nil && (spec.ReportMissingObjectsInResults == nil ||
				!*spec.ReportMissingObjectsInResults) {
				return answer(pc.h.absent(object.Obj))
			}
		}
	}
	res := pc.read(ctx, req)
	if res.Fault() != nil {
		return res
	}
	size := int(req.Options.MaxObjects)
	if size <= 0 || size > pageSize {
		size = pageSize
	}
	result := pc.page(res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects, size)
	if len(result.Objects) == 0 {
		result = nil
	}
	return &methods.RetrievePropertiesExBody{Res: &types.RetrievePropertiesExResponse{Returnval: result}}
}

func (pc *propertyCollector) page(objects []types.ObjectContent, size int) *types.RetrieveResult {
	if len(objects) <= size {
		return &types.RetrieveResult{Objects: objects}
	}
	token := uuid.New().String()
	pc.pages[token] = objects[size:]
	return &types.RetrieveResult{Objects: objects[:size], Token: token}
}

func (pc *propertyCollector) ContinueRetrievePropertiesEx(req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	rest, known := pc.pages[req.Token]
	if !known {
		return answer(refuse(&types.InvalidProperty{Name: "token"}))
	}
	delete(pc.pages, req.Token)
	return &methods.ContinueRetrievePropertiesExBody{
		Res: &types.ContinueRetrievePropertiesExResponse{Returnval: *pc.page(rest, pageSize)},
	}
}

func (pc *propertyCollector) CancelRetrievePropertiesEx(req *types.CancelRetrievePropertiesEx) soap.HasFault {
	delete(pc.pages, req.Token)
	return &methods.CancelRetrievePropertiesExBody{Res: new(types.CancelRetrievePropertiesExResponse)}
}

func (pc *propertyCollector) CreatePropertyCollector(
	ctx *simulator.Context, _ *types.CreatePropertyCollector,
) soap.HasFault {
	child := newPropertyCollector(pc.h, sessionReference("PropertyCollector"))
	ctx.Session.Put(child)
	return &methods.CreatePropertyCollectorBody{Res: &types.CreatePropertyCollectorResponse{Returnval: child.Self}}
}

func (pc *propertyCollector) DestroyPropertyCollector(
	ctx *simulator.Context, _ *types.DestroyPropertyCollector,
) soap.HasFault {
	pc.gone = true
	for _, filter := range pc.filters {
		ctx.Session.Remove(filter.Self)
	}
	ctx.Session.Remove(pc.Self)
	return &methods.DestroyPropertyCollectorBody{Res: new(types.DestroyPropertyCollectorResponse)}
}

func (pc *propertyCollector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	filter := &propertyFilter{collector: pc, told: map[types.ManagedObjectReference]map[string]string{}}
	filter.Self = sessionReference("PropertyFilter")
	filter.Spec, filter.PartialUpdates = req.Spec, req.PartialUpdates
	if _, refused := pc.selected(ctx, filter); refused != nil {
		return answer(refused)
	}
	pc.filters = append(pc.filters, filter)
	pc.Filter = append(pc.Filter, filter.Self)
	ctx.Session.Put(filter)
	return &methods.CreateFilterBody{Res: &types.CreateFilterResponse{Returnval: filter.Self}}
}

// DestroyPropertyFilter ends a filter.
func (f *propertyFilter) DestroyPropertyFilter(
	ctx *simulator.Context, _ *types.DestroyPropertyFilter,
) soap.HasFault {
	pc := f.collector
	for i, filter := range pc.filters {
		if filter == f {
			pc.filters = append(pc.filters[:i:i], pc.filters[i+1:]...)
			break
		}
	}
	simulator.RemoveReference(&pc.Filter, f.Self)
	ctx.Session.Remove(f.Self)
	return &methods.DestroyPropertyFilterBody{Res: new(types.DestroyPropertyFilterResponse)}
}

func (pc *propertyCollector) CancelWaitForUpdates(*types.CancelWaitForUpdates) soap.HasFault {
	pc.cancel = true
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// WaitForUpdatesEx returns when something changed; the host's lock is given up while it waits.
func (pc *propertyCollector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	forever := time.Duration(1<<63 - 1)
	wait := forever
	if req.Options != nil && req.Options.MaxWaitSeconds != nil {
		wait = time.Duration(*req.Options.MaxWaitSeconds) * time.Second
	}
	set, refused := pc.wait(ctx, req.Version, wait)
	if refused != nil {
		return answer(refused)
	}
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

func (pc *propertyCollector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	set, refused := pc.wait(ctx, req.Version, time.Duration(1<<63-1))
	if refused != nil {
		return answer(refused)
	}
	return &methods.WaitForUpdatesBody{Res: &types.WaitForUpdatesResponse{Returnval: *set}}
}

func (pc *propertyCollector) CheckForUpdates(ctx *simulator.Context, req *types.CheckForUpdates) soap.HasFault {
	set, refused := pc.wait(ctx, req.Version, 0)
	if refused != nil {
		return answer(refused)
	}
	return &methods.CheckForUpdatesBody{Res: &types.CheckForUpdatesResponse{Returnval: set}}
}

func (pc *propertyCollector) wait(
	ctx *simulator.Context, version string, longest time.Duration,
) (*types.UpdateSet, *refusal) {
	if version == "" {
		for _, filter := range pc.filters {
			filter.told = map[types.ManagedObjectReference]map[string]string{}
		}
	}
	pc.cancel = false
	for started := time.Now(); ; {
		updates, refused := pc.updates(ctx)
		if refused != nil {
			return nil, refused
		}
		if len(updates) > 0 || version == "" {
			pc.version++
			return &types.UpdateSet{Version: fmt.Sprint(pc.version), FilterSet: updates}, nil
		}
		if time.Since(started) >= longest {
			return nil, nil
		}
		pc.h.mu.Unlock()
		time.Sleep(updatePeriod)
		pc.h.mu.Lock()
		if pc.cancel || pc.gone || ctx.Err() != nil {
			return nil, refuse(new(types.RequestCanceled))
		}
	}
}

func (pc *propertyCollector) updates(ctx *simulator.Context) ([]types.PropertyFilterUpdate, *refusal) {
	var updates []types.PropertyFilterUpdate
	for _, filter := range pc.filters {
		objects, refused := pc.selected(ctx, filter)
		if refused != nil {
			return nil, refused
		}
		update := types.PropertyFilterUpdate{Filter: filter.Self, ObjectSet: filter.changes(objects)}
		if len(update.ObjectSet) > 0 {
			updates = append(updates, update)
		}
	}
	return updates, nil
}

func (pc *propertyCollector) selected(
	ctx *simulator.Context, filter *propertyFilter,
) ([]types.ObjectContent, *refusal) {
	spec := filter.Spec
	// An object that went away is news for its watcher, not an error.
	spec.ReportMissingObjectsInResults = types.NewBool(len(filter.told) > 0)
	res := pc.read(ctx, &types.RetrievePropertiesEx{SpecSet: []types.PropertyFilterSpec{spec}})
	if fault := res.Fault(); fault != nil {
		return nil, &refusal{fault: fault.VimFault().(types.BaseMethodFault), text: fault.String}
	}
	return res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects, nil
}

// changes are the differences to what was told, which is brought up to date.
func (f *propertyFilter) changes(objects []types.ObjectContent) []types.ObjectUpdate {
	var updates []types.ObjectUpdate
	present := map[types.ManagedObjectReference]bool{}
	for _, object := range objects {
		present[object.Obj] = true
		told, known := f.told[object.Obj]
		update := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: object.Obj}
		if !known {
			update.Kind = types.ObjectUpdateKindEnter
			told = map[string]string{}
			f.told[object.Obj] = told
		}
		set := map[string]bool{}
		for _, property := range object.PropSet {
			set[property.Name] = true
			text := valueText(property.Val)
			if last, known := told[property.Name]; known && last == text {
				continue
			}
			told[property.Name] = text
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{
				Name: property.Name, Op: types.PropertyChangeOpAssign, Val: property.Val,
			})
		}
		for name := range told {
			if !set[name] {
				delete(told, name)
				update.ChangeSet = append(update.ChangeSet, types.PropertyChange{
					Name: name, Op: types.PropertyChangeOpAssign,
				})
			}
		}
		if !known || len(update.ChangeSet) > 0 {
			updates = append(updates, update)
		}
	}
	for reference := range f.told {
		if !present[reference] {
			delete(f.told, reference)
			updates = append(updates, types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: reference})
		}
	}
	return updates
}

// valueText is a value in a form that can be compared.
func valueText(value types.AnyType) string {
	text, err := xml.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%T %+v", value, value)
	}
	return fmt.Sprintf("%T %s", value, text)
}
