package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// errNoSpace is what every write to a full datastore answers, over the API, in a shell and while a disk is cloned.
var errNoSpace = errors.New("No space left on device")

// datastore is one VMFS volume: a directory of real files with a capacity of its own, which the file system below
// it knows nothing of.
type datastore struct {
	name     string
	dir      string
	capacity int64 // read and written atomically: tests shrink a datastore while it is in use
}

// mounts is the host's mount table: a disk is only known by its path, and its path alone tells how much space is left.
var mounts struct {
	sync.Mutex
	datastores []*datastore
}

// mountDatastore opens volumes/name, made if missing. Like on a real host the volume is mounted under its UUID and the
// name is another way to the same place (there the name is the link, here the UUID is).
func mountDatastore(volumes, name string, capacity int64) (*datastore, error) {
	d := &datastore{name: name, dir: filepath.Join(volumes, name), capacity: capacity}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(name, d.mountPoint()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	mounts.Lock()
	defer mounts.Unlock()
	mounts.datastores = append(mounts.datastores, d)
	return d, nil
}

// datastoreOf returns the datastore that path lies on, nil when it lies on none. The path need not exist yet.
func datastoreOf(path string) *datastore {
	mounts.Lock()
	defer mounts.Unlock()
	path = resolve(path)
	for _, d := range mounts.datastores {
		if dir := resolve(d.dir); path == dir || strings.HasPrefix(path, dir+"/") {
			return d
		}
	}
	return nil
}

// resolve follows the symbolic links of the part of path that exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}

// uuid is made from the name alone, so that it outlives a restart without being stored.
func (d *datastore) uuid() string {
	sum := sha256.Sum256([]byte("datastore " + d.name))
	return fmt.Sprintf("%x-%x-%x-%x", sum[0:4], sum[4:8], sum[8:10], sum[10:16])
}

func (d *datastore) mountPoint() string { return filepath.Join(filepath.Dir(d.dir), d.uuid()) }

func (d *datastore) size() int64 { return atomic.LoadInt64(&d.capacity) }

func (d *datastore) setCapacity(bytes int64) { atomic.StoreInt64(&d.capacity, bytes) }

// relative returns path as the host writes it in brackets: "folder/file.vmx" of "[datastore1] folder/file.vmx".
func (d *datastore) relative(path string) string {
	relative, err := filepath.Rel(resolve(d.dir), resolve(path))
	if err != nil || relative == "." {
		return ""
	}
	return relative
}

// datastorePath returns "[name] folder/file", the form in which VMs and the API name files.
func (d *datastore) datastorePath(path string) string {
	return fmt.Sprintf("[%s] %s", d.name, d.relative(path))
}

// used counts thick disks with their full size, everything else with the blocks that are really allocated.
func (d *datastore) used() int64 {
	var total int64
	// Files come and go while they are counted, so an error is a file that is no longer there.
	_ = filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if isThickExtent(path) {
			total += info.Size()
			return nil
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += stat.Blocks * 512
		}
		return nil
	})
	return total
}

func isThickExtent(path string) bool {
	if !strings.HasSuffix(path, "-flat.vmdk") {
		return false
	}
	disk, err := readDisk(strings.TrimSuffix(path, "-flat.vmdk") + ".vmdk")
	return err == nil && disk.Kind != thin
}

func (d *datastore) free() int64 {
	if free := d.size() - d.used(); free > 0 {
		return free
	}
	return 0
}

// reserve answers errNoSpace unless that many more bytes fit now. It books nothing: whoever writes, allocates.
func (d *datastore) reserve(bytes int64) error {
	if bytes > d.size()-d.used() {
		return errNoSpace
	}
	return nil
}

// reserveAt asks the datastore that path lies on; outside of all datastores the real file system is the limit.
func reserveAt(path string, bytes int64) error {
	if d := datastoreOf(path); d != nil {
		return d.reserve(bytes)
	}
	return nil
}
