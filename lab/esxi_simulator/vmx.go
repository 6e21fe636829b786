package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// vmx is a VM's configuration file, the truth about the VM: `key = "value"` lines, keys without regard to case, in the
// order in which they were written.
type vmx struct {
	keys   []string
	values map[string]string // by the key in lower case
}

var vmxLine = regexp.MustCompile(`^\s*([^\s="]+)\s*=\s*"([^"]*)"\s*$`)

func newVMX() *vmx { return &vmx{values: map[string]string{}} }

// parseVMX refuses what the host refuses: a single line that it does not understand makes the whole VM invalid.
func parseVMX(content []byte) (*vmx, error) {
	file := newVMX()
	for number, line := range strings.Split(string(content), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		found := vmxLine.FindStringSubmatch(trimmed)
		if found == nil {
			return nil, fmt.Errorf("line %d: syntax error", number+1)
		}
		file.set(found[1], unescapeVMX(found[2]))
	}
	return file, nil
}

func readVMX(path string) (*vmx, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseVMX(content)
}

func (v *vmx) format() []byte {
	var out strings.Builder
	for _, key := range v.keys {
		fmt.Fprintf(&out, "%s = \"%s\"\n", key, escapeVMX(v.get(key)))
	}
	return []byte(out.String())
}

func (v *vmx) clone() *vmx {
	copied := newVMX()
	for _, key := range v.keys {
		copied.set(key, v.get(key))
	}
	return copied
}

func (v *vmx) get(key string) string { return v.values[strings.ToLower(key)] }

func (v *vmx) has(key string) bool {
	_, exists := v.values[strings.ToLower(key)]
	return exists
}

// set writes a value; the key keeps its place.
func (v *vmx) set(key, value string) {
	if !v.has(key) {
		v.keys = append(v.keys, key)
	}
	v.values[strings.ToLower(key)] = value
}

func (v *vmx) setDefault(key, value string) {
	if v.get(key) == "" {
		v.set(key, value)
	}
}

func (v *vmx) setBool(key string, value bool) { v.set(key, strings.ToUpper(strconv.FormatBool(value))) }

func (v *vmx) remove(key string) {
	delete(v.values, strings.ToLower(key))
	for i, known := range v.keys {
		if strings.EqualFold(known, key) {
			v.keys = append(v.keys[:i:i], v.keys[i+1:]...)
			return
		}
	}
}

// removeAll removes every key that starts with prefix: one device.
func (v *vmx) removeAll(prefix string) {
	for _, key := range append([]string{}, v.keys...) {
		if strings.HasPrefix(strings.ToLower(key), strings.ToLower(prefix)) {
			v.remove(key)
		}
	}
}

func (v *vmx) bool(key string) bool { return strings.EqualFold(v.get(key), "true") }

func (v *vmx) int(key string, otherwise int) int {
	if number, err := strconv.Atoi(v.get(key)); err == nil {
		return number
	}
	return otherwise
}

// escapeVMX writes what would end the line or the quotes as |XX, as the host does.
func escapeVMX(value string) string {
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"' || c == '|' || c < ' ':
			fmt.Fprintf(&out, "|%02X", c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func unescapeVMX(value string) string {
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '|' && i+2 < len(value) {
			if code, err := strconv.ParseUint(value[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(code))
				i += 2
				continue
			}
		}
		out.WriteByte(value[i])
	}
	return out.String()
}

// vmxUUID writes 564d0000-... as "56 4d 00 00 ...-..", the form that .vmx files use, and vmUUID reads it back.
func vmxUUID(id string) string {
	hex := strings.ReplaceAll(id, "-", "")
	var pairs []string
	for i := 0; i+1 < len(hex); i += 2 {
		pairs = append(pairs, hex[i:i+2])
	}
	if len(pairs) != 16 {
		return ""
	}
	return strings.Join(pairs[:8], " ") + "-" + strings.Join(pairs[8:], " ")
}

func vmUUID(text string) string {
	hex := strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(text))
	if len(hex) != 32 {
		return ""
	}
	return strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
}
