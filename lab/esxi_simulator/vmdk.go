package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// diskKind is how a disk's blocks are allocated, by the names that vmkfstools gives them.
type diskKind string

const (
	thin             diskKind = "thin"
	zeroedThick      diskKind = "zeroedthick"
	eagerZeroedThick diskKind = "eagerzeroedthick"
)

const (
	sectorSize = 512
	// copyBlock is both the unit in which holes are found and the step in which free space is checked.
	copyBlock = 1 << 20
)

// The texts and numbers are those of ESXi's disk library, but for errTruncated.
var (
	errNotADisk  = errors.New("The file specified is not a virtual disk (15).")
	errDiskType  = errors.New("Unsupported or invalid disk type (7).")
	errShrink    = errors.New("One of the parameters supplied is invalid (1).")
	errExists    = errors.New("The file already exists (39).")
	errNoDisk    = errors.New("The system cannot find the file specified (25).")
	errTruncated = errors.New("The stream ended before its last marker.")
)

// diskInfo is what a descriptor says. Parent is set for a snapshot's delta: what Flat does not hold is read from there.
type diskInfo struct {
	Bytes  int64
	Kind   diskKind
	Flat   string
	Parent string
}

var (
	extentLine = regexp.MustCompile(`(?m)^RW (\d+) (\S+) "(.+)"( \d+)?[ \t]*$`)
	parentLine = regexp.MustCompile(`(?m)^parentFileNameHint="(.*)"[ \t]*$`)
	thinLine   = regexp.MustCompile(`(?m)^ddb\.thinProvisioned = "1"`)
	cidLine    = regexp.MustCompile(`(?m)^CID=([0-9a-f]{8})`)
)

// eagerLine keeps what a real host's VMFS knows of the blocks and writes in no descriptor.
const eagerLine = "# VMFS: eagerzeroedthick\n"

// createDisk makes an empty disk: descriptor and sparse extent, or neither.
func createDisk(path string, bytes int64, kind diskKind) error {
	if _, err := os.Lstat(path); err == nil {
		return errExists
	}
	needed := int64(copyBlock)
	if kind != thin {
		needed += bytes
	}
	if err := reserveAt(path, needed); err != nil {
		return err
	}
	flat := strings.TrimSuffix(path, ".vmdk") + "-flat.vmdk"
	if err := makeSparse(flat, bytes); err != nil {
		return err
	}
	if err := writeWhole(path, []byte(describeDisk(flat, bytes, kind))); err != nil {
		os.Remove(flat)
		return err
	}
	return nil
}

func makeSparse(path string, bytes int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errExists
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Truncate(bytes)
}

// writeWhole replaces a file at once, so that a kill in the middle leaves the old one.
func writeWhole(path string, content []byte) error {
	draft := path + "~"
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

func describeDisk(flat string, bytes int64, kind diskKind) string {
	const heads, sectors = 255, 63
	var text strings.Builder
	text.WriteString("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n")
	fmt.Fprintf(&text, "CID=%s\nparentCID=ffffffff\nisNativeSnapshot=\"no\"\ncreateType=\"vmfs\"\n\n", randomHex(4, ""))
	fmt.Fprintf(&text, "# Extent description\nRW %d VMFS \"%s\"\n\n", bytes/sectorSize, filepath.Base(flat))
	text.WriteString("# The Disk Data Base \n#DDB\n\n")
	if kind == eagerZeroedThick {
		text.WriteString(eagerLine)
	}
	fmt.Fprintf(&text, "ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"%d\"\n", bytes/sectorSize/heads/sectors)
	fmt.Fprintf(&text, "ddb.geometry.heads = \"%d\"\nddb.geometry.sectors = \"%d\"\n", heads, sectors)
	fmt.Fprintf(&text, "ddb.longContentID = \"%s\"\n", randomHex(16, ""))
	if kind == thin {
		text.WriteString("ddb.thinProvisioned = \"1\"\n")
	}
	fmt.Fprintf(&text, "ddb.uuid = \"60 00 C2 9%s %s-%s\"\n", randomHex(1, "")[:1], randomHex(4, " "), randomHex(8, " "))
	text.WriteString("ddb.virtualHWVersion = \"19\"\n")
	return text.String()
}

func randomHex(bytes int, separator string) string {
	value := make([]byte, bytes)
	if _, err := rand.Read(value); err != nil {
		panic(err) // the kernel has no randomness: nothing else will work either
	}
	parts := make([]string, bytes)
	for i, b := range value {
		parts[i] = fmt.Sprintf("%02x", b)
	}
	return strings.Join(parts, separator)
}

// readDisk reads a native disk's descriptor: of a base disk or of a snapshot's delta.
func readDisk(path string) (diskInfo, error) {
	text, err := readDescriptor(path)
	if err != nil {
		return diskInfo{}, err
	}
	extent := extentLine.FindStringSubmatch(text)
	if extent == nil {
		return diskInfo{}, errNotADisk
	}
	if extent[2] != "VMFS" && extent[2] != "VMFSSPARSE" {
		return diskInfo{}, errDiskType
	}
	sectors, err := strconv.ParseInt(extent[1], 10, 64)
	if err != nil {
		return diskInfo{}, errNotADisk
	}
	disk := diskInfo{Bytes: sectors * sectorSize, Kind: zeroedThick, Flat: beside(path, extent[3])}
	switch {
	case thinLine.MatchString(text) || extent[2] == "VMFSSPARSE":
		disk.Kind = thin
	case strings.Contains(text, eagerLine):
		disk.Kind = eagerZeroedThick
	}
	if parent := parentLine.FindStringSubmatch(text); parent != nil {
		disk.Parent = beside(path, parent[1])
	}
	return disk, nil
}

func readDescriptor(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errNoDisk
	}
	if err != nil {
		return "", err
	}
	// A descriptor is about 500 bytes; whatever is larger is a disk's content or an upload.
	if info.IsDir() || info.Size() > 64<<10 {
		return "", errNotADisk
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(text), "# Disk DescriptorFile") {
		return "", errNotADisk
	}
	return string(text), nil
}

