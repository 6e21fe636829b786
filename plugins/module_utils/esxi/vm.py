# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a virtual machine is, what it shall be, and the one set of changes between the two.

Check mode, the diff, the gate before a power cycle and the ways that apply it all read the same set.
"""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.edge.rack.plugins.module_utils.esxi import guestinfo
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import Datastore, datastore_named
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiError, EsxiSettingsError, EsxiWrongState

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image

GIB = 2**30
MIB = 2**20
FREE_LICENCE_CPUS = 8
MOST_DISKS = 15
MOST_NETWORKS = 10
BOOT_DEVICES = ("disk", "cdrom", "network")
DISK_TYPES = ("thin", "thick", "eagerzeroedthick")
NIC_TYPES = ("vmxnet3", "e1000e")
STOP_ACTIONS = ("guestShutdown", "powerOff", "suspend", "systemDefault")
SYSTEM_DEFAULT = -1

# What can be changed while a machine is on. By the API the host changes the running machine; a .vmx is read by the
# host when a machine that is off is reloaded, and written by it while one is on.
LIVE = {
    "api": frozenset(
        [
            "annotation",
            "boot_order",
            "cloud_init",
            "disk_added",
            "disk_size",
            "guestinfo",
            "iso",
            "network",
            "network_added",
            "network_removed",
        ]
    ),
    "ssh": frozenset(),
}


@dataclass(frozen=True)
class Disk:
    size_bytes: int
    type: str = ""
    path: str = ""
    slot: str = ""
    """The name by which the transport changes it: ``scsi0:0`` in a .vmx, a device's key in the API."""

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"size_gib": in_gib(self.size_bytes), "type": self.type, "path": self.path}


@dataclass(frozen=True)
class Nic:
    network: str
    mac: str = ""
    type: str = ""
    slot: str = ""

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"network": self.network, "mac": self.mac, "type": self.type}


