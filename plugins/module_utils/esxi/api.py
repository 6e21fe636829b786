# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session of the vSphere Web Services API of one ESXi host, by pyVmomi.

Reads are batched: one ``RetrievePropertiesEx`` for all properties of all objects that are asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
import traceback
import typing as t
from dataclasses import dataclass

from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiLoginRefused,
    EsxiRestricted,
    EsxiSettingsError,
    EsxiTimeout,
    EsxiUnreachable,
    EsxiUntrusted,
    error_for,
)

PYVMOMI_IMPORT_ERROR = None  # type: t.Optional[str]
vim = vmodl = SmartStubAdapter = None  # type: t.Any
try:
    from pyVim.connect import SmartStubAdapter
    from pyVmomi import vim, vmodl
except ImportError:
    PYVMOMI_IMPORT_ERROR = traceback.format_exc()

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import EsxiConnection

Result = t.TypeVar("Result")
Properties = t.Dict[str, t.Any]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
FREE_EDITIONS = ("esxBasic", "esx.hypervisor.free", "esxFree")
"""Keys of licences whose API only reads: seen on 5 to 7, and on 8."""

HOSTNAME_MISMATCH, ADDRESS_MISMATCH = 62, 64
"""OpenSSL's codes for a certificate that may be trusted, but has other names."""


@dataclass(frozen=True)
class Licence:
    edition_key: str
    name: str

    @property
    def api_writes(self) -> bool:
        return not any(self.edition_key.lower().startswith(key.lower()) for key in FREE_EDITIONS)


def licence_in_text(text: str) -> Licence:
    """From what ``vim-cmd vimsvc/license --show`` prints: ``   vmodl key: esxBasic``."""
    fields = dict(re.findall(r"^\s*(vmodl key|name): *(.*?)\s*$", text, re.MULTILINE))
    return Licence(fields.get("vmodl key") or "unknown", fields.get("name", ""))


@dataclass(frozen=True)
class Objects:
    """Objects to read: a managed object type, and the properties of it."""

    kind: t.Any
    properties: t.Tuple[str, ...]


