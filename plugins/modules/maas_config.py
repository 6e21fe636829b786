#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_config
short_description: Manage the settings of MAAS
version_added: "0.1.0"
description:
  - Sets any number of the region's settings in one task, such as the upstream DNS servers, the time servers, the proxy,
    the default releases and the kernel options.
  - A setting that is already as wanted is not sent. An unknown name is refused before any setting is sent.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
attributes:
  check_mode:
    details: Whether MAAS accepts a value shows only when it is sent.
options:
  settings:
    description:
      - Settings by their names in MAAS, see C(maas admin maas get-config --help).
      - A value is a text, a number, a boolean, or a list where MAAS takes several addresses. Null or an empty text
        clears a setting.
    type: dict
    default: {}
  secret_settings:
    description:
      - The same for settings which must not be seen, such as C(vcenter_password) and C(maas_auto_ipmi_k_g_bmc_key).
        Their values are neither logged nor shown. O(settings) does not take these two.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: MAAS and the devices resolve names and know the time
  edge.rack.maas_config:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    settings:
      upstream_dns: [10.77.0.1, 10.77.0.2]
      ntp_servers: ntp.example.com
      ntp_external_only: false
      http_proxy: http://proxy.example.com:3128
      kernel_opts: console=tty0
"""

RETURN = r"""
settings:
  description:
    - The settings that were asked for as MAAS has them, in check mode as it would have them.
    - Those of O(secret_settings) are hidden.
  type: dict
  returned: always
  sample: {upstream_dns: 10.77.0.1 10.77.0.2, ntp_external_only: false}
changed_settings:
  description: The names of the settings that were, or in check mode would be, changed.
  type: list
  elements: str
  returned: always
  sample: [upstream_dns]
"""

import difflib
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasError,
    MaasRefused,
    connection_argument_spec,
    run_with_client,
)

ALWAYS_SECRET = ("vcenter_password", "maas_auto_ipmi_k_g_bmc_key")
SEVERAL_ADDRESSES = ("upstream_dns", "ntp_servers", "dns_trusted_acl")
TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")

Settings = t.Dict[str, t.Any]


def read(module: AnsibleModule, client: MaasClient, names: t.List[str]) -> Settings:
    """The values of these settings; a name that MAAS does not know is an error that names those most like it."""
    answers = client.call_each([("MAAS.get_config", {"name": name}) for name in names])
    values, unknown = {}, []  # type: t.Tuple[Settings, t.List[str]]
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, MaasRefused) and "is not a valid config setting" in answer.answer:
            unknown.append(unknown_name(name, answer.answer))
        elif isinstance(answer, MaasError):
            raise answer
        else:
            values[name] = answer
    if unknown:
        module.fail_json(msg="MAAS has no setting %s. Nothing was changed." % "; no setting ".join(unknown))
    return values


def unknown_name(name: str, answer: str) -> str:
    """The wrong name with the names most like it, from the list in MAAS's own refusal."""
    valid = re.search(r"valid settings are: (.*)\)", answer)
    names = re.split(r",\s*", valid.group(1)) if valid else []
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return "%s (%s)" % (name, "most like it: %s" % ", ".join(near) if near else "nor any that is like it")


def stored(name: str, value: t.Any, current: t.Any) -> t.Any:
    """The wanted value in the form in which MAAS keeps it, told by what it keeps now. ValueError: it cannot be that."""
    if isinstance(current, bool):
        word = str(value).strip().lower()
        if word not in TRUE + FALSE:
            # MAAS takes any text but "false" for a yes.
            raise ValueError("it is true or false, not %r" % (value,))
        return word in TRUE
    if isinstance(value, (list, tuple)):
        value = " ".join(str(item) for item in value)
    if isinstance(value, dict):
        raise ValueError("it is one value, not a dictionary")
    if value is None or value == "":
        return None if current is None else current if current == "" else ""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value).strip()
    if isinstance(current, int):
        if not re.match(r"-?[0-9]+\Z", text):
            raise ValueError("it is a whole number, not %r" % (value,))
        return int(text)
    if name in SEVERAL_ADDRESSES:
        return " ".join(item for item in re.split(r"[,\s]+", text) if item)
    if name == "remote_syslog" and not re.search(r":[0-9]+\Z", text):
        return text + ":514"
    if name == "http_proxy" and "://" not in text:
        return "http://" + text
    return text


def same(one: t.Any, other: t.Any) -> bool:
    """Whether these are one value; MAAS tells an empty text from none only by accident."""
    if one in (None, "") or other in (None, ""):
        return one in (None, "") and other in (None, "")
    return str(one) == str(other)


def wanted_settings(module: AnsibleModule) -> Settings:
    settings, secrets = module.params["settings"], module.params["secret_settings"]
    hidden = [name for name in ALWAYS_SECRET if name in settings]
    module.no_log_values.update(str(settings[name]) for name in hidden if settings[name])
    if hidden:
        module.fail_json(msg="Give %s in `secret_settings`, which is not logged." % ", ".join(hidden))
    twice = sorted(set(settings) & set(secrets))
    if twice:
        module.fail_json(msg="%s stands in `settings` and in `secret_settings`. Give it once." % ", ".join(twice))
    if not settings and not secrets:
        module.fail_json(msg="No setting is given. Name some in `settings`.")
    return {**settings, **secrets}


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    given = wanted_settings(module)
    secret = set(module.params["secret_settings"])
    before = read(module, client, list(given))
    module.no_log_values.update(str(before[name]) for name in secret if before[name])

    wanted, wrong = {}, []  # type: t.Tuple[Settings, t.List[str]]
    for name, value in given.items():
        try:
            wanted[name] = stored(name, value, before[name])
        except ValueError as error:
            wrong.append("%s: %s" % (name, "it cannot have this value" if name in secret else error))
    if wrong:
        module.fail_json(msg="Correct `settings`: %s. Nothing was changed." % "; ".join(wrong))

    changed = [name for name in wanted if not same(before[name], wanted[name])]
    after = {**before, **{name: wanted[name] for name in changed}}
    if changed and not module.check_mode:
        for name in changed:
            client.call("MAAS.set_config", name=name, value=wanted[name])
        for name, kept in read(module, client, changed).items():
            if same(kept, wanted[name]):
                continue
            after[name] = kept
            if name in secret:
                module.no_log_values.add(str(kept))
            shown = "something else" if name in secret else repr(kept)
            module.warn("MAAS keeps %s as %s: write it so, or each run sets it again." % (name, shown))
    return {
        "changed": bool(changed),
        "settings": {name: "hidden" if name in secret else after[name] for name in after},
        "changed_settings": changed,
        "diff": {
            "before": {name: "hidden" if name in secret else before[name] for name in changed},
            "after": {name: "hidden, another" if name in secret else after[name] for name in changed},
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "secret_settings": {"type": "dict", "default": {}, "no_log": True},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
