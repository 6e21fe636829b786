package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// browser lists files; a disk is one file to it, whatever it consists of.
type browser struct {
	mo.HostDatastoreBrowser
	h *host
}

func newBrowser(h *host, value string, stores ...types.ManagedObjectReference) *browser {
	b := &browser{h: h}
	b.Self = types.ManagedObjectReference{Type: "HostDatastoreBrowser", Value: value}
	b.Datastore = stores
	return b
}

func (b *browser) SearchDatastoreTask(ctx *simulator.Context, req *types.SearchDatastore_Task) soap.HasFault {
	self := b.search(ctx, "HostDatastoreBrowser.search", req.DatastorePath, req.SearchSpec, false)
	return &methods.SearchDatastore_TaskBody{Res: &types.SearchDatastore_TaskResponse{Returnval: self}}
}

func (b *browser) SearchDatastoreSubFoldersTask(
	ctx *simulator.Context, req *types.SearchDatastoreSubFolders_Task,
) soap.HasFault {
	self := b.search(ctx, "HostDatastoreBrowser.searchSubFolders", req.DatastorePath, req.SearchSpec, true)
	return &methods.SearchDatastoreSubFolders_TaskBody{
		Res: &types.SearchDatastoreSubFolders_TaskResponse{Returnval: self},
	}
}

func (b *browser) search(
	ctx *simulator.Context, id, folder string, spec *types.HostDatastoreBrowserSearchSpec, below bool,
) types.ManagedObjectReference {
	if spec == nil {
		spec = new(types.HostDatastoreBrowserSearchSpec)
	}
	return b.h.start(ctx, b.h.hostSystem, b.h.system.Name, id, func(t *task) (types.AnyType, *refusal) {
		root, refused := b.h.filePath(folder)
		if refused != nil {
			return nil, refused
		}
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return nil, refuse(&types.FileNotFound{FileFault: types.FileFault{File: folder}})
		}
		if refused := t.elapse(); refused != nil {
			return nil, refused
		}
		if !below {
			return *b.list(root, spec), nil
		}
		var found []types.HostDatastoreBrowserSearchResults
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				found = append(found, *b.list(path, spec))
			}
			return nil
		})
		if err != nil {
			return nil, diskRefusal(err, root)
		}
		return types.ArrayOfHostDatastoreBrowserSearchResults{HostDatastoreBrowserSearchResults: found}, nil
	})
}

func (b *browser) list(
	folder string, spec *types.HostDatastoreBrowserSearchSpec,
) *types.HostDatastoreBrowserSearchResults {
	results := &types.HostDatastoreBrowserSearchResults{FolderPath: displayPath(folder)}
	if d := datastoreOf(folder); d != nil {
		self := b.h.datastoreReference(d)
		results.Datastore = &self
	}
	entries, _ := os.ReadDir(folder)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, "-flat.vmdk") || strings.HasSuffix(name, "-delta.vmdk") || !matches(name, spec) {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue
		}
		if file := fileInfo(filepath.Join(folder, name), info, spec); file != nil {
			results.File = append(results.File, file)
		}
	}
	return results
}

func matches(name string, spec *types.HostDatastoreBrowserSearchSpec) bool {
	for _, pattern := range spec.MatchPattern {
		if matched, err := path.Match(pattern, name); err == nil && matched {
			return true
		}
	}
	return len(spec.MatchPattern) == 0
}

// fileInfo describes a file by its kind, nil when the query asks for other kinds.
func fileInfo(path string, info fs.FileInfo, spec *types.HostDatastoreBrowserSearchSpec) types.BaseFileInfo {
	base := types.FileInfo{Path: info.Name()}
	if details := spec.Details; details != nil {
		if details.FileSize {
			base.FileSize = info.Size()
			if disk, err := readDisk(path); err == nil && filepath.Ext(path) == ".vmdk" {
				base.FileSize = diskSize(disk)
			}
		}
		if details.Modification {
			modified := info.ModTime()
			base.Modification = &modified
		}
		if details.FileOwner != nil && *details.FileOwner {
			base.Owner = "root"
		}
	}
	file, query := types.BaseFileInfo(&base), types.BaseFileQuery(new(types.FileQuery))
	switch {
	case info.IsDir():
		file, query = &types.FolderFileInfo{FileInfo: base}, new(types.FolderFileQuery)
	case filepath.Ext(path) == ".vmdk":
		file, query = &types.VmDiskFileInfo{FileInfo: base}, new(types.VmDiskFileQuery)
	case filepath.Ext(path) == ".vmx":
		file, query = &types.VmConfigFileInfo{FileInfo: base}, new(types.VmConfigFileQuery)
	case filepath.Ext(path) == ".iso":
		file, query = &types.IsoImageFileInfo{FileInfo: base}, new(types.IsoImageFileQuery)
	case filepath.Ext(path) == ".log":
		file, query = &types.VmLogFileInfo{FileInfo: base}, new(types.VmLogFileQuery)
	case filepath.Ext(path) == ".nvram":
		file, query = &types.VmNvramFileInfo{FileInfo: base}, new(types.VmNvramFileQuery)
	}
	if len(spec.Query) == 0 {
		return file
	}
	for _, wanted := range spec.Query {
		if sameType(wanted, query) || sameType(wanted, new(types.FileQuery)) {
			return file
		}
	}
	return nil
}

// diskSize is what a disk takes on its datastore.
func diskSize(disk diskInfo) int64 {
	if disk.Kind != thin && disk.Parent == "" {
		return disk.Bytes
	}
	info, err := os.Stat(disk.Flat)
	if err != nil {
		return 0
	}
	return allocated(info)
}
