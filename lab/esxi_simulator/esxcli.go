package main

import (
	"fmt"
	"strings"
)

// esxCommand is one command of esxcli: its options and what it does.
type esxCommand struct {
	options []esxOption
	run     func(t *tool, given esxArguments) (output, error)
}

// esxOption is "-v|--vswitch-name"; a real host calls each by both names.
type esxOption struct {
	short, long string
	required    bool
}

type esxArguments map[string]string // by the long name, without dashes

// has tells whether an option was given at all.
func (a esxArguments) has(name string) bool {
	_, given := a[name]
	return given
}

// esxError is printed as it stands, with exit status 1.
type esxError string

func (e esxError) Error() string { return string(e) }

var (
	switchOption = esxOption{"-v", "--vswitch-name", true}
	groupOption  = esxOption{"-p", "--portgroup-name", true}
)

var esxCommands = map[string]esxCommand{
	"system version get":      {nil, (*tool).systemVersion},
	"system hostname get":     {nil, (*tool).systemHostname},
	"hardware cpu global get": {nil, (*tool).hardwareCPU},
	"hardware memory get":     {nil, (*tool).hardwareMemory},
	"hardware platform get":   {nil, (*tool).hardwarePlatform},
	"storage filesystem list": {nil, (*tool).filesystems},
	"vm process list":         {nil, (*tool).vmProcesses},
	"network nic list":        {nil, (*tool).physicalNics},
	"network vswitch standard list": {
		[]esxOption{{"-v", "--vswitch-name", false}}, (*tool).vswitches,
	},
	"network vswitch standard add": {
		[]esxOption{switchOption, {"-P", "--ports", false}}, (*tool).addVswitch,
	},
	"network vswitch standard set": {
		[]esxOption{switchOption, {"-m", "--mtu", false}, {"-c", "--cdp-status", false}}, (*tool).setVswitch,
	},
	"network vswitch standard remove": {
		[]esxOption{switchOption}, (*tool).removeVswitch,
	},
	"network ip interface list": {nil, (*tool).interfaces},
	"network vswitch standard policy failover get": {
		[]esxOption{switchOption}, (*tool).failover,
	},
	"network vswitch standard policy failover set": {
		[]esxOption{switchOption, {"-a", "--active-uplinks", false}, {"-s", "--standby-uplinks", false}}, (*tool).setFailover,
	},
	"network vswitch standard uplink add": {
		[]esxOption{switchOption, {"-u", "--uplink-name", true}}, (*tool).addUplink,
	},
	"network vswitch standard uplink remove": {
		[]esxOption{switchOption, {"-u", "--uplink-name", true}}, (*tool).removeUplink,
	},
	"network vswitch standard portgroup list": {nil, (*tool).portGroups},
	"network vswitch standard portgroup add": {
		[]esxOption{groupOption, switchOption}, (*tool).addPortGroup,
	},
	// Here -v is the VLAN, not the switch.
	"network vswitch standard portgroup set": {
		[]esxOption{groupOption, {"-v", "--vlan-id", false}}, (*tool).setPortGroup,
	},
	"network vswitch standard portgroup remove": {
		[]esxOption{groupOption, switchOption}, (*tool).removePortGroup,
	},
}

// esxAbsent are namespaces of a real host that this one does not have.
const esxAbsent = "daemon device elxnet fcoe graphics iscsi nvme rdma sched software vsan hardware network storage " +
	"system vm"

// esxcli reads the words up to the first option as the command's name.
func (t *tool) esxcli() int {
	format, words, err := t.esxFormat()
	if err != nil {
		t.print("Error: %s\n\n", err)
		return 1
	}
	var name []string
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		name, words = append(name, words[0]), words[1:]
	}
	path := strings.Join(name, " ")
	command, known := esxCommands[path]
	if !known {
		return t.unknownEsxCommand(path)
	}
	given, err := parseEsxOptions(command.options, words)
	if err != nil {
		t.print("Error: %s\n\nUsage: esxcli %s [cmd options]\n", err, path)
		return 1
	}
	result, err := command.run(t, given)
	if err != nil {
		if _, plain := err.(esxError); !plain {
			_, text := faultOf(err)
			err = esxError(text)
		}
		t.print("%s\n", err)
		return 1
	}
	t.print("%s", result.in(format))
	return 0
}

// esxFormat takes esxcli's own options from the front.
func (t *tool) esxFormat() (format string, words []string, err error) {
	for words = t.call.Args; len(words) > 0 && strings.HasPrefix(words[0], "-"); words = words[1:] {
		switch {
		case strings.HasPrefix(words[0], "--formatter="):
			format = strings.TrimPrefix(words[0], "--formatter=")
		case words[0] == "--formatter" && len(words) > 1:
			format, words = words[1], words[1:]
		default:
			return "", nil, fmt.Errorf("Invalid option %s", words[0])
		}
	}
	switch format {
	case "", "csv", "keyvalue":
		return format, words, nil
	}
	return "", nil, fmt.Errorf("not simulated: the formatter %s", format)
}

// unknownEsxCommand tells a wrong name from one that only a real host has, and from a namespace, whose content esxcli
// lists.
func (t *tool) unknownEsxCommand(path string) int {
	words := strings.Fields(path)
	for name := range esxCommands {
		if strings.HasPrefix(name, path+" ") || path == "" {
			t.print("Usage: esxcli %s {cmd} [cmd options]\n", path)
			return 1
		}
	}
	if len(words) > 1 && esxLeaf(words[len(words)-1]) {
		for _, absent := range strings.Fields(esxAbsent) {
			if words[0] == absent {
				t.complain("not simulated: esxcli %s (or a real host does not know it either)\n", path)
			}
		}
	}
	t.print("Error: Unknown command or namespace %s\n\n", path)
	return 1
}

// esxLeaf: esxcli's commands end in one of a few verbs.
func esxLeaf(word string) bool {
	switch word {
	case "list", "get", "set", "add", "remove", "install", "update", "rescan", "kill", "start", "stop", "load":
		return true
	}
	return false
}

func parseEsxOptions(options []esxOption, words []string) (esxArguments, error) {
	given := esxArguments{}
	for len(words) > 0 {
		word, value, hasValue := strings.Cut(words[0], "=")
		words = words[1:]
		var option *esxOption
		for i := range options {
			if word == options[i].short || word == options[i].long {
				option = &options[i]
			}
		}
		switch {
		case option == nil:
			return nil, fmt.Errorf("Invalid option %s", word)
		case !hasValue && len(words) == 0:
			return nil, fmt.Errorf("Argument expected for option %s", word)
		case !hasValue:
			value, words = words[0], words[1:]
		}
		given[strings.TrimPrefix(option.long, "--")] = value
	}
	for _, option := range options {
		if option.required && !given.has(strings.TrimPrefix(option.long, "--")) {
			return nil, fmt.Errorf("Missing required parameter %s|%s", option.short, option.long)
		}
	}
	return given, nil
}
