"""Scripts: what a region refuses, and their way from the upload over a machine that runs them to their results."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from maas_region import Region, serve, settings

from lab.metal import boot as metal_boot
from lab.metal.boot import Firmware, boot
from lab.metal.machines import Machine
from lab.metal.scripts import TIMED_OUT, Outcome, Script

MAC = "52:54:00:00:00:01"
GOOD = "#!/bin/sh\necho healthy\n"
BAD = "#!/bin/sh\necho 'no disk' >&2\nexit 3\n"
WITH_METADATA = """#!/bin/sh
# --- Start MAAS 1.0 script metadata ---
# name: disk-health
# title: Disk health
# script_type: commissioning
# tags: [disk, edge]
# timeout: 90
# --- End MAAS 1.0 script metadata ---
true
"""


class BareMachine:
    """A machine without a disk; it runs scripts as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []

    def container(self, machine: Machine) -> None:
        return None

    def run_script(self, machine: Machine, script: Script) -> Outcome:
        self.ran.append(script.name)
        path = self.folder / script.name
        path.write_bytes(script.content)
        path.chmod(0o755)
        try:
            done = subprocess.run([path], capture_output=True, timeout=script.timeout_seconds or None)
        except subprocess.TimeoutExpired as late:
            return Outcome(TIMED_OUT, late.stdout or b"", late.stderr or b"")
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def switch_on(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Boot the metal from this region's network; the scripts that ran."""
    # What the region tells machines is the address that it has in a lab.
    client = httpx.Client(trust_env=False, event_hooks={"request": [lambda request: _to(request, region.url)]})
    monkeypatch.setattr(metal_boot.httpx, "get", client.get)
    monkeypatch.setattr(metal_boot.httpx, "post", client.post)

    def switch() -> list[str]:
        rack = BareMachine(tmp_path)
        assert boot(Firmware(region.url), rack, Machine(MAC, "nuc")) is False  # type: ignore[arg-type]
        return rack.ran

    return switch


def _to(request: httpx.Request, url: str) -> None:
    here = httpx.URL(url)
    request.url = request.url.copy_with(host=here.host, port=here.port)


def upload(region: Region, name: str, script: str, **more: str) -> dict[str, Any]:
    answer = region.call("POST", "scripts/", data={"name": name, "script": script, "type": "commissioning", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def results(region: Region, system_id: str, which: str) -> dict[str, tuple[str, int | None, str]]:
    path = f"nodes/{system_id}/results/current-{which}/"
    found = region.call("GET", path, params={"include_output": "true"}).json()["results"]
    return {
        row["name"]: (row["status_name"], row["exit_status"], base64.b64decode(row["output"]).decode()) for row in found
    }


def test_a_machine_runs_what_was_uploaded_and_its_results_can_be_read(region: Region, switch_on: Any) -> None:
    upload(region, "disk-health", GOOD)
    upload(region, "not-by-default", BAD, tags="noauto")
    upload(region, "burn-in", GOOD, type="testing", tags="commissioning")
    upload(region, "long-test", BAD, type="testing")
    system_id = region.create("nuc", MAC)
    assert results(region, system_id, "commissioning") == {"disk-health": ("Pending", None, "")}
    assert switch_on() == ["disk-health", "burn-in"]
    assert region.wait(system_id, 4)["cpu_count"] == 4
    assert results(region, system_id, "commissioning") == {"disk-health": ("Passed", 0, "healthy\n")}
    assert results(region, system_id, "testing") == {"burn-in": ("Passed", 0, "healthy\n")}
    runs = region.call("GET", f"nodes/{system_id}/results/", params={"type": "commissioning"}).json()
    assert [(run["type_name"], len(run["results"])) for run in runs] == [("Commissioning", 1)]
    path = f"nodes/{system_id}/results/{runs[0]['id']}/?op=download"
    assert region.call("GET", path).text == "healthy\n"


def test_a_failing_script_fails_the_commissioning_and_says_so(region: Region, switch_on: Any) -> None:
    upload(region, "disk-health", BAD)
    upload(region, "memory", GOOD)
    upload(region, "burn-in", GOOD, type="testing", tags="commissioning")
    system_id = region.create("nuc", MAC)
    # Commissioning goes on after a failure, so that all of it is known; testing does not begin.
    assert switch_on() == ["disk-health", "memory"]
    assert region.wait(system_id, 2)["status_message"] == "Failed commissioning"
    assert results(region, system_id, "commissioning") == {
        "disk-health": ("Failed", 3, "no disk\n"),
        "memory": ("Passed", 0, "healthy\n"),
    }
    events = region.call("GET", "events/", params={"op": "query", "level": "INFO"}).json()["events"]
    assert ("Script", "disk-health failed") in [(event["type"], event["description"]) for event in events]
    # Repaired, the machine is commissioned anew.
    region.call("PUT", "scripts/disk-health", data={"script": GOOD})
    assert region.call("POST", f"machines/{system_id}/?op=commission", data={}).status_code == 200
    switch_on()
    region.wait(system_id, 4)


def test_a_failing_test_fails_testing(region: Region, switch_on: Any) -> None:
    upload(region, "burn-in", BAD, type="testing")
    system_id = region.create("nuc", MAC, testing_scripts="burn-in")
    assert switch_on() == ["burn-in"]
    region.wait(system_id, 22)
    assert results(region, system_id, "testing")["burn-in"][:2] == ("Failed", 3)


def test_a_script_has_its_time_and_no_more(region: Region, switch_on: Any) -> None:
    upload(region, "slow", "#!/bin/sh\necho begun\nexec sleep 60\n", timeout="1")
    system_id = region.create("nuc", MAC)
    switch_on()
    region.wait(system_id, 2)
    assert results(region, system_id, "commissioning") == {"slow": ("Timed out", 124, "begun\n")}
    events = region.call("GET", "events/", params={"op": "query", "level": "INFO"}).json()["events"]
    assert "slow timed out" in [event["description"] for event in events]


def test_scripts_are_chosen_by_name_and_tag_and_what_is_neither_is_refused(region: Region, switch_on: Any) -> None:
    upload(region, "a", GOOD, tags="edge")
    upload(region, "b", GOOD, tags="edge,noauto")
    upload(region, "c", GOOD)
    system_id = region.create("nuc", MAC, commission="false")
    for field in ("commissioning_scripts", "testing_scripts"):
        refused = region.call("POST", f"machines/{system_id}/?op=commission", data={field: "nosuch"})
        assert refused.status_code == 400
        assert refused.json() == {field: ["Select a valid choice. nosuch is not one of the available choices."]}
    assert region.machine(system_id)["status"] == 0
    chosen = {"commissioning_scripts": "edge", "testing_scripts": "none"}
    assert region.call("POST", f"machines/{system_id}/?op=commission", data=chosen).status_code == 200
    assert switch_on() == ["a", "b"]
    region.wait(system_id, 4)


def test_metadata_in_the_script_counts_and_must_not_be_contradicted(region: Region) -> None:
    made = region.call("POST", "scripts/", data={"script": WITH_METADATA}).json()
    assert (made["name"], made["title"], made["type"]) == ("disk-health", "Disk health", 0)
    assert (made["tags"], made["timeout"]) == (["disk", "edge", "node"], "0:01:30")
    refused = region.call("PUT", "scripts/disk-health", data={"script": WITH_METADATA, "title": "Other"})
    assert refused.json() == {"title": ["May not override values defined in embedded YAML."]}
    # Tags and timeout are people's once the script is there.
    changed = WITH_METADATA.replace("90", "10").replace("edge", "other") + "false\n"
    updated = region.call("PUT", "scripts/disk-health", data={"script": changed, "comment": "stricter"}).json()
    assert (updated["tags"], updated["timeout"]) == (["disk", "edge", "node"], "0:01:30")
    assert [version["comment"] for version in updated["history"]] == ["stricter", None]
    same = region.call("PUT", "scripts/disk-health", data={"script": changed}).json()
    assert len(same["history"]) == 2
    assert region.call("GET", "scripts/disk-health?op=download").text == changed


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({"name": "a"}, {"script": ["This field is required."]}),
        ({"script": GOOD}, {"name": ["This field is required."]}),
        ({"name": "a", "script": "true\n"}, {"script": ["Must start with shebang."]}),
        ({"name": "none", "script": GOOD}, {"name": ['"none" is a reserved name.']}),
        ({"name": "7", "script": GOOD}, {"name": ["Cannot be a number."]}),
        ({"name": "there", "script": GOOD}, {"name": ["Script with this Name already exists."]}),
        ({"name": "a", "script": GOOD, "timeout": "soon"}, {"timeout": ["Enter a valid duration."]}),
    ],
)
def test_a_script_that_cannot_be_is_refused(region: Region, data: dict[str, str], errors: Any) -> None:
    upload(region, "there", GOOD)
    refused = region.call("POST", "scripts/", data=data)
    assert (refused.status_code, refused.json()) == (400, errors)


def test_a_restart_keeps_scripts_and_results(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with serve(chosen) as region:
        upload(region, "disk-health", GOOD)
        system_id = region.create("nuc", MAC)
        node = region.node(system_id)
        node.post("signal", status="WORKING", script_name="disk-health", exit_status="0", **{"disk-health": "fine"})
        before = region.call("GET", "scripts/").json()
    with serve(chosen) as region:
        assert region.call("GET", "scripts/").json() == before
        assert results(region, system_id, "commissioning") == {"disk-health": ("Passed", 0, "fine")}
