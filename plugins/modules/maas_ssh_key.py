#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_ssh_key
short_description: Manage the SSH keys that MAAS puts onto machines
version_added: "0.1.0"
description:
  - Adds or removes a public key of the MAAS user to whom the API key belongs. MAAS puts the keys onto the machines
    that this user deploys.
  - Keys are compared by type and content, not by comment.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) removes the key from MAAS. Machines that are deployed keep it.
    type: str
    choices: [present, absent]
    default: present
  key:
    description: The public key, one line as in a C(.pub) file.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: The controller reaches the devices that MAAS deploys
  edge.rack.maas_ssh_key:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
"""

RETURN = r"""
ssh_key:
  description: The key as MAAS has it, or had it.
  type: dict
  returned: always
  contains:
    id:
      description: The number that MAAS gave it, null if MAAS does not have it.
      type: int
    key:
      description: The key.
      type: str
    fingerprint:
      description: Its SHA-256 fingerprint, as C(ssh-keygen -l) prints it.
      type: str
      sample: SHA256:UAlXQsHiM7SGOBzrIX6xoEAmdnHuLpJy2hzvIuHUSJs
"""

import base64
import binascii
import hashlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)


def content(key: str) -> t.Optional[t.Tuple[str, bytes]]:
    """Type and content, None if this is no public key. The content begins with its type again (RFC 4253, 6.6)."""
    parts = key.split()
    if len(parts) < 2:
        return None
    try:
        blob = base64.b64decode(parts[1].encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = parts[0].encode("utf-8")
    return (parts[0], blob) if blob[4 : 4 + len(kind)] == kind else None


def fingerprint(key: str) -> str:
    found = content(key)
    digest = hashlib.sha256(found[1] if found else key.encode("utf-8")).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    key = module.params["key"].strip()
    if "\n" in key or content(key) is None:
        what = "not one public key"
        if "PRIVATE KEY" in key:
            what = "a private key"
            module.no_log_values.add(key)
        module.fail_json(msg="`key` is %s. Give the content of a .pub file: `ssh-ed25519 AAAA... name`." % what)
    there = [row for row in client.call("SSHKeys.read") if content(row["key"]) == content(key)]
    present = module.params["state"] == "present"
    changed = present != bool(there)
    row = there[0] if there else {"id": None, "key": key}
    if changed and not module.check_mode:
        if present:
            row = client.call("SSHKeys.create", key=key)
        for old in there:
            client.call("SSHKey.delete", id=old["id"])
    shown = {"id": row["id"], "key": row["key"], "fingerprint": fingerprint(row["key"])}
    this = {"key": row["key"]} if changed else {}
    return {
        "changed": changed,
        "ssh_key": shown,
        "diff": {"before": {} if present else this, "after": this if present else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "key": {"type": "str", "required": True, "no_log": False},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
