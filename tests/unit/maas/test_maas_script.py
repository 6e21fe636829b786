# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_script
from maas_region import Region

SCRIPT = "#!/bin/sh\nexit 0\n"
WITH_METADATA = """#!/bin/sh
# --- Start MAAS 1.0 script metadata ---
# name: disk-health
# title: Disk health
# description: Reads all of the disk
# script_type: commissioning
# tags: disk,edge
# timeout: 00:01:30
# --- End MAAS 1.0 script metadata ---
exit 0
"""


def test_the_life_of_a_script(region: Region, run_module: Any, cycle: Any, tmp_path: Path) -> None:
    path = tmp_path / "health.sh"
    path.write_text(SCRIPT)
    wanted = {
        "path": str(path),
        "name": "disk-health",
        "title": "Disk health",
        "description": "Asks the disk",
        "type": "commissioning",
        "tags": ["edge", "disk"],
        "timeout_seconds": 7200,
    }
    made = cycle(maas_script, **wanted)
    assert made["diff"]["before"] == ""
    assert "title: Disk health\n" in made["diff"]["after"]
    assert made["diff"]["after"].endswith("\n" + SCRIPT)
    shown = region.call("GET", "scripts/disk-health").json()
    assert (shown["type_name"], shown["timeout"]) == ("Commissioning script", "2:00:00")
    assert (shown["title"], shown["tags"]) == ("Disk health", ["disk", "edge", "node"])
    assert made["script"]["revision"] == shown["history"][0]["id"]

    path.write_text(SCRIPT.replace("0", "1"))
    changed = cycle(maas_script, path=str(path), name="disk-health")
    assert "exit 0" in changed["diff"]["before"]
    assert "exit 1" in changed["diff"]["after"]
    assert changed["script"]["title"] == "Disk health"
    assert len(region.call("GET", "scripts/disk-health").json()["history"]) == 2

    # What describes it changes without a new version.
    described = cycle(maas_script, name="disk-health", tags=[], timeout_seconds=0)
    assert (described["script"]["tags"], described["script"]["timeout_seconds"]) == ([], 0)
    assert len(region.call("GET", "scripts/disk-health").json()["history"]) == 2
    cycle(maas_script, name="disk-health", state="absent")
    assert region.call("GET", "scripts/").json() == []


def test_the_metadata_block_names_and_describes_it(region: Region, cycle: Any) -> None:
    made = cycle(maas_script, content=WITH_METADATA)
    assert made["script"] == {
        "name": "disk-health",
        "title": "Disk health",
        "description": "Reads all of the disk",
        "type": "commissioning",
        "tags": ["disk", "edge"],
        "timeout_seconds": 90,
        "id": made["script"]["id"],
        "revision": made["script"]["revision"],
    }
    # Tags and timeout of the block count for a new script only, as in MAAS.
    changed = cycle(maas_script, content=WITH_METADATA.replace("disk,edge", "other").replace("Disk health", "Disks"))
    assert (changed["script"]["tags"], changed["script"]["title"]) == (["disk", "edge"], "Disks")
    cycle(maas_script, content=WITH_METADATA, state="absent")


def test_line_ends_make_no_other_script(run_module: Any, writes: list[str]) -> None:
    run_module(maas_script, name="a", content=SCRIPT)
    writes.clear()
    assert not run_module(maas_script, name="a", content=SCRIPT.replace("\n", "\r\n") + "\n\n")["changed"]
    assert writes == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"content": SCRIPT}, "The script has no name. Set `name`"),
        ({"name": "a"}, "MAAS has no script a. Give its `path` or `content`."),
        ({"name": "a", "content": "exit 0\n"}, "does not begin with `#!/`"),
        ({"name": "a", "path": "/nowhere/script"}, "Check `path`"),
        ({"name": "disk health", "content": SCRIPT}, "Correct `name`"),
        ({"name": "none", "content": SCRIPT}, "Correct `name`"),
        ({"name": "other", "content": WITH_METADATA}, "`name` is 'other', and the metadata block"),
        ({"title": "Other", "content": WITH_METADATA}, "`title` is 'Other', and the metadata block"),
        ({"type": "testing", "content": WITH_METADATA}, "`type` is 'testing', and the metadata block"),
        ({"content": WITH_METADATA.replace("tags: disk", "tags: [")}, "is no YAML"),
        ({"name": "a", "content": SCRIPT, "timeout_seconds": -1}, "`timeout_seconds` is negative"),
    ],
)
def test_what_cannot_be_is_refused_in_check_mode_too(
    run_module: Any, writes: list[str], options: dict[str, Any], complaint: str
) -> None:
    for check in (True, False):
        refused = run_module(maas_script, check=check, **options)
        assert refused["failed"]
        assert complaint in refused["msg"]
    assert writes == []
