package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// copyStep is after how many bytes a copy looks again whether the datastore is full.
const copyStep = 16 << 20

// fileManager changes files and folders on datastores.
type fileManager struct {
	mo.FileManager
	h *host
}

// fileTask runs a task on files; the library's tasks name no valid entity here, the host is one.
func (h *host) fileTask(ctx *simulator.Context, id string, do work) types.ManagedObjectReference {
	return h.start(ctx, h.hostSystem, h.system.Name, id, do)
}

func missing(path string) *refusal {
	return refuse(&types.FileNotFound{FileFault: types.FileFault{File: displayPath(path)}})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// changeable refuses a file that a running VM holds, or a folder with such a file.
func (h *host) changeable(path string) *refusal {
	if !exists(path) {
		return missing(path)
	}
	if h.lockedBy(path, nil) != nil || h.usedBelow(path) != nil {
		return refuse(&types.FileLocked{FileFault: types.FileFault{File: displayPath(path)}})
	}
	return nil
}

// target checks where something is to be put: its folder is there, and nothing is in the way unless it may go.
func (h *host) target(path string, force bool) *refusal {
	if !exists(filepath.Dir(path)) {
		return missing(filepath.Dir(path))
	}
	if !exists(path) {
		return nil
	}
	if !force {
		return refuse(&types.FileAlreadyExists{FileFault: types.FileFault{File: displayPath(path)}})
	}
	return h.changeable(path)
}

func (m *fileManager) MakeDirectory(req *types.MakeDirectory) soap.HasFault {
	path, refused := m.h.filePath(req.Name)
	if refused != nil {
		return answer(refused)
	}
	if exists(path) {
		return answer(refuse(&types.FileAlreadyExists{FileFault: types.FileFault{File: req.Name}}))
	}
	make := os.Mkdir
	if req.CreateParentDirectories != nil && *req.CreateParentDirectories {
		make = os.MkdirAll
	}
	switch err := make(path, 0o755); {
	case errors.Is(err, fs.ErrNotExist):
		return answer(missing(filepath.Dir(path)))
	case err != nil:
		return answer(diskRefusal(err, path))
	}
	return &methods.MakeDirectoryBody{Res: new(types.MakeDirectoryResponse)}
}

func (m *fileManager) DeleteDatastoreFileTask(
	ctx *simulator.Context, req *types.DeleteDatastoreFile_Task,
) soap.HasFault {
	self := m.h.fileTask(ctx, "FileManager.deleteFile", func(t *task) (types.AnyType, *refusal) {
		path, refused := m.h.filePath(req.Name)
		if refused == nil {
			refused = m.h.changeable(path)
		}
		if refused == nil {
			refused = t.elapse()
		}
		if refused != nil {
			return nil, refused
		}
		if datastoreOf(filepath.Dir(path)) == nil {
			return nil, refuse(&types.CannotDeleteFile{FileFault: types.FileFault{File: req.Name}})
		}
		return nil, diskRefusal(removeFile(path), path)
	})
	return &methods.DeleteDatastoreFile_TaskBody{Res: &types.DeleteDatastoreFile_TaskResponse{Returnval: self}}
}

// removeFile removes a folder with all in it, and a disk with its extent.
func removeFile(path string) error {
	if isDisk(path) {
		return deleteDisk(path)
	}
	return os.RemoveAll(path)
}

func isDisk(path string) bool {
	if filepath.Ext(path) != ".vmdk" {
		return false
	}
	_, err := readDisk(path)
	return err == nil
}

func (m *fileManager) MoveDatastoreFileTask(
	ctx *simulator.Context, req *types.MoveDatastoreFile_Task,
) soap.HasFault {
	force := req.Force != nil && *req.Force
	self := m.h.transfer(ctx, "FileManager.move", req.SourceName, req.DestinationName, force,
		func(t *task, source, destination string) error {
			if isDisk(source) && datastoreOf(source) == datastoreOf(destination) {
				return renameDisk(source, destination)
			}
			if datastoreOf(source) == datastoreOf(destination) {
				return os.Rename(source, destination)
			}
			if err := copyAny(t, source, destination); err != nil {
				return err
			}
			return removeFile(source)
		}, true)
	return &methods.MoveDatastoreFile_TaskBody{Res: &types.MoveDatastoreFile_TaskResponse{Returnval: self}}
}

func (m *fileManager) CopyDatastoreFileTask(
	ctx *simulator.Context, req *types.CopyDatastoreFile_Task,
) soap.HasFault {
	force := req.Force != nil && *req.Force
	self := m.h.transfer(ctx, "FileManager.copy", req.SourceName, req.DestinationName, force, copyAny, false)
	return &methods.CopyDatastoreFile_TaskBody{Res: &types.CopyDatastoreFile_TaskResponse{Returnval: self}}
}

// transfer moves or copies something by its datastore paths.
func (h *host) transfer(
	ctx *simulator.Context, id, sourceName, destinationName string, force bool,
	carry func(t *task, source, destination string) error, move bool,
) types.ManagedObjectReference {
	return h.fileTask(ctx, id, func(t *task) (types.AnyType, *refusal) {
		source, refused := h.filePath(sourceName)
		if refused != nil {
			return nil, refused
		}
		destination, refused := h.filePath(destinationName)
		if refused != nil {
			return nil, refused
		}
		switch {
		case !exists(source):
			refused = missing(source)
		case move || isDisk(source):
			refused = h.changeable(source)
		}
		if refused == nil {
			refused = h.target(destination, force)
		}
		if refused == nil {
			refused = t.elapse()
		}
		if refused != nil {
			return nil, refused
		}
		if exists(destination) {
			if err := removeFile(destination); err != nil {
				return nil, diskRefusal(err, destination)
			}
		}
		var err error
		t.unlocked(func() { err = carry(t, source, destination) })
		return nil, diskRefusal(err, destination)
	})
}

// copyAny copies a disk, a file or a folder, and leaves no half of it.
func copyAny(t *task, source, destination string) error {
	info, err := os.Stat(source)
	switch {
	case err != nil:
		return err
	case isDisk(source):
		disk, err := readDisk(source)
		if err != nil {
			return err
		}
		return cloneDisk(source, destination, disk.Kind, t.progress)
	case info.IsDir():
		err = copyFolder(t, source, destination)
	default:
		err = copyFile(source, destination)
	}
	if err != nil {
		_ = os.RemoveAll(destination)
	}
	return err
}

func copyFolder(t *task, source, destination string) error {
	entries, err := os.ReadDir(source)
	if err != nil {
		return err
	}
	if err := os.Mkdir(destination, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "-flat.vmdk") || strings.HasSuffix(entry.Name(), "-delta.vmdk") {
			continue // copied with its descriptor
		}
		if err := copyAny(t, filepath.Join(source, entry.Name()), filepath.Join(destination, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(source, destination string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(destination)
	if err != nil {
		return err
	}
	err = fill(to, from, destination)
	if closed := to.Close(); err == nil {
		err = closed
	}
	return err
}

// fill copies until the end or until the datastore is full.
func fill(to io.Writer, from io.Reader, path string) error {
	for {
		n, err := io.CopyN(to, from, copyStep)
		if full := reserveAt(path, 0); full != nil {
			return full
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == 0:
			return nil
		}
	}
}
