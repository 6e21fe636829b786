package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// commandFault is what a shell command answers instead of its own answer, once.
type commandFault struct {
	When   string // "start": nothing is done; "middle": half of it is
	Output string
	Code   int
}

// methodFault is what an API call answers instead of its own answer.
type methodFault struct {
	drop  bool // close the connection, say nothing; in the "middle" the work is done all the same
	when  string
	fault types.BaseMethodFault
	text  string
}

// faultOrder is a fault that a test asked for.
type faultOrder struct {
	Method  string `json:"method"`
	Fault   string `json:"fault"`
	Message string `json:"message"`
	Command string `json:"command"`
	Output  string `json:"output"`
	Code    int    `json:"code"`
	When    string `json:"when"`
	Times   int    `json:"times"`
}

// control is the tests' back door: it counts what was asked and answers with the faults that were ordered.
type control struct {
	mu     sync.Mutex
	api    []string
	ssh    []string
	orders []*faultOrder
}

// method records an API call and returns the fault ordered for it, or nil.
func (c *control) method(name string) *methodFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.api = append(c.api, name)
	order := c.take(func(o *faultOrder) bool { return o.Method == name || o.Method == "*" })
	if order == nil {
		return nil
	}
	if order.Fault == "drop" {
		return &methodFault{drop: true, when: order.When}
	}
	fault := newFault(order.Fault)
	text := order.Message
	if text == "" {
		text = faultText(fault)
	}
	return &methodFault{when: order.When, fault: fault, text: text}
}

// command records a shell's command line and returns the fault ordered for it, or nil.
func (c *control) command(line string) *commandFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ssh = append(c.ssh, line)
	order := c.take(func(o *faultOrder) bool { return o.Command != "" && strings.HasPrefix(line, o.Command) })
	if order == nil {
		return nil
	}
	return &commandFault{When: order.When, Output: order.Output, Code: order.Code}
}

// take uses up one of the first order that matches.
func (c *control) take(matches func(*faultOrder) bool) *faultOrder {
	for i, order := range c.orders {
		if !matches(order) {
			continue
		}
		if order.Times--; order.Times == 0 {
			c.orders = append(c.orders[:i:i], c.orders[i+1:]...)
		}
		return order
	}
	return nil
}

func (c *control) order(o faultOrder) error {
	switch {
	case (o.Method == "") == (o.Command == ""):
		return fmt.Errorf("a fault is for a method or for a command")
	case o.When != "start" && o.When != "middle":
		return fmt.Errorf("when is %q, not start or middle", o.When)
	case o.Method != "" && o.When == "middle" && o.Fault != "drop" && !hasMiddle(o.Method):
		return fmt.Errorf("%s has no middle: it is done at once", o.Method)
	case o.Method != "" && o.Fault != "drop" && newFault(o.Fault) == nil:
		return fmt.Errorf("%q is no fault of vim25", o.Fault)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders = append(c.orders, &o)
	return nil
}

// hasMiddle tells whether a call goes on after its answer, or takes time before it.
func hasMiddle(method string) bool {
	return method == "*" || method == "ImportVApp" || strings.HasSuffix(method, "_Task") || strings.Contains(method, " /")
}

// newFault makes a fault by its name in vim25, nil when there is none.
func newFault(name string) types.BaseMethodFault {
	kind, exists := types.TypeFunc()(name)
	if !exists {
		return nil
	}
	fault, _ := reflect.New(kind).Interface().(types.BaseMethodFault)
	return fault
}

// handler is the plain HTTP service of the control port.
func (c *control) handler(h *host) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string][]string{
			"api": append([]string{}, c.api...), "ssh": append([]string{}, c.ssh...),
		})
	})
	mux.HandleFunc("/counts/reset", func(http.ResponseWriter, *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.api, c.ssh = nil, nil
	})
	mux.HandleFunc("/faults", func(w http.ResponseWriter, r *http.Request) {
		order := faultOrder{When: "start", Times: 1}
		err := json.NewDecoder(r.Body).Decode(&order)
		if err == nil {
			err = c.order(order)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/sessions/expire", func(http.ResponseWriter, *http.Request) { h.expireSessions() })
	mux.HandleFunc("/datastores/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/datastores/"), "/capacity")
		var wanted struct {
			GiB float64 `json:"gib"`
		}
		if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !h.resizeDatastore(name, int64(wanted.GiB*(1<<30))) {
			http.NotFound(w, r)
		}
	})
	return mux
}