// beside resolves a file name in a descriptor: relative ones are meant from the descriptor's own folder.
func beside(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(path), name)
}

// createDelta makes a snapshot's disk on top of parent: what is written from now on goes there.
func createDelta(path, parent string) error {
	base, err := readDisk(parent)
	if err != nil {
		return err
	}
	text, err := readDescriptor(parent)
	if err != nil {
		return err
	}
	parentCID := "ffffffff"
	if cid := cidLine.FindStringSubmatch(text); cid != nil {
		parentCID = cid[1]
	}
	delta := strings.TrimSuffix(path, ".vmdk") + "-delta.vmdk"
	if err := makeSparse(delta, base.Bytes); err != nil {
		return err
	}
	hint := parent
	if filepath.Dir(parent) == filepath.Dir(path) {
		hint = filepath.Base(parent)
	}
	descriptor := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%s\nparentCID=%s\n"+
		"isNativeSnapshot=\"no\"\ncreateType=\"vmfsSparse\"\nparentFileNameHint=\"%s\"\n"+
		"# Extent description\nRW %d VMFSSPARSE \"%s\"\n\n# The Disk Data Base \n#DDB\n\nddb.longContentID = \"%s\"\n",
		randomHex(4, ""), parentCID, hint, base.Bytes/sectorSize, filepath.Base(delta), randomHex(16, ""))
	if err := writeWhole(path, []byte(descriptor)); err != nil {
		os.Remove(delta)
		return err
	}
	return nil
}

// commitDelta writes a delta into its parent and removes it: what deleting a snapshot does.
func commitDelta(path string) error {
	delta, err := readDisk(path)
	if err != nil {
		return err
	}
	if delta.Parent == "" {
		return errDiskType
	}
	parent, err := readDisk(delta.Parent)
	if err != nil {
		return err
	}
	if err := copyData(delta.Flat, parent.Flat, false, nil); err != nil {
		return err
	}
	return deleteDisk(path)
}

// cloneDisk copies a disk with everything its snapshots hold, and leaves no half copy behind. Holes stay holes.
// progress may be nil.
func cloneDisk(src, dst string, kind diskKind, progress func(percent int)) error {
	return copyDisk(src, dst, kind, func(percent int) error {
		if progress != nil {
			progress(percent)
		}
		return nil
	})
}

// errKilled is what progress answers when the process that copies is killed: then nobody is left to clean up.
var errKilled = errors.New("killed")

// copyDisk is cloneDisk with a progress that can stop it.
func copyDisk(src, dst string, kind diskKind, progress func(percent int) error) error {
	if isHosted(src) {
		file, err := os.Open(src)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		report := percentSteps(progress)
		if err := importStream(&meter{from: file, total: info.Size(), report: report}, dst, 0, kind); err != nil {
			return err
		}
		return report(1, 1)
	}
	chain, err := diskChain(src)
	if err != nil {
		return err
	}
	if err := createDisk(dst, chain[0].Bytes, kind); err != nil {
		return err
	}
	made, err := readDisk(dst)
	if err != nil {
		return err
	}
	report := percentSteps(progress)
	for i, layer := range chain {
		step := func(done, total int64) error { return report(int64(i)*total+done, total*int64(len(chain))) }
		if err := copyData(layer.Flat, made.Flat, i == 0, step); err != nil {
			discard(dst, err)
			return err
		}
	}
	if err := report(1, 1); err != nil {
		discard(dst, err)
		return err
	}
	return nil
}

// discard removes a half disk, unless whoever made it was killed.
func discard(path string, reason error) {
	if !errors.Is(reason, errKilled) {
		_ = deleteDisk(path)
	}
}

// diskChain returns a disk and all it stands on, the base first.
func diskChain(path string) ([]diskInfo, error) {
	disk, err := readDisk(path)
	if err != nil {
		return nil, err
	}
	if disk.Parent == "" {
		return []diskInfo{disk}, nil
	}
	below, err := diskChain(disk.Parent)
	if err != nil {
		return nil, err
	}
	return append(below, disk), nil
}

