# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's modules share: their connection options, and how they end."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import env_fallback

from .client import RegistryClient
from .connection import RegistryConnection
from .errors import RegistryError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Work = t.Callable[["AnsibleModule", RegistryClient], t.Dict[str, t.Any]]


def connection_argument_spec() -> t.Dict[str, t.Any]:
    return {
        "registry_url": {"type": "str", "required": True, "fallback": (env_fallback, ["REGISTRY_URL"])},
        "registry_username": {"type": "str", "fallback": (env_fallback, ["REGISTRY_USERNAME"])},
        "registry_password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["REGISTRY_PASSWORD"])},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "registry_timeout_seconds": {"type": "int", "default": 60},
        "registry_retry_seconds": {"type": "int", "default": 300},
    }


def run_with_client(module: AnsibleModule, work: Work) -> None:
    """Connect as the module's options say, do the work, and exit with its result or its error."""
    params = module.params
    connection = RegistryConnection(
        params["registry_url"],
        params["registry_username"],
        params["registry_password"],
        params["validate_certs"],
        params["ca_path"],
        params["registry_timeout_seconds"],
        params["registry_retry_seconds"],
    )
    run(module, lambda: with_client(module, connection, work))


def with_client(
    module: AnsibleModule,
    connection: RegistryConnection,
    work: Work,
) -> t.Dict[str, t.Any]:
    with RegistryClient(connection) as client:
        return work(module, client)


def run(module: AnsibleModule, work: t.Callable[[], t.Dict[str, t.Any]]) -> None:
    """Exit with the result of the work, or with its error."""
    try:
        result = work()
    except RegistryError as error:
        module.fail_json(msg=str(error), error=error.as_result())
    else:
        module.exit_json(**result)
