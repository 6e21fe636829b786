# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to a MAAS region: a synchronous client over python-libmaas' lower layer.

``maas.client.bones`` knows every operation of the region from the region's own description and
prepares and signs the calls. This adapter sends them: over one connection pool with TLS checked as
the user asked, without an empty multipart body (which MAAS 3.6 answers with ``400 b''``), again
where that is safe, and with errors which say what was asked, what MAAS answered and what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import time
import traceback
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from ansible.module_utils.basic import env_fallback, missing_required_lib

LIBMAAS_IMPORT_ERROR = None  # type: t.Optional[str]
try:
    import aiohttp
    from maas.client import bones
    from maas.client.utils import sign
    from maas.client.utils.creds import Credentials
except ImportError:
    LIBMAAS_IMPORT_ERROR = traceback.format_exc()
    CallAPI = object  # type: t.Any
else:
    CallAPI = bones.CallAPI

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Machine = t.Dict[str, t.Any]
Result = t.TypeVar("Result")

PARALLEL_CALLS = 4
"""A region has four workers by default; more calls at once only wait there."""
LONGEST_FILTER = 4000
"""Bytes of one repeated filter in a URL: the region's nginx takes a request line of 8 KiB."""
CONNECT_SECONDS = 20
CONFLICT_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
LOST_CALL_PAUSES = (0.5, 1.0, 2.0)
LONGEST_RETRY_AFTER = 15.0


class Status:
    """The numbers of MAAS's NODE_STATUS."""

    NEW = 0
    COMMISSIONING = 1
    FAILED_COMMISSIONING = 2
    MISSING = 3
    READY = 4
    RESERVED = 5
    DEPLOYED = 6
    RETIRED = 7
    BROKEN = 8
    DEPLOYING = 9
    ALLOCATED = 10
    FAILED_DEPLOYMENT = 11
    RELEASING = 12
    FAILED_RELEASING = 13
    DISK_ERASING = 14
    FAILED_DISK_ERASING = 15
    RESCUE_MODE = 16
    ENTERING_RESCUE_MODE = 17
    FAILED_ENTERING_RESCUE_MODE = 18
    EXITING_RESCUE_MODE = 19
    FAILED_EXITING_RESCUE_MODE = 20
    TESTING = 21
    FAILED_TESTING = 22


# -- Errors -------------------------------------------------------------------------------------


class MaasError(Exception):
    """A call which did not do what was asked."""

    remedy = "See the region's log for the reason."

    def __init__(
        self,
        asked: str,
        answer: str,
        *,
        status: t.Optional[int] = None,
        remedy: t.Optional[str] = None,
        retry_after: t.Optional[float] = None,
    ) -> None:
        self.asked = asked
        self.answer = answer
        self.status = status
        self.remedy = remedy or type(self).remedy
        self.retry_after = retry_after
        super().__init__(self.message())

    def message(self) -> str:
        if self.status is None:
            return "%s: %s. %s" % (self.asked, self.answer.rstrip("."), self.remedy)
        answer = "%s: %s" % (self.status, self.answer.rstrip(".")) if self.answer else str(self.status)
        return "%s: MAAS answered %s. %s" % (self.asked, answer, self.remedy)

    def as_result(self) -> t.Dict[str, t.Any]:
        return {
            "asked": self.asked,
            "status": self.status,
            "answer": self.answer,
            "remedy": self.remedy,
        }


class MaasSettingsError(MaasError):
    """The connection options cannot be used."""


class MaasMissingFile(MaasSettingsError):
    """A file that the connection needs is not there: one that the region's own installation makes, perhaps."""


class MaasUnreachable(MaasError):
    """Nothing that answers as MAAS does is there."""

    remedy = "Check `maas_url` and that the region runs and can be reached from here."


class MaasNoConnection(MaasUnreachable):
    """No connection was made: a region that is not there yet looks like this."""


class MaasUntrusted(MaasError):
    """Who answers cannot show that it is the region."""

    remedy = "Name the certificate authority in `ca_path`; `validate_certs: false` turns the check off."


class MaasLostCall(MaasUnreachable):
    """The call was sent and its answer never came."""

    remedy = "MAAS may still have done it: run again, what is done stays done."


class MaasUnauthorized(MaasError):
    remedy = "Check `maas_api_key`: `maas apikey --username NAME` on the region prints it."


class MaasForbidden(MaasError):
    remedy = "The machine is locked, or it belongs to another user, or the key's user may not do this."