// percentSteps calls progress only when the whole percentage has changed, and never backwards.
func percentSteps(progress func(percent int) error) func(done, total int64) error {
	last := -1
	return func(done, total int64) error {
		percent := 100
		if total > 0 {
			percent = int(done * 100 / total)
		}
		if percent <= last {
			return nil
		}
		last = percent
		return progress(percent)
	}
}

// copyData writes the blocks that src holds over those of dst. Blocks of zeros are left out where dst is new; over a
// parent's content they count.
func copyData(src, dst string, skipZeros bool, step func(done, total int64) error) error {
	from, err := os.Open(src)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := newDiskWriter(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	block := make([]byte, copyBlock)
	for offset := int64(0); ; {
		start, err := from.Seek(offset, seekData)
		if errors.Is(err, syscall.ENXIO) { // nothing but a hole up to the end
			break
		}
		if err != nil {
			return err
		}
		end, err := from.Seek(start, seekHole)
		if err != nil {
			return err
		}
		for offset = start; offset < end; {
			size := min(copyBlock, end-offset)
			if _, err := from.ReadAt(block[:size], offset); err != nil {
				return err
			}
			if !skipZeros || !allZeros(block[:size]) {
				if err := to.writeAt(block[:size], offset); err != nil {
					return err
				}
			}
			offset += size
			if step == nil {
				continue
			}
			if err := step(offset, info.Size()); err != nil {
				return err
			}
		}
	}
	return to.Close()
}

// whence values of lseek(2) that find a sparse file's data and holes.
const (
	seekData = 3
	seekHole = 4
)

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func allZeros(block []byte) bool {
	for _, b := range block {
		if b != 0 {
			return false
		}
	}
	return true
}

// diskWriter writes into an extent and asks the datastore for room every 16 MiB, for a thin disk grows as it is
// written and a full datastore must end that as on a real host. A thick one has its room already.
type diskWriter struct {
	*os.File
	store   *datastore
	granted int64
}

func newDiskWriter(path string) (*diskWriter, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	writer := &diskWriter{File: file}
	if !isThickExtent(path) {
		writer.store = datastoreOf(path)
	}
	return writer, nil
}

func (w *diskWriter) writeAt(block []byte, offset int64) error {
	const step = 16 << 20
	if w.store != nil && w.granted < int64(len(block)) {
		if err := w.store.reserve(int64(len(block))); err != nil {
			return err
		}
		w.granted = min(step, w.store.free())
	}
	w.granted -= int64(len(block))
	_, err := w.WriteAt(block, offset)
	return err
}

// growDisk makes a disk larger; the new part reads as zeros.
func growDisk(path string, bytes int64) error {
	disk, err := readDisk(path)
	if err != nil {
		return err
	}
	if bytes < disk.Bytes || disk.Parent != "" {
		return errShrink
	}
	if disk.Kind != thin {
		if err := reserveAt(path, bytes-disk.Bytes); err != nil {
			return err
		}
	}
	if err := os.Truncate(disk.Flat, bytes); err != nil {
		return err
	}
	text, err := readDescriptor(path)
	if err != nil {
		return err
	}
	extent := fmt.Sprintf(`RW %d VMFS "%s"`, bytes/sectorSize, filepath.Base(disk.Flat))
	return writeWhole(path, []byte(extentLine.ReplaceAllLiteralString(text, extent)))
}

func deleteDisk(path string) error {
	disk, err := readDisk(path)
	if err != nil {
		return err
	}
	if err := os.Remove(disk.Flat); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(path)
}

// renameDisk moves a disk within a datastore: the descriptor names its extent, so both change.
func renameDisk(oldPath, newPath string) error {
	disk, err := readDisk(oldPath)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(newPath); err == nil {
		return errExists
	}
	text, err := readDescriptor(oldPath)
	if err != nil {
		return err
	}
	flat := strings.TrimSuffix(newPath, ".vmdk") + "-flat.vmdk"
	extent := fmt.Sprintf(`RW %d VMFS "%s"`, disk.Bytes/sectorSize, filepath.Base(flat))
	if err := os.Rename(disk.Flat, flat); err != nil {
		return err
	}
	if err := writeWhole(newPath, []byte(extentLine.ReplaceAllLiteralString(text, extent))); err != nil {
		return err
	}
	return os.Remove(oldPath)
}

// firstLine returns the first line of the disk's content, "" when it holds zeros there. The lab writes the name of
// what a disk boots into its first bytes.
func firstLine(path string) string {
	chain, err := diskChain(path)
	if err != nil {
		return ""
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if line, found := firstLineOf(chain[i].Flat); found {
			return line
		}
	}
	return ""
}

func firstLineOf(flat string) (line string, found bool) {
	file, err := os.Open(flat)
	if err != nil {
		return "", false
	}
	defer file.Close()
	if start, err := file.Seek(0, seekData); err != nil || start != 0 {
		return "", false // a hole: the layer below has the word
	}
	head := make([]byte, 4096)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false
	}
	text := string(head[:n])
	if end := strings.IndexAny(text, "\n\x00"); end >= 0 {
		text = text[:end]
	}
	return strings.TrimSpace(text), true
}
