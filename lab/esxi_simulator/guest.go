package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// guests are what runs inside the VMs. on, act and delete are called without the host's lock, ask and booted with it.
type guests interface {
	on(vm *virtualMachine, order guestOrder) error
	act(uuid, action string) error       // "off" or "reset"
	ask(vm *virtualMachine, wish string) // "shutdown" or "reset", by the tools in the guest
	booted(vm *virtualMachine)
	delete(uuid string) error
}

// guestOrder is what a driver is told of the VM that it shall run.
type guestOrder struct {
	uuid      string
	Name      string            `json:"name"`
	CPUs      int               `json:"cpus"`
	MemoryMiB int               `json:"memory_mib"`
	Boot      string            `json:"boot"`
	Disks     []guestDisk       `json:"disks"`
	NICs      []nicInfo         `json:"nics"`
	GuestInfo map[string]string `json:"guestinfo"`
}

type guestDisk struct {
	File          string `json:"file"`
	CapacityBytes int64  `json:"capacity_bytes"`
}

func (vm *virtualMachine) guestOrder() guestOrder {
	order := guestOrder{
		uuid: vm.uuid(), Name: vm.Name, CPUs: vm.file.int("numvcpus", 1), MemoryMiB: vm.file.int("memsize", 32),
		Disks: []guestDisk{}, NICs: vm.nics(),
		GuestInfo: map[string]string{"metadata": vm.guestInfoText("metadata"), "userdata": vm.guestInfoText("userdata")},
	}
	for number, path := range vm.disks() {
		info, err := readDisk(path)
		if err != nil {
			continue
		}
		order.Disks = append(order.Disks, guestDisk{File: displayPath(path), CapacityBytes: info.Bytes})
		if number == 0 {
			order.Boot = firstLine(path)
		}
	}
	return order
}

// guestInfoText is a value of cloud-init's VMware data source, decoded as that does.
func (vm *virtualMachine) guestInfoText(name string) string {
	text := vm.file.get("guestinfo." + name)
	encoding := strings.ToLower(vm.file.get("guestinfo." + name + ".encoding"))
	if encoding == "" {
		return text
	}
	content, err := base64.StdEncoding.DecodeString(text)
	if err == nil && strings.HasPrefix(encoding, "gz") {
		var unpacked *gzip.Reader
		if unpacked, err = gzip.NewReader(bytes.NewReader(content)); err == nil {
			content, err = io.ReadAll(unpacked)
		}
	}
	if err != nil {
		log.Printf("VM %d: guestinfo.%s is not %s: %s", vm.id, name, encoding, err)
		return ""
	}
	return string(content)
}

func newGuests(h *host) (guests, error) {
	if h.cfg.Guest == nil {
		return &innerGuests{h: h}, nil
	}
	password, err := h.cfg.Guest.password()
	if err != nil {
		return nil, err
	}
	return &guestDriver{h: h, password: password, client: &http.Client{Timeout: 60 * time.Second}}, nil
}

// innerGuests live in this process: an operating system that is all tools.
type innerGuests struct {
	h *host
}

const (
	bootTime     = time.Second
	shutdownTime = 300 * time.Millisecond
)

func (g *innerGuests) on(vm *virtualMachine, _ guestOrder) error {
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	g.booted(vm)
	return nil
}

func (g *innerGuests) act(string, string) error { return nil }

func (g *innerGuests) delete(string) error { return nil }

func (g *innerGuests) ask(vm *virtualMachine, wish string) {
	if vm.file.get("guestinfo.simulator.deaf") == "1" {
		return
	}
	boot := vm.booted
	time.AfterFunc(shutdownTime, func() {
		g.h.mu.Lock()
		defer g.h.mu.Unlock()
		if !vm.on() || vm.booted != boot {
			return
		}
		if wish == "shutdown" {
			vm.setPower(poweredOff)
			return
		}
		vm.setPower(poweredOn)
		g.booted(vm)
	})
}

var staticAddress = regexp.MustCompile(`\b(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})/\d{1,2}\b`)

// booted brings the tools and the address up after a while.
func (g *innerGuests) booted(vm *virtualMachine) {
	time.AfterFunc(bootTime, func() {
		g.h.mu.Lock()
		defer g.h.mu.Unlock()
		order := vm.guestOrder()
		if g.h.vms[vm.id] != vm || !vm.on() || time.Since(vm.booted) < bootTime/2 || !vm.startsFromSomewhere(order.Boot) {
			return
		}
		vm.guest = guestState{tools: true, hostname: vm.Name}
		if vm.file.get("guestinfo.simulator.silent") != "1" && len(order.NICs) > 0 {
			vm.guest.address = fmt.Sprintf("192.0.2.%d", vm.id%256)
			if found := staticAddress.FindStringSubmatch(networkConfig(order.GuestInfo["metadata"])); found != nil {
				vm.guest.address = found[1]
			}
		}
		vm.show()
	})
}