class MaasNotFound(MaasError):
    remedy = "Check its name, and that `maas_url` is the region's (mostly http://HOST:5240/MAAS)."


class MaasRefused(MaasError):
    """A form error: MAAS names the fields."""

    remedy = "Correct the named option."


class MaasConflict(MaasError):
    remedy = "The state of the object does not allow this: wait or bring it into a state that does."


class MaasUnavailable(MaasError):
    remedy = "The region has a problem of its own: see its log, then run again."


class MaasBusy(MaasUnavailable):
    remedy = "It, or a proxy before it, asks for fewer requests at a time: run again later."


def _error_for(asked: str, status: int, content_type: str, content: bytes, retry_after: t.Optional[str]) -> MaasError:
    answer = readable_answer(content_type, content)
    pause = None
    if status == 409 and (retry_after is not None or "html" in content_type):
        # The region's database transaction was rolled back: nothing has happened.
        answer = "database conflict"
        pause = 0.0
    if retry_after is not None:
        with contextlib.suppress(ValueError):
            pause = min(float(retry_after), LONGEST_RETRY_AFTER)
    kinds = {
        400: MaasRefused,
        401: MaasUnauthorized,
        403: MaasForbidden,
        404: MaasNotFound,
        409: MaasConflict,
        429: MaasBusy,
    }
    kind = kinds.get(status, MaasUnavailable if status >= 500 else MaasError)
    return kind(asked, answer, status=status, retry_after=pause)


def readable_answer(content_type: str, content: bytes) -> str:
    """One line of what MAAS said: ``field: message; ...`` for a form error, else its text."""
    text = content.decode("utf-8", "replace").strip()
    if "json" in content_type:
        with contextlib.suppress(ValueError):
            data = json.loads(text)
            if isinstance(data, dict):
                return "; ".join(_field_errors(data))
    if "html" in content_type:
        text = re.sub(r"<(style|script|head).*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(text.split())[:1000]


def _field_errors(data: t.Dict[str, t.Any]) -> t.Iterator[str]:
    for name, messages in data.items():
        joined = " ".join(str(m) for m in messages) if isinstance(messages, list) else str(messages)
        yield joined if name == "__all__" else "%s: %s" % (name, joined)


# -- Connection options -------------------------------------------------------------------------


def connection_argument_spec() -> t.Dict[str, t.Any]:
    return {
        "maas_url": {"type": "str", "required": True, "fallback": (env_fallback, ["MAAS_URL"])},
        "maas_api_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MAAS_API_KEY"])},
        "maas_api_key_file": {"type": "path", "no_log": False},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "maas_timeout_seconds": {"type": "int", "default": 300},
    }


@dataclass(frozen=True)
class MaasConnection:
    """Where the region is and how to be let in."""

    url: str
    api_key: str = field(repr=False)
    validate_certs: bool = True
    ca_path: t.Optional[str] = None
    timeout_seconds: int = 300

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], relative_to: t.Optional[str] = None) -> MaasConnection:
        """Check the options of a module or a plugin; relative paths start at ``relative_to``."""
        if not options.get("maas_url"):
            raise MaasSettingsError(
                "Connecting to MAAS",
                "`maas_url` is not set",
                remedy="Set it, or the environment variable MAAS_URL.",
            )
        return cls(
            url=region_url(options["maas_url"]),
            api_key=_api_key(options.get("maas_api_key"), _absolute(options.get("maas_api_key_file"), relative_to)),
            validate_certs=options.get("validate_certs", True),
            ca_path=_absolute(options.get("ca_path"), relative_to),
            timeout_seconds=options.get("maas_timeout_seconds") or 300,
        )

    @property
    def api_url(self) -> str:
        return self.url + "/api/2.0/"

    def tls(self) -> t.Union[ssl.SSLContext, bool]:
        """What aiohttp calls ``ssl``: a context, or false for no verification."""
        if not self.validate_certs:
            return False
        try:
            return ssl.create_default_context(cafile=self.ca_path)
        except (OSError, ssl.SSLError) as error:
            kind = MaasMissingFile if isinstance(error, FileNotFoundError) else MaasSettingsError
            raise kind(
                "Reading `ca_path` %s" % self.ca_path,
                str(error),
                remedy="It must be a readable file of PEM certificates.",
            ) from error