class ApiSession:
    """A login. Every call goes through `call`, which gives errors a person can read and logs in again once."""

    transport = "api"

    def __init__(self, connection: EsxiConnection) -> None:
        self.connection = connection
        self.why = ""
        self._licence = None  # type: t.Optional[Licence]
        asked = "Connecting to %s:%d" % (connection.hostname, connection.port)
        with _readable_errors(asked, connection):
            self.stub = SmartStubAdapter(
                host=connection.hostname,
                port=connection.port,
                path="/sdk",
                sslContext=_tls(connection),
                connectionPoolTimeout=-1,
                httpConnectionTimeout=connection.connection_timeout_seconds,
            )
            self.content = vim.ServiceInstance("ServiceInstance", self.stub).RetrieveContent()
        self._login()

    def close(self) -> None:
        # A session that is lost cannot be left any more; the host forgets it by itself.
        with contextlib.suppress(Exception):
            self.content.sessionManager.Logout()
        self.stub.DropConnections()

    def call(self, asked: str, function: t.Callable[..., Result], *args: t.Any, **more: t.Any) -> Result:
        """Call a method of the API; a session which expired is opened anew, for then nothing was done yet."""
        with _readable_errors(asked, self.connection):
            try:
                return function(*args, **more)
            except vim.fault.NotAuthenticated:
                self._login()
                return function(*args, **more)

    def licence(self) -> Licence:
        """The host's licence; one call, the first time."""
        if self._licence is None:
            self._licence = self.licence_in(self.read("the licence", self.licence_objects()))
        return self._licence

    def licence_objects(self) -> t.Dict[t.Any, t.Sequence[str]]:
        """What to read for the licence, alone or beside other objects."""
        return {self.content.licenseManager: ("licenses",)}

    def licence_in(self, rows: t.Mapping[t.Any, Properties]) -> Licence:
        """The licence out of what was read."""
        licences = rows.get(self.content.licenseManager, {}).get("licenses") or []
        # An evaluation has every feature, and its key is of zeros; a host without any licence allows nothing.
        first = licences[0] if licences else None
        return Licence(first.editionKey or "unknown", first.name or "") if first else Licence("none", "")

    def require_writes(self) -> None:
        """Say that the licence refuses writes before anything was begun.

        Raises EsxiRestricted.
        """
        licence = self.licence()
        if not licence.api_writes:
            raise EsxiRestricted(
                "Writing by the API",
                "the licence %s (%s) allows the API to read only" % (licence.edition_key, licence.name),
            )

    # -- Files

    def send(
        self,
        asked: str,
        method: str,
        target: str,
        chunks: t.Iterable[bytes] = (),
        length: int = 0,
        content_type: str = "application/octet-stream",
    ) -> bytes:
        """One HTTP request beside the API, with its session: a path such as ``/folder/...``, or a lease's URL.

        The host writes ``*`` into a lease's URL where its own name stands, which it does not know. A session which
        expired is opened anew, beforehand where the content can be sent only once.
        """
        path = re.sub(r"^https?://[^/]*", "", target)
        again = isinstance(chunks, (list, tuple))
        if not again:
            self.read("the session", {self.content.sessionManager: ("currentSession",)})
        try:
            return self._send(asked, method, path, chunks, length, content_type)
        except EsxiLoginRefused:
            if not again:
                raise
            self._login()
            return self._send(asked, method, path, chunks, length, content_type)

    def _send(
        self, asked: str, method: str, path: str, chunks: t.Iterable[bytes], length: int, content_type: str
    ) -> bytes:
        connection = self.connection
        where = "%s:%d" % (connection.hostname, connection.port)
        http_connection = http.client.HTTPSConnection(
            connection.hostname,
            connection.port,
            timeout=connection.connection_timeout_seconds,
            context=_tls(connection),
        )
        headers = {
            "Cookie": str(self.stub.cookie).split(";", 1)[0],
            "Content-Type": content_type,
            "Content-Length": str(length),
        }
        with _readable_errors(asked, connection), contextlib.closing(http_connection):
            http_connection.putrequest(method, path)
            for name, value in headers.items():
                http_connection.putheader(name, value)
            http_connection.endheaders()
            lost = None  # type: t.Optional[OSError]
            try:
                for chunk in chunks:
                    http_connection.send(chunk)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError) as error:
                lost = error  # a host which refuses says why before all is sent
            try:
                answer = http_connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                if lost is not None:
                    raise lost from None
                raise
            if answer.status >= 400:
                free = self._licence is not None and not self._licence.api_writes
                raise _http_error(asked, where, answer.status, body.decode("utf-8", "replace"), free)
            return body

    # -- Reading

    def read(self, asked: str, objects: t.Mapping[t.Any, t.Sequence[str]]) -> t.Dict[t.Any, Properties]:
        """Properties of objects which are known already, in one call; what is unset is not in the answer."""
        return self._retrieve("Reading %s" % asked, _filters(objects))

    def read_all(
        self, asked: str, *wanted: Objects, beside: t.Optional[t.Mapping[t.Any, t.Sequence[str]]] = None
    ) -> t.Dict[t.Any, Properties]:
        """Properties of every object of these types below the root folder, and of the known ones, in one call."""
        collector = vmodl.query.PropertyCollector
        tree = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=self.content.rootFolder, skip=False, selectSet=_whole_inventory())],
            propSet=[collector.PropertySpec(type=o.kind, pathSet=list(o.properties)) for o in wanted],
        )
        return self._retrieve("Reading %s" % asked, [tree, *_filters(beside or {})])

    def _retrieve(self, asked: str, specs: t.List[t.Any]) -> t.Dict[t.Any, Properties]:
        collector = self.content.propertyCollector
        options = vmodl.query.PropertyCollector.RetrieveOptions()
        answer = self.call(asked, collector.RetrievePropertiesEx, specs, options)
        found = {}  # type: t.Dict[t.Any, Properties]
        while answer is not None:
            for row in answer.objects:
                found.setdefault(row.obj, {}).update({p.name: p.val for p in row.propSet})
            answer = self.call(asked, collector.ContinueRetrievePropertiesEx, answer.token) if answer.token else None
        return found

    # -- Tasks

    def wait(self, asked: str, task: t.Any, timeout_seconds: float) -> t.Any:
        """Wait for a task of the host; returns its result.

        Raises the error of the task, or EsxiTimeout.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            info = self.read(asked, {task: ("info",)})[task]["info"]
            if info.state == vim.TaskInfo.State.success:
                return info.result
            if info.state == vim.TaskInfo.State.error:
                raise error_of(asked, info.error)
            left = deadline - time.monotonic()
            if left <= 0:
                raise EsxiTimeout(asked, "not done within %d s, at %s%%" % (timeout_seconds, info.progress or 0))
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def run(
        self, asked: str, timeout_seconds: float, method: t.Callable[..., t.Any], *args: t.Any, **more: t.Any
    ) -> t.Any:
        """Call a method which answers with a task, and wait for the task."""
        return self.wait(asked, self.call(asked, method, *args, **more), timeout_seconds)

    def _login(self) -> None:
        asked = "Logging in as %s" % self.connection.username
        with _readable_errors(asked, self.connection):
            self.content.sessionManager.Login(self.connection.username, self.connection.password)


def _filters(objects: t.Mapping[t.Any, t.Sequence[str]]) -> t.List[t.Any]:
    """One filter for each object which is known already."""
    collector = vmodl.query.PropertyCollector
    return [
        collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=obj)],
            propSet=[collector.PropertySpec(type=type(obj), pathSet=list(properties))],
        )
        for obj, properties in objects.items()
    ]


def _whole_inventory() -> t.List[t.Any]:
    """From the root folder of a standalone host to everything in it."""
    collector = vmodl.query.PropertyCollector
    again = collector.SelectionSpec(name="folder")
    steps = [
        ("vmFolder", vim.Datacenter),
        ("hostFolder", vim.Datacenter),
        ("datastoreFolder", vim.Datacenter),
        ("networkFolder", vim.Datacenter),
    ]
    datacenter = [
        collector.TraversalSpec(name=path, type=kind, path=path, skip=False, selectSet=[again]) for path, kind in steps
    ]
    compute = [
        collector.TraversalSpec(name="computeHost", type=vim.ComputeResource, path="host", skip=False),
        collector.TraversalSpec(name="computePool", type=vim.ComputeResource, path="resourcePool", skip=False),
    ]
    folder = collector.TraversalSpec(
        name="folder", type=vim.Folder, path="childEntity", skip=False, selectSet=[again, *datacenter, *compute]
    )
    return [folder]


def _tls(connection: EsxiConnection) -> ssl.SSLContext:
    """Always a context of our own: without one pyVmomi trusts whoever answers as localhost."""
    try:
        context = ssl.create_default_context(cafile=connection.ca_path)
    except (OSError, ssl.SSLError) as error:
        raise EsxiSettingsError(
            "Reading `ca_path` %s" % connection.ca_path, str(error), remedy="It must be a file of PEM certificates."
        ) from error
    if connection.ca_path:
        # The certificate which a host makes at its installation names an issuer (O=VMware Installer) that has none:
        # it is itself what is trusted, though it is neither an authority's nor made as strictly as one's must be.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not connection.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def _readable_errors(asked: str, connection: EsxiConnection) -> t.Iterator[None]:
    where = "%s:%d" % (connection.hostname, connection.port)
    try:
        yield
    except EsxiError:
        raise
    except vmodl.MethodFault as fault:
        raise error_of(asked, fault) from fault
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (HOSTNAME_MISMATCH, ADDRESS_MISMATCH):
            raise EsxiUntrusted(
                asked,
                "the certificate of %s is another host's (%s)" % (where, error.verify_message),
                remedy="Set `hostname` to a name in the certificate, or give the host one that has this name.",
            ) from error
        raise EsxiUntrusted(
            asked,
            "the certificate of %s is not trusted (%s)" % (where, error.verify_message),
            remedy="Name the host's certificate, or its authority's, in `ca_path` (/etc/vmware/ssl/rui.crt there).",
        ) from error
    except socket.timeout as error:
        answer = "%s did not answer within %d s" % (where, connection.connection_timeout_seconds)
        raise EsxiUnreachable(asked, answer) from error
    except (OSError, http.client.HTTPException) as error:
        raise EsxiUnreachable(asked, "%s cannot be reached (%s)" % (where, error or type(error).__name__)) from error


def _http_error(asked: str, where: str, status: int, text: str, free: bool) -> EsxiError:
    said = " ".join(re.sub(r"<[^>]+>", " ", text).split())[:300]
    if status == 507 or re.search(r"no space|insufficient.*space|not enough space", said, re.IGNORECASE):
        fault = "NoDiskSpace"
    else:
        fault = {401: "InvalidLogin", 403: "RestrictedVersion" if free else "NoPermission", 404: "FileNotFound"}.get(
            status, "HttpFault"
        )
    return error_for(asked, fault, "%s answered %d %s" % (where, status, said))


def error_of(asked: str, fault: t.Any) -> EsxiError:
    details = "; ".join(m.message for m in (fault.faultMessage or []) if m.message)
    answer = ". ".join(part.rstrip(".") for part in (fault.msg, details) if part)
    return error_for(asked, type(fault).__name__, answer)