@dataclass(frozen=True)
class Autostart:
    enabled: bool = False
    order: int = SYSTEM_DEFAULT
    start_delay_seconds: int = SYSTEM_DEFAULT
    stop_delay_seconds: int = SYSTEM_DEFAULT
    stop_action: str = "systemDefault"

    @classmethod
    def from_entry(
        cls, start_action: str, order: int, start_delay: int, stop_delay: int, stop_action: str
    ) -> Autostart:
        """From an entry of the host. It keeps actions as they were written, `PowerOn` or `powerOn`."""
        stop_action = stop_action or "systemDefault"
        return cls(
            (start_action or "").lower() == "poweron",
            order,
            start_delay,
            stop_delay,
            stop_action[0].lower() + stop_action[1:],
        )

    def as_result(self) -> t.Dict[str, t.Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class VmState:
    """A machine as the host has it."""

    name: str
    id: str
    path: str
    power_state: str
    uuid: str = ""
    cpus: int = 1
    memory_mib: int = 0
    firmware: str = "bios"
    guest_id: str = ""
    annotation: str = ""
    disks: t.Tuple[Disk, ...] = ()
    nics: t.Tuple[Nic, ...] = ()
    iso: str = ""
    has_drive: bool = False
    boot_order: t.Tuple[str, ...] = ()
    guestinfo: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    autostart: Autostart = Autostart()
    tools: str = "not_running"
    address: str = ""
    hostname: str = ""
    unfinished: bool = False
    """A creation was cut off: the marker is still there."""
    marker: str = ""
    """What it says: the token of the run that creates the machine, and until when that run may be at it."""

    @property
    def is_off(self) -> bool:
        return self.power_state == "poweredoff"

    def as_result(self) -> t.Dict[str, t.Any]:
        return {
            "name": self.name,
            "id": self.id,
            "uuid": self.uuid,
            "power_state": self.power_state,
            "path": self.path,
            "cpus": self.cpus,
            "memory_mib": self.memory_mib,
            "firmware": self.firmware,
            "guest_id": self.guest_id,
            "annotation": self.annotation,
            "disks": [disk.as_result() for disk in self.disks],
            "networks": [nic.as_result() for nic in self.nics],
            "iso": self.iso,
            "boot_order": list(self.boot_order),
            "autostart": self.autostart.as_result(),
            "address": self.address,
            "hostname": self.hostname,
            "tools": self.tools,
        }


@dataclass(frozen=True)
class Host:
    """What a machine is checked against before anything is changed."""

    networks: t.Tuple[str, ...]
    datastores: t.Mapping[str, Datastore]


@dataclass(frozen=True)
class Wanted:
    """The module's options. None means: leave it alone, or for a new machine take the default."""

    name: str
    state: str = "present"
    cpus: t.Optional[int] = None
    memory_mib: t.Optional[int] = None
    firmware: t.Optional[str] = None
    guest_id: t.Optional[str] = None
    annotation: t.Optional[str] = None
    datastore: t.Optional[str] = None
    disks: t.Optional[t.Tuple[Disk, ...]] = None
    nics: t.Optional[t.Tuple[Nic, ...]] = None
    """MAC and type are empty where the user leaves them to the host."""
    iso: t.Optional[str] = None
    boot_order: t.Optional[t.Tuple[str, ...]] = None
    texts: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    """``userdata`` and ``metadata`` as texts."""
    guestinfo: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    autostart: t.Optional[t.Mapping[str, t.Any]] = None
    allow_power_cycle: bool = False

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Wanted:
        """Raises EsxiSettingsError, which names the machine and the option."""
        name = options["name"]
        disks, nics = options["disks"], options["networks"]
        texts = {}
        if options["cloud_init"] is not None:
            given = options["cloud_init"]
            if given["user_data"] is not None:
                texts["userdata"] = given["user_data"]
            if given["meta_data"] is not None or given["user_data"]:
                texts["metadata"] = guestinfo.metadata_text(given["meta_data"] or {}, name)
        wanted = cls(
            name=name,
            state=options["state"],
            cpus=options["cpus"],
            memory_mib=options["memory_mib"],
            firmware=options["firmware"],
            guest_id=options["guest_id"],
            annotation=options["annotation"],
            datastore=options["datastore"],
            disks=None if disks is None else tuple(Disk(d["size_gib"] * GIB, d["type"]) for d in disks),
            nics=None
            if nics is None
            else tuple(Nic(n["network"], (n["mac"] or "").lower().replace("-", ":"), n["type"] or "") for n in nics),
            iso=options["iso"],
            boot_order=tuple(options["boot_order"]) if options["boot_order"] else None,
            texts=texts,
            guestinfo={
                key if key.startswith("guestinfo.") else "guestinfo." + key: "" if value is None else str(value)
                for key, value in (options["guestinfo"] or {}).items()
            },
            autostart=options["autostart"],
            allow_power_cycle=options["allow_power_cycle"],
        )
        wanted._check()
        return wanted

    def _check(self) -> None:
        problems = [
            (not re.fullmatch(r"[^\x00-\x1f\x7f/\\%]{1,80}", self.name), "name", "it has /, \\, % or is too long"),
            (self.name != self.name.strip() or self.name.startswith("."), "name", "it begins or ends with a blank"),
            (self.cpus is not None and self.cpus < 1, "cpus", "%s is less than 1" % self.cpus),
            (
                self.memory_mib is not None and (self.memory_mib < 4 or self.memory_mib % 4 != 0),
                "memory_mib",
                "%s is no multiple of 4" % self.memory_mib,
            ),
            (
                self.guest_id is not None and not re.fullmatch(r"[A-Za-z]\w*Guest(64)?", self.guest_id),
                "guest_id",
                "%s looks like no guest id, such as ubuntu64Guest" % self.guest_id,
            ),
            (any(d.size_bytes < MIB for d in self.disks or ()), "disks", "a size is less than 1"),
            (len(self.disks or ()) > MOST_DISKS, "disks", "more than %d" % MOST_DISKS),
            (len(self.nics or ()) > MOST_NETWORKS, "networks", "more than %d" % MOST_NETWORKS),
            (
                bool(self.iso) and not re.fullmatch(r"\[[^\]]+\] ?\S.*", self.iso or ""),
                "iso",
                "%s does not look like `[datastore1] folder/file.iso`" % self.iso,
            ),
            (len(set(self.boot_order or ())) < len(self.boot_order or ()), "boot_order", "a device is named twice"),
        ]
        for nic in self.nics or ():
            first = int(nic.mac[:2], 16) if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", nic.mac) else 1
            bad = bool(nic.mac) and first & 1 == 1
            problems.append((bad, "networks", "%s is no MAC address of an adapter (quoted, with six parts)" % nic.mac))
        macs = [nic.mac for nic in self.nics or () if nic.mac]
        problems.append((len(set(macs)) < len(macs), "networks", "a MAC address is given twice"))
        for key in self.guestinfo:
            known = key[len("guestinfo.") :].split(".")[0] in guestinfo.CLOUD_INIT
            problems.append((known, "guestinfo", "%s is what `cloud_init` sets" % key))
            bad = not re.fullmatch(r"guestinfo\.[A-Za-z0-9_.-]+", key)
            problems.append((bad, "guestinfo", "%r is no name of a key" % key))
        for wrong, option, why in problems:
            if wrong:
                raise EsxiSettingsError(
                    "VM %s: reading `%s`" % (self.name, option), why, remedy="Correct `%s`." % option
                )


DEFAULTS = {"cpus": 1, "memory_mib": 1024, "firmware": "efi", "guest_id": "otherLinux64Guest", "annotation": ""}


def with_defaults(wanted: Wanted, host: Host, image: t.Optional[Image]) -> Wanted:
    """What a new machine gets where the user does not say.

    Raises EsxiError when it cannot be made so.
    """
    datastore = wanted.datastore
    if datastore is None:
        if len(host.datastores) != 1:
            raise EsxiSettingsError(
                "VM %s: choosing the datastore" % wanted.name,
                "the host has %s" % (", ".join(sorted(host.datastores)) or "none"),
                remedy="Set `datastore`.",
            )
        datastore = next(iter(host.datastores))
    disks = wanted.disks or ()
    if image is not None:
        if not disks:
            disks = (Disk(image.capacity_bytes, "thin"),)
        if disks[0].size_bytes < image.capacity_bytes:
            raise EsxiSettingsError(
                "VM %s: disk 0 of %s" % (wanted.name, _gib(disks[0].size_bytes)),
                "the disk in %s has %s" % (image.name, _gib(image.capacity_bytes)),
                remedy="Set `disks[0].size_gib` to %d or more." % -(-image.capacity_bytes // GIB),
            )
    given = {name: default for name, default in DEFAULTS.items() if getattr(wanted, name) is None}  # type: t.Dict[str, t.Any]
    return replace(
        wanted,
        datastore=datastore,
        disks=disks,
        nics=tuple(replace(nic, type=nic.type or NIC_TYPES[0]) for nic in wanted.nics or ()),
        iso=wanted.iso or "",
        boot_order=wanted.boot_order or (),
        **given,
    )


# -- The change set ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    setting: str
    old: t.Any
    new: t.Any
    kind: str = ""
    power_cycle: bool = False

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"setting": self.setting, "old": self.old, "new": self.new, "power_cycle": self.power_cycle}


@dataclass(frozen=True)
class Plan:
    """What will be done: the settings that change, and the steps in their order."""

    changes: t.Tuple[Change, ...]
    steps: t.Tuple[str, ...]

    @property
    def diff(self) -> t.Dict[str, t.Dict[str, t.Any]]:
        return {
            "before": {change.setting: change.old for change in self.changes},
            "after": {change.setting: change.new for change in self.changes},
        }


def plan(
    state: t.Optional[VmState],
    wanted: Wanted,
    host: Host,
    transport: str,
    *,
    remains: bool = False,
    autostart_enabled: bool = True,
) -> Plan:
    """The way from a machine to what is wanted of it; for a new one `wanted` has its defaults already.

    `remains` tells of folders that a creation left, `autostart_enabled` of the host's own switch.

    Raises EsxiError for what cannot or may not be done; nothing was changed then.
    """
    if state is not None and state.unfinished:
        remains, state = True, None
    steps = ["remove_remains"] if remains else []
    if wanted.state == "absent":
        return _removal(state, wanted, steps)
    if state is None:
        changes = [*_creation(wanted, host), *_autostart(None, wanted, autostart_enabled)]
        steps.append("create")
    else:
        changes = [*changes_of(state, wanted, host, transport), *_autostart(state, wanted, autostart_enabled)]
    was_on = state is not None and not state.is_off
    reconfigured = state is not None and any(change.kind != "autostart" for change in changes)
    on = {"present": was_on, "poweredon": True, "restarted": True}.get(wanted.state, False)
    cycle = was_on and any(change.power_cycle for change in changes)
    if cycle and wanted.state in ("present", "poweredon") and not wanted.allow_power_cycle:
        raise _gated(wanted, changes)
    is_on = was_on and not (wanted.state == "poweredon" and state is not None and state.power_state == "suspended")
    if was_on and (cycle or not on or wanted.state == "restarted"):
        steps.append("shut_down")
        is_on = False
    if reconfigured:
        steps.append("reconfigure")
    if any(change.kind == "autostart" for change in changes):
        steps.append("set_autostart")
    if on and not is_on:
        steps.append("power_on")
    before = state.power_state if state is not None else None
    after = "poweredon" if on else "poweredoff"
    if state is not None and before != after and not (before == "suspended" and wanted.state == "present"):
        changes.append(Change("power_state", before, after))
    return Plan(tuple(changes), tuple(steps))


def _removal(state: t.Optional[VmState], wanted: Wanted, steps: t.List[str]) -> Plan:
    changes = []
    if state is not None:
        changes.append(Change("state", state.power_state, "absent", "state", not state.is_off))
        if not state.is_off and not wanted.allow_power_cycle:
            raise EsxiWrongState(
                "VM %s: removing it" % wanted.name,
                "it is %s" % state.power_state,
                remedy="Set `allow_power_cycle: true`, or power it off first (`state: poweredoff`).",
            )
        steps += ["destroy"] if state.is_off else ["power_off", "destroy"]
    elif steps:
        changes.append(Change("state", "unfinished", "absent", "state"))
    return Plan(tuple(changes), tuple(steps))


def _gated(wanted: Wanted, changes: t.List[Change]) -> EsxiError:
    listed = ", ".join("`%s` (%s -> %s)" % (c.setting, c.old, c.new) for c in changes if c.power_cycle)
    return EsxiWrongState(
        "VM %s: changing %s" % (wanted.name, listed),
        "it is on, and this needs it off",
        remedy="Set `allow_power_cycle: true`, or power it off first (`state: poweredoff`).",
    )


def _creation(wanted: Wanted, host: Host) -> t.List[Change]:
    """Every setting of a new machine, against nothing."""
    _check_places(wanted, host)
    _check_boot_order(wanted, len(wanted.disks or ()), len(wanted.nics or ()))
    settings = [("datastore", wanted.datastore, "")]  # type: t.List[t.Tuple[str, t.Any, str]]
    settings += [(name, getattr(wanted, name), "") for name in DEFAULTS]
    settings += [
        ("disks[%d]" % i, {"size_gib": in_gib(disk.size_bytes), "type": disk.type}, "")
        for i, disk in enumerate(wanted.disks or ())
    ]
    settings += [("networks[%d]" % i, nic.as_result(), "") for i, nic in enumerate(wanted.nics or ())]
    settings += [("iso", wanted.iso, ""), ("boot_order", list(wanted.boot_order or ()), "")]
    changes = [Change(name, None, value, kind) for name, value, kind in settings if value not in ("", [])]
    empty = VmState(wanted.name, "", "", "poweredoff")
    return [*changes, *_texts(empty, wanted)]


def changes_of(state: VmState, wanted: Wanted, host: Host, transport: str) -> t.List[Change]:
    """The differences between a machine and what is wanted of it, but for the autostart, which never needs it off.

    Raises EsxiError for what cannot be done.
    """
    if wanted.datastore is not None and not state.path.startswith("[%s]" % wanted.datastore):
        raise EsxiSettingsError(
            "VM %s: moving it to datastore %s" % (state.name, wanted.datastore),
            "it lies at %s, and this module moves nothing" % state.path,
            remedy="Leave `datastore` out, or move the VM with the host's own means.",
        )
    _check_places(wanted, host, state)
    disks = state.disks if wanted.disks is None else wanted.disks
    nics = state.nics if wanted.nics is None else wanted.nics
    _check_boot_order(wanted, len(disks), len(nics))
    changes = [
        Change(name, getattr(state, name), getattr(wanted, name), name)
        for name in DEFAULTS
        if getattr(wanted, name) is not None and getattr(wanted, name) != getattr(state, name)
    ]
    changes += _disks(state, wanted)
    changes += _nics(state, wanted)
    if wanted.iso is not None and wanted.iso != state.iso:
        changes.append(Change("iso", state.iso, wanted.iso, "iso" if state.has_drive else "iso_drive"))
    if wanted.boot_order is not None and wanted.boot_order != state.boot_order:
        changes.append(Change("boot_order", list(state.boot_order), list(wanted.boot_order), "boot_order"))
    changes += _texts(state, wanted)
    live = LIVE[transport]
    return [replace(change, power_cycle=change.kind not in live) for change in changes]


def _check_places(wanted: Wanted, host: Host, state: t.Optional[VmState] = None) -> None:
    """The datastore and the networks are there; a network that a machine has already is not asked for."""
    if wanted.datastore is not None:
        datastore_named(host.datastores, wanted.datastore)
    has = {nic.network for nic in state.nics} if state is not None else set()
    for i, nic in enumerate(wanted.nics or ()):
        if nic.network not in host.networks and nic.network not in has:
            raise EsxiSettingsError(
                "VM %s: connecting `networks[%d]`" % (wanted.name, i),
                "the host has no network %s, it has %s" % (nic.network, ", ".join(sorted(host.networks)) or "none"),
                remedy="Correct its name, or make the network with esxi_network.",
            )


def _check_boot_order(wanted: Wanted, disks: int, nics: int) -> None:
    for word, count in (("disk", disks), ("network", nics)):
        if word in (wanted.boot_order or ()) and count == 0:
            raise EsxiSettingsError(
                "VM %s: booting from %s" % (wanted.name, word),
                "it has none",
                remedy="Take it out of `boot_order`, or name one in `disks` or `networks`.",
            )


def _disks(state: VmState, wanted: Wanted) -> t.List[Change]:
    if wanted.disks is None:
        return []
    if len(wanted.disks) < len(state.disks):
        raise EsxiSettingsError(
            "VM %s: removing `disks[%d]`" % (state.name, len(wanted.disks)),
            "it has %d disks and `disks` names %d; a disk is never removed" % (len(state.disks), len(wanted.disks)),
            remedy="Name all its disks (%s)." % ", ".join(_gib(disk.size_bytes) for disk in state.disks),
        )
    changes = []
    for i, disk in enumerate(wanted.disks):
        if i >= len(state.disks):
            new = {"size_gib": in_gib(disk.size_bytes), "type": disk.type}
            changes.append(Change("disks[%d]" % i, None, new, "disk_added"))
            continue
        old = state.disks[i]
        if disk.size_bytes < old.size_bytes:
            raise EsxiSettingsError(
                "VM %s: shrinking `disks[%d]` from %s to %s"
                % (state.name, i, _gib(old.size_bytes), _gib(disk.size_bytes)),
                "a disk only grows",
                remedy="Set `disks[%d].size_gib` to %d or more." % (i, -(-old.size_bytes // GIB)),
            )
        if disk.size_bytes > old.size_bytes:
            name = "disks[%d].size_gib" % i
            changes.append(Change(name, in_gib(old.size_bytes), in_gib(disk.size_bytes), "disk_size"))
    return changes


def _nics(state: VmState, wanted: Wanted) -> t.List[Change]:
    if wanted.nics is None:
        return []
    changes = []
    for i, nic in enumerate(wanted.nics):
        place = "networks[%d]" % i
        if i >= len(state.nics):
            new = replace(nic, type=nic.type or NIC_TYPES[0]).as_result()
            changes.append(Change(place, None, new, "network_added"))
            continue
        old = state.nics[i]
        if nic.network != old.network:
            changes.append(Change(place + ".network", old.network, nic.network, "network"))
        if nic.mac and nic.mac != old.mac:
            changes.append(Change(place + ".mac", old.mac, nic.mac, "network_mac"))
        if nic.type and nic.type != old.type:
            changes.append(Change(place + ".type", old.type, nic.type, "network_type"))
    changes += [
        Change("networks[%d]" % i, old.as_result(), None, "network_removed")
        for i, old in enumerate(state.nics)
        if i >= len(wanted.nics)
    ]
    return changes


def _texts(state: VmState, wanted: Wanted) -> t.List[Change]:
    """Shown by their sums: user data is a secret, and other keys may be."""
    names = {"userdata": "cloud_init.user_data", "metadata": "cloud_init.meta_data"}
    pairs = [
        (names[name], guestinfo.decoded(name, state.guestinfo), text, "cloud_init")
        for name, text in wanted.texts.items()
    ]
    pairs += [(key, state.guestinfo.get(key, ""), value, "guestinfo") for key, value in wanted.guestinfo.items()]
    return [
        Change(name, guestinfo.shown(old), guestinfo.shown(new), kind) for name, old, new, kind in pairs if old != new
    ]


def changed_keys(state: t.Optional[VmState], wanted: Wanted) -> t.Dict[str, str]:
    """The ``guestinfo.*`` settings to write; an empty value takes one away."""
    has = state.guestinfo if state is not None else {}
    keys = {}  # type: t.Dict[str, str]
    for name, text in wanted.texts.items():
        if text != guestinfo.decoded(name, has):
            keys.update(guestinfo.encoded(name, text))
    keys.update({key: value for key, value in wanted.guestinfo.items() if value != has.get(key, "")})
    return {key: value for key, value in keys.items() if value or key in has}


def autostart_of(state: t.Optional[VmState], wanted: Wanted) -> Autostart:
    """What is given, over what the machine has."""
    old = state.autostart if state is not None else Autostart()
    given = {name: value for name, value in (wanted.autostart or {}).items() if value is not None}
    return replace(old, **given)


def _autostart(state: t.Optional[VmState], wanted: Wanted, autostart_enabled: bool) -> t.List[Change]:
    if wanted.autostart is None:
        return []
    old, new = state.autostart if state is not None else Autostart(), autostart_of(state, wanted)
    # The host forgets the rest of an entry that does not start.
    names = [name for name in vars(new) if new.enabled or name == "enabled"]
    changes = [
        Change("autostart." + name, getattr(old, name), getattr(new, name), "autostart")
        for name in names
        if getattr(old, name) != getattr(new, name)
    ]
    if new.enabled and not autostart_enabled:
        changes.append(Change("autostart of the host", False, True, "autostart"))
    return changes


def require_no_snapshot(name: str, snapshots: t.Sequence[str]) -> None:
    """Raises EsxiWrongState."""
    if snapshots:
        raise EsxiWrongState(
            "VM %s: growing a disk" % name,
            "it has the snapshot %s" % ", ".join(snapshots),
            remedy="Remove its snapshots first; a disk below one cannot grow.",
        )


def require_remains(name: str, marker: str, host_seconds: int, wrong: str, remedy: str) -> None:
    """Refuse to remove what has the marker and is no rest of a creation, for what is `wrong` then, or not yet one.

    Raises EsxiWrongState.
    """
    asked = "VM %s: removing the rest of its creation" % name
    if wrong:
        raise EsxiWrongState(asked, "it has the marker of one, but %s" % wrong, remedy="To keep it, %s." % remedy)
    words = marker.split()
    until = int(words[1]) if len(words) == 2 and words[1].isdigit() else 0
    if until > host_seconds:
        told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(until))
        raise EsxiWrongState(
            asked,
            "another run may be creating it until %s" % told,
            remedy="Wait for that run. If it is dead, remove the folder and the VM in it yourself, or wait until then.",
        )


def tools_word(status: t.Optional[str]) -> str:
    """guestToolsNotRunning -> not_running"""
    word = re.sub(r"^guestTools", "", status or "guestToolsNotRunning")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()


def in_gib(size_bytes: int) -> t.Union[int, float]:
    """Whole numbers as the option takes them."""
    return size_bytes // GIB if size_bytes % GIB == 0 else round(size_bytes / GIB, 3)


def _gib(size_bytes: int) -> str:
    return "%s GiB" % in_gib(size_bytes)
