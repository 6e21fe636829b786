package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	vimxml "github.com/vmware/govmomi/vim25/xml"
)

const vimNamespace = "urn:vim25"

// maxRequest bounds a SOAP request; guestinfo can be large.
const maxRequest = 64 << 20

// serveSDK is the door of the API: sessions, edition and ordered faults are decided here, before an object is called.
func (h *host) serveSDK(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return // the client is gone
	}
	method, err := simulator.UnmarshalBody(vimType, body)
	if err != nil {
		log.Printf("unreadable request: %s", err)
		writeSOAP(w, answer(refuseWith(&types.InvalidRequest{}, "%s", err)))
		return
	}
	switch method.Name {
	case "ReconfigVM_Task", "ReconfigureAutostart":
		r = r.WithContext(context.WithValue(r.Context(), givenElements{}, elementsOf(body)))
	}
	ordered := h.control.method(method.Name)
	switch {
	case ordered == nil:
		writeSOAP(w, h.serveMethod(w, r, method, nil))
	case ordered.drop && ordered.when == "middle":
		h.serveMethod(w, r, method, nil)
		panic(http.ErrAbortHandler)
	case ordered.drop:
		panic(http.ErrAbortHandler)
	case ordered.when == "start":
		writeSOAP(w, answer(&refusal{fault: ordered.fault, text: ordered.text}))
	default:
		writeSOAP(w, h.serveMethod(w, r, method, ordered))
	}
}

func (h *host) serveMethod(
	w http.ResponseWriter, r *http.Request, method *simulator.Method, ordered *methodFault,
) soap.HasFault {
	session := h.sessions.find(r)
	switch {
	case method.Name == "Login":
		return h.login(w, session, method.Body.(*types.Login))
	case session == nil && !readableByAnyone(method):
		return answer(refuse(&types.NotAuthenticated{
			NoPermission: types.NoPermission{Object: method.This, PrivilegeId: "System.View"},
		}))
	case session == nil:
		session = h.newSession("")
	case method.Name == "Logout":
		h.sessions.forget(session)
		return &methods.LogoutBody{Res: new(types.LogoutResponse)}
	case h.cfg.Edition == editionFree && !isRead(method.Name):
		return answer(refuse(new(types.RestrictedVersion)))
	}
	// A fault in the middle of a task travels with the call to the task that it starts.
	ctx := context.WithValue(r.Context(), middleFault{}, ordered)
	return h.call(&simulator.Context{Map: simulator.Map, Context: ctx, Session: session}, method)
}

// readableByAnyone is what a client may ask before it logs in.
func readableByAnyone(method *simulator.Method) bool {
	return method.Name == "RetrieveServiceContent" ||
		(method.Name == "Fetch" && method.This.Type == "ServiceInstance") ||
		(method.Name == "CurrentTime")
}

// vimType finds the type of an element, with or without a namespace's prefix.
func vimType(name string) (reflect.Type, bool) {
	if kind, exists := types.TypeFunc()(name); exists {
		return kind, exists
	}
	if i := bytes.IndexByte([]byte(name), ':'); i >= 0 {
		return types.TypeFunc()(name[i+1:])
	}
	return nil, false
}

// envelope, faultEnvelope and response write SOAP with the prefixes that vim25's clients expect: Go's encoder does not
// put the prefixes in by itself.
type envelope struct {
	XMLName vimxml.Name `xml:"soapenv:Envelope"`
	Enc     string      `xml:"xmlns:soapenc,attr"`
	Env     string      `xml:"xmlns:soapenv,attr"`
	XSD     string      `xml:"xmlns:xsd,attr"`
	XSI     string      `xml:"xmlns:xsi,attr"`
	Body    struct {
		Content interface{}
	} `xml:"soapenv:Body"`
}

type faultAnswer struct {
	XMLName vimxml.Name `xml:"soapenv:Fault"`
	Code    string      `xml:"faultcode"`
	String  string      `xml:"faultstring"`
	Detail  struct {
		Fault faultDetail
	} `xml:"detail"`
}

type faultDetail struct {
	fault types.AnyType
}

func (d faultDetail) MarshalXML(e *vimxml.Encoder, start vimxml.StartElement) error {
	kind := reflect.TypeOf(d.fault).Elem().Name()
	start.Name.Local = kind + "Fault"
	start.Attr = append(start.Attr,
		vimxml.Attr{Name: vimxml.Name{Local: "xmlns"}, Value: vimNamespace},
		vimxml.Attr{Name: vimxml.Name{Local: "xsi:type"}, Value: kind})
	return e.EncodeElement(d.fault, start)
}

type methodAnswer struct {
	result interface{}
}

func (a methodAnswer) MarshalXML(e *vimxml.Encoder, _ vimxml.StartElement) error {
	name := reflect.TypeOf(a.result).Elem().Name()
	return e.EncodeElement(a.result, vimxml.StartElement{Name: vimxml.Name{Space: vimNamespace, Local: name}})
}

func writeSOAP(w http.ResponseWriter, res soap.HasFault) {
	status := http.StatusOK
	out := envelope{
		Enc: "http://schemas.xmlsoap.org/soap/encoding/",
		Env: "http://schemas.xmlsoap.org/soap/envelope/",
		XSD: "http://www.w3.org/2001/XMLSchema",
		XSI: "http://www.w3.org/2001/XMLSchema-instance",
	}
	if fault := res.Fault(); fault != nil {
		status = http.StatusInternalServerError
		content := faultAnswer{Code: fault.Code, String: fault.String}
		content.Detail.Fault.fault = fault.Detail.Fault
		out.Body.Content = content
	} else {
		out.Body.Content = methodAnswer{reflect.ValueOf(res).Elem().FieldByName("Res").Interface()}
	}
	var text bytes.Buffer
	text.WriteString(xml.Header)
	if err := vimxml.NewEncoder(&text).Encode(out); err != nil {
		log.Printf("cannot encode %T: %s", res, err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes())
}

// serveVersions tells clients which versions of the API they may speak.
func (h *host) serveVersions(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(w, `%s<namespaces version="1.0"><namespace><name>%s</name><version>%s</version><priorVersions>`+
		`<version>7.0.2.0</version><version>7.0.1.0</version><version>7.0.0.0</version><version>6.7.3</version>`+
		`<version>6.7</version><version>6.5</version><version>6.0</version></priorVersions></namespace></namespaces>`,
		xml.Header, vimNamespace, h.content.About.ApiVersion)
}
