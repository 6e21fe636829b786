"""The metadata service: what cloud-init's DataSourceMAAS reads and where a machine reports.

Every request is signed with the machine's own token (from `/MAAS/boot/MAC`); it reads and reports for that
machine and no other. Follows metadataserver/api.py and api_twisted.py of MAAS.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from lab.maas_simulator import script_runs
from lab.maas_simulator.answer import BYTES, OK, TEXT, TEXT_PLAIN, Answer
from lab.maas_simulator.errors import bad_request, conflict
from lab.maas_simulator.events import EventType, record
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.hardware import store_hardware
from lab.maas_simulator.lifecycle import (
    begin_release,
    commissioned,
    commissioning_failed,
    deployed,
    expect_report,
    in_rescue_mode,
    mark_failed,
    tested,
)
from lab.maas_simulator.model import Machine
from lab.maas_simulator.oauth import Credentials, unauthorized
from lab.maas_simulator.region import Region
from lab.maas_simulator.statuses import Status

VERSIONS = ("2012-03-01", "latest")
_INSTALL_FAILED = "Installation failed (refer to the installation log for more information)."
_SIGNALS = ("WORKING", "OK", "FAILED", "COMMISSIONING", "TESTING", "INSTALLING", "TIMEDOUT", "APPLYING_NETCONF")
_MUTE = (Status.NEW, Status.ALLOCATED, Status.RESERVED, Status.RETIRED, Status.MISSING, Status.BROKEN)


def machine_of_token(region: Region, credentials: Credentials | None) -> Machine | None:
    """The machine whose token signed the request."""
    if credentials is None:
        return None
    machine = region.store.find_machine("token", credentials.token)
    if machine is None or machine.token is None:
        return None
    token = machine.token
    return machine if credentials.prove(token.consumer, token.key, token.secret) else None


def require_machine(region: Region, credentials: Credentials | None) -> Machine:
    """The same, or 401."""
    machine = machine_of_token(region, credentials)
    if machine is None:
        raise unauthorized()
    return machine


def read(region: Region, machine: Machine, version: str, path: str) -> Answer:
    """`VERSION/`, `VERSION/meta-data/...` and `VERSION/user-data`."""
    if version not in VERSIONS:
        return Answer(404, f"Unknown metadata version: {version}", TEXT)
    if path == "":
        return Answer(200, "maas-commissioning-scripts\nmeta-data\nuser-data", TEXT_PLAIN)
    if path.rstrip("/") == "maas-scripts":
        return script_runs.archive(region, machine)
    if path == "user-data":
        return _user_data(region, machine)
    keys = [row["key"] for row in region.store.rows("SELECT key FROM sshkey ORDER BY id")]
    values = {"instance-id": machine.system_id, "local-hostname": machine.hostname}
    # The keys are the owner's; a machine nobody owns gets none.
    if keys and machine.owner:
        values["public-keys"] = "\n".join(keys)
    if path in ("meta-data", "meta-data/"):
        return Answer(200, "\n".join(sorted(values)), TEXT_PLAIN)
    field = path.removeprefix("meta-data/")
    if path.startswith("meta-data/") and field in values:
        return Answer(200, values[field], TEXT_PLAIN)
    if field == "public-keys":
        return Answer(404, "No registered public keys", TEXT)
    # vendor-data too: cloud-init does without it.
    return Answer(404, f"Unknown metadata attribute: {field}", TEXT)


def _user_data(region: Region, machine: Machine) -> Answer:
    # MAAS considers a machine deployed when the installed system asks for its user data, before
    # cloud-init has run it (UserDataHandler.read).
    if machine.status == Status.DEPLOYING:
        deployed(region, machine)
        region.store.save(machine)
    if machine.user_data is None:
        return Answer(404, "", TEXT)
    try:
        content = base64.b64decode(machine.user_data, validate=True)
    except (binascii.Error, ValueError):
        content = machine.user_data.encode()
    return Answer(200, content, BYTES)


def operate(region: Region, machine: Machine, version: str, operation: str, data: Fields) -> Answer:
    """`POST VERSION/` with op=signal, netboot_off or netboot_on."""
    if version not in VERSIONS:
        return Answer(404, f"Unknown metadata version: {version}", TEXT)
    if operation in ("netboot_off", "netboot_on"):
        machine.netboot = operation == "netboot_on"
    elif operation == "signal":
        _signal(region, machine, data)
    else:
        raise bad_request(f"Unrecognised signature: method=POST op={operation or None}")
    region.store.save(machine)
    return OK


def _signal(region: Region, machine: Machine, data: Fields) -> None:
    status = data.get("status")
    if not status:
        raise bad_request("No provided status!")
    if status not in _SIGNALS:
        raise bad_request(f"Unknown commissioning status: '{status}'")
    if machine.status in _MUTE:
        raise conflict(f"Machine status isn't valid (status is {machine.status.label})")
    if data.get("error"):
        record(region.store, machine, EventType.STATUS_EVENT, data.get("error"))
    if machine.status == Status.COMMISSIONING:
        for name in ("hardware", "50-maas-01-commissioning"):
            if data.get(name):
                store_hardware(region, machine, data.get(name))
    of_a_script = script_runs.store_result(region, machine, status, data)
    expect_report(region, machine)
    if of_a_script and status == "TIMEDOUT":
        return  # the script's, not the machine's
    _obey_signal(region, machine, status)


def _obey_signal(region: Region, machine: Machine, status: str) -> None:
    match machine.status, status:
        case Status.COMMISSIONING, "OK" | "TESTING":
            commissioned(region, machine)
        case Status.COMMISSIONING, "FAILED" | "TIMEDOUT":
            commissioning_failed(region, machine)
        case Status.TESTING, "OK":
            tested(region, machine)
        case Status.TESTING, "FAILED" | "TIMEDOUT":
            mark_failed(region, machine, "Testing failed")
        case Status.DEPLOYING, "FAILED" | "TIMEDOUT":
            mark_failed(region, machine, _INSTALL_FAILED)
        case Status.DISK_ERASING, "OK":
            begin_release(region, machine)
        case Status.ENTERING_RESCUE_MODE, "OK":
            in_rescue_mode(region, machine)
        case Status.ENTERING_RESCUE_MODE, "FAILED" | "TIMEDOUT":
            mark_failed(region, machine, "Failed to enter rescue mode.")
        case Status.DISK_ERASING, "FAILED":
            mark_failed(region, machine, "Failed to erase disks.")
        case _:
            pass  # WORKING, or the end of something that already ended: acknowledged, as MAAS does.


def read_status_event(body: bytes) -> dict[str, Any]:
    """A message of cloud-init's or curtin's reporting webhook, or the 400 of MAAS."""
    try:
        message = json.loads(body.decode("ascii"))
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise bad_request(f"Status payload must be ASCII-only: {error}") from error
        raise bad_request(f"Status payload is not valid JSON:\n{body.decode()}\n\n") from error
    absent = [key for key in ("event_type", "origin", "name", "description") if key not in message]
    if absent:
        raise bad_request(f"Missing parameter(s) {', '.join(absent)} in status message.")
    return dict(message)


def report_status(region: Region, machine: Machine, message: dict[str, Any]) -> None:
    """Act on a reported event; only events without a slash in their name change a machine's status."""
    name, kind, result = message["name"], message["event_type"], message.get("result")
    failed = result in ("FAIL", "FAILURE")
    origin = EventType.INSTALL_EVENT if message["origin"] == "curtin" else EventType.STATUS_EVENT
    if kind == "start" or failed:
        record(region.store, machine, origin, f"'{message['origin']}' {message['description']}")
    expect_report(region, machine)
    if "/" not in name and kind == "finish":
        if machine.status == Status.COMMISSIONING and failed:
            text = "Commissioning failed, cloud-init reported a failure (refer to the event log for more information)"
            mark_failed(region, machine, text)
        elif machine.status == Status.DEPLOYING and failed:
            mark_failed(region, machine, _INSTALL_FAILED)
        elif machine.status == Status.DEPLOYING and name == "modules-final" and not machine.netboot:
            # MAAS does this for KVM hosts only; for others the user data was asked for long before.
            # The lab's machines may report without a metadata data source, so it holds for all.
            deployed(region, machine)
        elif machine.status == Status.DISK_ERASING and failed:
            mark_failed(region, machine, "Failed to erase disks.")
    region.store.save(machine)
