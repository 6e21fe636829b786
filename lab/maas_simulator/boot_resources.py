"""Boot resources: uploading a custom image in chunks.

The metadata is in the store, the content in one file per sha256. A chunk counts once its bytes are on the
disk and the store says so; what a killed upload left behind it is cut off at the next chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.maas_simulator.answer import DELETED, OK, TEXT, Answer
from lab.maas_simulator.boot_images import synced_series
from lab.maas_simulator.errors import bad_request, form_errors, missing
from lab.maas_simulator.region import API, Call, Region

# filetype of the API -> (filename of 3.6, filetype of the file); 3.4 uses the latter for both.
_FILETYPES = {
    "tgz": ("root.tgz", "root-tgz"),
    "tbz": ("root.tbz", "root-tbz"),
    "txz": ("root.txz", "root-txz"),
    "ddtgz": ("root-dd", "root-dd"),
    "ddtar": ("root-dd.tar", "root-dd.tar"),
    "ddraw": ("root-dd.raw", "root-dd.raw"),
    "ddtbz": ("root-dd.tar.bz2", "root-dd.tar.bz2"),
    "ddtxz": ("root-dd.tar.xz", "root-dd.tar.xz"),
    "ddbz2": ("root-dd.bz2", "root-dd.bz2"),
    "ddgz": ("root-dd.gz", "root-dd.gz"),
    "ddxz": ("root-dd.xz", "root-dd.xz"),
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The synced resources of a region come first; uploads are numbered after them.
_SYNCED = 2


def _show(region: Region, row: Any) -> dict[str, Any]:
    deployed = row["last_deployed"]
    shown = {
        "id": row["id"] + _SYNCED,
        "type": "Uploaded",
        "name": row["name"],
        "architecture": row["architecture"],
        "resource_uri": f"{API}boot-resources/{row['id'] + _SYNCED}/",
        "last_deployed": datetime.fromtimestamp(deployed, UTC).isoformat() if deployed else None,
        "subarches": "generic",
    }
    if row["title"]:
        shown["title"] = row["title"]
    if region.release >= (3, 6):
        shown["base_image"] = row["base_image"]
    return shown


def _synced(region: Region) -> list[dict[str, Any]]:
    kernels = {"focal": "ga-20.04", "jammy": "ga-22.04", "noble": "ga-24.04"}
    return [
        {
            "id": number,
            "type": "Synced",
            "name": f"ubuntu/{series}",
            "architecture": f"amd64/{kernels[series]}",
            "resource_uri": f"{API}boot-resources/{number}/",
            "last_deployed": None,
            "subarches": "generic",
        }
        for number, series in enumerate(synced_series(region), 1)
    ]


def _show_file(region: Region, row: Any) -> dict[str, Any]:
    shown = {
        "filename": row["filename"],
        "filetype": row["filetype"],
        "sha256": row["sha256"],
        "size": row["size"],
        "complete": bool(row["complete"]),
    }
    if region.release >= (3, 6):
        shown["filename_on_disk"] = row["sha256"][:7]
    if not row["complete"]:
        shown["progress"] = _progress(region, row)
        uri = f"{API}boot-resources/{row['resource_id'] + _SYNCED}/upload/{row['id']}/"
        shown["upload_uri"] = uri
    return shown


def _progress(region: Region, row: Any) -> float:
    share = 100.0 * row["received"] / row["size"]
    return share if region.release >= (3, 6) else int(share)


def _show_sets(region: Region, resource: Any) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    rows = region.store.rows(
        "SELECT * FROM resource_file JOIN blob USING (sha256) WHERE resource_id = ? ORDER BY id DESC",
        resource["id"],
    )
    for row in rows:
        shown = {
            "version": row["version"],
            "label": "uploaded",
            "size": row["size"],
            "complete": bool(row["complete"]),
        }
        if not row["complete"]:
            shown["progress"] = _progress(region, row)
        sets[row["version"]] = {**shown, "files": {row["filename"]: _show_file(region, row)}}
    return {**_show(region, resource), "sets": sets}


def list_resources(call: Call) -> Answer:
    """BootResources.read"""
    kind = call.query.get("type", "all")
    if kind not in ("all", "synced", "uploaded"):
        raise bad_request(f"'{kind}' is not a valid boot resource type. Available types: ['synced', 'uploaded']")
    rows = call.store.rows("SELECT * FROM resource ORDER BY name, architecture")
    uploaded = [_show(call.region, row) for row in rows]
    return Answer.json((_synced(call.region) if kind != "uploaded" else []) + (uploaded if kind != "synced" else []))


def _number(value: str, model: str) -> int:
    if not value.isdigit():
        raise missing(model)
    return int(value)


def _resource_id(value: str) -> int:
    return _number(value, "BootResource") - _SYNCED


def _resource(call: Call) -> Any:
    row = call.store.row("SELECT * FROM resource WHERE id = ?", _resource_id(call.params["id"]))
    if row is None:
        raise missing("BootResource")
    return row


def read_resource(call: Call) -> Answer:
    """BootResource.read"""
    for synced in _synced(call.region):
        if str(synced["id"]) == call.params["id"]:
            return Answer.json({**synced, "sets": {}})
    return Answer.json(_show_sets(call.region, _resource(call)))


def delete_resource(call: Call) -> Answer:
    """BootResource.delete; a missing one is a 500 (recorded)."""
    row = call.store.row("SELECT id FROM resource WHERE id = ?", _resource_id(call.params["id"]))
    if row is None:
        return Answer(500, "BootResource matching query does not exist.", TEXT)
    call.store.db.execute("DELETE FROM resource WHERE id = ?", (row["id"],))
    orphans = call.store.rows("SELECT sha256 FROM blob WHERE sha256 NOT IN (SELECT sha256 FROM resource_file)")
    for orphan in orphans:
        call.store.db.execute("DELETE FROM blob WHERE sha256 = ?", (orphan["sha256"],))
        (call.region.images / orphan["sha256"]).unlink(missing_ok=True)
    return DELETED


def create_resource(call: Call) -> Answer:
    """BootResources.create: a new set; complete at once if its content is already here."""
    filetype = call.data.get("filetype", "tgz")
    name = call.data.get("name").removeprefix("custom/")
    architecture, sha256 = call.data.get("architecture"), call.data.get("sha256")
    _check(call, filetype, name)
    filename, kind = _FILETYPES[filetype]
    if call.region.release < (3, 6):
        filename = kind
    store = call.store
    default_base = "ubuntu/jammy"
    store.db.execute(
        "INSERT INTO resource (name, architecture, title, base_image) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET title = excluded.title, base_image = excluded.base_image",
        (name, architecture, call.data.get("title"), call.data.get("base_image") or default_base),
    )
    row = store.row("SELECT * FROM resource WHERE name = ? AND architecture = ?", name, architecture)
    assert row is not None
    store.db.execute("INSERT OR IGNORE INTO blob (sha256, size) VALUES (?, ?)", (sha256, int(call.data.get("size"))))
    store.db.execute(
        "INSERT INTO resource_file (resource_id, version, filename, filetype, sha256) VALUES (?, ?, ?, ?, ?)",
        (row["id"], _version(call, row["id"]), filename, kind, sha256),
    )
    return Answer.json(_show_sets(call.region, row), status=201)


def _check(call: Call, filetype: str, name: str) -> None:
    errors = {
        field: ["This field is required."]
        for field in ("name", "architecture", "sha256", "size")
        if not call.data.get(field)
    }
    if filetype not in _FILETYPES:
        errors["filetype"] = [f"Select a valid choice. {filetype} is not one of the available choices."]
    if "/" in name:
        # Not recorded; MAAS reserves the names of operating systems it knows.
        errors["name"] = [f"{name} is a reserved name"]
    if call.data.get("sha256") and not _SHA256.fullmatch(call.data.get("sha256")):
        errors["sha256"] = ["Enter a valid value."]
    if call.data.get("size") and not call.data.get("size").isdigit():
        errors["size"] = ["Enter a whole number."]
    architecture = call.data.get("architecture")
    if architecture and architecture != "amd64/generic":
        errors["architecture"] = [
            f"'{architecture}' is not a valid architecture.  It should be one of: 'amd64/generic'."
        ]
    if errors:
        raise form_errors(errors)


def _version(call: Call, resource_id: int) -> str:
    today = datetime.now(UTC).strftime("%Y%m%d")
    rows = call.store.rows("SELECT version FROM resource_file WHERE resource_id = ?", resource_id)
    taken = {row["version"] for row in rows}
    number, version = 0, today
    while version in taken:
        number += 1
        version = f"{today}.{number}"
    return version


async def upload(call: Call) -> Answer:
    """BootResourceFileUpload.update: one chunk, the raw body. Waits, so it opens its transaction itself."""
    row = call.store.row(
        "SELECT sha256 FROM resource_file WHERE id = ? AND resource_id = ?",
        _number(call.params["id"], "BootResourceFile"),
        _resource_id(call.params["resource_id"]),
    )
    if row is None:
        raise missing("BootResourceFile")
    async with call.region.uploads[row["sha256"]]:
        return await _append(call, row["sha256"])


async def _append(call: Call, sha256: str) -> Answer:
    blob = call.store.row("SELECT * FROM blob WHERE sha256 = ?", sha256)
    if blob is None:
        raise missing("BootResourceFile")
    if blob["complete"]:
        raise bad_request("Cannot upload to a complete file.")
    call.region.images.mkdir(exist_ok=True)
    path = call.region.images / sha256
    received = int(blob["received"])
    with path.open("r+b" if path.exists() else "w+b") as file:
        # Bytes that were never acknowledged do not count.
        file.truncate(received)
        file.seek(received)
        async for part in call.request.stream():
            file.write(part)
            if file.tell() > blob["size"]:
                file.truncate(received)
                raise bad_request("Too much data received.")
        size = file.tell()
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    if size == received:
        raise bad_request("Missing data.")
    complete = size == blob["size"]
    if complete and await asyncio.to_thread(_digest, path) != sha256:
        raise bad_request("Saved content does not match given SHA256 value.")
    _sync_folder(call.region.images)
    with call.store.transaction():
        call.store.db.execute("UPDATE blob SET received = ?, complete = ? WHERE sha256 = ?", (size, complete, sha256))
    return OK


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """A new file is only there after a crash if its folder is synced too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def serve_image(region: Region, sha256: str) -> Answer:
    """`GET /MAAS/images/SHA256`: an uploaded image, for the machine that installs it."""
    row = region.store.row("SELECT 1 FROM blob WHERE sha256 = ? AND complete", sha256)
    if row is None:
        raise missing("BootResourceFile")
    return Answer(200, content_type="application/octet-stream", file=region.images / sha256)
