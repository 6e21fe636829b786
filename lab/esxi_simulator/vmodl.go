package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// vmodlText prints a value of the API as vim-cmd does: "(type) {" with one field a line, a comma and a blank between
// two fields, <unset> for what is missing.
func vmodlText(value interface{}) string { return vmodlValue(reflect.ValueOf(value), 0, false) }

// faultInVmodl prints a fault with its text.
func faultInVmodl(fault types.BaseMethodFault, text string) string {
	return vmodlFault(fault, text, 0)
}

// vmodlName turns a type's name in the WSDL (and in govmomi) into the dotted one.
func vmodlName(name string) string {
	name = strings.TrimPrefix(name, "Base")
	if dotted, known := vmodlNames[name]; known {
		return dotted
	}
	kind, exists := types.TypeFunc()(name)
	if exists && reflect.PtrTo(kind).Implements(reflect.TypeOf((*types.BaseMethodFault)(nil)).Elem()) {
		return "vim.fault." + name
	}
	for _, rule := range []struct{ prefix, dotted string }{
		{"VirtualMachine", "vim.vm."}, {"Guest", "vim.vm.GuestInfo."}, {"Host", "vim.host."},
	} {
		if strings.HasPrefix(name, rule.prefix) {
			return rule.dotted + strings.TrimPrefix(name, rule.prefix)
		}
	}
	if strings.HasPrefix(name, "Virtual") {
		return "vim.vm.device." + name
	}
	return "vim." + name
}

// referenceText is how a reference to a managed object is printed.
func referenceText(ref types.ManagedObjectReference) string {
	kind := "vim." + ref.Type
	if ref.Type == "VirtualMachineSnapshot" {
		kind = "vim.vm.Snapshot"
	}
	return fmt.Sprintf("'%s:%s'", kind, ref.Value)
}

const (
	unset      = "<unset>"
	indentStep = "   "
)

// vmodlValue prints one value; optional says that an empty one counts as missing.
func vmodlValue(v reflect.Value, depth int, optional bool) string {
	if !v.IsValid() {
		return unset
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return fmt.Sprintf("%q", x.UTC().Format("2006-01-02T15:04:05.999999Z"))
	case types.ManagedObjectReference:
		return referenceText(x)
	case types.LocalizedMethodFault:
		return vmodlFault(x.Fault, x.LocalizedMessage, depth)
	}
	switch v.Kind() {
	case reflect.Ptr, reflect.Interface:
		if v.IsNil() {
			return vmodlMissing(v.Type())
		}
		return vmodlValue(v.Elem(), depth, false)
	case reflect.Struct:
		return vmodlObject(v, depth)
	case reflect.Slice:
		return vmodlArray(v, depth, optional)
	case reflect.String:
		if optional && v.Len() == 0 {
			return unset
		}
		return `"` + v.String() + `"` // quotes inside are not escaped
	case reflect.Bool:
		return fmt.Sprint(v.Bool())
	}
	if optional && v.IsZero() {
		return unset
	}
	return fmt.Sprint(v.Interface())
}

func vmodlMissing(kind reflect.Type) string {
	if kind.Kind() == reflect.Ptr {
		kind = kind.Elem()
	}
	name := kind.Name()
	object := kind.Kind() == reflect.Struct || kind.Kind() == reflect.Interface
	switch {
	case !object, name == "AnyType", name == "", name == "Time", name == "ManagedObjectReference":
		return unset
	case name == "LocalizedMethodFault":
		return "(vmodl.MethodFault) null"
	}
	return "(" + vmodlName(name) + ") null"
}

func vmodlObject(v reflect.Value, depth int) string {
	fields := vmodlFields(v, depth+1)
	if len(fields) == 0 {
		return "(" + vmodlName(v.Type().Name()) + ") {\n" + strings.Repeat(indentStep, depth) + "}"
	}
	return "(" + vmodlName(v.Type().Name()) + ") {\n" + strings.Join(fields, ", \n") + "\n" +
		strings.Repeat(indentStep, depth) + "}"
}

// vmodlFields are the lines of an object, those of its base types first.
func vmodlFields(v reflect.Value, depth int) []string {
	var lines []string
	for i := 0; i < v.NumField(); i++ {
		field := v.Type().Field(i)
		if field.Anonymous {
			lines = append(lines, vmodlFields(v.Field(i), depth)...)
			continue
		}
		tag := strings.Split(field.Tag.Get("xml"), ",")
		optional := strings.Contains(field.Tag.Get("xml"), "omitempty")
		lines = append(lines, strings.Repeat(indentStep, depth)+tag[0]+" = "+vmodlValue(v.Field(i), depth, optional))
	}
	return lines
}

func vmodlArray(v reflect.Value, depth int, optional bool) string {
	kind := v.Type().Elem()
	name := vmodlName(kind.Name())
	switch kind.Kind() {
	case reflect.String:
		name = "string"
	case reflect.Int64:
		name = "long"
	case reflect.Int32, reflect.Int16:
		name = "int"
	case reflect.Uint8, reflect.Int8:
		name = "byte"
	}
	if kind.Name() == "ManagedObjectReference" {
		name = "ManagedObjectReference"
	}
	switch {
	case v.Len() == 0 && optional:
		return unset
	case v.Len() == 0:
		return "(" + name + ") []"
	}
	indent := strings.Repeat(indentStep, depth+1)
	items := make([]string, v.Len())
	for i := range items {
		items[i] = indent + vmodlValue(v.Index(i), depth+1, false)
	}
	return "(" + name + ") [\n" + strings.Join(items, ", \n") + "\n" + strings.Repeat(indentStep, depth) + "]"
}

// vmodlFault prints the fields, then the text, which no comma parts from them.
func vmodlFault(fault types.BaseMethodFault, text string, depth int) string {
	v := reflect.ValueOf(fault)
	for v.Kind() == reflect.Ptr || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	lines := strings.Join(vmodlFields(v, depth+1), ", \n")
	indent := strings.Repeat(indentStep, depth)
	return fmt.Sprintf("(%s) {\n%s\n%smsg = \"%s\"\n%s}", vmodlName(v.Type().Name()), lines, indent+indentStep, text, indent)
}
