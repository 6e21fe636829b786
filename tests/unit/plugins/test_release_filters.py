# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes a release when, what became of it, and when it stops."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.edge.rack.plugins.filter.device_status import device_status
from ansible_collections.edge.rack.plugins.filter.device_status_table import device_status_table
from ansible_collections.edge.rack.plugins.filter.release_before import release_before
from ansible_collections.edge.rack.plugins.filter.release_place import release_place
from ansible_collections.edge.rack.plugins.filter.release_stop import release_stop
from ansible_collections.edge.rack.plugins.filter.release_verdicts import release_verdicts
from ansible_collections.edge.rack.plugins.filter.release_waves import release_waves

RACK = [f"nuc-{number:03}" for number in range(1, 11)]
BEFORE, TO, OWN = ({"name": name, "images": {"predictor": {"tag": name}}} for name in ("1", "2", "own"))
ROLLOUT = {"to": TO, "before": BEFORE, "waves": [["nuc-001"], ["nuc-002", "nuc-003"], ["nuc-004"]], "open": 2}


@pytest.mark.parametrize(
    ("canaries", "size", "lengths"),
    [
        (1, "50%", [1, 5, 4]),
        (0, "100%", [10]),
        ("2", 3, [2, 3, 3, 2]),
        (0, "1%", [1] * 10),
        ("10%", 100, [1, 9]),
        (["nuc-007", "nuc-009", "nuc-099"], 100, [2, 8]),
    ],
)
def test_every_device_is_in_one_wave(canaries: Any, size: Any, lengths: list[int]) -> None:
    waves = release_waves(reversed(RACK), canaries, size)
    assert [len(wave) for wave in waves] == lengths
    assert sorted(name for wave in waves for name in wave) == RACK


