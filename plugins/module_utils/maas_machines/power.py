# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How MAAS switches a machine: the parameters of the power types that devices of a rack have."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.maas import MaasClient, MaasError, Machine

HIDDEN = "(hidden)"

# Whether a parameter must be given, from the settings of MAAS's drivers (provisioningserver/drivers/power, 3.4 to 3.6).
# A parameter that MAAS requires and has a default for need not be given. Other power types are MAAS's to check.
POWER_TYPES = {
    "manual": {},
    "amt": {"power_address": True, "power_pass": False},
    "ipmi": {
        "power_address": True,
        "power_user": False,
        "power_pass": False,
        "power_driver": False,
        "power_boot_type": False,
        "power_off_mode": False,
        "k_g": False,
        "cipher_suite_id": False,
        "privilege_level": False,
        "workaround_flags": False,
        "mac_address": False,
    },
    "webhook": {
        "power_on_uri": True,
        "power_off_uri": True,
        "power_query_uri": True,
        "power_on_regex": False,
        "power_off_regex": False,
        "power_user": False,
        "power_pass": False,
        "power_token": False,
        "power_verify_ssl": False,
    },
}  # type: t.Dict[str, t.Dict[str, bool]]

# Power parameters whose values are no secrets. Ansible would blank every "on" and "n" in the output for them.
PLAIN_POWER_PARAMETERS = re.compile(
    r"^(mac_address|power_(address|id|user|driver|boot_type|off_mode|verify_ssl|(on|off|query)_regex|control|port)"
    r"|cipher_suite_id|privilege_level|workaround_flags|node_id|node_outlet|outlet_id|instance_name|project)$"
)


def what_is_wrong(options: t.Dict[str, t.Any], row: t.Optional[Machine]) -> t.Iterator[str]:
    """Why MAAS cannot take this power type with these parameters, one text for each reason."""
    current = (row or {}).get("power_type") or ""
    kind = options["power_type"] or current
    given = options["power_parameters"] or {}
    if given and not kind:
        yield "`power_parameters` are given and it has no power type: give `power_type` too."
    if kind not in POWER_TYPES or not (options["power_type"] or given):
        return
    known = POWER_TYPES[kind]
    unknown = sorted(set(given) - set(known))
    if unknown:
        yield "the power type %s has no parameter %s; it has: %s." % (
            kind,
            ", ".join(unknown),
            ", ".join(known) or "none",
        )
    # Of a machine that has this type already, MAAS holds what is not given.
    held = kind == current
    missing = [name for name, needed in known.items() if needed and given.get(name, "" if not held else None) == ""]
    if missing:
        yield "the power type %s needs %s in `power_parameters`." % (kind, ", ".join(missing))


def ask(client: MaasClient, rows: t.List[Machine]) -> t.Dict[str, str]:
    """Ask for the power of each now and write it into its row; by system id why MAAS could not ask.

    MAAS answers that with 200 and the state `error`; the reason is in its events alone.
    """
    reasons = {}  # type: t.Dict[str, str]
    answers = client.call_each([("Machine.query_power_state", {"system_id": row["system_id"]}) for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        row["power_state"] = "error" if isinstance(answer, MaasError) else answer["state"]
        if isinstance(answer, MaasError):
            reasons[row["system_id"]] = answer.answer
    failed = [row for row in rows if row["power_state"] == "error" and row["system_id"] not in reasons]
    asked = [("Events.query", {"id": row["system_id"], "level": "WARNING", "limit": 1}) for row in failed]
    for row, answer in zip(failed, client.call_each(asked), strict=True):
        events = [] if isinstance(answer, MaasError) else answer.get("events") or []
        reasons[row["system_id"]] = ": ".join(str(e[k]) for e in events for k in ("type", "description") if e.get(k))
    return reasons


def same_value(old: t.Any, new: t.Any) -> bool:
    """Whether MAAS holds this parameter already, whatever it makes of lists and booleans."""

    def plain(value: t.Any) -> t.List[str]:
        values = value if isinstance(value, (list, tuple)) else [value]
        return sorted(str(v).lower() if isinstance(v, bool) else str(v) for v in values)

    return old is not None and plain(old) == plain(new)


def for_the_form(power_type: t.Optional[str], parameters: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """As the fields of MAAS's forms."""
    data = {"power_parameters_" + name: value for name, value in (parameters or {}).items()}
    return dict(data, power_type=power_type) if power_type else data


def visible(old: t.Dict[str, t.Any], new: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """A change of power parameters as people may see it."""
    plain = {key: PLAIN_POWER_PARAMETERS.match(key) for key in new}
    return {
        "before": {k: v if plain[k] or v is None else HIDDEN for k, v in old.items()},
        "after": {k: v if plain[k] else HIDDEN + " new" for k, v in new.items()},
    }


def parameters_to_show(entries: t.Iterable[t.Dict[str, t.Any]]) -> t.Tuple[t.Set[str], t.Set[str]]:
    """The values of all given power parameters: those to show and those to hide."""
    parameters = [item for entry in entries for item in (entry["power_parameters"] or {}).items()]
    plain = {str(value) for name, value in parameters if PLAIN_POWER_PARAMETERS.match(name)}
    secret = {str(value) for name, value in parameters if not PLAIN_POWER_PARAMETERS.match(name)}
    return plain - secret, secret
