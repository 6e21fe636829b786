# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MAAS region small enough to read: the calls the plugins make, answered as recorded regions answer them."""

from __future__ import annotations

import copy
import email
import json
import ssl
import threading
from dataclasses import dataclass, field
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

API_KEY = "consumer:token:very-secret"

STATUS_NAMES = {
    0: "New",
    1: "Commissioning",
    2: "Failed commissioning",
    4: "Ready",
    6: "Deployed",
    8: "Broken",
    9: "Deploying",
    10: "Allocated",
    11: "Failed deployment",
    12: "Releasing",
    13: "Failed releasing",
    21: "Testing",
}

# What the region describes: handler, path, parameters of the path, {action: (method, op)}.
HANDLERS = [
    ("Machines", "machines/", [], {"read": ("GET", None), "create": ("POST", None)}),
    (
        "Machine",
        "machines/{system_id}/",
        ["system_id"],
        {
            "read": ("GET", None),
            "update": ("PUT", None),
            "delete": ("DELETE", None),
            "commission": ("POST", "commission"),
            "deploy": ("POST", "deploy"),
            "release": ("POST", "release"),
            "power_parameters": ("GET", "power_parameters"),
        },
    ),
    ("Tags", "tags/", [], {"read": ("GET", None), "create": ("POST", None)}),
    ("Tag", "tags/{name}/", ["name"], {"update_nodes": ("POST", "update_nodes")}),
    ("ResourcePools", "resourcepools/", [], {"read": ("GET", None)}),
    ("Zones", "zones/", [], {"read": ("GET", None)}),
    ("Events", "events/", [], {"query": ("GET", "query")}),
    ("BootResources", "boot-resources/", [], {"read": ("GET", None), "create": ("POST", None)}),
    ("BootResource", "boot-resources/{id}/", ["id"], {"read": ("GET", None)}),
]


def machine(number: int, **changes: Any) -> dict[str, Any]:
    """A row as `machines/` gives it, with what the plugins read."""
    name = f"nuc-{number:03d}"
    mac = f"52:54:00:10:{number // 256:02x}:{number % 256:02x}"
    row = {
        "system_id": f"sys{number:03d}",
        "hostname": name,
        "fqdn": name + ".maas",
        "status": 4,
        "error_description": "",
        "owner": None,
        "locked": False,
        "osystem": "",
        "distro_series": "",
        "hwe_kernel": None,
        "power_state": "off",
        "power_type": "webhook",
        "architecture": "amd64/generic",
        "cpu_count": 8,
        "memory": 16384,
        "storage": 500000.0,
        "ip_addresses": [],
        "boot_interface": {"mac_address": mac, "name": "eth0"},
        "interface_set": [{"mac_address": mac, "name": "eth0"}],
        "tag_names": [],
        "pool": {"id": 0, "name": "default"},
        "zone": {"id": 1, "name": "default"},
        "domain": {"id": 0, "name": "maas"},
        "description": "",
        "owner_data": {},
        "hardware_uuid": f"d1b59f4f-f7ec-5a63-8f4a-{number:012d}",
        "resource_uri": f"/MAAS/api/2.0/machines/sys{number:03d}/",
    }
    row.update(changes)
    row["status_name"] = row["status_message"] = STATUS_NAMES[row["status"]]
    return row


@dataclass
class Request:
    method: str
    path: str
    op: str | None
    params: list[tuple[str, str]]
    content_type: str
    raw: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.params if key == name]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)


@dataclass
class Answer:
    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/plain; charset=utf-8"


