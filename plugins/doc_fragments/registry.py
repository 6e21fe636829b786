# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection to a registry.
    DOCUMENTATION = r"""
options:
  registry_url:
    description:
      - Address of the registry, for example V(registry.example.com:5000). Without a scheme it is https.
      - A password is sent over http to the machine itself only.
      - If not set, the environment variable E(REGISTRY_URL) is used.
    type: str
    required: true
  registry_username:
    description:
      - The account. Basic authentication and bearer tokens are used as the registry asks for them.
      - If not set, the environment variable E(REGISTRY_USERNAME) is used.
    type: str
  registry_password:
    description:
      - The account's password.
      - If not set, the environment variable E(REGISTRY_PASSWORD) is used.
    type: str
  validate_certs:
    description:
      - Whether the certificate of an https URL is checked.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates (PEM) of the authorities to trust instead of the system's.
    type: path
  registry_timeout_seconds:
    description:
      - How long the registry may be silent within one request.
    type: int
    default: 60
  registry_retry_seconds:
    description:
      - How long a request is repeated that is answered with 429 or 503, and a read that no registry answers.
        C(Retry-After) is heeded.
    type: int
    default: 300
notes:
  - Speaks the HTTP API of the OCI distribution spec 1.1; tried with distribution 2.8.2.
  - Proxies of the environment are not used.
"""
