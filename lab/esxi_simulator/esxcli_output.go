package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// field is one value under its title; the value is a string, a bool, an int, an int64 or a list of strings.
type field struct {
	title string
	value interface{}
}

type record []field

// output is what a command found, in one of the shapes that esxcli prints.
type output struct {
	records []record
	shape   shape
	names   []string // the headings of blocks
	heading string   // stands above a single structure
}

type shape int

const (
	nothing   shape = iota
	table           // one line each
	blocks          // a heading and indented fields each
	structure       // the fields of a single thing
)

func (o output) in(format string) string {
	switch {
	case o.shape == nothing:
		return ""
	case format == "csv":
		return o.csv()
	case format == "keyvalue":
		return o.keyValue()
	}
	switch o.shape {
	case table:
		return o.table()
	case blocks:
		return o.blocks()
	}
	return o.structure()
}

// csv: fields by name, titles without blanks, a comma after every value and thus after the last.
func (o output) csv() string {
	if len(o.records) == 0 {
		return "\n"
	}
	var text strings.Builder
	for _, f := range o.records[0].sorted() {
		text.WriteString(f.name() + ",")
	}
	text.WriteString("\n")
	for _, r := range o.records {
		for _, f := range r.sorted() {
			text.WriteString(csvValue(f.value) + ",")
		}
		text.WriteString("\n")
	}
	return text.String()
}

// csvValue quotes what holds commas or quotes; the elements of a list are each followed by a comma (the quoting was not
// seen on a real host).
func csvValue(value interface{}) string {
	text := fmt.Sprint(value)
	if list, ok := value.([]string); ok {
		text = ""
		for _, element := range list {
			text += element + ","
		}
	}
	if strings.ContainsAny(text, ",\"\n") {
		return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return text
}

// keyValue was not seen on a real host but for "name.type=value".
func (o output) keyValue() string {
	var text strings.Builder
	for i, r := range o.records {
		for _, f := range r.sorted() {
			kind := "string"
			switch f.value.(type) {
			case bool:
				kind = "boolean"
			case int, int64:
				kind = "integer"
			case []string:
				kind = "string[]"
			}
			prefix := ""
			if o.shape != structure {
				prefix = strconv.Itoa(i) + "."
			}
			fmt.Fprintf(&text, "%s%s.%s=%s\n", prefix, f.name(), kind, plainValue(f.value))
		}
	}
	return text.String()
}

func (f field) name() string { return strings.ReplaceAll(f.title, " ", "") }

func (r record) sorted() record {
	fields := append(record{}, r...)
	sort.Slice(fields, func(i, j int) bool { return fields[i].name() < fields[j].name() })
	return fields
}

func plainValue(value interface{}) string {
	if list, ok := value.([]string); ok {
		return strings.Join(list, ", ")
	}
	return fmt.Sprint(value)
}

// table: two blanks between columns; words stand left, numbers and booleans right.
func (o output) table() string {
	if len(o.records) == 0 {
		return ""
	}
	first := o.records[0]
	widths := make([]int, len(first))
	for i, f := range first {
		widths[i] = len([]rune(f.title))
		for _, r := range o.records {
			if width := len([]rune(plainValue(r[i].value))); width > widths[i] {
				widths[i] = width
			}
		}
	}
	var titles, rules []string
	for i, f := range first {
		titles = append(titles, align(f.title, widths[i], f.value))
		rules = append(rules, strings.Repeat("-", widths[i]))
	}
	lines := []string{strings.Join(titles, "  "), strings.Join(rules, "  ")}
	for _, r := range o.records {
		var cells []string
		for i, f := range r {
			cells = append(cells, align(plainValue(f.value), widths[i], f.value))
		}
		lines = append(lines, strings.Join(cells, "  "))
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func align(text string, width int, value interface{}) string {
	gap := strings.Repeat(" ", width-len([]rune(text)))
	switch value.(type) {
	case bool, int, int64:
		return gap + text
	}
	return text + gap
}

func (o output) blocks() string {
	var parts []string
	for i, r := range o.records {
		parts = append(parts, o.names[i]+"\n"+r.lines())
	}
	return strings.Join(parts, "\n")
}

func (o output) structure() string {
	heading := ""
	if o.heading != "" {
		heading = o.heading + "\n"
	}
	return heading + o.records[0].lines()
}

func (r record) lines() string {
	var text strings.Builder
	for _, f := range r {
		fmt.Fprintf(&text, "   %s: %s\n", f.title, plainValue(f.value))
	}
	return text.String()
}
