package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// faultBody is an answer that is only a fault.
type faultBody struct {
	Reason *soap.Fault
}

func (b *faultBody) Fault() *soap.Fault { return b.Reason }

func answer(r *refusal) soap.HasFault { return &faultBody{Reason: r.soap()} }

// call runs one method of one object, for the API and for the shell alike. A panic is this simulator's own mistake: the
// caller gets a fault, the host lives on.
func (h *host) call(ctx *simulator.Context, method *simulator.Method) (res soap.HasFault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		if mistake := recover(); mistake != nil {
			log.Printf("PANIC in %s of %s: %v\n%s", method.Name, method.This, mistake, debug.Stack())
			res = answer(refuseWith(&types.InvalidRequest{}, "the simulator failed in %s: %v", method.Name, mistake))
		}
	}()
	switch method.Name {
	case "Fetch", "RetrieveProperties", "RetrievePropertiesEx":
		h.showDatastores()
	}
	if method.Name == "Fetch" {
		return h.fetch(ctx, method)
	}
	object := ctx.Session.Get(method.This)
	if object == nil {
		return answer(h.absent(method.This))
	}
	// The library's own objects are read; what they would change they change in the library's way, not in a host's.
	if isLibrary(object) && !isRead(method.Name) {
		return answer(notSimulated(method.This.Type + "." + method.Name))
	}
	// The library's habit: Destroy_Task is the Go method DestroyTask.
	name := strings.ToUpper(method.Name[:1]) + method.Name[1:]
	handler := reflect.ValueOf(object).MethodByName(strings.Replace(name, "_Task", "Task", 1))
	if !handler.IsValid() {
		return answer(notSimulated(method.This.Type + "." + method.Name))
	}
	ctx.Caller = &method.This
	arguments := []reflect.Value{reflect.ValueOf(method.Body)}
	if handler.Type().NumIn() == 2 {
		arguments = append([]reflect.Value{reflect.ValueOf(ctx)}, arguments...)
	}
	return handler.Call(arguments)[0].Interface().(soap.HasFault)
}

func isLibrary(object mo.Reference) bool {
	return reflect.TypeOf(object).Elem().PkgPath() == reflect.TypeOf(simulator.Folder{}).PkgPath()
}

// absent refuses an object that is not there: gone, or a part of the host that this simulator lacks.
func (h *host) absent(reference types.ManagedObjectReference) *refusal {
	for _, part := range append(mo.References(h.system.ConfigManager), mo.References(h.content)...) {
		if part == reference {
			return notSimulated(reference.Type)
		}
	}
	return refuse(&types.ManagedObjectNotFound{Obj: reference})
}

// localCaller lets the shell's programs speak the same API in process: they are root on the host itself, so there is no
// login and the edition does not restrict them.
type localCaller struct {
	h       *host
	session *simulator.Session
}

func newLocalCaller(h *host) *localCaller {
	return &localCaller{h: h, session: h.newSession("root")}
}

// RoundTrip implements soap.RoundTripper; the fields Req and Res are the library's convention.
func (c *localCaller) RoundTrip(ctx context.Context, request, response soap.HasFault) error {
	req := reflect.ValueOf(request).Elem().FieldByName("Req")
	method := &simulator.Method{
		Name: req.Elem().Type().Name(),
		This: req.Elem().FieldByName("This").Interface().(types.ManagedObjectReference),
		Body: req.Interface(),
	}
	res := c.h.call(&simulator.Context{Map: simulator.Map, Context: ctx, Session: c.session}, method)
	if fault := res.Fault(); fault != nil {
		return soap.WrapSoapFault(fault)
	}
	result := reflect.ValueOf(res).Elem().FieldByName("Res")
	if !result.IsValid() || result.IsNil() {
		return errors.New("the simulator gave no answer to " + method.Name)
	}
	reflect.ValueOf(response).Elem().FieldByName("Res").Set(result)
	return nil
}

// fetchBody answers Fetch, the method with which pyVmomi reads one property. It is in no published WSDL.
type fetchBody struct {
	Res    *FetchResponse
	Reason *soap.Fault
}

func (b *fetchBody) Fault() *soap.Fault { return b.Reason }

// FetchResponse carries its name into the XML.
type FetchResponse struct {
	Returnval types.AnyType `xml:"returnval,typeattr"`
}

func (h *host) fetch(ctx *simulator.Context, method *simulator.Method) soap.HasFault {
	property := reflect.ValueOf(method.Body).Elem().FieldByName("Prop").String()
	if ctx.Session.Get(method.This) == nil {
		return answer(h.absent(method.This))
	}
	pc := ctx.Session.Get(h.content.PropertyCollector).(*propertyCollector)
	res := pc.read(ctx, &types.RetrievePropertiesEx{
		SpecSet: []types.PropertyFilterSpec{{
			PropSet:   []types.PropertySpec{{Type: method.This.Type, PathSet: []string{property}}},
			ObjectSet: []types.ObjectSpec{{Obj: method.This}},
		}},
	})
	if fault := res.Fault(); fault != nil {
		return answer(refuse(fault.VimFault().(types.BaseMethodFault)))
	}
	body := &fetchBody{Res: new(FetchResponse)}
	for _, object := range res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects {
		for _, missing := range object.MissingSet {
			return answer(&refusal{fault: missing.Fault.Fault, text: fmt.Sprintf("no property %s", property)})
		}
		for _, found := range object.PropSet {
			body.Res.Returnval = found.Val
		}
	}
	return body
}
