# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what at ARA's API. nginx has checked the password; it says who asks, and what that account may do.

    X-Edge-User      name of the account
    X-Edge-Rights    read: reads all. write: reads all, adds and alters reports. device: its own reports alone
    nobody           deletes: that is the retention's, on the machine itself

A device's own reports are those whose playbook has the device's name as `controller`. ARA knows no owner of a report:
without this one device could rewrite what another has reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ara.api import models
from django.http import HttpRequest, HttpResponse, JsonResponse

MODELS = {
    "playbooks": models.Playbook,
    "plays": models.Play,
    "tasks": models.Task,
    "hosts": models.Host,
    "results": models.Result,
    "files": models.File,
    "records": models.Record,
}
# The fields that refer to other parts of a report, and what they refer to.
REFERENCES = {"playbook": "playbooks", "play": "plays", "task": "tasks", "host": "hosts", "file": "files"}
PLACE = re.compile(r"/api/v1/(?P<kind>[a-z]+)(?:/(?P<id>[0-9]{1,18}))?")
READ_METHODS = ("GET", "HEAD", "OPTIONS")


class RefusedError(Exception):
    """What this account may not do, and what it may."""


class Access:
    """Django's middleware: each request is let through or answered with 403 and the reason."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            allow(request)
        except RefusedError as refusal:
            return JsonResponse({"detail": str(refusal)}, status=403)
        return self.answer(request)


def allow(request: HttpRequest) -> None:
    """Raise RefusedError unless the account may do this."""
    user, rights = request.headers.get("X-Edge-User", ""), request.headers.get("X-Edge-Rights", "")
    if not user or rights not in ("read", "write", "device"):
        raise RefusedError("no account: this is reached through nginx alone")
    if request.method == "DELETE":
        raise RefusedError("reports are removed by the retention on the control VM (control_node_retention_days)")
    # A page elsewhere can make a browser send a form with this account's password, but not JSON.
    if request.method not in READ_METHODS and request.content_type != "application/json":
        raise RefusedError("reports are JSON (Content-Type: application/json)")
    # Django REST framework decodes with this charset: what is checked here must be what is stored there.
    if request.method not in READ_METHODS and request.content_params.get("charset", "utf-8").lower() != "utf-8":
        raise RefusedError("reports are UTF-8, as RFC 8259 has JSON (Content-Type: application/json)")
    if rights == "device":
        allow_device(request, user)
    elif rights == "read" and request.method not in READ_METHODS:
        raise RefusedError(f"the account {user} may only read; write with an account that has rights: write")


def allow_device(request: HttpRequest, device: str) -> None:
    place = PLACE.fullmatch(request.path_info)
    if not place or place["kind"] not in MODELS:
        raise RefusedError(f"the account {device} is a device's: it reports at /api/v1/, and reads nothing else")
    kind, number = place["kind"], place["id"]
    if number and not owned(kind, number, device):
        raise RefusedError(f"{request.path_info} is not a report of {device}")
    if request.method in READ_METHODS:
        if not number:
            check_search(request, kind, device)
    elif request.method != ("PATCH" if number else "POST"):
        raise RefusedError(f"a device adds with POST, and alters what it added with PATCH, not with {request.method}")
    else:
        check_content(kind, body(request), device, new=not number)


def check_search(request: HttpRequest, kind: str, device: str) -> None:
    """A device may ask which reports of its own have a label; ARA's filters compare parts of names, so no more."""
    label = request.GET.get("label")
    if kind != "playbooks" or not label:
        raise RefusedError("a device finds its reports by their label: /api/v1/playbooks?label=...")
    if models.Playbook.objects.filter(labels__name__iexact=label).exclude(controller=device).exists():
        raise RefusedError(f"the label {label} is on reports of others, too; {device} may ask for one of its own")


def check_content(kind: str, content: Mapping[str, Any], device: str, *, new: bool) -> None:
    """Raise RefusedError where a part of a report says it is another's, or refers to another's."""
    if kind == "playbooks":
        if content.get("controller", None if new else device) != device:
            raise RefusedError(f'a report of {device} has "controller": "{device}"')
        return
    if new and "playbook" not in content:
        raise RefusedError(f'one of {kind} names its report: "playbook"')
    if kind == "hosts" and content.get("name", None if new else device) != device:
        raise RefusedError(f"{device} reports on itself alone, not on {content.get('name')}")
    if content.get("delegated_to"):
        raise RefusedError(f"{device} reports on itself alone: delegated_to must be empty")
    for field, other in REFERENCES.items():
        if field in content and not owned(other, content[field], device):
            raise RefusedError(f"{field} {content[field]} is not of a report of {device}")


def owned(kind: str, number: Any, device: str) -> bool:
    field = "controller" if kind == "playbooks" else "playbook__controller"
    try:
        return bool(MODELS[kind].objects.filter(pk=number, **{field: device}).exists())
    except (TypeError, ValueError, OverflowError):
        return False


def body(request: HttpRequest) -> Mapping[str, Any]:
    try:
        content = json.loads(request.body.decode())
    except ValueError as error:
        raise RefusedError(f"the body is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise RefusedError("the body is no JSON object")
    return content