@pytest.mark.parametrize(
    ("canaries", "size", "message"),
    [
        (1, 0, "rollout_wave_size: 0 is neither"),
        (1, "101%", "rollout_wave_size: '101%' is neither"),
        ("canary", 1, "rollout_canaries: 'canary' is neither"),
        (-1, 1, "rollout_canaries: -1 is neither"),
        (["nuc-099"], 1, "none of nuc-099 is a device of this release"),
    ],
)
def test_waves_that_make_no_sense_are_refused(canaries: Any, size: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        release_waves(RACK, canaries, size)


def test_a_device_waits_until_its_wave_is_open() -> None:
    assert release_place(ROLLOUT, "nuc-001", TO) == {"wave": 1, "of": 3, "held": False}
    assert release_place(ROLLOUT, "nuc-003", TO) == {"wave": 2, "of": 3, "held": False}
    assert release_place(ROLLOUT, "nuc-004", TO) == {"wave": 3, "of": 3, "held": True}


def test_a_device_that_came_later_is_of_the_last_wave() -> None:
    assert release_place(ROLLOUT, "nuc-099", TO) == {"wave": 3, "of": 3, "held": True}


def test_a_pin_or_another_release_is_in_no_wave() -> None:
    nowhere = {"wave": 0, "of": 0, "held": False}
    assert release_place(ROLLOUT, "nuc-004", OWN) == nowhere
    assert release_place({}, "nuc-004", TO) == nowhere
    # Under the same name, but not the same images: somebody changed the file without waves.
    assert release_place(ROLLOUT, "nuc-004", {**TO, "images": OWN["images"]}) == nowhere


def test_waves_open_by_the_clock_where_the_rollout_says_when() -> None:
    rollout = {**ROLLOUT, "open": 1, "opens": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"]}
    assert not release_place(rollout, "nuc-002", TO)["held"]
    assert release_place(rollout, "nuc-004", TO)["held"]


def device(before: Any, after: Any = None, **more: Any) -> dict[str, Any]:
    def answer(told: Any) -> dict[str, Any]:
        return {"unreachable": True, "msg": "no route to host"} if told is None else {"stdout": json.dumps(told)}

    return {"rollout_asked_before": answer(before), "rollout_asked_after": answer(after), **more}


HAS_IT = {"release": "2", "last": {"outcome": "changed"}, "containers": {"edge-predictor": "healthy"}}
HAS_THE_OLD = {"release": "1", "last": {"outcome": "failed", "error": "predictor is not healthy"}, "paused": {}}


@pytest.mark.parametrize(
    ("about", "verdict", "why"),
    [
        (device(HAS_THE_OLD, HAS_IT), "taken", ""),
        (device(HAS_THE_OLD, HAS_THE_OLD), "failed", "predictor is not healthy"),
        (device(HAS_THE_OLD), "failed", "it answered before, and not afterwards: no route to host"),
        (device(HAS_THE_OLD, {**HAS_IT, "containers": {"a": "unhealthy"}}), "failed", "not healthy: a"),
        (
            device(HAS_THE_OLD, {"release": "1", "last": {"outcome": "ok"}}, rollout_converged={"msg": "timed out"}),
            "failed",
            "timed out",
        ),
        (device(HAS_THE_OLD, {"release": "1", "last": {"outcome": "ok"}}), "failed", "it runs 1"),
        (
            device(
                HAS_THE_OLD,
                {"release": "1", "last": {"outcome": "ok"}},
                rollout_converged={"rc": 75, "msg": "non-zero return code", "stderr": "edge-converge: bob pushes"},
            ),
            "away",
            "edge-converge: bob pushes",
        ),
        (device(None), "away", "no route to host"),
        (
            device(HAS_THE_OLD, {"release": "1", "last": {"outcome": "ok"}}, rollout_converged={"skipped": True}),
            "away",
            "its turn did not come before the wave's time was over (rollout_converge_seconds)",
        ),
        (
            device(HAS_THE_OLD, {"release": "1", "last": {"outcome": "ok", "offline": "control: no answer"}}),
            "away",
            "control: no answer",
        ),
        (
            device(HAS_THE_OLD, {"release": "1", "last": {"outcome": "ok"}, "deferred": ["edge-predictor"]}),
            "deferred",
            "a training runs: edge-predictor",
        ),
        (device({**HAS_THE_OLD, "paused": {"by": "alice"}}), "paused", "paused by alice"),
    ],
)
def test_what_became_of_a_release_on_a_device(about: dict[str, Any], verdict: str, why: str) -> None:
    assert release_verdicts(["nuc-001"], {"nuc-001": about}, "2") == {"nuc-001": {"verdict": verdict, "why": why}}


def verdicts(taken: int = 0, failed: int = 0, away: int = 0) -> dict[str, dict[str, str]]:
    kinds = ["taken"] * taken + ["failed"] * failed + ["away"] * away
    return {f"nuc-{number:03}": {"verdict": kind, "why": "disk full"} for number, kind in enumerate(kinds)}


@pytest.mark.parametrize(
    ("found", "max_failed", "first", "stops"),
    [
        (verdicts(taken=9, failed=1), "10%", False, False),
        (verdicts(taken=8, failed=1), "10%", False, True),
        (verdicts(taken=8, failed=2), 2, False, False),
        (verdicts(taken=8, failed=3), 2, False, True),
        (verdicts(taken=100, failed=1), "10%", True, True),
        (verdicts(taken=1, away=9), "0%", True, False),
        (verdicts(away=3), "10%", True, True),
        (verdicts(away=3), "10%", False, False),
        (verdicts(away=5), "10%", False, True),
        (verdicts(taken=1, away=9), "10%", False, False),
    ],
)
def test_when_a_release_stops(found: dict[str, dict[str, str]], max_failed: Any, first: bool, stops: bool) -> None:
    assert bool(release_stop(found, max_failed, first)) == stops


def test_the_reason_names_rule_devices_and_faults() -> None:
    assert release_stop(verdicts(taken=1, failed=7), "10%", False) == (
        "7 of 8 devices failed, 0 may (rollout_max_failed: 10%): nuc-001: disk full; nuc-002: disk full; "
        "nuc-003: disk full; nuc-004: disk full; nuc-005: disk full and 2 more"
    )
    with pytest.raises(AnsibleFilterError, match="rollout_max_failed: 'some' is neither"):
        release_stop({}, "some", False)


def test_the_status_tells_who_waits_and_who_has_a_release_of_its_own() -> None:
    told = {"status_answer": {"stdout": json.dumps({**HAS_IT, "disk_free_percent": 80})}, "edge_rollout": ROLLOUT}
    hosts = {
        "localhost": {"edge_release": TO},
        "nuc-001": {**told, "edge_release": TO},
        "nuc-003": {**told, "edge_release": OWN},
        "nuc-004": {**told, "edge_release": TO},
    }
    lines = device_status_table(device_status(["nuc-001", "nuc-003", "nuc-004"], hosts))
    assert [line.split("80 %")[1].strip() for line in lines[1:4]] == ["", "release of its own", "waits for wave 3 of 3"]


def test_the_status_tells_who_waits_by_the_sites_policy_as_the_device_has_it() -> None:
    waits = {"wave": 2, "of": 4, "opens": 1796000000}
    hosts = {"nuc-001": {"status_answer": {"stdout": json.dumps({**HAS_THE_OLD, "waits": waits})}, "edge_release": TO}}
    assert "waits for wave 2 of 4" in device_status_table(device_status(["nuc-001"], hosts))[1]


def test_what_devices_keep_by_the_sites_policy_is_told_from_the_history() -> None:
    def whole(release: dict[str, Any], at: str) -> dict[str, Any]:
        images = {"predictor": {"tag": release["name"], "digest": f"sha256:{'a' * 64}"}}
        return {"at": at, "release": {**release, "images": images}}

    policy = {"wave_size": "50%", "pause_seconds": 3600}
    releases = [whole(TO, "2999-01-01T00:00:00+01:00"), whole(BEFORE, "2026-01-01T00:00:00Z")]
    assert release_before(releases, policy)["name"] == "1"
    assert release_before(releases, {}) == {}
    assert release_before([], policy) == {}
    assert release_before([whole(TO, "2026-02-01T00:00:00Z"), releases[1]], policy) == {}
    assert release_before(releases, policy, {**ROLLOUT, "to": releases[0]["release"]}) == {}
    with pytest.raises(AnsibleFilterError, match="edge_release_waves: pause_seconds is 'soon'"):
        release_before(releases, {"pause_seconds": "soon"})
