package main

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
)

// newerGuests are identifiers that a 7.0.3 host knows and the library's list lacks.
var newerGuests = []string{
	"rhel9_64Guest", "centos9_64Guest", "sles16_64Guest", "debian11_64Guest", "debian11Guest", "oracleLinux9_64Guest",
	"other5xLinux64Guest", "other5xLinuxGuest", "rockylinux_64Guest", "almalinux_64Guest", "windows2019srvNext_64Guest",
	"freebsd13_64Guest", "vmkernel7Guest", "crxPod1Guest", "amazonlinux3_64Guest",
}

// guestIDs are all known identifiers, by the name that a .vmx file uses for them: "ubuntu-64".
var guestIDs = func() map[string]string {
	known := map[string]string{}
	for _, id := range simulator.GuestID {
		known[vmxGuestOS(string(id))] = string(id)
	}
	for _, id := range newerGuests {
		known[vmxGuestOS(id)] = id
	}
	return known
}()

func knownGuest(id string) bool { return guestIDs[vmxGuestOS(id)] == id }

// vmxGuestOS turns ubuntu64Guest into ubuntu-64.
func vmxGuestOS(id string) string {
	switch id {
	case "otherGuest64":
		return "other-64"
	case "otherGuest":
		return "other"
	}
	name := strings.TrimSuffix(id, "Guest")
	if short := strings.TrimSuffix(name, "64"); short != name {
		name = strings.TrimSuffix(short, "_") + "-64"
	}
	return strings.ToLower(name)
}

// guestID reads a .vmx file's guestOS; what the host does not know is an "other" machine to it.
func guestID(guestOS string) string {
	if id, known := guestIDs[strings.ToLower(guestOS)]; known {
		return id
	}
	return "otherGuest"
}

// guestFullName is near enough to the host's table of names for people to recognize the system.
func guestFullName(id string) string {
	bits := " (32-bit)"
	name := strings.TrimSuffix(id, "Guest")
	if id == "otherGuest64" || strings.HasSuffix(name, "64") {
		bits = " (64-bit)"
	}
	for prefix, full := range map[string]string{
		"ubuntu": "Ubuntu Linux", "debian": "Debian GNU/Linux", "centos": "CentOS", "rhel": "Red Hat Enterprise Linux",
		"sles": "SUSE Linux Enterprise", "windows": "Microsoft Windows", "vmkernel": "VMware ESXi",
	} {
		if strings.HasPrefix(name, prefix) {
			return full + bits
		}
	}
	if strings.Contains(name, "Linux") {
		return "Other Linux" + bits
	}
	return "Other" + bits
}
