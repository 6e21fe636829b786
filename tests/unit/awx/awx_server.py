# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWX as the modules of awx.awx meet it: its API's objects and links, and what it refuses.

Made after AWX 24.6.1 (awx/api/serializers.py, awx/main/models); what no module asks for is not here.
"""

from __future__ import annotations

import itertools
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jinja2
from jinja2 import meta

from tests.unit.servers import running

Object = dict[str, Any]
HIDDEN = "$encrypted$"


class RefusedError(Exception):
    def __init__(self, status: int, **problems: Any) -> None:
        super().__init__(status, problems)
        self.status, self.problems = status, problems


@dataclass(frozen=True)
class Kind:
    """One collection: what its objects are made of, and what tells one from another."""

    type: str
    fields: dict[str, Any]  # with defaults
    required: tuple[str, ...] = ("name",)
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)  # field -> collection
    unique: tuple[str, ...] = ("name", "organization")
    links: dict[str, str] = field(default_factory=dict)  # association -> collection
    roles: tuple[str, ...] = ()


NOTIFY = {f"notification_templates_{event}": "notification_templates" for event in ("started", "success", "error")}
APPROVALS = {"notification_templates_approvals": "notification_templates"}
NAMED = {"name": None, "description": "", "organization": None}
SURVEY_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
ASKED = ("job_type", "diff_mode", "limit", "variables", "inventory", "credential")

KINDS = {
    "organizations": Kind(
        "organization",
        {"name": None, "description": "", "default_environment": None, "max_hosts": 0},
        unique=("name",),
        links={**NOTIFY, **APPROVALS, "instance_groups": "instance_groups"},
        roles=("admin", "execute", "read"),
    ),
    "instance_groups": Kind("instance_group", {"name": None}, unique=("name",)),
    "credential_types": Kind(
        "credential_type",
        {"name": None, "description": "", "kind": None, "inputs": {}, "injectors": {}, "managed": False},
        required=("name", "kind"),
        unique=("name", "kind"),
    ),
    "credentials": Kind(
        "credential",
        {**NAMED, "credential_type": None, "inputs": {}},
        required=("name", "credential_type"),
        references={"organization": "organizations", "credential_type": "credential_types"},
        unique=("name", "organization", "credential_type"),
        roles=("admin", "use", "read"),
    ),
    "execution_environments": Kind(
        "execution_environment",
        {**NAMED, "image": None, "pull": "", "credential": None},
        required=("name", "image"),
        choices={"pull": ("", "always", "missing", "never")},
        references={"organization": "organizations", "credential": "credentials"},
        unique=("name",),
    ),
    "projects": Kind(
        "project",
        {
            **NAMED,
            **{"scm_type": "", "scm_url": "", "scm_branch": "", "credential": None, "default_environment": None},
            **{"scm_clean": False, "scm_update_on_launch": False, "scm_revision": ""},
        },
        choices={"scm_type": ("", "git", "svn", "insights", "archive")},
        references={
            **{"organization": "organizations", "credential": "credentials"},
            "default_environment": "execution_environments",
        },
        links=NOTIFY,
        roles=("admin", "use", "update", "read"),
    ),
    "inventories": Kind(
        "inventory",
        {**NAMED, "kind": "", "host_filter": None, "variables": ""},
        required=("name", "organization"),
        references={"organization": "organizations"},
        links={"instance_groups": "instance_groups"},
        roles=("admin", "use", "update", "adhoc", "read"),
    ),
    "inventory_sources": Kind(
        "inventory_source",
        {
            **{"name": None, "description": "", "inventory": None, "source": None, "source_path": ""},
            **{"source_project": None, "credential": None, "execution_environment": None},
            **{"overwrite": False, "overwrite_vars": False, "update_on_launch": False, "update_cache_timeout": 0},
        },
        required=("name", "inventory", "source"),
        choices={"source": ("scm", "ec2", "gce", "azure_rm", "vmware", "satellite6", "openstack", "rhv", "controller")},
        references={
            **{"inventory": "inventories", "source_project": "projects", "credential": "credentials"},
            "execution_environment": "execution_environments",
        },
        unique=("name", "inventory"),
        links=NOTIFY,
    ),
    "job_templates": Kind(
        "job_template",
        {
            **NAMED,
            **{"job_type": "run", "inventory": None, "project": None, "playbook": "", "execution_environment": None},
            **{"extra_vars": "", "survey_enabled": False},
            **{f"ask_{what}_on_launch": False for what in ASKED},
        },
        choices={"job_type": ("run", "check")},
        references={
            **{"organization": "organizations", "inventory": "inventories", "project": "projects"},
            "execution_environment": "execution_environments",
        },
        links={**NOTIFY, "credentials": "credentials", "instance_groups": "instance_groups"},
        roles=("admin", "execute", "read"),
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        {**NAMED, "survey_enabled": False, "extra_vars": "", "ask_variables_on_launch": False},
        references={"organization": "organizations"},
        links={**NOTIFY, **APPROVALS},
        roles=("admin", "execute", "approval", "read"),
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        {
            **{"identifier": None, "workflow_job_template": None, "unified_job_template": None},
            **{"extra_data": {}, "all_parents_must_converge": False},
        },
        required=("workflow_job_template",),
        references={
            "workflow_job_template": "workflow_job_templates",
            "unified_job_template": "unified_job_templates",
        },
        unique=("identifier", "workflow_job_template"),
        links=dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes"),
    ),
    "workflow_approval_templates": Kind(
        "workflow_approval_template", {"name": None, "description": "", "timeout": 0}, unique=()
    ),
    "schedules": Kind(
        "schedule",
        {"name": None, "description": "", "rrule": None, "enabled": True, "unified_job_template": None},
        required=("name", "rrule", "unified_job_template"),
        references={"unified_job_template": "unified_job_templates"},
        unique=("name", "unified_job_template"),
    ),
    "teams": Kind(
        "team",
        NAMED,
        required=("name", "organization"),
        references={"organization": "organizations"},
        roles=("admin", "member", "read"),
    ),
    "notification_templates": Kind(
        "notification_template",
        {**NAMED, "notification_type": None, "notification_configuration": {}, "messages": None},
        required=("name", "organization", "notification_type"),
        choices={"notification_type": ("email", "grafana", "irc", "mattermost", "pagerduty", "slack", "webhook")},
        references={"organization": "organizations"},
    ),
}
UNIFIED = ("job_templates", "workflow_job_templates", "projects", "inventory_sources", "workflow_approval_templates")
# Fields of each way to tell, and which of them is a secret.
NOTIFICATIONS = {
    "webhook": ({"url", "http_method", "headers", "disable_ssl_verification", "username", "password"}, "password"),
    "slack": ({"token", "channels", "hex_color"}, "token"),
}
MANAGED_TYPES = {
    "Machine": ("ssh", ("username",), ("password", "ssh_key_data", "ssh_key_unlock", "become_password")),
    "Source Control": ("scm", ("username",), ("password", "ssh_key_data", "ssh_key_unlock")),
    "Vault": ("vault", ("vault_id",), ("vault_password",)),
    "Container Registry": ("registry", ("host", "username"), ("password",)),
}


class Awx:
    """What the server holds. `playbooks` are those of the project's repository, seen once it was updated."""

    def __init__(self, token: str, playbooks: list[str]) -> None:
        self.token, self.playbooks = token, playbooks
        self.ids = itertools.count(1)
        self.lock = threading.Lock()
        self.asked = 0
        self.writes: list[str] = []
        self.tables: dict[str, dict[int, Object]] = {collection: {} for collection in KINDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[tuple[str, int], Object] = {}
        self.roles: dict[int, list[int]] = {}
        self.updates: dict[int, list[str]] = {}
        for name, (kind, plain, secret) in MANAGED_TYPES.items():
            fields = [{"id": name, "type": "string"} for name in plain]
            fields += [{"id": name, "type": "string", "secret": True} for name in secret]
            self.add("credential_types", {"name": name, "kind": kind, "managed": True, "inputs": {"fields": fields}})
        self.add("instance_groups", {"name": "default"})

    # What tests ask.

    def named(self, collection: str) -> dict[str, Object]:
        return {item.get("name") or item["identifier"]: item for item in self.tables[collection].values()}

    def linked(self, collection: str, item: int, link: str) -> list[str]:
        table = self.tables[KINDS[collection].links[link]]
        there = [table[number] for number in self.linked_ids(collection, item, link)]
        return sorted(one.get("name") or one["identifier"] for one in there)

    def linked_ids(self, collection: str, item: int, link: str) -> list[int]:
        return self.links.get((collection, item, link), [])

    # What the API does.

    def add(self, collection: str, given: Object) -> Object:
        kind = KINDS[collection]
        missing = [name for name in kind.required if given.get(name) in (None, "")]
        if missing:
            raise RefusedError(400, **{name: ["This field is required."] for name in missing})
        item = {**json.loads(json.dumps(kind.fields)), **self.taken(kind, given)}
        self.check(collection, item)
        item["id"] = next(self.ids)
        self.tables[collection][item["id"]] = item
        item["roles"] = {f"{role}_role": next(self.ids) for role in kind.roles}
        self.roles.update({role: [] for role in item["roles"].values()})
        if collection == "projects":
            item["update"] = next(self.ids)
            self.updates[item["update"]] = ["pending", "running", "successful"]
        return item

    def change(self, collection: str, item: Object, given: Object) -> None:
        after = {**item, **self.taken(KINDS[collection], given)}
        if collection == "credentials":
            kept = {name: item["inputs"][name] for name, value in after["inputs"].items() if value == HIDDEN}
            after["inputs"] = {**after["inputs"], **kept}
        self.check(collection, after)
        item.update(after)

    def taken(self, kind: Kind, given: Object) -> Object:
        """The known fields; null is the empty text where a text has to be."""
        known = {name: given[name] for name in kind.fields if name in given}
        return {name: "" if value is None and kind.fields[name] == "" else value for name, value in known.items()}

    def check(self, collection: str, item: Object) -> None:
        kind = KINDS[collection]
        for name, allowed in kind.choices.items():
            if item[name] not in allowed:
                raise RefusedError(400, **{name: [f'"{item[name]}" is not a valid choice.']})
        for name, target in kind.references.items():
            if item[name] is not None and item[name] not in self.table(target):
                raise RefusedError(400, **{name: [f'Invalid pk "{item[name]}" - object does not exist.']})
        for other in self.tables[collection].values():
            same = kind.unique and all(item[name] == other[name] for name in kind.unique)
            if same and other["id"] != item.get("id"):
                raise RefusedError(400, __all__=[f"{kind.type} with this {' and '.join(kind.unique)} already exists."])
        getattr(self, f"check_{kind.type}", lambda item: None)(item)

    def check_credential_type(self, item: Object) -> None:
        if not item["managed"] and item["kind"] not in ("cloud", "net"):
            raise RefusedError(400, kind=["Must be either 'cloud' or 'net'."])
        known = set()
        for one in item["inputs"].get("fields", []):
            one.setdefault("type", "string")
            known.add(one["id"])
        if not set(item["inputs"].get("required", [])) <= known:
            raise RefusedError(400, inputs=["required names a field that is not there"])
        if not set(item["injectors"]) <= {"env", "extra_vars", "file"}:
            raise RefusedError(400, injectors=["Schema validation error"])
        for templates in item["injectors"].values():
            for name, template in templates.items():
                undefined = meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(template)) - known
                if undefined:
                    raise RefusedError(400, injectors=[f"{name} uses an undefined field ({', '.join(undefined)})"])

    def check_credential(self, item: Object) -> None:
        known = {one["id"] for one in self.tables["credential_types"][item["credential_type"]]["inputs"]["fields"]}
        unknown = set(item["inputs"]) - known
        if unknown:
            raise RefusedError(400, inputs=[f"Additional properties are not allowed ({', '.join(sorted(unknown))})"])

    def check_inventory_source(self, item: Object) -> None:
        if item["source"] == "scm" and item["source_project"] is None:
            raise RefusedError(400, source_project=["Project required for scm type sources."])
        if item["credential"] is not None and self.credential_kind(item["credential"]) in ("ssh", "scm", "vault"):
            refused = "Credentials of type machine, source control, insights and vault are disallowed."
            raise RefusedError(400, credential=[refused])

    def check_job_template(self, item: Object) -> None:
        if item["project"] is None:
            raise RefusedError(400, project=["Job Templates must have a project assigned."])
        if item["inventory"] is None and not item["ask_inventory_on_launch"]:
            raise RefusedError(400, inventory=["must set either a default value or ask to prompt on launch."])
        update = self.updates[self.tables["projects"][item["project"]]["update"]]
        if update != ["successful"] or item["playbook"] not in self.playbooks:
            raise RefusedError(400, playbook=["Playbook not found for project."])

    def check_schedule(self, item: Object) -> None:
        rule = item["rrule"]
        if not re.match(r"DTSTART(;TZID=[\w/]+:\d{8}T\d{6}|:\d{8}T\d{6}Z) RRULE:", rule) or rule.count("DTSTART") > 1:
            raise RefusedError(400, rrule=["Valid DTSTART required in rrule."])
        if "INTERVAL=" not in rule:
            raise RefusedError(400, rrule=["INTERVAL required in rrule."])
        if not re.search(r"FREQ=(MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)", rule):
            raise RefusedError(400, rrule=["rrule parsing failed validation: invalid FREQ"])

    def check_notification_template(self, item: Object) -> None:
        wanted, _secret = NOTIFICATIONS[item["notification_type"]]
        missing = wanted - set(item["notification_configuration"])
        if missing:
            raise RefusedError(
                400, notification_configuration=[f"Missing required fields: {', '.join(sorted(missing))}."]
            )

    def check_survey(self, spec: Object) -> None:
        if not {"name", "description", "spec"} <= set(spec) or not spec["spec"]:
            raise RefusedError(400, error="'spec' missing from survey spec.")
        seen: set[str] = set()
        for number, one in enumerate(spec["spec"]):
            for name in ("type", "question_name", "variable", "required"):
                if name not in one:
                    raise RefusedError(400, error=f"'{name}' missing from survey question {number}")
            if one["type"] not in SURVEY_TYPES or one["variable"] in seen:
                raise RefusedError(400, error=f"'{one['type']}' of {one['variable']}: unknown, or there twice")
            seen.add(one["variable"])
            if any(type(one.get(name, 0)) is not int for name in ("min", "max")):
                raise RefusedError(400, error=f"The limits in survey question {number} are expected to be integer.")
            default = one.get("default", "")
            right: tuple[type, ...] = {"integer": (int,), "float": (int, float)}.get(one["type"], (str,))
            if default != "" and not isinstance(default, right):
                raise RefusedError(400, error=f"Default value of question {number} expected to be {one['type']}.")
            if one["type"] in ("multiplechoice", "multiselect"):
                if not isinstance(one.get("choices"), list):
                    raise RefusedError(
                        400, error=f"Survey question {number} of type {one['type']} must specify choices."
                    )
                if default and not {default} <= set(one["choices"]):
                    raise RefusedError(400, error="Default choice must be answered from the choices listed.")

    def credential_kind(self, credential: int) -> str:
        return self.tables["credential_types"][self.tables["credentials"][credential]["credential_type"]]["kind"]

    def link(self, collection: str, item: int, link: str, given: Object) -> None:
        there = given["id"]
        if there not in self.table(KINDS[collection].links[link]):
            raise RefusedError(400, detail=f"{link} {there} does not exist.")
        linked = self.links.setdefault((collection, item, link), [])
        if given.get("disassociate"):
            linked.remove(there)
            return
        if collection == "job_templates" and link == "credentials":
            credentials = self.tables["credentials"]
            if self.credential_kind(there) in ("scm", "registry"):
                raise RefusedError(400, detail=f"Cannot assign a Credential of kind `{self.credential_kind(there)}`.")
            if credentials[there]["credential_type"] in [credentials[one]["credential_type"] for one in linked]:
                raise RefusedError(400, detail="Cannot assign multiple credentials of one type.")
        linked.append(there)

    def table(self, collection: str) -> dict[int, Object]:
        if collection == "unified_job_templates":
            return {number: item for part in UNIFIED for number, item in self.tables[part].items()}
        return self.tables[collection]

    def collection_of(self, number: int) -> str:
        return next(collection for collection, table in self.tables.items() if number in table)

    def shown(self, item: Object) -> Object:
        collection = self.collection_of(item["id"])
        url = f"/api/v2/{collection}/{item['id']}/"
        shown = {name: value for name, value in item.items() if name not in ("roles", "update")}
        related = {link: f"{url}{link}/" for link in KINDS[collection].links}
        if collection in ("job_templates", "workflow_job_templates"):
            related["survey_spec"] = f"{url}survey_spec/"
        job = item.get("unified_job_template")
        if job is not None:
            related["unified_job_template"] = f"/api/v2/{self.collection_of(job)}/{job}/"
        summary: Object = {"object_roles": {name: {"id": role} for name, role in item["roles"].items()}}
        if "update" in item:
            summary["current_update"] = {"id": item["update"]}
        if collection == "credentials":
            fields = self.tables["credential_types"][item["credential_type"]]["inputs"]["fields"]
            secret = {one["id"] for one in fields if one.get("secret")}
            shown["inputs"] = {name: HIDDEN if name in secret else value for name, value in item["inputs"].items()}
        if collection == "notification_templates":
            _fields, secret_field = NOTIFICATIONS[item["notification_type"]]
            shown["notification_configuration"] = {**item["notification_configuration"], secret_field: HIDDEN}
        return {**shown, "type": KINDS[collection].type, "url": url, "related": related, "summary_fields": summary}

    def listed(self, collection: str, query: Object) -> Object:
        found = []
        fields = KINDS["job_templates" if collection == "unified_job_templates" else collection].fields
        allowed = {"id", "type", *fields}
        for name in query:
            if name.removeprefix("or__") not in allowed:
                raise RefusedError(400, detail=f"{name} is not an allowed field name.")
        for item in self.table(collection).values():
            shown = {**item, "type": KINDS[self.collection_of(item["id"])].type}
            either = [str(shown.get(name[4:])) == value for name, value in query.items() if name.startswith("or__")]
            every = [str(shown.get(name)) == value for name, value in query.items() if not name.startswith("or__")]
            if all(every) and (any(either) or not either):
                found.append(self.shown(item))
        return {"count": len(found), "next": None, "previous": None, "results": found}

    def answer(self, method: str, path: str, query: Object, given: Object) -> tuple[int, Object]:
        if method != "GET":
            self.writes.append(f"{method} {path}")
        match path.removeprefix("/api/v2/").strip("/").split("/"):
            case ["project_updates", number] if method == "GET":
                states = self.updates[int(number)]
                return 200, {"status": states.pop(0) if len(states) > 1 else states[0]}
            case ["roles", number, "teams"]:
                if method == "POST":
                    self.roles[int(number)].append(given["id"])
                    return 204, {}
                teams = [self.shown(self.tables["teams"][team]) for team in self.roles[int(number)]]
                return 200, {"count": len(teams), "next": None, "results": teams}
            case [collection] if method == "GET" and collection in (*KINDS, "unified_job_templates"):
                return 200, self.listed(collection, query)
            case [collection] if method == "POST" and collection in KINDS:
                return 201, self.shown(self.add(collection, given))
            case [collection, number] if collection in KINDS and int(number) in self.tables[collection]:
                item = self.tables[collection][int(number)]
                if method == "PATCH":
                    self.change(collection, item, given)
                return 200, self.shown(item)
            case ["workflow_job_template_nodes", number, "create_approval_template"] if method == "POST":
                approval = self.add("workflow_approval_templates", given)
                self.tables["workflow_job_template_nodes"][int(number)]["unified_job_template"] = approval["id"]
                return 201, self.shown(approval)
            case ["job_templates" | "workflow_job_templates" as collection, number, "survey_spec"]:
                survey = (collection, int(number))
                if method == "POST":
                    self.check_survey(given)
                    self.surveys[survey] = given
                if method == "DELETE":
                    self.surveys.pop(survey, None)
                return 200, self.surveys.get(survey, {}) if method == "GET" else {}
            case [collection, number, link] if collection in KINDS and link in KINDS[collection].links:
                if method == "POST":
                    self.link(collection, int(number), link, given)
                    return 204, {}
                table = self.table(KINDS[collection].links[link])
                linked = [self.shown(table[there]) for there in self.linked_ids(collection, int(number), link)]
                return 200, {"count": len(linked), "next": None, "results": linked}
        raise RefusedError(404, detail="Not found.")


@contextmanager
def serving(awx: Awx, certificates: Path | None = None) -> Iterator[str]:
    """The server's URL while the block runs, over TLS where it has a certificate (tls.crt, tls.key)."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            given = json.loads(self.rfile.read(length) or b"{}")
            asked = urlsplit(self.path)
            try:
                if self.headers.get("Authorization") != f"Bearer {awx.token}":
                    raise RefusedError(401, detail="Authentication credentials were not provided.")
                with awx.lock:
                    status, told = awx.answer(self.command, unquote(asked.path), dict(parse_qsl(asked.query)), given)
            except RefusedError as refused:
                status, told = refused.status, refused.problems
            body = b"" if status == 204 else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    for method in ("GET", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_one)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield f"{'https' if certificates else 'http'}://127.0.0.1:{server.server_port}"
