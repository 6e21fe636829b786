# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection to one ESXi host.
    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Name or address of the ESXi host.
      - If not set, the environment variable E(VMWARE_HOST) is used.
    type: str
    required: true
  username:
    description:
      - The user to log in as, mostly V(root). Over SSH it must be one with a shell on the host.
      - If not set, the environment variable E(VMWARE_USER) is used.
    type: str
    required: true
  password:
    description:
      - Its password, for the API and for SSH. Only with O(transport=ssh) it can be left out.
      - If not set, the environment variable E(VMWARE_PASSWORD) is used.
    type: str
  port:
    description:
      - The port of the host's API (HTTPS).
      - If not set, the environment variable E(VMWARE_PORT) is used.
    type: int
    default: 443
  validate_certs:
    description:
      - Whether the host's certificate is checked.
      - If not set, the environment variable E(VMWARE_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates (PEM) to trust instead of the system's authorities.
      - The certificate which the host made for itself, C(/etc/vmware/ssl/rui.crt) there, can stand in it alone.
    type: path
  transport:
    description:
      - V(auto) asks the host for its licence by the API; one whose API only reads (the free edition) is changed by SSH.
        Modules that only read then stay with the API.
      - V(api) and V(ssh) take that way only.
    type: str
    choices: [auto, api, ssh]
    default: auto
  ssh_port:
    description: The port of the host's SSH service.
    type: int
    default: 22
  ssh_private_key_file:
    description: A private key to log in with over SSH, instead of O(password).
    type: path
  ssh_known_hosts:
    description:
      - A file of known host keys, in OpenSSH's format.
      - Without it the user's C(~/.ssh/known_hosts) and C(/etc/ssh/ssh_known_hosts) count.
    type: path
  ssh_host_key:
    description: The host's public key, C(ssh-ed25519 AAAA...) or a line of C(ssh-keyscan). It goes before files.
    type: str
  validate_host_key:
    description: Whether a host whose SSH key is not known is refused.
    type: bool
    default: true
  connection_timeout_seconds:
    description: How long the host may take to answer one call.
    type: int
    default: 60
requirements:
  - pyvmomi >= 8.0.0, unless O(transport=ssh)
  - paramiko >= 3.4.0, unless O(transport=api)
notes:
  - For one standalone ESXi host. On a host that a vCenter manages, ask the vCenter.
  - Made for ESXi 7.0 and later. Tried on a simulator of it, see the page on the free edition in the collection's docs.
  - A task with these modules mostly runs on the controller (C(delegate_to=localhost)), with the Python that has
    C(pyvmomi) and C(paramiko), C(ansible_python_interpreter=ansible_playbook_python).
"""