class FakeRegion:
    """Use as a context manager; `requests` holds what was asked, without the description."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.machines: dict[str, dict[str, Any]] = {}
        self.power: dict[str, dict[str, str]] = {}
        self.tags: dict[str, str] = {}
        self.pools = ["default", "edge"]
        self.zones = ["default", "shelf-1"]
        self.images: list[dict[str, Any]] = [
            {"id": 1, "type": "Synced", "name": "ubuntu/noble", "architecture": "amd64"}
        ]
        self.events: dict[str, list[dict[str, str]]] = {}
        self.requests: list[Request] = []
        self.canned: dict[tuple[str, str], list[Answer]] = {}
        """Answers to give instead, each once, by method and path."""
        self.ways: dict[tuple[str, str], list[int]] = {}
        """Statuses a machine goes through after an operation, by host name (or *) and operation."""
        self.busy: list[int] = []
        """How many machines were being commissioned or deployed after each operation."""
        self._ahead: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def add(self, *rows: dict[str, Any]) -> None:
        for row in rows:
            self.machines[row["system_id"]] = row
            for tag in row["tag_names"]:
                self.tags.setdefault(tag, "")

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.method != "GET"]

    def asked(self, method: str, path: str, op: str | None = None) -> list[Request]:
        return [r for r in self.requests if (r.method, r.path, r.op) == (method, path, op)]

    # -- Serving

    def __enter__(self) -> FakeRegion:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        scheme = "https" if self.tls else "http"
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/MAAS"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request, authorization: str) -> Answer:
        with self._lock:
            if request.path == "describe/":
                return Answer(200, self._description())
            self.requests.append(request)
            if not authorization:
                return Answer(400, f"Unrecognised signature: method={request.method} op={request.op}")
            if 'oauth_token="token"' not in authorization or "very-secret" not in authorization:
                return Answer(401, "Authorization Error: Invalid API key.", content_type="text/html; charset=utf-8")
            if request.content_type.startswith("multipart") and not request.params:
                return Answer(400, "")
            canned = self.canned.get((request.method, request.path))
            if canned:
                return canned.pop(0)
            first, _slash, rest = request.path.partition("/")
            handle = getattr(self, f"_{request.method.lower()}_{first.replace('-', '_')}", None)
            return handle(request, rest.strip("/")) if handle else Answer(405)

    def _description(self) -> dict[str, Any]:
        resources = []
        for name, path, params, actions in HANDLERS:
            handler = {
                "name": name + "Handler",
                "doc": "",
                # Another host name than the one that was asked, as behind a proxy.
                "uri": "http://region.invalid/MAAS/api/2.0/" + path,
                "path": "/MAAS/api/2.0/" + path,
                "params": params,
                "actions": [
                    {"name": action, "method": method, "op": op, "restful": op is None, "doc": ""}
                    for action, (method, op) in actions.items()
                ],
            }
            resources.append({"name": name + "Handler", "auth": handler, "anon": None})
        return {"doc": "MAAS API", "resources": resources}

    # -- Machines

    def _get_machines(self, request: Request, system_id: str) -> Answer:
        if system_id:
            return Answer(200, self.power.get(system_id, {}))
        return Answer(200, [self._seen(row) for row in self.machines.values() if _matches(row, request)])

    def _seen(self, row: dict[str, Any]) -> dict[str, Any]:
        """Each look finds the machine one step further."""
        ahead = self._ahead.get(row["system_id"])
        if ahead:
            self._enter(row, ahead.pop(0))
        return row

    @staticmethod
    def _enter(row: dict[str, Any], status: int) -> None:
        row.update(status=status, status_name=STATUS_NAMES[status], status_message=STATUS_NAMES[status])
        if status == 6:
            row.update(power_state="on", ip_addresses=["10.77.0.20"])
        if status == 4:
            row.update(osystem="", distro_series="", owner=None)

    def _post_machines(self, request: Request, system_id: str) -> Answer:
        if not system_id:
            return self._create(request)
        row = self.machines.get(system_id)
        if row is None:
            return Answer(404, "No Machine matches the given query.")
        op = str(request.op)
        if row["locked"]:
            return Answer(403)
        if op == "deploy":
            if row["status"] not in (4, 10):
                return Answer(409, f"Can't deploy a machine that is in the '{row['status_name']}' state")
            osystem, _slash, series = (request.value("distro_series") or "ubuntu/noble").rpartition("/")
            row.update(osystem=osystem or "custom", distro_series=series, owner="admin")
        if op == "commission" and row["status"] not in (0, 2, 4, 8):
            message = "Commission is not available because of the current state of the node."
            return Answer(400, {"__all__": [message]})
        usual = {"commission": [1, 21, 4], "deploy": [9, 9, 6], "release": [12, 4]}[op]
        way = list(self.ways.get((row["hostname"], op), self.ways.get(("*", op), usual)))
        self._enter(row, way.pop(0))
        self._ahead[system_id] = way
        self.busy.append(sum(1 for other in self.machines.values() if other["status"] in (1, 9, 21)))
        return Answer(200, row)

    def _create(self, request: Request) -> Answer:
        mac = request.value("mac_addresses") or ""
        row = machine(len(self.machines) + 1, status=0 if request.value("commission") == "false" else 1)
        row.update(
            hostname=request.value("hostname") or "fancy-name",
            architecture=request.value("architecture"),
            power_type=request.value("power_type") or "",
            description=request.value("description") or "",
            boot_interface={"mac_address": mac},
            interface_set=[{"mac_address": mac}],
        )
        self.add(row)
        self._set_power(row["system_id"], request)
        return Answer(200, row)

    def _put_machines(self, request: Request, system_id: str) -> Answer:
        row = self.machines[system_id]
        for name, value in request.params:
            if name in ("pool", "zone"):
                row[name] = dict(row[name], name=value)
            elif not name.startswith("power_parameters_"):
                row[name] = value
        self._set_power(system_id, request)
        return Answer(200, row)

    def _set_power(self, system_id: str, request: Request) -> None:
        prefix = "power_parameters_"
        new = {key[len(prefix) :]: value for key, value in request.params if key.startswith(prefix)}
        self.power.setdefault(system_id, {}).update(new)

    def _delete_machines(self, request: Request, system_id: str) -> Answer:
        if self.machines.pop(system_id, None) is None:
            return Answer(404, "No Machine matches the given query.")
        return Answer(204)

    # -- The rest

    def _get_tags(self, request: Request, rest: str) -> Answer:
        return Answer(200, [{"name": name, "definition": text} for name, text in self.tags.items()])

    def _post_tags(self, request: Request, tag: str) -> Answer:
        if not tag:
            name = str(request.value("name"))
            if name in self.tags:
                return Answer(400, {"name": ["Tag with this Name already exists."]})
            self.tags[name] = ""
            return Answer(200, {"name": name})
        for system_id in request.values("add"):
            self.machines[system_id]["tag_names"].append(tag)
        for system_id in request.values("remove"):
            self.machines[system_id]["tag_names"].remove(tag)
        return Answer(200, {"added": len(request.values("add")), "removed": len(request.values("remove"))})

    def _get_resourcepools(self, request: Request, rest: str) -> Answer:
        return Answer(200, [{"name": name} for name in self.pools])

    def _get_zones(self, request: Request, rest: str) -> Answer:
        return Answer(200, [{"name": name} for name in self.zones])

    def _get_events(self, request: Request, rest: str) -> Answer:
        events = self.events.get(str(request.value("hostname")), [])
        return Answer(200, {"count": len(events), "events": events})

    def _get_boot_resources(self, request: Request, number: str) -> Answer:
        if number:
            image = next(image for image in self.images if image["id"] == int(number))
            return Answer(200, {k: v for k, v in image.items() if k != "content"})
        kind = request.value("type")
        rows = [i for i in self.images if not kind or i["type"].lower() == kind]
        return Answer(200, [{k: v for k, v in row.items() if k not in ("sets", "content")} for row in rows])

    def _post_boot_resources(self, request: Request, rest: str) -> Answer:
        given = dict(request.params)
        name = given["name"].removeprefix("custom/")
        image = next((i for i in self.images if i["name"] == name), None)
        if image is None:
            image = {"id": len(self.images) + 1, "type": "Uploaded", "name": name, "sets": {}}
            self.images.append(image)
        image.update({k: given[k] for k in ("architecture", "title", "base_image") if k in given}, content=b"")
        version = "20261123" + (f".{len(image['sets'])}" if image["sets"] else "")
        file = {
            "filename": "root.tgz",
            "sha256": given["sha256"],
            "size": int(given["size"]),
            "complete": False,
            "upload_uri": f"/MAAS/api/2.0/boot-resources/{image['id']}/upload/7/",
        }
        image["sets"][version] = {"version": version, "complete": False, "files": {"root.tgz": file}}
        return Answer(201, {k: v for k, v in image.items() if k != "content"})

    def _put_boot_resources(self, request: Request, rest: str) -> Answer:
        image = next(image for image in self.images if image["id"] == int(rest.split("/")[0]))
        file = list(image["sets"].values())[-1]["files"]["root.tgz"]
        image["content"] += request.raw
        if len(image["content"]) > file["size"]:
            return Answer(400, "Too much data received.")
        file["complete"] = len(image["content"]) == file["size"]
        return Answer(200, "OK")


def _matches(row: dict[str, Any], request: Request) -> bool:
    found = {
        "id": [row["system_id"]],
        "hostname": [row["hostname"]],
        "mac_address": [i["mac_address"] for i in row["interface_set"]],
        "status": [row["status_name"].lower().replace(" ", "_")],
        "pool": [(row["pool"] or {}).get("name")],
        "zone": [row["zone"]["name"]],
        "domain": [row["domain"]["name"]],
    }
    wanted = {name: request.values(name) for name in found}
    if not all(set(values) & set(found[name]) for name, values in wanted.items() if values):
        return False
    return set(request.values("tags")) <= set(row["tag_names"])


def _handler(region: FakeRegion) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            query = parse_qsl(url.query, keep_blank_values=True)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content_type = self.headers.get("Content-Type") or ""
            params = [pair for pair in query if pair[0] != "op"] + _parts(content_type, raw)
            path = url.path.removeprefix("/MAAS/api/2.0/")
            request = Request(str(self.command), path, dict(query).get("op"), params, content_type, raw)
            answer = copy.deepcopy(region.answer(request, self.headers.get("Authorization") or ""))
            text = isinstance(answer.body, str)
            body = answer.body.encode() if text else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type if text else "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def _parts(content_type: str, raw: bytes) -> list[tuple[str, str]]:
    if not content_type.startswith("multipart"):
        return []
    message = email.message_from_bytes(b"Content-Type: %s\r\n\r\n%s" % (content_type.encode(), raw), policy=HTTP)
    parts = [part for part in message.iter_parts() if part["Content-Disposition"]]
    return [(part["Content-Disposition"].params["name"], part.get_payload(decode=True).decode()) for part in parts]
