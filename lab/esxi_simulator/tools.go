package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// applets are what a shell on ESXi finds in /bin, as far as busybox has it.
const applets = "sh ash cat ls mkdir rmdir mv rm cp dd stat du tar gzip gunzip zcat md5sum sha1sum sha256sum head tail " +
	"cut grep sed awk sort uniq wc tr test [ printf echo sleep date find xargs touch chmod ln basename dirname mktemp " +
	"kill ps vi env expr sync true false readlink which id nohup timeout seq tee sha512sum diff cmp"

// ownTools are the programs of this simulator. Of df and uname busybox has its own, which would tell of the machine
// below instead of the host.
const ownTools = "vim-cmd vmkfstools esxcli df uname"

// toolFolder is PATH of every command.
type toolFolder struct {
	bin     string
	home    string
	busybox string
	socket  string
	locks   string // a program of our own that is not on PATH
	stores  []*datastore
}

func openTools(h *host) (*toolFolder, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tools := &toolFolder{
		bin:     filepath.Join(h.cfg.State, "bin"),
		home:    filepath.Join(h.cfg.State, "home"),
		busybox: busybox,
		socket:  filepath.Join(h.cfg.State, "run", "cli.sock"),
		locks:   filepath.Join(h.cfg.State, "run", "locks"),
		stores:  h.datastores,
	}
	for _, folder := range []string{tools.bin, tools.home, filepath.Dir(tools.socket)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range strings.Fields(applets) {
		if err := replaceLink(busybox, filepath.Join(tools.bin, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range strings.Fields(ownTools) {
		if err := replaceLink(own, filepath.Join(tools.bin, name)); err != nil {
			return nil, err
		}
	}
	return tools, replaceLink(own, tools.locks)
}

func replaceLink(target, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, path)
}

// prelude: busybox as Debian builds it prefers its own applets to PATH, so those that we replace are functions. rm first
// asks whether a running VM has the file open, as VMFS would (find -delete and xargs get past it).
func (t *toolFolder) prelude() string {
	return fmt.Sprintf("df() { %s \"$@\"; }; uname() { %s \"$@\"; }; rm() { %s \"$@\" && command rm \"$@\"; }\n",
		quoted(filepath.Join(t.bin, "df")), quoted(filepath.Join(t.bin, "uname")), quoted(t.locks))
}

func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func (t *toolFolder) command(line string) *exec.Cmd {
	command := exec.Command(t.busybox, "sh", "-c", t.prelude()+line)
	if line == "" { // a login without a command: the lines come over stdin
		command = exec.Command(t.busybox, "sh")
	}
	command.Dir = t.home
	command.Env = []string{"PATH=" + t.bin, "HOME=" + t.home, "USER=root", "SHELL=/bin/sh", socketVariable + "=" + t.socket}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children can be ended with it
	return command
}

// run runs a command line over a channel and returns its exit status.
func (t *toolFolder) run(channel ssh.Channel, line string) int {
	return t.execute(t.command(line), t.watchSpace(line), channel, channel, channel.Stderr())
}

// runHalf is the first half of a command that a fault cuts in the middle: it gets only part of its input, or stops half
// way (vmkfstools does by itself), says nothing, and what it wrote stays.
func (t *toolFolder) runHalf(channel ssh.Channel, line string) {
	command := t.command(line)
	command.Env = append(command.Env, halfVariable+"=1")
	t.execute(command, t.watchSpace(line), io.LimitReader(channel, halfInput), io.Discard, io.Discard)
}

// halfInput is how much of its input a cut command still gets.
const halfInput = 64 << 10

func (t *toolFolder) execute(
	command *exec.Cmd, watch *spaceWatch, input io.Reader, stdout, stderr io.Writer,
) int {
	command.Stdout, command.Stderr = stdout, stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		return 255
	}
	defer watch.stop()
	if err := command.Start(); err != nil {
		return 255
	}
	go func() {
		// The end of a broken connection looks like the end of the input, as with sshd: `cat > file` keeps its half.
		_, _ = io.Copy(stdin, input)
		_ = stdin.Close()
	}()
	watch.start(command.Process.Pid)
	err = command.Wait()
	if watch.overflown() {
		_, _ = io.WriteString(stderr, "write error: No space left on device\n")
		return 1
	}
	return exitStatus(command, err)
}

func exitStatus(command *exec.Cmd, err error) int {
	var failed *exec.ExitError
	switch {
	case err == nil || command.ProcessState.Success():
		return 0
	case !errors.As(err, &failed):
		return 255
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return failed.ExitCode()
}

// writers are the command lines that may fill a datastore; vmkfstools asks for room by itself.
var writers = regexp.MustCompile(`>\s*[^&\s]|\b(cp|mv|dd|tar|tee|gzip|gunzip|truncate)\b`)

// spaceWatch ends a command that fills a datastore beyond its capacity, which the kernel below knows nothing of. It
// ends the whole line, and where two lines write at once, both.
type spaceWatch struct {
	before map[*datastore]int64
	full   bool
	mu     sync.Mutex
	ended  chan struct{}
}

func (t *toolFolder) watchSpace(line string) *spaceWatch {
	watch := &spaceWatch{before: map[*datastore]int64{}, ended: make(chan struct{})}
	if line != "" && !writers.MatchString(line) {
		return watch
	}
	for _, d := range t.stores {
		watch.before[d] = d.used()
	}
	return watch
}

func (w *spaceWatch) start(group int) {
	go func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-w.ended:
				return
			case <-ticker.C:
				if w.overflown() {
					_ = syscall.Kill(-group, syscall.SIGKILL)
					return
				}
			}
		}
	}()
}

func (w *spaceWatch) stop() { close(w.ended) }

// overflown is true once a datastore holds more than fits and more than before.
func (w *spaceWatch) overflown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for d, before := range w.before {
		if used := d.used(); used > d.size() && used > before {
			w.full = true
		}
	}
	return w.full
}
