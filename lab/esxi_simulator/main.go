// The lab's ESXi host: the API on HTTPS and the shell on SSH, over one state.
//
// It was written after VMware's published API reference, public reports and pyVmomi's types, and tried with pyVmomi.
// No real host was asked: where sources say nothing, the choice that refuses was made, and what is missing answers
// "not simulated".
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// readiness is state/ready.json: what a client needs to connect.
type readiness struct {
	HTTPSPort      int    `json:"https_port"`
	SSHPort        int    `json:"ssh_port"`
	ControlPort    int    `json:"control_port"`
	CertificatePEM string `json:"certificate_pem"`
	SSHHostKey     string `json:"ssh_host_key"`
}

func main() {
	if isTool(os.Args[0]) {
		os.Exit(runTool())
	}
	path := flag.String("config", "", "configuration file (JSON)")
	flag.Parse()
	if err := run(*path); err != nil {
		fmt.Fprintln(os.Stderr, "esxi-simulator:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.State, 0o755); err != nil {
		return err
	}
	h, err := newHost(cfg)
	if err != nil {
		return err
	}
	certificate, text, err := h.hostCertificate()
	if err != nil {
		return err
	}
	ready := readiness{CertificatePEM: text}
	if ready.HTTPSPort, err = listen(cfg.HTTPS, h.handler(), &certificate); err != nil {
		return err
	}
	if cfg.Control != "" {
		if ready.ControlPort, err = listen(cfg.Control, h.control.handler(h), nil); err != nil {
			return err
		}
	}
	if ready.SSHPort, err = startShell(h); err != nil {
		return err
	}
	key, err := sshHostKey(cfg.State)
	if err != nil {
		return err
	}
	ready.SSHHostKey = hostKeyLine(key)
	go h.resume()
	if err := writeJSON(h.statePath("ready.json"), ready); err != nil {
		return err
	}
	fmt.Printf("esxi-simulator: %s edition, https port %d, ssh port %d, control port %d\n",
		cfg.Edition, ready.HTTPSPort, ready.SSHPort, ready.ControlPort)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	return nil
}

func (h *host) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/sdk", h.serveSDK)
	mux.HandleFunc("/sdk/vimServiceVersions.xml", h.serveVersions)
	mux.HandleFunc("/folder", h.serveFolder)
	mux.HandleFunc("/folder/", h.serveFolder)
	mux.HandleFunc("/nfc/", h.serveNFC)
	return mux
}

// listen serves on an address, with TLS when there is a certificate, and returns the port.
func listen(address string, handler http.Handler, certificate *tls.Certificate) (int, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12,
		})
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(quiet{}, "", 0)}
	go func() { log.Fatal(server.Serve(listener)) }()
	return port, nil
}

// quiet drops what net/http says of connections: clients that do not trust the certificate are no event here.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }
