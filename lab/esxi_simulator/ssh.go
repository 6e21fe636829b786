package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxSessions is OpenSSH's default, which ESXi keeps: one connection carries at most ten sessions at a time.
const maxSessions = 10

var errDenied = errors.New("permission denied")

// startShell opens the SSH side: the folder of tools, the socket that they call back on, and the SSH port.
func startShell(h *host) (int, error) {
	tools, err := openTools(h)
	if err != nil {
		return 0, err
	}
	if err := serveTools(h, tools); err != nil {
		return 0, err
	}
	key, err := sshHostKey(h.cfg.State)
	if err != nil {
		return 0, err
	}
	settings := sshSettings(h.cfg)
	settings.AddHostKey(key)
	listener, err := net.Listen("tcp", h.cfg.SSH)
	if err != nil {
		return 0, err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Printf("ssh: %s", err)
				return
			}
			go serveConnection(h, tools, settings, connection)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// sshHostKey reads the host's key, made at the first start.
func sshHostKey(folder string) (ssh.Signer, error) {
	path := filepath.Join(folder, "ssh_host_ed25519_key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newHostKey(path)
	}
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(text)
}

func newHostKey(path string) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return text, writeWhole(path, text)
}

// hostKeyLine is the public key as known_hosts has it after the host's name.
func hostKeyLine(key ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

// sshSettings lets root in by password, by keyboard-interactive (ESXi's sshd asks the password that way) or by key.
func sshSettings(cfg config) *ssh.ServerConfig {
	return &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-OpenSSH_8.8",
		MaxAuthTries:  6,
		PasswordCallback: func(who ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return nil, checkPassword(cfg, who.User(), string(password))
		},
		KeyboardInteractiveCallback: func(
			who ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge,
		) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, errDenied
			}
			return nil, checkPassword(cfg, who.User(), answers[0])
		},
		PublicKeyCallback: func(who ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, checkKey(cfg, who.User(), key)
		},
	}
}

func checkPassword(cfg config, user, password string) error {
	if user != "root" || !cfg.validPassword(user, password) {
		return errDenied
	}
	return nil
}

// checkKey reads the file anew at every login, as sshd does.
func checkKey(cfg config, user string, key ssh.PublicKey) error {
	if user != "root" || cfg.AuthorizedKeysFile == "" {
		return errDenied
	}
	rest, err := os.ReadFile(cfg.AuthorizedKeysFile)
	for err == nil {
		var known ssh.PublicKey
		if known, _, _, rest, err = ssh.ParseAuthorizedKey(rest); err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return errDenied
}

func serveConnection(h *host, tools *toolFolder, settings *ssh.ServerConfig, connection net.Conn) {
	defer connection.Close()
	server, channels, requests, err := ssh.NewServerConn(connection, settings)
	if err != nil {
		return // a wrong password, or a scan of the port
	}
	go ssh.DiscardRequests(requests)
	sessions := make(chan struct{}, maxSessions)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.Prohibited, "administratively prohibited")
			continue
		}
		select {
		case sessions <- struct{}{}:
		default:
			_ = offered.Reject(ssh.ConnectionFailed, "open failed")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			break
		}
		go func() {
			defer func() { <-sessions }()
			serveSession(h, tools, server, channel, requests)
		}()
	}
}

// serveSession waits for the one command of a session. There is no terminal and no subsystem: ESXi's sshd has an sftp
// server only from 8.0 on.
func serveSession(h *host, tools *toolFolder, server ssh.Conn, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for request := range requests {
		var line string
		switch request.Type {
		case "exec":
			var command struct{ Line string }
			if err := ssh.Unmarshal(request.Payload, &command); err != nil {
				_ = request.Reply(false, nil)
				return
			}
			line = command.Line
		case "shell":
		default:
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		runLine(h, tools, server, channel, line)
		return
	}
}

// runLine runs a command line, or answers with the fault that a test ordered for it.
func runLine(h *host, tools *toolFolder, server ssh.Conn, channel ssh.Channel, line string) {
	fault := h.control.command(line)
	switch {
	case fault == nil:
		endSession(channel, tools.run(channel, line))
	case fault.Output == "drop": // the network breaks, before the command runs or while its answer is awaited
		if fault.When == "middle" {
			tools.run(channel, line)
		}
		_ = server.Close()
	default:
		if fault.When == "middle" {
			tools.runHalf(channel, line)
		}
		_, _ = channel.Stderr().Write([]byte(fault.Output))
		endSession(channel, fault.Code)
	}
}

func endSession(channel ssh.Channel, code int) {
	status := struct{ Code uint32 }{uint32(code)}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(&status))
}
