# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an ESXi host is, how to be let in, and by which way to change it."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import env_fallback, missing_required_lib
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import PYVMOMI_IMPORT_ERROR, ApiSession
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiError, EsxiSettingsError
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import PARAMIKO_IMPORT_ERROR, ShellSession

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Session = t.Union[ApiSession, ShellSession]


def connection_argument_spec() -> t.Dict[str, t.Any]:
    return {
        "hostname": {"type": "str", "required": True, "fallback": (env_fallback, ["VMWARE_HOST"])},
        "username": {"type": "str", "required": True, "fallback": (env_fallback, ["VMWARE_USER"])},
        "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["VMWARE_PASSWORD"])},
        "port": {"type": "int", "default": 443, "fallback": (env_fallback, ["VMWARE_PORT"])},
        "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
        "ca_path": {"type": "path"},
        "transport": {"type": "str", "choices": ["auto", "api", "ssh"], "default": "auto"},
        "ssh_port": {"type": "int", "default": 22},
        "ssh_private_key_file": {"type": "path", "no_log": False},
        "ssh_known_hosts": {"type": "path"},
        "ssh_host_key": {"type": "str", "no_log": False},
        "validate_host_key": {"type": "bool", "default": True},
        "connection_timeout_seconds": {"type": "int", "default": 60},
    }


@dataclass(frozen=True)
class EsxiConnection:
    """The options of doc fragment `edge.rack.esxi`."""

    hostname: str
    username: str
    password: t.Optional[str] = field(default=None, repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: t.Optional[str] = None
    transport: str = "auto"
    ssh_port: int = 22
    ssh_private_key_file: t.Optional[str] = None
    ssh_known_hosts: t.Optional[str] = None
    ssh_host_key: t.Optional[str] = None
    validate_host_key: bool = True
    connection_timeout_seconds: int = 60

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> EsxiConnection:
        """Raises EsxiSettingsError which names the option."""
        connection = cls(**{name: options[name] for name in connection_argument_spec()})
        for name in ("ca_path", "ssh_private_key_file", "ssh_known_hosts"):
            path = options[name]
            if path and not os.path.isfile(path):
                raise EsxiSettingsError("Reading `%s`" % name, "%s is no file" % path, remedy="Correct the path.")
        if connection.transport != "ssh" and not connection.password:
            raise EsxiSettingsError(
                "Connecting to %s" % connection.hostname,
                "`password` is not set",
                remedy="Set it (or VMWARE_PASSWORD); only `transport: ssh` works with a key alone.",
            )
        return connection


def open_session(connection: EsxiConnection, *, writes: bool = True) -> Session:
    """Take the way which the user named, or, with `auto`, the way which the host's licence leaves open.

    The API is asked first: it reads on every licence. With ``writes=False`` that is enough, and nothing is read here.
    """
    if connection.transport == "ssh":
        return ShellSession(connection, "`transport` says so")
    session = ApiSession(connection)
    try:
        if not writes:
            session.why = "`transport` says so" if connection.transport == "api" else "the API reads on every licence"
            return session
        licence = session.licence()
        if connection.transport == "api":
            session.why = "`transport` says so"
            return session
        if licence.api_writes:
            session.why = "the licence %s allows it" % licence.edition_key
            return session
    except BaseException:
        session.close()
        raise
    session.close()
    return ShellSession(
        connection, "the licence %s (%s) refuses writes by the API" % (licence.edition_key, licence.name)
    )


def run_with_session(
    module: AnsibleModule,
    work: t.Callable[[AnsibleModule, Session], t.Dict[str, t.Any]],
    *,
    writes: bool = True,
) -> None:
    """Connect as the module's options say, do the work, and exit with its result or its error.

    The result says by which way it came, as ``transport`` and ``transport_reason``.
    """
    _require_libraries(module)
    said = {}  # type: t.Dict[str, t.Any]
    try:
        session = open_session(EsxiConnection.from_options(module.params), writes=writes)
        said = {"transport": session.transport, "transport_reason": session.why}
        try:
            result = work(module, session)
        finally:
            session.close()
    except EsxiError as error:
        module.fail_json(msg="%s: %s" % (module.params["hostname"], error), error=error.as_result(), **said)
    else:
        module.exit_json(**said, **result)


def _require_libraries(module: AnsibleModule) -> None:
    transport = module.params["transport"]
    if PYVMOMI_IMPORT_ERROR is not None and transport != "ssh":
        module.fail_json(msg=missing_required_lib("pyvmomi"), exception=PYVMOMI_IMPORT_ERROR)
    if PARAMIKO_IMPORT_ERROR is not None and transport != "api":
        module.fail_json(
            msg=missing_required_lib("paramiko", reason="to reach an ESXi host by SSH"), exception=PARAMIKO_IMPORT_ERROR
        )
