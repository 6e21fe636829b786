package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

const (
	socketVariable = "ESXI_SIMULATOR_SOCKET"
	halfVariable   = "ESXI_SIMULATOR_HALF"
)

// toolCall is what a program sends to the host, one line of JSON.
type toolCall struct {
	Name   string
	Args   []string
	Folder string // where relative paths start
	Half   bool   // stop in the middle and leave what is there
}

// toolAnswer is one line of what comes back: output as it is written, and at last the exit status.
type toolAnswer struct {
	Out  []byte `json:",omitempty"`
	Err  []byte `json:",omitempty"`
	Code *int   `json:",omitempty"`
}

// tool is one call of vim-cmd, vmkfstools or esxcli, seen from the host.
type tool struct {
	h      *host
	call   toolCall
	stdout io.Writer
	stderr io.Writer
}

func (t *tool) print(format string, args ...interface{}) { fmt.Fprintf(t.stdout, format, args...) }

func (t *tool) complain(format string, args ...interface{}) { fmt.Fprintf(t.stderr, format, args...) }

// path makes an argument absolute from the folder where the program was called.
func (t *tool) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(t.call.Folder, name)
}

// isTool tells whether the binary was called under the name of one of the host's programs.
func isTool(name string) bool {
	switch filepath.Base(name) {
	case "vim-cmd", "vmkfstools", "esxcli", "df", "uname", "locks":
		return true
	}
	return false
}

// runTool is main of such a program: hand the arguments to the host, print what it says.
func runTool() int {
	folder, err := os.Getwd()
	if err != nil {
		folder = "/"
	}
	connection, err := dialSocket(os.Getenv(socketVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, "Failed to login: Connection refused") // the host's daemon is not there
		return 1
	}
	defer connection.Close()
	call := toolCall{
		Name: filepath.Base(os.Args[0]), Args: os.Args[1:], Folder: folder, Half: os.Getenv(halfVariable) != "",
	}
	if err := json.NewEncoder(connection).Encode(call); err != nil {
		fmt.Fprintln(os.Stderr, "Failed to login:", err)
		return 1
	}
	for answers := json.NewDecoder(connection); ; {
		var answer toolAnswer
		if err := answers.Decode(&answer); err != nil {
			fmt.Fprintln(os.Stderr, "Connection to the host lost:", err)
			return 1
		}
		_, _ = os.Stderr.Write(answer.Err)
		if _, err := os.Stdout.Write(answer.Out); err != nil {
			return 1 // the host stops the work when this connection closes
		}
		if answer.Code != nil {
			return *answer.Code
		}
	}
}

// shortSocket names a socket through its folder's descriptor: a socket's path has at most 107 bytes, a state's folder
// may be longer.
func shortSocket(path string) (string, *os.File, error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)), folder, nil
}

func dialSocket(path string) (net.Conn, error) {
	short, folder, err := shortSocket(path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return net.Dial("unix", short)
}

// serveTools answers the programs for as long as the process lives.
func serveTools(h *host, tools *toolFolder) error {
	short, folder, err := shortSocket(tools.socket)
	if err != nil {
		return err
	}
	defer folder.Close()
	_ = os.Remove(tools.socket) // left over from a killed process
	listener, err := net.Listen("unix", short)
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Printf("tools: %s", err)
				return
			}
			go serveTool(h, connection)
		}
	}()
	return nil
}

func serveTool(h *host, connection net.Conn) {
	defer connection.Close()
	answers := json.NewEncoder(connection)
	t := &tool{
		h:      h,
		stdout: writerFunc(func(p []byte) error { return answers.Encode(toolAnswer{Out: p}) }),
		stderr: writerFunc(func(p []byte) error { return answers.Encode(toolAnswer{Err: p}) }),
	}
	if err := json.NewDecoder(connection).Decode(&t.call); err != nil {
		return
	}
	code := t.run()
	_ = answers.Encode(toolAnswer{Code: &code})
}

type writerFunc func(p []byte) error

func (w writerFunc) Write(p []byte) (int, error) {
	if err := w(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *tool) run() (code int) {
	defer func() {
		if mistake := recover(); mistake != nil { // the simulator's own: say so, live on
			log.Printf("%s %q: %v\n%s", t.call.Name, t.call.Args, mistake, debug.Stack())
			t.complain("the simulator failed: %v\n", mistake)
			code = 255
		}
	}()
	fault := t.orderedFault()
	if fault != nil && fault.When == "middle" {
		t.call.Half = true
		t.stdout = io.Discard
		t.program()
	}
	if fault != nil {
		t.complain("%s", fault.Output)
		return fault.Code
	}
	return t.program()
}

// orderedFault finds the fault that a test ordered for a program that is called inside of a longer command line; the
// line as a whole was matched and counted already.
func (t *tool) orderedFault() *commandFault {
	line := strings.Join(append([]string{t.call.Name}, t.call.Args...), " ")
	c := t.h.control
	c.mu.Lock()
	defer c.mu.Unlock()
	order := c.take(func(o *faultOrder) bool { return o.Command != "" && strings.HasPrefix(line, o.Command) })
	if order == nil {
		return nil
	}
	return &commandFault{When: order.When, Output: order.Output, Code: order.Code}
}

func (t *tool) program() int {
	switch t.call.Name {
	case "vim-cmd":
		return t.vimCmd()
	case "vmkfstools":
		return t.vmkfstools()
	case "esxcli":
		return t.esxcli()
	case "df":
		return t.df()
	case "uname":
		return t.uname()
	case "locks":
		return t.locks()
	}
	return t.notSimulated(t.call.Name)
}

// notSimulated is the loud refusal of what a real host would do.
func (t *tool) notSimulated(what string) int {
	log.Printf("not simulated: %s", what)
	t.complain("not simulated: %s\n", what)
	return 255
}
