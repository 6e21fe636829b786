package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// streamHeader is the first sector of a hosted sparse disk (VMware's "Virtual Disk Format 5.0", SparseExtentHeader).
type streamHeader struct {
	Magic            [4]byte
	Version          uint32
	Flags            uint32
	Capacity         uint64 // all offsets and sizes are in sectors
	GrainSize        uint64
	DescriptorOffset uint64
	DescriptorSize   uint64
	EntriesPerTable  uint32
	RedundantOffset  uint64
	DirectoryOffset  uint64
	Overhead         uint64
	UncleanShutdown  uint8
	LineEnds         [4]byte
	Compression      uint16
}

const (
	hostedMagic     = "KDMV"
	flagMarkers     = 1 << 17 // the disk is a stream of markers: streamOptimized
	largestGrain    = 1 << 20 // of what exporters write; guards against a broken size
	endOfStream     = 0
	deflatedContent = 1
)

// isHosted tells a disk of VMware's hosted products (one file, with a binary head) from one of ESXi.
func isHosted(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	magic := make([]byte, 4)
	_, err = io.ReadFull(file, magic)
	return err == nil && string(magic) == hostedMagic
}

// importStream turns a streamOptimized VMDK into a native disk of at least the given size (0: as the stream says) and
// leaves nothing behind when the stream is broken.
func importStream(r io.Reader, dst string, size int64, kind diskKind) error {
	sector := make([]byte, sectorSize)
	if _, err := io.ReadFull(r, sector); err != nil {
		return errNotADisk
	}
	var header streamHeader
	if err := binary.Read(bytes.NewReader(sector), binary.LittleEndian, &header); err != nil {
		return err
	}
	if string(header.Magic[:]) != hostedMagic {
		return errNotADisk
	}
	if header.Flags&flagMarkers == 0 || header.Compression != deflatedContent {
		return errDiskType
	}
	capacity := int64(header.Capacity) * sectorSize
	if size < capacity {
		size = capacity
	}
	if err := createDisk(dst, size, kind); err != nil {
		return err
	}
	if err := readGrains(r, dst, header); err != nil {
		discard(dst, err)
		return err
	}
	return nil
}

// readGrains reads the markers that follow the head. A grain says itself where it belongs, so the tables are skipped.
func readGrains(r io.Reader, dst string, header streamHeader) error {
	disk, err := readDisk(dst)
	if err != nil {
		return err
	}
	to, err := newDiskWriter(disk.Flat)
	if err != nil {
		return err
	}
	defer to.Close()
	if header.Overhead < 1 {
		return errNotADisk
	}
	if err := skipSectors(r, header.Overhead-1); err != nil {
		return err
	}
	sector := make([]byte, sectorSize)
	for {
		if _, err := io.ReadFull(r, sector); err != nil {
			return truncated(err)
		}
		value := binary.LittleEndian.Uint64(sector[0:8])
		size := binary.LittleEndian.Uint32(sector[8:12])
		kind := binary.LittleEndian.Uint32(sector[12:16])
		switch {
		case size > 0:
			grain, err := readGrain(r, sector, size)
			if err != nil {
				return err
			}
			offset := int64(value) * sectorSize
			if offset < 0 || offset >= disk.Bytes {
				return fmt.Errorf("grain at sector %d lies beyond the disk", value)
			}
			grain = grain[:min(int64(len(grain)), disk.Bytes-offset)]
			if allZeros(grain) {
				continue
			}
			if err := to.writeAt(grain, offset); err != nil {
				return err
			}
		case kind == endOfStream && value == 0:
			return to.Close()
		default: // a grain table, the grain directory or the footer
			if err := skipSectors(r, value); err != nil {
				return err
			}
		}
	}
}

// readGrain reads the compressed bytes, which begin in the marker's own sector and are padded to whole sectors.
func readGrain(r io.Reader, sector []byte, size uint32) ([]byte, error) {
	if size > largestGrain {
		return nil, errNotADisk
	}
	const inMarker = sectorSize - 12
	packed := append([]byte{}, sector[12:]...)
	if size > inMarker {
		rest := (int(size) - inMarker + sectorSize - 1) / sectorSize * sectorSize
		more := make([]byte, rest)
		if _, err := io.ReadFull(r, more); err != nil {
			return nil, truncated(err)
		}
		packed = append(packed, more...)
	}
	unpacker, err := zlib.NewReader(bytes.NewReader(packed[:size]))
	if err != nil {
		return nil, err
	}
	defer unpacker.Close()
	return io.ReadAll(io.LimitReader(unpacker, largestGrain))
}

func skipSectors(r io.Reader, sectors uint64) error {
	_, err := io.CopyN(io.Discard, r, int64(sectors)*sectorSize)
	return truncated(err)
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTruncated
	}
	return err
}

// meter reports how far a file has been read.
type meter struct {
	from   io.Reader
	done   int64
	total  int64
	report func(done, total int64) error
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.done += int64(n)
	if stopped := m.report(m.done, m.total); stopped != nil {
		return n, stopped
	}
	return n, err
}
