# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection to a region, for modules.
    DOCUMENTATION = r"""
options:
  maas_url:
    description:
      - URL of the MAAS region, for example V(http://maas.example.com:5240/MAAS).
      - With or without a trailing slash, with or without C(/api/2.0).
      - If not set, the environment variable E(MAAS_URL) is used.
    type: str
    required: true
  maas_api_key:
    description:
      - The API key (C(consumer:token:secret)) of a MAAS user.
      - If not set, the environment variable E(MAAS_API_KEY) is used.
      - It or O(maas_api_key_file) is required.
    type: str
  maas_api_key_file:
    description:
      - A file that holds the API key, on the machine where the module runs.
      - It goes before O(maas_api_key).
    type: path
  validate_certs:
    description:
      - Whether the certificate of an https URL is checked.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates (PEM) of the authorities to trust instead of the system's.
    type: path
  maas_timeout_seconds:
    description:
      - How long one call may take. A region needs about 16 seconds to list 1,000 machines.
    type: int
    default: 300
requirements:
  - python-libmaas >= 0.6.8 (with Python 3.12 or newer C(setuptools) beside it)
notes:
  - Made for MAAS 3.4 to 3.6.
  - A task with these modules mostly runs on the controller, with the Python that has C(python-libmaas),
    C(ansible_python_interpreter=ansible_playbook_python).
"""

    # The same connection, for the inventory plugin.
    PLUGIN = r"""
options:
  maas_url:
    description:
      - URL of the MAAS region, for example V(http://maas.example.com:5240/MAAS).
      - With or without a trailing slash, with or without C(/api/2.0).
      - May be a Jinja template.
    type: str
    required: true
    env:
      - name: MAAS_URL
  maas_api_key:
    description:
      - The API key (C(consumer:token:secret)) of a MAAS user.
      - May be a Jinja template, and may be encrypted with Ansible Vault.
      - It or O(maas_api_key_file) is required.
    type: str
    env:
      - name: MAAS_API_KEY
  maas_api_key_file:
    description:
      - A file that holds the API key. A relative path starts at the folder of the inventory source.
      - It goes before O(maas_api_key). May be a Jinja template.
    type: str
  validate_certs:
    description:
      - Whether the certificate of an https URL is checked.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates (PEM) of the authorities to trust instead of the system's.
        A relative path starts at the folder of the inventory source. May be a Jinja template.
    type: str
  maas_timeout_seconds:
    description:
      - How long one call may take. A region needs about 16 seconds to list 1,000 machines.
    type: int
    default: 300
requirements:
  - python-libmaas >= 0.6.8 (with Python 3.12 or newer C(setuptools) beside it)
"""