// networkConfig is the metadata's own text and, decoded, the network configuration that may be packed into it.
func networkConfig(metadata string) string {
	text := metadata
	for _, word := range regexp.MustCompile(`[A-Za-z0-9+/=]{24,}`).FindAllString(metadata, -1) {
		if content, err := base64.StdEncoding.DecodeString(word); err == nil {
			if unpacked, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
				content, _ = io.ReadAll(unpacked)
			}
			text += "\n" + string(content)
		}
	}
	return text
}

// guestDriver runs the guests elsewhere and asks every second how they are.
type guestDriver struct {
	h        *host
	password string
	client   *http.Client
}

var errNoGuest = errors.New("the guest driver refuses: 404 Not Found")

type guestStatus struct {
	Status   string `json:"status"`
	Address  string `json:"address"`
	Hostname string `json:"hostname"`
}

func (d *guestDriver) call(method, path string, body, into interface{}) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, strings.TrimSuffix(d.h.cfg.Guest.URL, "/")+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.SetBasicAuth(d.h.cfg.Guest.User, d.password)
	request.Header.Set("Content-Type", "application/json")
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusNotFound {
		return errNoGuest
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("the guest driver refuses: %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	if into != nil {
		return json.Unmarshal(text, into)
	}
	return nil
}

func (d *guestDriver) on(_ *virtualMachine, order guestOrder) error {
	return d.call(http.MethodPut, "/vms/"+order.uuid+"/on", order, nil)
}

func (d *guestDriver) act(uuid, action string) error {
	return known(d.call(http.MethodPost, "/vms/"+uuid+"/"+action, struct{}{}, nil))
}

func (d *guestDriver) delete(uuid string) error {
	return known(d.call(http.MethodDelete, "/vms/"+uuid, struct{}{}, nil))
}

// known takes a guest that the driver never heard of for one that is off and gone.
func known(err error) error {
	if errors.Is(err, errNoGuest) {
		return nil
	}
	return err
}

// ask does not wait: the tools take the wish, the guest does with it what it will.
func (d *guestDriver) ask(vm *virtualMachine, wish string) {
	id := vm.uuid()
	go func() {
		if err := d.call(http.MethodPost, "/vms/"+id+"/"+wish, struct{}{}, nil); err != nil {
			log.Printf("VM %d: %s: %s", vm.id, wish, err)
		}
	}()
}

func (d *guestDriver) booted(*virtualMachine) {}

func (d *guestDriver) running() (map[string]guestStatus, error) {
	var all map[string]guestStatus
	err := d.call(http.MethodGet, "/vms", nil, &all)
	return all, err
}

// awaited asks until the driver answers, but not for ever: it may start later than the host.
func (d *guestDriver) awaited() (map[string]guestStatus, error) {
	var all map[string]guestStatus
	var err error
	for attempt := 0; attempt < 30; attempt++ {
		if all, err = d.running(); err == nil {
			return all, nil
		}
		time.Sleep(time.Second)
	}
	log.Printf("the guest driver does not answer: %s", err)
	return nil, err
}

func (d *guestDriver) watch() {
	for ; ; time.Sleep(time.Second) {
		asked := time.Now()
		all, err := d.running()
		if err != nil {
			log.Printf("the guest driver does not answer: %s", err)
			continue
		}
		d.h.mu.Lock()
		for _, vm := range d.h.sortedVMs() {
			// A VM that changed while the question was on its way is judged the next time.
			if vm.file != nil && vm.on() && vm.busy == nil && vm.booted.Before(asked) {
				vm.heard(all[vm.uuid()])
			}
		}
		d.h.mu.Unlock()
	}
}

// heard takes over what the driver says of a VM that was on.
func (vm *virtualMachine) heard(status guestStatus) {
	if status.Status != "running" {
		vm.setPower(poweredOff)
		return
	}
	said := guestState{address: status.Address, hostname: status.Hostname}
	said.tools = net.ParseIP(said.address) != nil || said.hostname != ""
	if said != vm.guest {
		vm.guest = said
		vm.show()
	}
}