def region_url(url: str) -> str:
    """The region's URL without a trailing slash and without ``/api/2.0``."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MaasSettingsError(
            "Reading `maas_url` %r" % url,
            "it is not an http or https URL",
            remedy="It looks like http://HOST:5240/MAAS.",
        )
    if parts.username or parts.password:
        raise MaasSettingsError(
            "Reading `maas_url`",
            "it holds a user name or a password",
            remedy="Take them out: MAAS is entered with `maas_api_key`.",
        )
    path = re.sub(r"(/api(/[0-9.]+)?)?/*$", "", parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _absolute(path: t.Optional[str], relative_to: t.Optional[str]) -> t.Optional[str]:
    if not path:
        return None
    path = os.path.expandvars(os.path.expanduser(path))
    return os.path.join(relative_to, path) if relative_to else path


def _api_key(key: t.Optional[str], key_file: t.Optional[str]) -> str:
    """The key; a file that is named goes before a key that may come from the environment."""
    option = "maas_api_key"
    if key_file:
        option = "maas_api_key_file"
        try:
            with open(key_file, encoding="utf-8") as handle:
                key = handle.read()
        except (OSError, UnicodeDecodeError) as error:
            kind = MaasMissingFile if isinstance(error, FileNotFoundError) else MaasSettingsError
            raise kind(
                "Reading `maas_api_key_file` %s" % key_file,
                str(error),
                remedy="Put the key of `maas apikey --username NAME` there.",
            ) from error
    key = (key or "").strip()
    if not key:
        raise MaasSettingsError(
            "Connecting to MAAS",
            "`%s` is empty" % option,
            remedy="Set `maas_api_key` (or the environment variable MAAS_API_KEY) or `maas_api_key_file`.",
        )
    if key.count(":") != 2:
        raise MaasSettingsError(
            "Reading `%s`" % option,
            "an API key has three parts (consumer:token:secret), this has %d" % (key.count(":") + 1),
            remedy="`maas apikey --username NAME` on the region prints the key.",
        )
    return key


# -- The client ---------------------------------------------------------------------------------


class _Call(CallAPI):
    """A bones call whose address is the one the user gave, and whose body is never empty multipart."""

    def __init__(self, params: t.Dict[str, str], action: t.Any, api_url: str) -> None:
        super().__init__(params, action)
        self._params = params
        self._api_url = api_url

    @property
    def uri(self) -> str:
        # The region describes itself with the host name it was asked by, behind a proxy a wrong one.
        path = self.action.handler.path.split("/api/2.0/", 1)[-1]
        return urljoin(self._api_url, path.format(**{k: quote(v, safe="") for k, v in self._params.items()}))

    def prepare(self, data: t.Dict[str, t.Any]) -> t.Tuple[str, t.Optional[bytes], t.Dict[str, str]]:
        uri, body, headers = super().prepare(data)
        if self.action.method == "DELETE" or not _has_parts(data):
            body = None
            for name in [n for n in headers if n.lower() in ("content-type", "content-length", "mime-version")]:
                del headers[name]
        return uri, body, headers


def _has_parts(data: t.Dict[str, t.Any]) -> bool:
    return any(not isinstance(value, (list, tuple)) or len(value) > 0 for value in data.values())


def _wire_value(value: t.Any) -> t.Any:
    if isinstance(value, (list, tuple)):
        return [_wire_value(v) for v in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


class MaasClient:
    """Calls operations of a region by the names bones gives them, such as ``Machine.deploy``."""

    def __init__(self, connection: MaasConnection, read_only: bool = False) -> None:
        self.connection = connection
        self.read_only = read_only
        self.sleep = asyncio.sleep
        self._loop = asyncio.new_event_loop()
        self._http = None  # type: t.Any
        self._bones = None  # type: t.Any

    def __enter__(self) -> MaasClient:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        if self._http is not None:
            self._loop.run_until_complete(self._http.close())
        self._loop.close()

    def call(self, operation: str, **data: t.Any) -> t.Any:
        """Call one operation; ``data`` holds what its address needs and its parameters."""
        return self._loop.run_until_complete(self._call(operation, data))

    def call_each(self, calls: t.Iterable[t.Tuple[str, t.Dict[str, t.Any]]]) -> t.List[t.Any]:
        """Call several operations, a few at a time; a refusal stands in the place of its answer.

        What concerns the connection and not one call (no region, wrong key) is raised.
        """
        results = self._loop.run_until_complete(self._call_each(list(calls)))
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, MaasError):
                raise result
            if isinstance(result, MaasUnauthorized):
                raise result
        return results

    def put_bytes(self, path: str, content: bytes) -> None:
        """Send raw bytes to an address that MAAS gave, such as an ``upload_uri``."""
        self._loop.run_until_complete(self._put_bytes(path, content))

    def read_machines(self, **filters: t.Any) -> t.List[Machine]:
        """Read whole machine rows, filtered by the region.

        One request; more only where a long list of names does not fit into one URL. An empty list
        as a filter matches nothing and asks nothing.
        """
        if any(isinstance(value, (list, tuple)) and not value for value in filters.values()):
            return []
        given = {name: value for name, value in filters.items() if value is not None}
        rows = {}  # type: t.Dict[str, Machine]
        for part in _filters_that_fit(given):
            for row in self.call("Machines.read", **part):
                rows[row["system_id"]] = row
        return list(rows.values())

    # The coroutines behind it.

    async def _call_each(self, calls: t.List[t.Tuple[str, t.Dict[str, t.Any]]]) -> t.List[t.Any]:
        if calls:
            await self._connect()
        gate = asyncio.Semaphore(PARALLEL_CALLS)

        async def one(operation: str, data: t.Dict[str, t.Any]) -> t.Any:
            async with gate:
                return await self._call(operation, data)

        return await asyncio.gather(*(one(*call) for call in calls), return_exceptions=True)

    async def _call(self, operation: str, data: t.Dict[str, t.Any]) -> t.Any:
        await self._connect()
        handler_name, action_name = operation.split(".")
        action = getattr(getattr(self._bones, handler_name, None), action_name, None)
        if action is None:
            raise MaasUnavailable(
                "Calling %s" % operation,
                "the region at %s does not offer this operation" % self.connection.url,
                remedy="It is older or newer than what this collection was made for (MAAS 3.4 to 3.6).",
            )
        params = {name: str(data[name]) for name in action.handler.params}
        body = {name: _wire_value(value) for name, value in data.items() if name not in params}
        asked = "%s(%s)" % (operation, ", ".join("%s=%s" % item for item in sorted(params.items())))

        async def send() -> t.Any:
            # Prepared anew for each try: a region takes an OAuth nonce only once.
            call = _Call(params, action, self.connection.api_url)
            uri, content, headers = call.prepare(body)
            return await self._exchange(asked, action.method, uri, content, headers)

        return await self._with_retries(action.method, send)

    async def _put_bytes(self, path: str, content: bytes) -> None:
        await self._connect()
        uri = urljoin(self.connection.api_url, path.split("/api/2.0/", 1)[-1])

        async def send() -> t.Any:
            headers = {"Content-Type": "application/octet-stream"}
            sign(uri, headers, Credentials.parse(self.connection.api_key))
            return await self._exchange("Uploading %d bytes to %s" % (len(content), path), "PUT", uri, content, headers)

        await self._with_retries("PUT", send)

    async def _connect(self) -> None:
        if self._bones is not None:
            return
        if self._http is None:
            self._http = aiohttp.ClientSession(
                # Shorter than any server keeps an idle connection: a write never meets a closed one.
                connector=aiohttp.TCPConnector(ssl=self.connection.tls(), keepalive_timeout=2),
                timeout=aiohttp.ClientTimeout(total=self.connection.timeout_seconds, sock_connect=CONNECT_SECONDS),
            )
        description = await self._exchange(
            "Connecting to %s" % self.connection.url, "GET", self.connection.api_url + "describe/", None, {}
        )
        if not isinstance(description, dict) or "resources" not in description:
            raise MaasUnreachable("Connecting to %s" % self.connection.url, "what answers there is not MAAS")
        self._bones = bones.SessionAPI(description, Credentials.parse(self.connection.api_key))

    async def _with_retries(self, method: str, send: t.Callable[[], t.Awaitable[Result]]) -> Result:
        tries = 0
        while True:
            try:
                return await send()
            except MaasError as error:
                pauses = _pauses_after(method, error)
                if tries >= len(pauses):
                    raise
                await self.sleep(max(pauses[tries], error.retry_after or 0.0))
                tries += 1

    async def _exchange(
        self, asked: str, method: str, uri: str, body: t.Optional[bytes], headers: t.Dict[str, str]
    ) -> t.Any:
        if self.read_only and method != "GET":
            raise AssertionError("%s: a read-only client was told to write" % asked)
        headers = dict(headers, Accept="application/json,*/*;q=0.9")
        url = self.connection.url
        try:
            async with self._http.request(method, uri, data=body, headers=headers) as response:
                content = await response.read()
                status, content_type = response.status, response.content_type or ""
                retry_after = response.headers.get("Retry-After")
        except aiohttp.ClientConnectorCertificateError as error:
            why = "the certificate of %s is not trusted (%s)" % (url, error.certificate_error)
            raise MaasUntrusted(asked, why) from error
        except aiohttp.ClientConnectorSSLError as error:
            # Before its parent: somebody is there, and a rack without MAAS must not be made of that.
            why = "no TLS with %s (%s)" % (url, error.os_error)
            remedy = "Check that `maas_url` names the port with TLS (mostly https://HOST:5443/MAAS)."
            raise MaasUntrusted(asked, why, remedy=remedy) from error
        except aiohttp.ClientConnectorError as error:
            raise MaasNoConnection(asked, "%s cannot be reached (%s)" % (url, error.os_error)) from error
        except aiohttp.ServerTimeoutError as error:
            # Of its two kinds only the one for a connection that is not made is asked for.
            why = "no connection within %s seconds" % CONNECT_SECONDS
            raise MaasNoConnection(asked, "%s cannot be reached (%s)" % (url, why)) from error
        except asyncio.TimeoutError as error:
            waited = "%s did not answer within %s seconds" % (url, self.connection.timeout_seconds)
            remedy = "Raise `maas_timeout_seconds`."
            if method == "GET":
                raise MaasUnreachable(asked, waited, remedy=remedy) from error
            raise MaasLostCall(asked, waited, remedy="%s %s" % (MaasLostCall.remedy, remedy)) from error
        except (aiohttp.ClientError, OSError) as error:
            why = str(error) or type(error).__name__
            raise MaasLostCall(asked, "the connection to %s broke (%s)" % (url, why)) from error
        if status // 100 != 2:
            raise _error_for(asked, status, content_type, content, retry_after)
        if content_type.endswith("/json"):
            try:
                return json.loads(content.decode("utf-8"))
            except ValueError as error:
                raise MaasUnreachable(asked, "%s sent broken JSON (%s)" % (url, error)) from error
        return content.decode("utf-8", "replace")


def _pauses_after(method: str, error: MaasError) -> t.Sequence[float]:
    """How long to wait before each further try; nothing where a second try could do harm."""
    if error.status == 409 and error.retry_after is not None:
        return CONFLICT_PAUSES
    if error.status in (429, 503) and error.retry_after is not None:
        # Who says when to come back has not done it: a proxy in front of a region that restarts, or MAAS itself where
        # a power action is still under way.
        return LOST_CALL_PAUSES
    if method == "GET" and (isinstance(error, MaasLostCall) or error.status in (429, 502, 503, 504)):
        return LOST_CALL_PAUSES
    return ()


def _filters_that_fit(filters: t.Dict[str, t.Any]) -> t.Iterator[t.Dict[str, t.Any]]:
    """Split the longest list among the filters where it would not fit into one URL."""
    lists = [name for name, value in filters.items() if isinstance(value, (list, tuple)) and name != "tags"]
    longest = max(lists, key=lambda name: sum(len(quote(str(v))) for v in filters[name]), default=None)
    if longest is None:
        yield filters
        return
    part, size = [], 0  # type: t.Tuple[t.List[t.Any], int]
    for value in filters[longest]:
        size += len(longest) + len(quote(str(value), safe="")) + 2
        if part and size > LONGEST_FILTER:
            yield dict(filters, **{longest: part})
            part, size = [], len(longest) + len(quote(str(value), safe="")) + 2
        part.append(value)
    yield dict(filters, **{longest: part})


# -- Waiting ------------------------------------------------------------------------------------


class Rounds:
    """Rounds of a wait, each after a growing pause, the last one at the deadline."""

    def __init__(
        self,
        timeout_seconds: float,
        first: float = 1.0,
        longest: float = 10.0,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._end = clock() + timeout_seconds
        self._pause, self._longest = first, longest

    def __iter__(self) -> t.Iterator[float]:
        """Yield the seconds that are left."""
        while True:
            left = self._end - self._clock()
            if left <= 0:
                return
            self._sleep(min(self._pause, left))
            self._pause = min(self._pause * 1.5, self._longest)
            yield max(0.0, self._end - self._clock())


# -- Machines as plain data ---------------------------------------------------------------------


def status_filter(value: str) -> str:
    """``Failed deployment``, ``FAILED_DEPLOYMENT`` -> ``failed_deployment``, which the region knows."""
    name = re.sub(r"[^a-z]+", "_", value.strip().lower())
    return {
        "failed_to_enter_rescue_mode": "failed_entering_rescue_mode",
        "failed_to_exit_rescue_mode": "failed_exiting_rescue_mode",
    }.get(name, name)


def mac_addresses(machine: Machine) -> t.List[str]:
    """The MAC addresses, that of the boot interface first."""
    boot = (machine.get("boot_interface") or {}).get("mac_address")
    rest = [i.get("mac_address") for i in machine.get("interface_set") or []]
    return list(dict.fromkeys(mac.lower() for mac in [boot, *rest] if mac))


def fabric(machine: Machine) -> str:
    """The fabric of the boot interface, else that of the first interface which is on one."""
    interfaces = [machine.get("boot_interface"), *(machine.get("interface_set") or [])]
    vlans = [(interface or {}).get("vlan") or {} for interface in interfaces]
    return next((vlan["fabric"] for vlan in vlans if vlan.get("fabric")), "")


def subnets(machine: Machine) -> t.List[str]:
    """The networks (CIDR) its interfaces are configured on or were seen on, those of the first interface first."""
    found = {}  # type: t.Dict[str, None]
    for interface in machine.get("interface_set") or []:
        for link in [*(interface.get("links") or []), *(interface.get("discovered") or [])]:
            cidr = (link.get("subnet") or {}).get("cidr")
            if cidr:
                found[cidr] = None
    return list(found)


def _told(value: t.Optional[str]) -> str:
    """MAAS says Unknown where a machine did not tell."""
    return "" if value in (None, "Unknown") else str(value)


def image_name(machine: Machine) -> str:
    """What the machine runs, as the ``image`` option takes it: ``custom/edge-nuc``, ``ubuntu/jammy``."""
    return "/".join(part for part in (machine.get("osystem"), machine.get("distro_series")) if part)


def machine_summary(machine: Machine) -> t.Dict[str, t.Any]:
    """The part of a machine row that people use; nothing secret is in it."""
    hardware = machine.get("hardware_info") or {}
    return {
        "system_id": machine["system_id"],
        "hostname": machine["hostname"],
        "fqdn": machine.get("fqdn"),
        "status": machine["status_name"],
        "status_message": machine.get("status_message") or "",
        "owner": machine.get("owner"),
        "locked": bool(machine.get("locked")),
        "image": image_name(machine),
        "osystem": machine.get("osystem") or "",
        "distro_series": machine.get("distro_series") or "",
        "kernel": machine.get("hwe_kernel") or "",
        "power_state": machine.get("power_state"),
        "power_type": machine.get("power_type") or "",
        "architecture": machine.get("architecture"),
        "cpu_count": machine.get("cpu_count"),
        "memory_mib": machine.get("memory"),
        "storage_mb": machine.get("storage"),
        "vendor": _told(hardware.get("system_vendor")),
        "product": _told(hardware.get("system_product")),
        "serial": _told(hardware.get("system_serial")),
        "cpu_model": _told(hardware.get("cpu_model")),
        "fabric": fabric(machine),
        "subnets": subnets(machine),
        "ip_addresses": list(machine.get("ip_addresses") or []),
        "mac_addresses": mac_addresses(machine),
        "tags": sorted(machine.get("tag_names") or []),
        "pool": (machine.get("pool") or {}).get("name"),
        "zone": (machine.get("zone") or {}).get("name"),
        "domain": (machine.get("domain") or {}).get("name"),
        "description": machine.get("description") or "",
        "owner_data": dict(machine.get("owner_data") or {}),
        "hardware_uuid": machine.get("hardware_uuid"),
    }


# -- Modules ------------------------------------------------------------------------------------


def missing_library_message() -> str:
    return missing_required_lib(
        "python-libmaas", reason="to talk to MAAS (with Python 3.12 or newer setuptools is needed beside it)"
    )


def run_with_client(module: AnsibleModule, work: t.Callable[[AnsibleModule, MaasClient], t.Dict[str, t.Any]]) -> None:
    """Connect as the module's options say, do the work, and exit with its result or its error."""
    if LIBMAAS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_library_message(), exception=LIBMAAS_IMPORT_ERROR)
    try:
        connection = MaasConnection.from_options(module.params)
        # A key that was read from a file is as secret as one that was given.
        module.no_log_values.add(connection.api_key)
        with MaasClient(connection, read_only=module.check_mode) as client:
            result = work(module, client)
    except MaasError as error:
        module.fail_json(msg=str(error), error=error.as_result())
    else:
        module.exit_json(**result)
