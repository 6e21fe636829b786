package main

import (
	"fmt"
	"strings"
)

// df prints the datastores; the host's own boot volumes are not simulated.
func (t *tool) df() int {
	unit, heading := int64(1), "Bytes"
	for _, option := range t.call.Args {
		switch option {
		case "-k":
			unit, heading = 1024, "1k-blocks"
		case "-m":
			unit, heading = 1<<20, "1M-blocks"
		case "-h":
			unit, heading = 0, "Size"
		default:
			return t.notSimulated("df " + option)
		}
	}
	show := func(bytes int64) string {
		if unit == 0 {
			return humanSize(bytes)
		}
		return fmt.Sprint(bytes / unit)
	}
	t.print("%-10s %14s %14s %14s %s\n", "Filesystem", heading, "Used", "Available", "Use% Mounted on")
	for _, d := range t.h.datastores {
		free := d.free()
		used := d.size() - free
		t.print("%-10s %14s %14s %14s %3d%% %s\n",
			"VMFS-6", show(d.size()), show(used), show(free), used*100/d.size(), d.dir)
	}
	return 0
}

func humanSize(bytes int64) string {
	size, unit := float64(bytes), 0
	for ; size >= 1024 && unit < 4; unit++ {
		size /= 1024
	}
	return fmt.Sprintf("%.1f%s", size, []string{"B", "K", "M", "G", "T"}[unit])
}

func (t *tool) uname() int {
	release := t.h.cfg.Version
	fields := map[string]string{
		"-s": "VMkernel", "-n": t.h.cfg.Hostname, "-r": release, "-m": "x86_64", "-o": "ESXi",
		"-v": "#1 SMP Release build-" + t.h.content.About.Build,
	}
	order := t.call.Args
	switch {
	case len(order) == 0:
		order = []string{"-s"}
	case len(order) == 1 && order[0] == "-a":
		order = []string{"-s", "-n", "-r", "-v", "-m", "-m", "-m", "-o"}
	}
	var words []string
	for _, option := range order {
		word, known := fields[option]
		if !known {
			return t.notSimulated("uname " + option)
		}
		words = append(words, word)
	}
	t.print("%s\n", strings.Join(words, " "))
	return 0
}
