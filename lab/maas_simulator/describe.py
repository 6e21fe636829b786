"""`describe/`: the document from which clients build themselves (python-libmaas's bones, the maas CLI)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lab.maas_simulator.operations import RESOURCES, Operation, Resource
from lab.maas_simulator.region import API


def describe(base_url: str) -> dict[str, Any]:
    """The description for a client that reaches the region at this scheme and host."""
    resources = [
        {
            "name": f"{resource.name}Handler",
            "auth": _handler(resource, base_url, list(resource.operations), ""),
            "anon": _anonymous(resource, base_url),
        }
        for resource in RESOURCES
    ]
    content = json.dumps(resources, sort_keys=True).encode()
    return {
        "doc": "MAAS API",
        "hash": hashlib.sha256(content).hexdigest(),
        "resources": resources,
    }


def _anonymous(resource: Resource, base_url: str) -> dict[str, Any] | None:
    operations = [operation for operation in resource.operations if operation.anonymous]
    return _handler(resource, base_url, operations, "Anon") if operations else None


def _handler(resource: Resource, base_url: str, operations: list[Operation], prefix: str) -> dict[str, Any]:
    return {
        "name": f"{prefix}{resource.name}Handler",
        "doc": "",
        "uri": f"{base_url}{API}{resource.path}",
        "path": f"{API}{resource.path}",
        "params": resource.params,
        "actions": [
            {
                "name": operation.name,
                "doc": operation.doc,
                "method": operation.method,
                "op": operation.op,
                "restful": operation.op is None,
            }
            for operation in operations
        ],
    }
